"""Ratings as files: every format gives back what it was given, and its own program's reader opens what is written."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from core.domain import RatedSegment, RatingFlag
from core.errors import LabelsFileError
from core.labelling.formats import kinds
from core.labelling.formats.file_ratings import FileRating, settled
from core.labelling.formats.kinds import KINDS, LabelFormat, read_file, write_file

CALL, TALK = (UUID(f"0190b0e4-0000-7000-8000-00000000000{number}") for number in (1, 2))
AT = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)
DURATIONS = {CALL: 4.25, TALK: 61.5}
NAMES = {CALL: 'Größe "1" 嗎.wav', TALK: "talk, second part.mp3"}


def rated(recording_id, annotator, label=None, **given):
    values = {"rated_at": AT, "rating_id": UUID(int=len(annotator) * 1000 + recording_id.int % 1000), "spent_s": 2.5}
    return FileRating(
        where="",
        recording_id=recording_id,
        recording_name=NAMES[recording_id],
        duration_s=DURATIONS[recording_id],
        annotator=annotator,
        label=label,
        **(values | given),
    )


SEGMENTS = (
    RatedSegment(start_s=0.0, end_s=12.125, label="calm"),
    RatedSegment(start_s=12.125, end_s=20.0, label="angry"),
    RatedSegment(start_s=15.5, end_s=61.5, label="sad"),
)
NOTE = 'low, "tired"\nvoice;\t嗎'
RATINGS = (
    rated(CALL, "ann@example.org", "sad", second="calm", intensity=3, note=NOTE, answer_shown="sad"),
    rated(CALL, "bob", flag=RatingFlag.CANNOT_TELL, note="=1+1"),
    rated(TALK, "ann@example.org", segments=SEGMENTS, intensity=1),
    rated(TALK, "Cat Müller", "own label"),
)


def there_and_back(format, ratings=RATINGS):
    written = write_file(format, ratings, name="ratings")
    reading = read_file(format, written.data, name=written.name)
    assert reading.problems == []
    return sorted(
        (
            replace(settled(each, DURATIONS[each.recording_id]), where="", recording_name=NAMES[each.recording_id])
            for each in reading.ratings
        ),
        key=lambda each: (each.recording_id, each.annotator),
    )


def files_in(written):
    with zipfile.ZipFile(io.BytesIO(written.data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def unpacked(format, folder):
    written = write_file(format, RATINGS, name="ratings")
    with zipfile.ZipFile(io.BytesIO(written.data)) as archive:
        archive.extractall(folder)
    return folder


def said(rating):
    """What every format holds."""
    return rating.recording_id, rating.annotator, rating.label, rating.flag, rating.segments


@pytest.mark.parametrize("format", LabelFormat)
def test_every_format_gives_back_whose_label_was_which(format):
    expected = sorted(map(said, RATINGS), key=lambda each: each[:2])
    if format is LabelFormat.AUDACITY:  # of a name in a file name only letters and digits stay
        expected = [(each[0], each[1].replace(" ", "_"), *each[2:]) for each in expected]
    assert list(map(said, there_and_back(format))) == expected


@pytest.mark.parametrize("format", [format for format in LabelFormat if KINDS[format].holds_all])
def test_formats_that_hold_all_give_back_all(format):
    expected = sorted(RATINGS, key=lambda each: (each.recording_id, each.annotator))
    if format is LabelFormat.AUDFORMAT:  # durations are not its matter
        expected = [replace(each, duration_s=None) for each in expected]
    found = there_and_back(format)
    if format is LabelFormat.LABEL_STUDIO:
        expected = [replace(each, duration_s=None) for each in expected]
    assert found == expected


@pytest.mark.parametrize("format", LabelFormat)
def test_project_without_ratings_is_a_file_without_ratings(format):
    written = write_file(format, [], name="ratings")
    if KINDS[format].is_archive and format is not LabelFormat.AUDFORMAT:
        assert files_in(written) == {}
    else:
        assert list(read_file(format, written.data, name=written.name).ratings) == []


def test_praat_opens_the_textgrids(tmp_path):
    parselmouth = pytest.importorskip("parselmouth")
    unpacked(LabelFormat.TEXTGRID, tmp_path)
    [path] = tmp_path.glob(f"*{TALK}.TextGrid")
    grid = parselmouth.read(str(path))
    call = parselmouth.praat.call
    assert grid.xmax == 61.5
    names = [call(grid, "Get tier name", number) for number in (1, 2, 3)]
    assert names == ["ann@example.org", "ann@example.org (2)", "Cat Müller"]
    assert call(grid, "Get number of intervals", 1) == 3
    assert call(grid, "Get label of interval", 1, 2) == "angry"
    assert call(grid, "Get start time of interval", 2, 2) == 15.5
    short = tmp_path / "short.TextGrid"
    call(grid, "Save as short text file", str(short))
    reading = read_file(LabelFormat.TEXTGRID, short.read_bytes(), name=f"x-{TALK}.TextGrid")
    assert [(each.recording_id, each.annotator, len(each.segments)) for each in reading.ratings] == [
        (TALK, "ann@example.org", 3),
        (TALK, "Cat Müller", 1),
    ]


def test_pympi_opens_the_elan_documents(tmp_path):
    pympi = pytest.importorskip("pympi")
    unpacked(LabelFormat.ELAN, tmp_path)
    [path] = tmp_path.glob(f"*{TALK}.eaf")
    document = pympi.Eaf(str(path))
    assert set(document.get_tier_names()) == {"ann@example.org", "ann@example.org (2)", "Cat Müller"}
    assert document.get_annotation_data_for_tier("ann@example.org") == [(0, 12125, "calm"), (12125, 20000, "angry")]
    assert [media["MEDIA_URL"] for media in document.media_descriptors] == [NAMES[TALK]]
    again = tmp_path / f"again-{TALK}.eaf"
    document.to_file(str(again))
    reading = read_file(LabelFormat.ELAN, again.read_bytes(), name=again.name)
    assert sorted(len(each.segments) for each in reading.ratings) == [1, 3]


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # audformat 1.4.3 on pandas 3
def test_audformat_opens_the_database(tmp_path):
    audformat = pytest.importorskip("audformat")
    database = audformat.Database.load(str(unpacked(LabelFormat.AUDFORMAT, tmp_path)), load_data=True)
    assert set(database.raters) == {"ann@example.org", "bob", "Cat Müller"}
    emotions = database["emotion"].df
    assert emotions["ann@example.org"].dropna().tolist() == ["sad"]
    assert database["intensity"].df["ann@example.org"].dropna().tolist() == [3, 1]
    segments = database["segments"].df["ann@example.org"].dropna()
    assert segments.tolist() == ["calm", "angry", "sad"]
    assert segments.index.get_level_values("end")[0].total_seconds() == 12.125
    assert all(str(CALL) in file or str(TALK) in file for file in database.files)


GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 2.5
        points: size = 1
        points [1]:
            number = 1.5
            mark = "x"
    item [2]:
        class = "IntervalTier"
        name = "Ann"
        xmin = 0
        xmax = 2.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 2.5
            text = "very ""sad\"\""
"""


