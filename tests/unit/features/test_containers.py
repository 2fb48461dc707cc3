from __future__ import annotations

import pytest

from core.errors import UnsupportedFormatError
from core.features.containers import Container, recognise
from tests.audio_files import AV_KINDS, KINDS, encode, voice


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_is_read_is_told_by_its_content(kind):
    family = kind.split("_")[0]
    expected = {
        "wav": Container.WAV,
        "flac": Container.FLAC,
        "ogg": Container.OGG,
        "mp3": Container.MP3,
        "m4a": Container.MP4,
        "aac": Container.ADTS,
        "webm": Container.WEBM,
        "matroska": Container.WEBM,
    }[family]
    recognised = recognise(encode(voice(0.5), 16_000, kind))
    assert recognised.container is expected
    assert recognised.start in ({0} if kind != "mp3" else range(200))


def id3_tag(n_bytes: int) -> bytes:
    size = bytes(n_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + size + bytes(n_bytes)


@pytest.mark.parametrize("kind", ["mp3", "aac", "flac_16"])
def test_tags_before_the_sound_are_skipped(kind):
    plain = encode(voice(0.5), 16_000, kind)
    start = recognise(plain).start
    tagged = id3_tag(300) + id3_tag(7) + plain[start:]
    assert recognise(tagged).start == 310 + 17


def test_a_recording_cut_from_a_stream_starts_at_its_first_whole_frame():
    plain = encode(voice(1.0), 16_000, "mp3")
    first = recognise(plain[recognise(plain).start + 100 :])
    assert first.container is Container.MP3
    assert 0 < first.start < 1_500


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG image"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100), "a JPEG image"),
        (b"GIF89a" + bytes(100), "a GIF image"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(100), "a WebP image"),
        (b"RIFF\x00\x00\x00\x00AVI LIST" + bytes(100), "an AVI video"),
        (b"\x00\x00\x00\x1cftypavif" + bytes(100), "an AVIF or HEIC image"),
        (b"%PDF-1.7" + bytes(100), "a PDF document"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive or an office document"),
        (b"FORM\x00\x00\x00\x00AIFF", "an AIFF recording"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(100), "a Windows Media file"),
        (b"#EXTM3U\n#EXT-X-VERSION:3\n/etc/passwd\n", "a playlist"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "text"),
        ("Grüße, das ist kein Ton.".encode(), "text"),
        ("ñ".encode() * 4_000, "text"),
        ("a text".encode("utf-16"), "text"),
        (b"<!DOCTYPE html><HTML><body>404</body></HTML>", "a web page"),
        (b'{"error": "not found"}', "text"),
        (bytes(5_000), "a file of an unknown kind"),
        (b"\xff" * 5_000, "a file of an unknown kind"),
        (b"\x01", "a file of an unknown kind"),
        (b"RIFF", "text"),
        (id3_tag(50), "a tag without a recording"),
    ],
)
def test_other_files_are_refused_by_name(data, found):
    with pytest.raises(UnsupportedFormatError) as refused:
        recognise(data)
    assert refused.value.found == found
    assert str(refused.value).startswith(f"This is {found}, not a recording")


@pytest.mark.parametrize("kind", sorted(AV_KINDS))
def test_random_bytes_behind_a_truncated_head_are_nothing_known(kind):
    data = encode(voice(0.5), 16_000, kind)
    with pytest.raises(UnsupportedFormatError):
        recognise(data[:2])
