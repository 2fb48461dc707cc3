"""What bytes are, by their content: the name of a file is never asked.

Only the containers listed in `Container` are ever given to a decoder, each to the one demultiplexer made for it; so no
playlist, no reference to another file and no device can be reached through an upload.
"""

from __future__ import annotations

import codecs
import enum
from dataclasses import dataclass

from core.errors import UnsupportedFormatError

SUFFIXES = frozenset({".aac", ".flac", ".m4a", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".wav", ".weba", ".webm"})
"""By which files of a folder are taken for recordings; what each really is, its content says."""


class Container(enum.StrEnum):
    """The containers that are read, as a user would call them."""

    WAV = "WAV"
    FLAC = "FLAC"
    MP3 = "MP3"
    ADTS = "AAC"
    OGG = "Ogg"
    MP4 = "M4A"
    WEBM = "WebM"


@dataclass(frozen=True, slots=True)
class Recognised:
    """A container and where it starts: tags before it are skipped, since pictures in them may be bombs."""

    container: Container
    start: int


_OTHERS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"BM", "a BMP image"),
    (0, b"II*\x00", "a TIFF image"),
    (0, b"MM\x00*", "a TIFF image"),
    (8, b"WEBP", "a WebP image"),
    (8, b"AVI ", "an AVI video"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive or an office document"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
    (0, b"FORM", "an AIFF recording"),
    (0, b".snd", "an AU recording"),
    (0, b"#!AMR", "an AMR recording"),
    (0, b"caff", "a CAF recording"),
    (0, b"wvpk", "a WavPack recording"),
    (0, b"MAC ", "a Monkey's Audio recording"),
    (0, b"ADIF", "a raw AAC recording without frame headers"),
    (0, b"MThd", "a MIDI file"),
    (0, b"\x30\x26\xb2\x75", "a Windows Media file"),
    (0, b"FLV\x01", "a Flash video"),
    (0, b"\x00\x00\x01\xba", "an MPEG video"),
    (0, b"\x00\x00\x01\xb3", "an MPEG video"),
    (0, b"#EXTM3U", "a playlist"),
    (0, b"[playlist]", "a playlist"),
)

_MP4_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"moof", b"sidx"})
_MP4_IMAGE_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"})

_MP3_SEARCH_BYTES = 65_536
"""How far a first frame is searched for: recordings cut from a stream start within a frame, of at most 2,881 bytes."""
_MP3_BITRATES_KBPS = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_SAMPLE_RATES_HZ = (44_100, 48_000, 32_000)


def recognise(data: bytes) -> Recognised:
    """The container that `data` holds, and where in `data` it starts.

    Raises
    ------
    UnsupportedFormatError
        `data` is something else; the sentence names what it looks like.

    Examples
    --------
    >>> recognise(b"RIFF\\x24\\x00\\x00\\x00WAVEfmt ")
    Recognised(container=<Container.WAV: 'WAV'>, start=0)
    """
    start = _end_of_id3_tags(data)
    head = data[start : start + 16]
    if head[:4] in {b"RIFF", b"RIFX", b"RF64"} and head[8:12] == b"WAVE":
        return Recognised(Container.WAV, start)
    if head[:4] == b"fLaC":
        return Recognised(Container.FLAC, start)
    if head[:4] == b"OggS":
        return Recognised(Container.OGG, start)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return Recognised(Container.WEBM, start)
    if head[4:8] in _MP4_BOXES:
        if head[4:8] == b"ftyp" and head[8:12] in _MP4_IMAGE_BRANDS:
            raise UnsupportedFormatError("an AVIF or HEIC image")
        return Recognised(Container.MP4, start)
    for offset, magic, found in _OTHERS:
        if head[offset : offset + len(magic)] == magic:
            raise UnsupportedFormatError(found)
    if _adts_frame_length(data, start):
        return Recognised(Container.ADTS, start)
    first = _first_mp3_frame(data, start)
    if first is not None:
        return Recognised(Container.MP3, first)
    raise UnsupportedFormatError(_describe_unknown(data[start : start + 4_096]))


def _end_of_id3_tags(data: bytes) -> int:
    """Where the ID3v2 tags that MP3, AAC and FLAC files may begin with end (ID3v2.4.0, section 3.1)."""
    start = 0
    while data[start : start + 3] == b"ID3" and len(data) >= start + 10:
        size = 0
        for byte in data[start + 6 : start + 10]:
            size = size << 7 | byte & 0x7F
        start += 10 + size + (10 if data[start + 5] & 0x10 else 0)
    return start


def _adts_frame_length(data: bytes, at: int) -> int:
    """Length in bytes of the ADTS frame at `at` when it is followed by another or by nothing, else 0.

    The header is that of ISO 13818-7, section 6.2.
    """

    def length(position: int) -> int:
        header = data[position : position + 7]
        if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or (header[2] >> 2 & 15) > 12:
            return 0
        return (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5

    first = length(at)
    if first < 7 or (at + first < len(data) - 7 and not length(at + first)):
        return 0
    return first


def _first_mp3_frame(data: bytes, start: int) -> int | None:
    """Where the first of two consecutive MPEG layer III frames stands, or a single one that ends with the data."""
    end = min(len(data), start + _MP3_SEARCH_BYTES)
    at = data.find(b"\xff", start, end)
    while at != -1:
        length = _mp3_frame_length(data, at)
        if length and (_mp3_frame_length(data, at + length) or (at == start and at + length >= len(data) - 4)):
            return at
        at = data.find(b"\xff", at + 1, end)
    return None


def _mp3_frame_length(data: bytes, at: int) -> int:
    """Length in bytes of the MPEG layer III frame whose header stands at `at`, else 0 (ISO 11172-3, 2.4.1.3)."""
    header = data[at : at + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, bitrate, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bitrate in {0, 15} or rate == 3:
        return 0
    generation = 1 if version == 3 else 2
    sample_rate_hz = _MP3_SAMPLE_RATES_HZ[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bytes_per_kbit = 144_000 if generation == 1 else 72_000
    return bytes_per_kbit * _MP3_BITRATES_KBPS[generation][bitrate] // sample_rate_hz + (header[2] >> 1 & 1)


def _describe_unknown(head: bytes) -> str:
    if not head:
        return "a tag without a recording"
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the head may end within a character
    except UnicodeDecodeError:
        text = ""
    if text and all(character.isprintable() or character.isspace() for character in text):
        return "a web page" if "<html" in text.lower() else "text"
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return "text"
    return "a file of an unknown kind"