def test_files_of_the_tools_themselves_are_read():
    grid = GRID.encode()
    for data in (grid, grid.decode().encode("utf-16")):
        [rating] = read_file(LabelFormat.TEXTGRID, data, name="call 7.TextGrid").ratings
        assert (rating.recording_name, rating.annotator) == ("call 7", "Ann")
        assert settled(rating, 2.5).label == 'very "sad"'
    [rating] = read_file(LabelFormat.AUDACITY, b"1,500000\t2,000000\tsad\n\\\t100\t200\n", name="call 7.txt").ratings
    assert rating.segments == (RatedSegment(start_s=1.5, end_s=2.0, label="sad"),)
    studio = b"""[{"id": 3, "data": {"audio": "/data/upload/1/call%207.wav"}, "annotations": [{"completed_by": 5,
        "lead_time": 3.5, "result": [{"from_name": "mood", "to_name": "audio", "type": "choices",
        "value": {"choices": ["sad"]}}]}, {"was_cancelled": true, "result": []}]}]"""
    [rating] = read_file(LabelFormat.LABEL_STUDIO, studio, name="export.json").ratings
    assert (rating.recording_name, rating.annotator, rating.label, rating.spent_s) == ("call 7.wav", "5", "sad", 3.5)
    [rating] = read_file(LabelFormat.CSV, b"recording_name;label\r\ncall 7.wav;sad\r\n", name="x.csv").ratings
    assert (rating.recording_name, rating.label) == ("call 7.wav", "sad")


