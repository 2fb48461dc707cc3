"""Fonts of PDF reports: which letters can be printed, and with what.

The rule: a letter is printed with DejaVu Sans, which is embedded, where that is installed (Debian's fonts-dejavu-core
and other systems' places); else with Vera, which reportlab brings and which knows the letters of western Europe.
Chinese and Japanese are printed with Droid Sans Fallback and Korean with Nanum Gothic, embedded too, where those are
installed (Debian's fonts-droid-fallback and fonts-nanum); else they are named to the reader's PDF program, which has
letters of its own. Whatever is left is printed as a box, and the report says how often.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import reportlab
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFError, TTFont

_DEJAVU_FOLDERS = (
    "/usr/share/fonts/truetype/dejavu",
    "/usr/share/fonts/dejavu-sans-fonts",
    "/usr/share/fonts/dejavu",
    "/usr/share/fonts/TTF",
    "/opt/homebrew/share/fonts",
    "/usr/local/share/fonts/dejavu",
)
_ASIAN_FILES = (
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/usr/share/fonts/truetype/nanum/NanumGothic.ttf",
)
_VERA = Path(reportlab.__file__).parent / "fonts"
_BOX = "\u25a1"
_KOREAN, _JAPANESE, _CHINESE = "HYSMyeongJo-Medium", "HeiseiKakuGo-W5", "STSong-Light"
_registering = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fonts:
    """Names that reportlab knows the fonts by."""

    regular: str
    bold: str
    letters: frozenset[int]
    """Code points of `regular` and `bold`."""
    asian: tuple[tuple[str, frozenset[int]], ...]
    """Embedded fonts for Chinese, Japanese and Korean, each with its code points."""

    @property
    def box(self) -> str:
        """What stands for a letter that no font has."""
        return _BOX if ord(_BOX) in self.letters else "?"


@functools.cache
def find_fonts(dejavu_folders: tuple[str, ...] = _DEJAVU_FOLDERS, asian_files: tuple[str, ...] = _ASIAN_FILES) -> Fonts:
    """Register the best fonts that this machine has, once."""
    with _registering:
        pair = next((found for folder in dejavu_folders if (found := _pair_in(Path(folder)))), None)
        if pair is None:
            pair = _registered("Vera", _VERA / "Vera.ttf"), _registered("Vera-Bold", _VERA / "VeraBd.ttf")
        regular, bold = pair
        asian = [font for file in asian_files if (font := _opened(Path(file).stem, Path(file)))]
        for name in (_KOREAN, _JAPANESE, _CHINESE):
            pdfmetrics.registerFont(UnicodeCIDFont(name))
        return Fonts(
            regular=regular.fontName,
            bold=bold.fontName,
            letters=frozenset(regular.face.charToGlyph) & frozenset(bold.face.charToGlyph),
            asian=tuple((font.fontName, frozenset(font.face.charToGlyph)) for font in asian),
        )


def _pair_in(folder: Path) -> tuple[TTFont, TTFont] | None:
    regular = _opened("DejaVuSans", folder / "DejaVuSans.ttf")
    bold = _opened("DejaVuSans-Bold", folder / "DejaVuSans-Bold.ttf")
    return None if regular is None or bold is None else (regular, bold)


def _opened(name: str, file: Path) -> TTFont | None:
    try:
        return _registered(name, file) if file.is_file() else None
    except (TTFError, OSError):
        return None


def _registered(name: str, file: Path) -> TTFont:
    font = TTFont(name, str(file))
    pdfmetrics.registerFont(font)
    return font


def runs_of(text: str, fonts: Fonts, *, is_bold: bool = False) -> Iterator[tuple[str, str]]:
    """Stretches of `text` with the font that prints each; line breaks and other control characters become spaces."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    has_kana = any(0x3040 <= ord(character) <= 0x30FF for character in plain)
    own = fonts.bold if is_bold else fonts.regular
    placed = [_place(character, fonts, own, has_kana=has_kana) for character in plain]
    for font, stretch in itertools.groupby(placed, key=lambda place: place[0]):
        yield font, "".join(character for _, character in stretch)


def _place(character: str, fonts: Fonts, own: str, *, has_kana: bool) -> tuple[str, str]:
    point = ord(character)
    if point in fonts.letters:
        return own, character
    for name, letters in fonts.asian:
        if point in letters:
            return name, character
    if 0xAC00 <= point <= 0xD7A3:
        return _KOREAN, character
    if 0x3040 <= point <= 0x30FF:
        return _JAPANESE, character
    if 0x4E00 <= point <= 0x9FFF or 0x3000 <= point <= 0x303F or 0xFF00 <= point <= 0xFFEF:
        return (_JAPANESE if has_kana else _CHINESE), character
    return own, fonts.box


def marked(text: str, fonts: Fonts, *, is_bold: bool = False) -> str:
    """`text` as reportlab's paragraphs read it: nothing in it counts as markup, each stretch in its font."""
    own = fonts.bold if is_bold else fonts.regular
    return "".join(
        escape(stretch) if font == own else f'<font name="{font}">{escape(stretch)}</font>'
        for font, stretch in runs_of(text, fonts, is_bold=is_bold)
    )


def count_unprintable(text: str, fonts: Fonts) -> int:
    """How many letters of `text` no font has."""
    return sum(1 for _, stretch in runs_of(text, fonts) for letter in stretch if letter == fonts.box) - text.count(
        fonts.box
    )
