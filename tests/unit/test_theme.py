"""Colours that carry meaning: told apart by everybody, seen on both backgrounds, and the same wherever they are named.

Colour-blind sight is simulated after Machado, Oliveira and Fernandes (2009), "A physiologically-based model for
simulation of color vision deficiency", table for severity 1.0, in linear RGB; differences are CIEDE2000 as in Sharma,
Wu and Dalal (2005); contrast is that of WCAG 2.2.
"""

from __future__ import annotations

import itertools
import re
import tomllib

import numpy as np
import pytest

from core.config import REPOSITORY
from core.domain import Emotion
from pages.parts.frame import button_style
from pages.parts.theme import DARK, EMOTION_COLOURS, EMOTION_SIGNS, LIGHT, tint

SIGHTS = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
LEAST_DIFFERENCE = 11.0
"""CIEDE2000; about 1 can just be seen. Okabe and Ito's own palette of eight comes to 10.9 by the measure used here."""
CONFIG = tomllib.loads((REPOSITORY / ".streamlit" / "config.toml").read_text())
SURFACES = {"light": LIGHT, "dark": DARK}


def linear(colour: str) -> np.ndarray:
    """Linear RGB, each in [0, 1], of `#RRGGBB`."""
    value = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of linear RGB."""
    ratio = RGB_TO_XYZ @ np.clip(rgb, 0, 1) / RGB_TO_XYZ.sum(axis=1)
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    """WCAG contrast ratio, 1 to 21."""
    dark, light = sorted(float(RGB_TO_XYZ[1] @ linear(colour)) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def ciede2000(one: np.ndarray, other: np.ndarray) -> float:
    """Difference of two CIELAB colours (Sharma et al. 2005, equations 2 to 22)."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean_chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 0.5 * (1 - np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    turn = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    delta_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    mean_h = h1 + h2 if c1 * c2 == 0 else (h1 + turn / 2) % 360
    t = (
        1
        - 0.17 * np.cos(np.radians(mean_h - 30))
        + 0.24 * np.cos(np.radians(2 * mean_h))
        + 0.32 * np.cos(np.radians(3 * mean_h + 6))
        - 0.20 * np.cos(np.radians(4 * mean_h - 63))
    )
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    rotation = -np.sin(np.radians(60 * np.exp(-(((mean_h - 275) / 25) ** 2)))) * 2
    rotation *= np.sqrt(mean_c**7 / (mean_c**7 + 25**7))
    lightness, chroma, hue = (l2 - l1) / s_l, (c2 - c1) / s_c, delta_hue / s_h
    return float(np.sqrt(lightness**2 + chroma**2 + hue**2 + rotation * chroma * hue))


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 2.4900, -0.0010), (50.0, -2.4900, 0.0011), 7.2195),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_difference_agrees_with_the_published_table(one, other, difference):
    """Sharma et al. (2005), table 1, pairs 1, 13, 17, 25, 31 and 34."""
    assert ciede2000(np.array(one), np.array(other)) == pytest.approx(difference, abs=1e-4)


def test_contrast_of_black_and_white_is_21():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21, abs=0.01)


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(Emotion, 2)))
def test_two_emotions_can_be_told_apart_by(sight, one, other):
    seen = [lab(np.asarray(SIGHTS[sight]) @ linear(EMOTION_COLOURS[emotion])) for emotion in (one, other)]
    assert ciede2000(*seen) >= LEAST_DIFFERENCE


@pytest.mark.parametrize("theme", SURFACES)
@pytest.mark.parametrize("emotion", Emotion)
def test_a_mark_stands_out_from_each_background(theme, emotion):
    for background in (SURFACES[theme].background, SURFACES[theme].raised):
        assert contrast(EMOTION_COLOURS[emotion], background) >= 3


@pytest.mark.parametrize(("theme", "text"), [("light", "#000000"), ("dark", "#FFFFFF")])
@pytest.mark.parametrize("emotion", Emotion)
def test_a_name_is_readable_on_the_tint_of_its_emotion(theme, text, emotion):
    """Streamlit writes on chips in black or white, whichever it takes for the better."""
    behind = tint(EMOTION_COLOURS[emotion], SURFACES[theme].background)
    assert contrast(text, behind) >= 7
    assert contrast(SURFACES[theme].text, behind) >= 4.5


@pytest.mark.parametrize("theme", SURFACES)
def test_text_is_readable_on_each_background(theme):
    shown = SURFACES[theme]
    for background in (shown.background, shown.raised):
        assert contrast(shown.text, background) >= 7
        assert contrast(shown.muted, background) >= 4.5
        assert contrast(shown.bar, background) >= 3
        assert contrast(CONFIG["theme"][theme]["primaryColor"], background) >= 4.5
        assert contrast(CONFIG["theme"][theme]["linkColor"], background) >= 4.5


@pytest.mark.parametrize("theme", SURFACES)
def test_what_a_primary_button_says_is_readable_on_it(theme):
    colour = re.search(r"stBaseButton-primary.*color: (#\w{6})", button_style(SURFACES[theme]))
    assert colour is not None
    assert contrast(colour[1], CONFIG["theme"][theme]["primaryColor"]) >= 7


@pytest.mark.parametrize("theme", SURFACES)
def test_sound_without_an_emotion_is_not_taken_for_neutral(theme):
    quiet, neutral = (lab(linear(colour)) for colour in (SURFACES[theme].quiet, EMOTION_COLOURS[Emotion.NEUTRAL]))
    assert ciede2000(quiet, neutral) >= LEAST_DIFFERENCE


@pytest.mark.parametrize("theme", SURFACES)
@pytest.mark.parametrize("sight", SIGHTS)
def test_what_speaks_for_and_what_speaks_against_can_be_told_apart_by(sight, theme):
    pair = (SURFACES[theme].speaks_for, SURFACES[theme].speaks_against)
    assert ciede2000(*(lab(np.asarray(SIGHTS[sight]) @ linear(colour)) for colour in pair)) >= 2 * LEAST_DIFFERENCE
    assert min(contrast(colour, SURFACES[theme].background) for colour in pair) >= 3


@pytest.mark.parametrize("theme", SURFACES)
def test_heat_maps_grow_ever_further_from_the_background(theme):
    shown = SURFACES[theme]
    steps = [contrast(colour, shown.background) for colour in shown.scale]
    assert steps == sorted(steps)
    assert steps[0] < 1.1
    assert steps[-1] > 15


@pytest.mark.parametrize("theme", SURFACES)
def test_streamlit_and_charts_use_the_same_colours(theme):
    section = CONFIG["theme"][theme]
    assert section["backgroundColor"] == SURFACES[theme].background
    assert section["secondaryBackgroundColor"] == SURFACES[theme].raised
    assert section["textColor"] == SURFACES[theme].text
    assert CONFIG["theme"]["chartCategoricalColors"] == list(EMOTION_COLOURS.values())


def test_each_emotion_has_its_own_colour_and_mark():
    for table in (EMOTION_COLOURS, EMOTION_SIGNS):
        assert list(table) == list(Emotion)
        assert len(set(table.values())) == len(Emotion)


def test_nothing_that_makes_the_look_comes_from_the_internet():
    text = (REPOSITORY / ".streamlit" / "config.toml").read_text()
    assert "http" not in text
    assert CONFIG["browser"]["gatherUsageStats"] is False
    assert CONFIG["browser"]["serverAddress"], "without it Streamlit asks a server on the internet for its own address"
