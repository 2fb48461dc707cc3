"""GET /api/v1/recordings/{id}/audio: whole and in parts, as players ask for it."""

from __future__ import annotations

import pytest

from api.routes_recordings import MEDIA_TYPES
from core.features.containers import Container
from core.identifiers import new_id
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
