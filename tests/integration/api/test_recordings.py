"""Recordings: whole and in parts, as players ask for them; whose they are; deleting them."""

from __future__ import annotations

import io
import zipfile
from base64 import b64decode
from uuid import UUID

import numpy as np
import pytest

from api.routes_recordings import MEDIA_TYPES
from core.access.roles import ROLE_SCOPES
from core.config import Settings
from core.domain import PROCESS, Purpose, Role, User
from core.features.audio import DecodeLimits, decode
from core.features.containers import Container
from core.features.overview import overview
from core.identifiers import new_id
from core.store.audit import select_audit_entries
from core.store.recordings import count_recordings, select_recording
from core.store.training_uses import insert_training_uses
from tests.callers import key_header, make_user
from tests.integration.api.conftest import client_of
from tests.problems import refused


@pytest.fixture
def url(predict):
    return f"/api/v1/recordings/{predict(name='Tag 1/Größe 1.wav')['recording_id']}/audio"


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


def bytes_of(text: str, kind: type) -> np.ndarray:
    return np.frombuffer(b64decode(text), kind)


def test_overview_is_what_the_pages_draw(client, predict, wav):
    url = f"/api/v1/recordings/{predict()['recording_id']}/overview"
    answer = client.get(url, params={"columns": 50})
    drawn, seen = (
        answer.json(),
        overview(decode(wav, limits=DecodeLimits.from_settings(Settings())).waveform, n_columns=50),
    )
    assert (drawn["start_s"], drawn["duration_s"], drawn["n_columns"]) == (0, 2, 50)
    assert np.abs(bytes_of(drawn["highest"], np.int8) / 127 - seen.highest).max() < 0.005
    assert np.abs(bytes_of(drawn["lowest"], np.int8) / 127 - seen.lowest).max() < 0.005
    image = bytes_of(drawn["log_mel"], np.uint8).reshape(drawn["n_mels"], drawn["n_log_mel_columns"])
    assert (image == seen.log_mel).all()
    again = client.get(url, params={"columns": 50}, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_overview_of_a_stretch_has_its_length(client, predict):
    url = f"/api/v1/recordings/{predict()['recording_id']}/overview"
    drawn = client.get(url, params={"start_s": 0.5, "end_s": 1.25}).json()
    assert (drawn["start_s"], drawn["duration_s"]) == (0.5, 0.75)
    refused(client.get(url, params={"start_s": 1, "end_s": 1.01}), 422, "invalid_parameter")
    refused(client.get(url, params={"start_s": 5}), 422, "invalid_parameter")
    refused(client.get(f"/api/v1/recordings/{new_id()}/overview"), 404, "unknown_recording")


def test_every_container_that_is_read_has_its_media_type():
    assert MEDIA_TYPES.keys() == set(Container)


@pytest.fixture
def as_user(client, workbench):
    """Makes the calls that follow those of a new user, or of one known before; gives who."""

    def become(user: User | None = None) -> User:
        user = user or make_user(workbench)
        client.headers.update(key_header(workbench, user=user, scopes=ROLE_SCOPES[user.role]))
        return user

    return become


def test_a_stranger_sees_nothing_through_any_door(client, as_user, predict):
    anna = as_user()
    mine = predict()
    sound, answer = f"/api/v1/recordings/{mine['recording_id']}", f"/api/v1/predictions/{mine['id']}"
    assert client.get(answer).json()["id"] == mine["id"]
    as_user()
    refused(client.get(f"{sound}/audio"), 404, "unknown_recording")
    refused(client.get(f"{sound}/overview"), 404, "unknown_recording")
    assert client.head(f"{sound}/audio").status_code == 404
    refused(client.delete(sound), 404, "unknown_recording")
    refused(client.get(answer), 404, "unknown_prediction")
    for query in ({}, {"recording_id": mine["recording_id"]}, {"recording_name": "clip"}, {"order": "oldest"}):
        assert client.get("/api/v1/predictions", params=query).json() == {"items": [], "next_cursor": None}
    as_user(anna)
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
    noted = [entry for entry in select_audit_entries(workbench.access.store) if entry.action == "recording.delete"]
    who = client.get("/api/v1/auth/me").json()["email"]
    assert [(entry.actor, entry.subject) for entry in noted] == [(who, doomed["recording_id"])]


def test_a_viewer_deletes_their_own_recordings_and_nobody_elses(client, workbench, predict, wav):
    viewer = client_of(client.app, workbench)
    viewer.headers.update(key_header(workbench, role=Role.VIEWER, scopes=ROLE_SCOPES[Role.VIEWER]))
    own = viewer.post("/api/v1/predict", files={"file": ("mine.wav", wav)}).json()["recording_id"]
    assert viewer.delete(f"/api/v1/recordings/{own}").status_code == 204
    refused(viewer.delete(f"/api/v1/recordings/{predict()['recording_id']}"), 404, "unknown_recording")


def test_sound_that_two_people_sent_stays_until_both_have_deleted_it(client, as_user, predict, wav):
    anna = as_user()
    annas = f"/api/v1/recordings/{predict()['recording_id']}"
    as_user()
    assert client.delete(f"/api/v1/recordings/{predict()['recording_id']}").status_code == 204
    as_user(anna)
    assert client.get(f"{annas}/audio").content == wav
    assert client.delete(annas).status_code == 204


def test_members_of_a_project_hear_what_is_shared_and_cannot_delete_it(client, as_user, predict, workbench, wav):
    anna = as_user()
    caller = workbench.access.caller_of_key(client.headers["x-api-key"])
    project = workbench.projects.create("Voices", Purpose.RESEARCH, by=caller)
    files = {"file": ("clip.wav", wav)}
    refused(client.post("/api/v1/predict", files=files, params={"project": str(project.id)}), 403, "consent_needed")
    refused(client.post("/api/v1/predict", files=files, params={"project": str(new_id())}), 404, "unknown_project")
    shared = predict(project=str(project.id), consent=True)
    assert predict(project=str(project.id))["recording_id"] == shared["recording_id"]
    boris = as_user()
    sound = f"/api/v1/recordings/{shared['recording_id']}"
    refused(client.get(f"{sound}/audio"), 404, "unknown_recording")
    refused(client.post("/api/v1/predict", files=files, params={"project": str(project.id)}), 404, "unknown_project")
    workbench.projects.add_member(project.id, boris.email, by=caller)
    assert client.get(f"{sound}/audio").content == wav
    refused(client.delete(sound), 403, "forbidden")
    assert client.get(f"/api/v1/predictions/{shared['id']}").status_code == 200
    [listed] = client.get("/api/v1/projects").json()["items"]
    assert (listed["id"], listed["is_own"], listed["has_agreed"]) == (str(project.id), False, False)
    as_user(anna)
    [listed] = client.get("/api/v1/projects").json()["items"]
    assert (listed["is_own"], listed["has_agreed"]) == (True, True)


@pytest.mark.parametrize(("door", "field"), [("predict", "file"), ("batch-predict", "files")])
def test_nothing_is_recorded_before_somebody_agrees(client, workbench, wav, door, field):
    user = workbench.access.create_user("new@example.org", "New", Role.ANALYST, "enterprise", by=None)
    client.headers.update(key_header(workbench, user=user, scopes=ROLE_SCOPES[user.role]))
    files = {field: ("clip.wav", wav)}
    refused(client.post(f"/api/v1/{door}", files=files), 403, "consent_needed")
    assert count_recordings(workbench.store, reader=PROCESS) == 0
    assert client.post(f"/api/v1/{door}", files=files, data={"consent": "true"}).status_code == 200
    assert client.post(f"/api/v1/{door}", files=files).status_code == 200


def test_consent_can_be_given_ahead(client, workbench, wav):
    user = workbench.access.create_user("new@example.org", "New", Role.ANALYST, "enterprise", by=None)
    client.headers.update(key_header(workbench, user=user, scopes=ROLE_SCOPES[user.role]))
    assert client.post("/api/v1/account/consent").status_code == 204
    assert client.post("/api/v1/predict", files={"file": ("clip.wav", wav)}).status_code == 200
    refused(client.post("/api/v1/account/consent", params={"project": str(new_id())}), 404, "unknown_project")


def test_a_person_takes_away_all_that_is_held_and_deletes_their_account(client, workbench, predict, as_user):
    user = as_user()
    mine = predict()
    signed_in = workbench.access.start_session(user, address="127.0.0.1", user_agent="a test")
    refused(client.get("/api/v1/account/export"), 403, "forbidden")
    del client.headers["x-api-key"]
    client.headers["authorization"] = f"Bearer {signed_in.access_token}"
    answer = client.get("/api/v1/account/export")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert f"recordings/{mine['recording_id']}.wav" in archive.namelist()
    assert client.delete("/api/v1/account").status_code == 204
    refused(client.get("/api/v1/predictions"), 401, "invalid_credentials")
    assert count_recordings(workbench.store, reader=PROCESS) == 0


def test_models_say_how_many_of_their_recordings_were_deleted(client, workbench, predict):
    mine, other = predict(), predict(pitch_hz=180.0)
    [model] = client.get("/api/v1/models").json()["items"]
    used = [UUID(each["recording_id"]) for each in (mine, other)]
    insert_training_uses(workbench.store, model_version=model["version"], recording_ids=used)
    [model] = client.get("/api/v1/models").json()["items"]
    assert model["n_deleted_training_recordings"] == 0
    client.delete(f"/api/v1/recordings/{mine['recording_id']}")
    [model] = client.get("/api/v1/models").json()["items"]
    assert model["n_deleted_training_recordings"] == 1
