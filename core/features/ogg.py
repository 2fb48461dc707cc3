"""Ogg pages: the one thing FFmpeg does not do with a file that stops within its last page is to use what is there."""

from __future__ import annotations

import zlib

_HEADER_BYTES = 27
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def has_last_page(data: bytes) -> bool:
    """Whether the last page is marked as the end of its stream (RFC 3533, section 6)."""
    at = data.rfind(b"OggS")
    return at != -1 and len(data) > at + 5 and bool(data[at + 5] & 4)


def with_whole_last_page(data: bytes) -> bytes:
    """`data`, its last page, when the file stops within it, shortened to the packets that are there.

    A page holds up to a second of sound, and decoders pass over one that is not whole.
    """
    at = data.rfind(b"OggS")
    if at == -1 or len(data) < at + _HEADER_BYTES:
        return data
    segments = data[at + _HEADER_BYTES : at + _HEADER_BYTES + data[at + 26]]
    body_at = at + _HEADER_BYTES + data[at + 26]
    n_there = len(data) - body_at
    if sum(segments) <= n_there:
        return data
    n_segments = n_bytes = n_kept = kept_bytes = 0
    for n_segments, size in enumerate(segments, start=1):
        n_bytes += size
        if n_bytes > n_there:
            break
        if size < 255:  # the last segment of a packet
            n_kept, kept_bytes = n_segments, n_bytes
    page = bytearray(data[at : at + _HEADER_BYTES] + segments[:n_kept] + data[body_at : body_at + kept_bytes])
    page[26] = n_kept
    page[22:26] = bytes(4)
    page[22:26] = checksum(page).to_bytes(4, "little")
    return data[:at] + bytes(page) if n_kept else data[:at]


def checksum(page: bytes | bytearray) -> int:
    """The checksum of a page whose checksum field is zero: polynomial 0x04C11DB7, unreflected (RFC 3533, section 6).

    zlib's has the same polynomial, but bits in the other order and both ends inverted.
    """
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")
