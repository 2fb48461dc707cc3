"""One row for each content."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from core.domain import PROCESS
from core.identifiers import new_id
from core.store.recordings import count_recordings, insert_recording, select_recording, select_recordings_by_id
from tests.factories import make_recording


def test_recording_comes_back_exactly_as_it_went_in(store):
    recording = make_recording()
    assert insert_recording(store, recording=recording) == recording
    assert select_recording(store, reader=PROCESS, recording_id=recording.id) == recording


def test_same_content_under_another_name_is_the_recording_kept_before(store):
    first = insert_recording(store, recording=make_recording("the same", name="first.wav"))
    second = insert_recording(store, recording=make_recording("the same", name="second.wav"))
    assert second == first
    assert count_recordings(store, reader=PROCESS) == 1


def test_same_content_from_many_threads_at_once_is_one_recording(store):
    for content in ("a", "b", "c"):
        sent = [make_recording(content) for _ in range(16)]
        with ThreadPoolExecutor(16) as pool:
            kept = list(pool.map(lambda recording: insert_recording(store, recording=recording), sent))
        assert len({recording.id for recording in kept}) == 1
        assert kept[0] in sent
    assert count_recordings(store, reader=PROCESS) == 3


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("", ""),
        ("a\0b.wav", "ab.wav"),
        ("lone \udcff.wav", "lone ?.wav"),
        ("../../etc/passwd'; DROP TABLE recordings; --", "../../etc/passwd'; DROP TABLE recordings; --"),
        ("语音 🎙️.wav", "语音 🎙️.wav"),
        ("x" * 5000, "x" * 5000),
    ],
)
def test_strange_names_are_kept_as_far_as_a_database_can(store, sent, kept):
    recording = insert_recording(store, recording=make_recording(name=sent))
    assert recording.name == kept
    assert select_recording(store, reader=PROCESS, recording_id=recording.id) == recording


def test_unknown_recording_is_none(store):
    assert select_recording(store, reader=PROCESS, recording_id=new_id()) is None


def test_several_recordings_come_back_by_their_ids_and_unknown_ones_are_left_out(store):
    first, second, _ = (insert_recording(store, recording=make_recording(content)) for content in ("a", "b", "c"))
    found = select_recordings_by_id(store, reader=PROCESS, recording_ids={first.id, second.id, new_id()})
    assert found == {first.id: first, second.id: second}
    assert select_recordings_by_id(store, reader=PROCESS, recording_ids=[]) == {}
