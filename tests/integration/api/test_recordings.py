"""Recordings: whole and in parts, as players ask for them; whose they are; deleting them."""

from __future__ import annotations

from uuid import UUID

import pytest

from api.access import owner_of, reader_of
from api.routes_recordings import MEDIA_TYPES
from core.domain import PROCESS, Reader, Source
from core.features.containers import Container
from core.identifiers import new_id
from core.store.recordings import select_recording
from tests.problems import refused


@pytest.fixture
def url(predict):
    return f"/api/v1/recordings/{predict(name='Größe 1.wav')['recording_id']}/audio"


def test_bytes_come_back_as_they_were_sent(client, url, wav):
    answer = client.get(url)
    assert answer.status_code == 200
    assert answer.content == wav
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''Gr%C3%B6%C3%9Fe%201.wav"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-99", 0, 100), ("bytes=100-", 100, None), ("bytes=-50", -50, None), ("bytes=5-99999999", 5, None)],
)
def test_part_of_it(client, url, wav, asked, start, end):
    answer = client.get(url, headers={"range": asked})
    assert answer.status_code == 206
    assert answer.content == wav[start:end]
    first = start if start >= 0 else len(wav) + start
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(answer.content) - 1}/{len(wav)}"


@pytest.mark.parametrize("asked", ["bytes=9-3", "bytes=-", "bytes=0-1,5-6", "lines=1-2", "bytes=" + "9" * 5000 + "-"])
def test_range_that_makes_no_sense_is_ignored(client, url, wav, asked):
    answer = client.get(url, headers={"range": asked})
    assert (answer.status_code, answer.content) == (200, wav)


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
def test_range_beyond_the_end_is_refused(client, url, wav, asked):
    answer = client.get(url, headers={"range": asked})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(wav)}")


def test_unchanged_recording_is_not_sent_again(client, url):
    tag = client.get(url).headers["etag"]
    answer = client.get(url, headers={"if-none-match": tag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_unknown_recording_is_said_to_be_unknown(client):
    refused(client.get(f"/api/v1/recordings/{new_id()}/audio"), 404, "unknown_recording")


def test_every_container_that_is_read_has_its_media_type():
    assert MEDIA_TYPES.keys() == set(Container)


@pytest.fixture
def as_user(api):
    """Makes the calls that follow those of a user."""

    def become(reader: Reader) -> None:
        async def reading() -> Reader:
            return reader

        async def owning() -> UUID:
            return reader.user_id

        api.dependency_overrides |= {reader_of: reading, owner_of: owning}

    return become


ANNA, BORIS = Reader(user_id=new_id()), Reader(user_id=new_id())


def test_a_stranger_sees_nothing_through_any_door(client, as_user, predict):
    as_user(ANNA)
    mine = predict()
    sound, answer = f"/api/v1/recordings/{mine['recording_id']}", f"/api/v1/predictions/{mine['id']}"
    assert client.get(answer).json()["id"] == mine["id"]
    as_user(BORIS)
    refused(client.get(f"{sound}/audio"), 404, "unknown_recording")
    assert client.head(f"{sound}/audio").status_code == 404
    refused(client.delete(sound), 404, "unknown_recording")
    refused(client.get(answer), 404, "unknown_prediction")
    for query in ({}, {"recording_id": mine["recording_id"]}, {"recording_name": "clip"}, {"order": "oldest"}):
        assert client.get("/api/v1/predictions", params=query).json() == {"items": [], "next_cursor": None}
    as_user(ANNA)
    assert client.get(f"{sound}/audio").status_code == 200
    assert len(client.get("/api/v1/predictions").json()["items"]) == 1


def test_deleting_a_recording_removes_sound_and_predictions(client, predict, workbench):
    kept, doomed = predict(pitch_hz=180.0), predict()
    predict()
    sha256 = select_recording(workbench.store, recording_id=UUID(doomed["recording_id"]), reader=PROCESS).sha256
    answer = client.delete(f"/api/v1/recordings/{doomed['recording_id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    refused(client.get(f"/api/v1/recordings/{doomed['recording_id']}/audio"), 404, "unknown_recording")
    refused(client.get(f"/api/v1/predictions/{doomed['id']}"), 404, "unknown_prediction")
    assert [row["id"] for row in client.get("/api/v1/predictions").json()["items"]] == [kept["id"]]
    assert not workbench.recording_files.exists(sha256)
    refused(client.delete(f"/api/v1/recordings/{doomed['recording_id']}"), 404, "unknown_recording")


def test_sound_that_two_people_sent_stays_until_both_have_deleted_it(client, as_user, predict, wav):
    sent = {}
    for user in (ANNA, BORIS):
        as_user(user)
        sent[user.user_id] = f"/api/v1/recordings/{predict()['recording_id']}"
    assert client.delete(sent[BORIS.user_id]).status_code == 204
    as_user(ANNA)
    assert client.get(sent[ANNA.user_id] + "/audio").content == wav
    assert client.delete(sent[ANNA.user_id]).status_code == 204


def test_members_of_a_project_hear_what_is_shared_and_cannot_delete_it(client, as_user, workbench, wav):
    project = new_id()
    shared = workbench.analyse(wav, name="a.wav", source=Source.API, owner=ANNA.user_id, project_id=project)
    as_user(Reader(user_id=BORIS.user_id, project_ids=frozenset({project})))
    assert client.get(f"/api/v1/recordings/{shared.recording.id}/audio").content == wav
    refused(client.delete(f"/api/v1/recordings/{shared.recording.id}"), 403, "forbidden")
    assert client.get(f"/api/v1/predictions/{shared.prediction.id}").status_code == 200
