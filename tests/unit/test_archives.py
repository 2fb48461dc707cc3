"""ZIPs: unpacked one by one, and never more of them than is allowed."""

from __future__ import annotations

import io
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


def test_every_file_comes_by_its_own_name():
    archive = zipped(**{"a/one.wav": b"1", "two.wav": b"2", "__MACOSX/._two.wav": b"x", "a/.DS_Store": b"x", "b/": b""})
    assert list(unpacked(archive, **LIMITS)) == [("one.wav", b"1"), ("two.wav", b"2")]


def test_a_path_out_of_the_archive_is_only_a_name():
    assert list(unpacked(zipped(**{"../../etc/passwd": b"1"}), **LIMITS)) == [("passwd", b"1")]


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
