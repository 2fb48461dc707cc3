"""Explanations in sentences: the strongest first, with place, size and unit."""

from __future__ import annotations

import math

import pytest

from core.domain import Emotion
from pages.parts import attribution_words
from tests.attributions import make_attribution

NO_BREAK, MINUS = "\u00a0", "\u2212"


def plain(text: str) -> str:
    return text.replace(NO_BREAK, " ").replace(MINUS, "-")


def sentences(*values, **given):
    return [plain(reason.sentence) for reason in attribution_words.reasons(make_attribution(*values, **given))]


def test_the_stretch_that_mattered_most_stands_first_with_its_band_and_unit():
    assert sentences() == [
        "The stretch 0.5 to 1.0 s speaks most for angry (+1.20 nats), most of it above 1.0 kHz.",
        "The stretch 1.0 to 1.5 s also speaks for angry (+0.20 nats), nearly all of it above 1.0 kHz.",
        "The stretch 0.0 to 0.5 s also speaks for angry (+0.10 nats), nearly all of it below 1.0 kHz.",
        "The stretch 1.5 to 2.0 s speaks most against angry (-0.40 nats), nearly all of it below 1.0 kHz.",
    ]


def test_a_contrast_is_named():
    assert "for angry rather than calm" in sentences(contrast=Emotion.CALM)[0]
    assert attribution_words.question(Emotion.ANGRY, Emotion.CALM) == "Why angry and not calm?"


def test_what_is_spread_evenly_is_not_pinned_to_a_band():
    assert sentences([[0.4, 0.4, 0.4], [0.0, 0.0, 0.0]])[0].endswith("spread over low and high sounds.")


def test_a_stretch_against_inside_the_strongest_says_so():
    said = sentences([[2.0, 0.0], [-0.1, 0.0], [2.0, 0.0], [-4.0, 0.0]])
    assert said[0].startswith("The stretch 0.0 to 1.5 s speaks most for")
    assert said[1].startswith("The stretch 1.5 to 2.0 s speaks most against")
    assert "0.5 to 1.0 s in the middle of it speaks against" in said[2]


def test_where_everything_is_small_nothing_is_made_of_it():
    attribution = make_attribution([[0.01, 0.0], [0.0, -0.02]])
    assert attribution_words.reasons(attribution) == []
    assert "No stretch stands out" in attribution_words.in_words(attribution)


def test_where_all_speaks_against_nothing_is_said_to_speak_for():
    said = sentences([[-1.0, 0.0], [-0.5, 0.0]])
    assert all("against" in sentence for sentence in said)


@pytest.mark.parametrize(
    ("log_odds", "said"),
    [
        (0.0, "1 to 1"),
        (math.log(2), "2 to 1"),
        (-math.log(9), "1 to 9"),
        (math.log(3.24), "3.2 to 1"),
        (math.log(34.4), "34 to 1"),
        (20.0, "more than 998 to 1"),
        (-20.0, "1 to more than 998"),
    ],
)
def test_odds_are_said_as_at_a_race(log_odds, said):
    assert attribution_words.odds(log_odds) == said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0, 757, "below 760 Hz"), (757, 1690, "between 760 Hz and 1.7 kHz"), (3600, 8000, "above 3.6 kHz")],
)
def test_bands_are_said_by_their_borders(low, high, said):
    assert plain(attribution_words.band(low, high, top_hz=8000)) == said


def test_no_number_stands_without_model_and_manner():
    said = plain(attribution_words.provenance(make_attribution(first_s=4.0)))
    assert said == "Model **tiny-0123456789ab** · asked 64 times about 4.0 to 6.0 s · seed 0"
