from __future__ import annotations

import struct

import pytest

from core.features.ogg import checksum, has_last_page, with_whole_last_page
from tests.audio_files import encode, voice


def pages(data: bytes) -> list[bytes]:
    starts = [at for at in range(len(data)) if data.startswith(b"OggS", at)]
    return [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]


def bit_by_bit(page: bytes) -> int:
    """The checksum as RFC 3533 describes it."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C1_1DB7 if value & 0x8000_0000 else 0)) & 0xFFFF_FFFF
    return value


@pytest.mark.parametrize("kind", ["ogg_opus", "ogg_vorbis"])
def test_the_checksum_is_the_one_that_encoders_write(kind):
    for page in pages(encode(voice(1.0), 16_000, kind)):
        blank = page[:22] + bytes(4) + page[26:]
        assert struct.unpack("<I", page[22:26])[0] == checksum(blank) == bit_by_bit(blank)


def test_a_page_that_is_not_whole_keeps_its_whole_packets():
    *before, last, _ = pages(encode(voice(1.5), 16_000, "ogg_opus"))
    mended = with_whole_last_page(b"".join(before) + last[:-100])
    page = pages(mended)[-1]
    n_segments = page[26]
    assert 0 < n_segments < last[26]
    assert page[27 : 27 + n_segments] == last[27 : 27 + n_segments]
    assert len(page) == 27 + n_segments + sum(page[27 : 27 + n_segments])
    assert page[26 + n_segments] < 255
    assert struct.unpack("<I", page[22:26])[0] == checksum(page[:22] + bytes(4) + page[26:])


def test_a_page_without_a_whole_packet_goes():
    *pages_before, last, _ = pages(encode(voice(1.5), 16_000, "ogg_opus"))
    before = b"".join(pages_before)
    assert with_whole_last_page(before + last[: 27 + last[26] + 2]) == before


@pytest.mark.parametrize("rest", [b"", b"OggS", b"no Ogg at all"])
def test_what_cannot_be_mended_is_left(rest):
    data = encode(voice(0.5), 16_000, "ogg_opus")
    assert with_whole_last_page(data) == data
    assert with_whole_last_page(rest) == rest


def test_the_closing_page_is_seen():
    data = encode(voice(1.0), 16_000, "ogg_opus")
    assert has_last_page(data)
    assert not has_last_page(data[: -len(pages(data)[-1])])
    assert not has_last_page(b"")