DAMAGED = {
    LabelFormat.CSV: (
        b"recording_name,label,intensity,start_s,end_s\na.wav,sad,strong,,\n,sad,,,\na.wav,sad,,x,2\nb.wav,calm,2,,\n",
        ["line 2", "line 3", "line 4"],
    ),
    LabelFormat.JSONL: (
        b'{"recording_name": "a.wav", "flag": "loud"}\n{\n[1]\n{"recording_name": "b.wav", "label": "sad"}\n',
        ["line 1", "line 2", "line 3"],
    ),
    LabelFormat.AUDACITY: (b"0\tx\tsad\n0\t1\n0\t1\tcalm\n", ["line 1", "line 2"]),
    LabelFormat.LABEL_STUDIO: (
        b'[{"data": {"audio": "b.wav"}, "annotations": [{"result": []}]}, 7,'
        b' {"data": {"recording_id": "x"}, "annotations": [{"result": []}]}]',
        ["task 2", "task 3"],
    ),
}


@pytest.mark.parametrize("format", DAMAGED)
def test_bad_lines_are_told_one_by_one_and_good_ones_kept(format):
    data, places = DAMAGED[format]
    reading = read_file(format, data, name="file")
    assert len(reading.ratings) == 1
    assert [problem.where for problem in reading.problems] == [f"file, {place}" for place in places]
    assert all(problem.sentence.endswith(".") for problem in reading.problems)


@pytest.mark.parametrize("format", LabelFormat)
@pytest.mark.parametrize("data", [b"\xff\xfe\xff", b"", b"{}", b'"' * 50, b"\x00" * 9, b"[" * 100_000, b"<a><b></a>"])
def test_what_is_no_such_file_holds_no_rating_and_says_so_or_nothing(format, data):
    assert list(read_file(format, data, name="file").ratings) == []


def test_xml_that_would_grow_without_end_is_refused_unread():
    bomb = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><ANNOTATION_DOCUMENT>&a;</ANNOTATION_DOCUMENT>'
    for data in (bomb, bomb.decode().encode("utf-16")):
        [problem] = read_file(LabelFormat.ELAN, data, name="x.eaf").problems
        assert "document type" in problem.sentence


def test_header_that_would_run_code_is_refused():
    header = b"tables: !!python/object/apply:os.getcwd []\n"
    reading = read_file(LabelFormat.AUDFORMAT, header, name="db.yaml")
    assert (len(reading.ratings), reading.problems[0].where) == (0, "db.yaml")


def test_header_that_would_take_minutes_to_read_is_refused_unread():
    header = b"tables: {}\n" + b"# a long comment\n" * 40_000
    reading = read_file(LabelFormat.AUDFORMAT, header, name="db.yaml")
    assert [problem.where for problem in reading.problems] == ["db.yaml"]


@pytest.mark.parametrize(
    "spoilt",
    [lambda data: data.replace("ä".encode(), b"\xff\xff"), lambda data: data[:-4] + b"\x7f" + data[-3:]],
    ids=["a name that is no UTF-8", "a list that begins elsewhere"],
)
def test_archive_with_a_spoilt_list_is_refused(spoilt):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("ä.csv", "")
    with pytest.raises(LabelsFileError, match="cannot be read"):
        read_file(LabelFormat.CSV, spoilt(written.getvalue()), name="x.zip")


def test_archive_that_is_damaged_too_large_or_of_something_else_is_refused(monkeypatch):
    written = write_file(LabelFormat.AUDACITY, RATINGS, name="ratings").data
    with pytest.raises(LabelsFileError, match="no file that ends in"):
        read_file(LabelFormat.ELAN, written, name="x.zip")
    with pytest.raises(LabelsFileError, match="cannot be read"):
        read_file(LabelFormat.AUDACITY, written[:60], name="x.zip")
    monkeypatch.setattr(kinds, "MAX_UNPACKED_BYTES", 10)
    with pytest.raises(LabelsFileError, match="more than"):
        read_file(LabelFormat.AUDACITY, written, name="x.zip")


def test_spreadsheets_run_nothing_of_a_csv():
    written = write_file(LabelFormat.CSV, RATINGS, name="ratings").data.decode()
    assert "'=1+1" in written
    assert not any(cell.startswith(("=", "+", "@")) for line in written.splitlines() for cell in line.split(","))
