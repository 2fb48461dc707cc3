"""Labels of files: by table or by folder; whatever is wrong is said file by file, and the others keep their labels."""

from __future__ import annotations

import pytest

from core.data_set_files import label_files
from core.errors import InvalidParameterError


def labels(names, **tables):
    found, problems = label_files(names, {f"{name}.csv": text.encode() for name, text in tables.items()})
    return {name: (one.label, one.speaker) for name, one in found.items()}, {
        problem.name: problem.sentence for problem in problems
    }


def test_folders_are_labels_and_those_above_them_speakers():
    found, problems = labels(["set/ann/Bored/1.wav", "set/ann/excited/2.wav", "set/ben/bored/1.wav", "set/x.wav"])
    assert problems.keys() == {"set/x.wav"}
    found, problems = labels(["set/ann/Bored/1.wav", "set/ann/excited/2.wav", "set/ben/bored/1.wav"])
    assert found == {
        "set/ann/Bored/1.wav": ("bored", "ann"),
        "set/ann/excited/2.wav": ("excited", "ann"),
        "set/ben/bored/1.wav": ("bored", "ben"),
    }
    assert problems == {}


def test_one_folder_around_all_is_no_label():
    found, _ = labels(["clips/bored/1.wav", "clips/excited/1.wav"])
    assert set(found.values()) == {("bored", ""), ("excited", "")}
    assert labels(["a.wav"])[1] == {
        "a.wav": "It lies in no folder whose name could be its label, and there is no CSV with labels."
    }


def test_a_table_says_label_and_speaker_in_any_case_and_with_any_usual_separator():
    found, problems = labels(
        ["clips/a.wav", "clips/b.wav"], labels="\ufeffFile;Label;Speaker\nclips/a.wav; Very  Bored ;Ann\nb.wav;calm;\n"
    )
    assert found == {"clips/a.wav": ("very bored", "Ann"), "clips/b.wav": ("calm", "")}
    assert problems == {}


def test_each_row_and_file_that_does_not_fit_is_named_and_the_others_stay():
    text = "file,label\na.wav,bored\nnone.wav,bored\nb.wav,\nc.wav," + "x" * 41 + "\nd/e.wav,calm\na.wav,excited\n"
    found, problems = labels(["a.wav", "b.wav", "c.wav", "d/e.wav", "f/e.wav"], rows=text)
    assert found == {"a.wav": ("bored", ""), "d/e.wav": ("calm", "")}
    assert problems == {
        "none.wav": "rows.csv, row 3 names 'none.wav', but no such file is there.",
        "b.wav": "rows.csv, row 4 gives it no label.",
        "c.wav": f"rows.csv, row 5 gives it the label {'x' * 41!r}; labels have 1 to 40 printable characters.",
        "a.wav": "rows.csv, row 7 says 'excited', another row 'bored'; the first counts.",
        "f/e.wav": "No row of rows.csv names it.",
    }


def test_a_name_that_two_files_have_wants_its_folder():
    _, problems = labels(["d/e.wav", "f/e.wav"], rows="file,label\ne.wav,calm\n")
    assert "several files are called so: say the folder too" in problems["e.wav"]


def test_a_table_inside_a_folder_leaves_that_folder_out():
    names = ["set/d/e.wav", "set/f/e.wav", "set/g/h/e.wav", "set/i/h/e.wav"]
    found, problems = labels(names, rows="file,label\nd/e.wav,calm\nf/e.wav,sad\nh/e.wav,happy\n")
    assert (found["set/d/e.wav"], found["set/f/e.wav"]) == (("calm", ""), ("sad", ""))
    assert "several files are called so" in problems["h/e.wav"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"name,mood\n", "name, mood"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"file,label\na.wav," + b"x" * 200_000, "no CSV"),
        (b"x" * 200_000, "no CSV"),
    ],
    ids=["other columns", "no text", "a long cell", "a long line"],
)
def test_a_table_that_cannot_be_used_is_refused_as_a_whole(data, said):
    with pytest.raises(InvalidParameterError, match=said):
        label_files(["a.wav"], {"labels.csv": data})
