"""The figure of an explanation in PDF reports: each region where it belongs, in the colour of what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reportlab.graphics.shapes import Drawing, Image, PolyLine, Rect, String
from reportlab.lib.colors import HexColor

from core.domain import Emotion
from core.emotion_colours import SPEAKS_AGAINST, SPEAKS_FOR
from core.reports.explanation_figure import LEFT, LEVEL_RANGE_DB, REGIONS, RIGHT, STRONGEST_OPACITY, regions
from core.reports.fonts import find_fonts
from tests.attributions import VALUES, make_attribution, make_voice

WIDTH = 480.0
FOR, AGAINST = HexColor(SPEAKS_FOR), HexColor(SPEAKS_AGAINST)


def drawn(attribution=None, voice=None) -> Drawing:
    voice = voice or make_voice()
    return regions(attribution or make_attribution(), voice.seen, voice.contours, find_fonts(), width=WIDTH)


def cells(drawing: Drawing) -> list[Rect]:
    """The regions, in the order of time and then of frequency; the key has no white edge."""
    return [shape for shape in drawing.contents if isinstance(shape, Rect) and shape.strokeColor is not None]


def said(drawing: Drawing) -> list[str]:
    return [shape.text for shape in drawing.contents if isinstance(shape, String)]


def test_every_region_has_the_colour_of_its_sign_and_the_strength_of_its_size():
    found = cells(drawn())
    values = [value for column in VALUES for value in column]
    assert len(found) == len(values)
    for cell, value in zip(found, values, strict=True):
        assert cell.fillOpacity == pytest.approx(STRONGEST_OPACITY * abs(value))
        assert cell.fillColor == (FOR if value >= 0 else AGAINST)


def test_regions_fill_the_stretch_and_the_bands_without_gaps():
    low, high = cells(drawn())[:2]
    last = cells(drawn())[-1]
    assert low.x == high.x == LEFT
    assert high.y == pytest.approx(low.y + low.height)
    assert low.height + high.height == pytest.approx(REGIONS)
    assert last.x + last.width == pytest.approx(WIDTH - RIGHT)


def test_only_strong_regions_carry_their_number():
    signed = [text for text in said(drawn()) if text[0] in "+\u2212" and "." in text and " " not in text]
    assert signed == ["+1.0", "\u22120.4"]


def test_the_log_mel_lies_below_the_regions_loudest_darkest():
    drawing = drawn()
    image = next(shape for shape in drawing.contents if isinstance(shape, Image))
    assert drawing.contents.index(image) < drawing.contents.index(cells(drawing)[0])
    seen = make_voice().seen
    loudest, quietest = (
        tuple(int(at) for at in divmod(int(place), seen.log_mel.shape[1]))
        for place in (seen.log_mel.argmax(), seen.log_mel.argmin())
    )
    brightness = [
        image.path.getpixel((column, len(seen.log_mel) - 1 - band))[0] for band, column in (loudest, quietest)
    ]
    assert brightness[0] < brightness[1]


def test_with_a_contrast_the_key_names_both_emotions():
    texts = said(drawn(make_attribution(contrast=Emotion.CALM)))
    assert "+ speaks for angry" in texts
    assert "\u2212 speaks for calm" in texts


def test_times_are_those_of_the_recording():
    late = drawn(make_attribution(first_s=6.0), make_voice(start_s=6.0))
    assert {"6.0", "7.0", "8.0"} <= set(said(late))
    assert "0.0" not in said(late)


def test_unvoiced_stretches_leave_gaps_and_silence_ends_the_level_axis():
    drawing = drawn()
    lines = [shape for shape in drawing.contents if isinstance(shape, PolyLine)]
    assert len(lines) == 4 + 1
    assert f"\u2212{20 + LEVEL_RANGE_DB:.0f}" in said(drawing)


def test_a_voice_without_pitch_says_so():
    assert "No pitch could be measured here" in said(drawn(voice=make_voice(is_voiced=False)))


def test_values_of_nothing_at_all_are_drawn_without_colour():
    nothing = drawn(replace(make_attribution([[0.0, 0.0]] * 4)))
    assert {cell.fillOpacity for cell in cells(nothing)} == {0.0}
