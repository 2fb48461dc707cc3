"""ZIPs: unpacked one by one, and never more of them than is allowed."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import zipfile

import pytest

from core.archives import unpacked
from core.errors import ArchiveError

LIMITS = {"name": "clips.zip", "max_files": 10, "max_mb": 1.0, "max_file_mb": 0.5}


def zipped(**files: bytes) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    file.seek(0)
    return file


def test_every_file_comes_by_its_path_in_the_archive():
    archive = zipped(**{"a/1.wav": b"1", "b/1.wav": b"2", "__MACOSX/._two.wav": b"x", "a/.DS_Store": b"x", "b/": b""})
    assert list(unpacked(archive, **LIMITS)) == [("a/1.wav", b"1"), ("b/1.wav", b"2")]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("a/../../b.wav", "a/b.wav"),
        ("a\\..\\b.wav", "a/b.wav"),
        ("C:\\sounds\\b.wav", "sounds/b.wav"),
        ("day 1:/b.wav", "day 1:/b.wav"),
        ("a/ .. /b\u202ewav", "a/bwav"),
        ("..", "unnamed"),
    ],
)
def test_a_path_out_of_the_archive_is_only_a_name(written, name):
    assert list(unpacked(zipped(**{written: b"1"}), **LIMITS)) == [(name, b"1")]


def test_a_name_in_utf_8_that_is_not_marked_as_such_is_read_as_such():
    written = zipped(**{"Übung.wav": b"1"}).getvalue()
    at = [written.index(mark) for mark in (b"PK\x03\x04", b"PK\x01\x02")]
    unmarked = bytearray(written)
    unmarked[at[0] + 7] &= ~8
    unmarked[at[1] + 9] &= ~8
    assert list(unpacked(io.BytesIO(unmarked), **LIMITS)) == [("Übung.wav", b"1")]


def test_a_file_that_claims_to_be_small_is_not_unpacked_further_than_allowed():
    [(_, data)] = unpacked(zipped(**{"bomb.wav": bytes(50_000_000)}), **LIMITS)
    assert len(data) == 500_001


def test_many_files_together_are_not_unpacked_further_than_allowed():
    bombs = zipped(**{f"{number}.wav": bytes(400_000) for number in range(5)})
    with pytest.raises(ArchiveError, match="more than 1 MB"):
        list(unpacked(bombs, **LIMITS))


def test_too_many_files_are_refused_before_any_is_unpacked():
    with pytest.raises(ArchiveError, match="11 files"):
        list(unpacked(zipped(**{str(number): b"" for number in range(11)}), **LIMITS))


@pytest.mark.parametrize("spoilt", [b"PK\x03\x04nothing", b""], ids=["no directory", "empty"])
def test_what_is_no_archive_says_so(spoilt):
    with pytest.raises(ArchiveError, match="damaged"):
        list(unpacked(io.BytesIO(spoilt), **LIMITS))


def test_a_damaged_file_inside_says_so():
    whole = zipped(**{"a.wav": b"sound" * 100}).getvalue()
    at = whole.index(b"a.wav") + 5
    with pytest.raises(ArchiveError, match="damaged"):
        list(unpacked(io.BytesIO(whole[:at] + b"\xff" * 4 + whole[at + 4 :]), **LIMITS))


def test_an_encrypted_archive_says_so():
    archive = bytearray(zipped(**{"a.wav": b"sound"}).getvalue())
    archive[archive.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(ArchiveError, match="encrypted"):
        list(unpacked(io.BytesIO(bytes(archive)), **LIMITS))


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_an_archive_compressed_in_an_unusual_way_says_so(method):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a.wav", b"sound")
    with pytest.raises(ArchiveError, match="make an ordinary ZIP"):
        list(unpacked(file, **LIMITS))


def test_a_list_of_far_more_files_than_allowed_is_not_read():
    """Of entries alone, as only somebody makes them who wants every one to cost memory."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    listed = entry * 5_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 5_000, 5_000, len(listed), 0, 0)
    with pytest.raises(ArchiveError, match="far more than 10 files"):
        list(unpacked(io.BytesIO(listed + end), **LIMITS))


def test_any_damage_is_a_refusal_and_nothing_else():
    whole, drawn = zipped(**{"Übung/a.csv": b"file,label\n" * 20, "b.wav": b"RIFF" * 50}).getvalue(), random.Random(1)
    n_refused = 0
    for _ in range(3_000):
        damaged = bytearray(whole)
        for _ in range(drawn.randint(1, 4)):
            at = drawn.randrange(len(damaged))
            if drawn.random() < 0.8:
                damaged[at] = drawn.choice([0, 1, 127, 254, 255, drawn.randrange(256)])
            else:
                del damaged[at : at + drawn.randint(1, 10)]
        with contextlib.suppress(ArchiveError):
            list(unpacked(io.BytesIO(bytes(damaged)), **LIMITS))
            n_refused -= 1
        n_refused += 1
    assert n_refused > 1_000
