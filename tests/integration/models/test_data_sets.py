"""Data sets: good files are kept, problems named file by file, copies learnt from once; all is its owner's alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from core.config import Settings
from core.domain import PROCESS, Reader, Role
from core.errors import InvalidParameterError, SourceNotAllowedError, UnknownDataSetError, UploadTooLargeError
from core.identifiers import new_id
from core.models.data_sets import SentFile
from core.workbench import open_workbench
from tests.bundles import TINY
from tests.callers import caller_of, make_user
from tests.data_sets import own_zip
from tests.prepared_stores import prepared
from tests.sounds import voice_wav


@pytest.fixture
def settings(tmp_path, store_url):
    url = store_url if store_url.startswith("postgresql") else ""
    return Settings(
        data_dir=prepared(tmp_path / "data"),
        models_dir=TINY.parent,
        model="tiny",
        batch_sources=str(tmp_path / "in"),
        store_url=url,
    )


@pytest.fixture
def workbench(settings):
    opened = open_workbench(settings)
    yield opened
    opened.close()


@pytest.fixture
def admin(workbench):
    return caller_of(make_user(workbench, Role.ADMIN, password=None))


def sent_zip(extra=None):
    return [SentFile(name="moods.zip", data=own_zip(5, extra=extra))]


def test_a_zip_keeps_good_files_and_names_each_problem(workbench, admin):
    extra = {
        "set/s0/bored/bad.wav": b"nothing",
        "set/s0/bored/copy.wav": voice_wav(seconds=0.5, pitch_hz=90.0),
        "set/loose.wav": voice_wav(seconds=0.5, pitch_hz=400.0),
        "set/s0/excited/wrong.wav": voice_wav(seconds=0.5, pitch_hz=95.0),
        "__MACOSX/set/._x.wav": b"x",
    }
    summary = workbench.data_sets.create(sent_zip(extra), name="", by=admin, agrees=True)
    assert summary.labels == {"bored": 5, "excited": 5}
    assert summary.n_speakers == 4
    assert summary.data_set.name == "0.wav"
    problems = {clip.name: clip.problem for clip in summary.problems}
    assert problems.keys() == extra.keys() - {"__MACOSX/set/._x.wav"}
    assert problems["set/s0/bored/copy.wav"] == "It is the same sound as set/s0/bored/0.wav."
    assert "no folder" in problems["set/loose.wav"]
    said = "It is the same sound as set/s1/bored/1.wav, which has the label 'bored': one of them is wrong."
    assert problems["set/s0/excited/wrong.wav"] == said
    [kept] = workbench.data_sets.list_data_sets(reader=admin.reader)
    assert kept == summary
    clips = list(workbench.data_sets.labelled_clips(kept, kept.good))
    assert Counter(clip.label for clip in clips) == {"bored": 5, "excited": 5}
    assert {clip.speaker for clip in clips} == {"s0", "s1", "s2", "s3"}


def test_a_table_beside_single_files_says_their_labels(workbench, admin):
    files = [SentFile(name=f"{n}.wav", data=voice_wav(seconds=0.5, pitch_hz=100.0 + 9 * n)) for n in range(3)]
    table = SentFile(name="labels.csv", data=b"file,label\n0.wav,Calm\n1.wav,order\nnone.wav,order\n")
    summary = workbench.data_sets.create([*files, table], name="Orders", by=admin, agrees=True)
    assert summary.labels == {"calm": 1, "order": 1}
    assert {clip.name: clip.problem for clip in summary.problems} == {
        "2.wav": "No row of labels.csv names it.",
        "none.wav": "labels.csv, row 4 names 'none.wav', but no such file is there.",
    }


def test_a_copy_that_nothing_labels_hides_no_clip_that_something_does(workbench, admin):
    sound = voice_wav(seconds=0.5)
    files = [SentFile(name=name, data=sound) for name in ("set/loose.wav", "set/bored/1.wav")]
    summary = workbench.data_sets.create(files, name="", by=admin, agrees=True)
    assert [clip.name for clip in summary.good] == ["set/bored/1.wav"]
    [clip] = workbench.data_sets.labelled_clips(summary, summary.good)
    assert clip.label == "bored"


def test_a_folder_is_taken_only_where_the_settings_allow_it(workbench, admin, tmp_path):
    for label in ("bored", "excited"):
        (tmp_path / "in" / "moods" / label).mkdir(parents=True)
        sound = voice_wav(seconds=0.5, pitch_hz=100.0 if label == "bored" else 200.0)
        (tmp_path / "in" / "moods" / label / "1.wav").write_bytes(sound)
    summary = workbench.data_sets.from_folder(str(tmp_path / "in" / "moods"), name="", by=admin, agrees=True)
    assert (summary.data_set.name, summary.labels) == ("moods", {"bored": 1, "excited": 1})
    with pytest.raises(SourceNotAllowedError):
        workbench.data_sets.from_folder(str(tmp_path / "data"), name="", by=admin, agrees=True)


def test_what_cannot_be_used_at_all_is_refused_and_leaves_nothing(workbench, admin, monkeypatch):
    with pytest.raises(InvalidParameterError, match=r"without a clip to learn from: a\.wav"):
        workbench.data_sets.create([SentFile(name="a.wav", data=b"x")], name="", by=admin, agrees=True)
    monkeypatch.setattr("core.models.data_sets.MAX_FILES", 3)
    files = [SentFile(name=f"a/{n}.wav", data=voice_wav(seconds=0.3, pitch_hz=99.0 + n)) for n in range(4)]
    with pytest.raises(InvalidParameterError, match="at most 3 clips"):
        workbench.data_sets.create(files, name="", by=admin, agrees=True)
    assert workbench.data_sets.list_data_sets(reader=PROCESS) == []
    assert workbench.recording_files.all_waiting() == []


def test_too_much_is_refused(workbench, admin):
    workbench.settings = replace(workbench.settings, max_background_mb=0.02)
    file = SentFile(name="a/1.wav", data=voice_wav(seconds=1.0))
    with pytest.raises(UploadTooLargeError, match="The data set"):
        workbench.data_sets.create([file], name="", by=admin, agrees=True)


def test_a_set_is_its_owners_and_goes_with_its_sounds(workbench, admin):
    summary = workbench.data_sets.create(sent_zip(), name="Moods", by=admin, agrees=True)
    stranger = Reader(user_id=new_id())
    assert workbench.data_sets.list_data_sets(reader=stranger) == []
    with pytest.raises(UnknownDataSetError):
        workbench.data_sets.data_set(summary.data_set.id, reader=stranger)
    with pytest.raises(UnknownDataSetError):
        workbench.data_sets.delete(summary.data_set.id, reader=stranger)
    assert len(workbench.recording_files.all_waiting()) == 1
    workbench.data_sets.forget_all(user_id=admin.user.id)
    assert workbench.recording_files.all_waiting() == []
    assert workbench.data_sets.list_data_sets(reader=PROCESS) == []
