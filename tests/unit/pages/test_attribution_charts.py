"""Regions over the log-mel: where they belong in time and frequency, on a scale that two charts can share."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import plotly.io
import pytest

from core.domain import Emotion
from pages.parts import attribution_charts
from pages.parts.attribution_document import document
from pages.parts.theme import DARK, LIGHT
from tests.attributions import make_attribution, make_voice
from tests.factories import make_prediction, make_recording


def regions_of(figure):
    [found] = [trace for trace in figure.data if trace.name == "regions"]
    return found


def test_regions_lie_on_the_time_axis_and_on_the_mel_axis_of_the_sound():
    figure = attribution_charts.regions(make_attribution(first_s=4.0), make_voice(start_s=4.0), LIGHT)
    found = regions_of(figure)
    assert list(found.x) == [4.0, 4.5, 5.0, 5.5, 6.0]
    assert found.y[0] == -0.5
    assert found.y[-1] == 79.5
    assert found.z.shape == (2, 4)
    ranges = {tuple(axis.range) for axis in figure.select_xaxes()}
    assert ranges == {(4.0, 6.0)}
    assert figure.layout.xaxis4.title.text == "Time (s)"


def test_nothing_stands_in_the_middle_and_both_sides_have_their_colour():
    scale = attribution_charts.diverging(LIGHT)
    assert [position for position, _ in scale] == sorted(position for position, _ in scale)
    assert scale[0][1].startswith("rgba(11,107,181")
    assert scale[-1][1].startswith("rgba(198,90,0")
    assert all(colour.endswith(",0.0)") for _, colour in scale[1:3])


def test_zero_stands_in_the_middle_and_the_largest_has_the_full_colour_unless_told():
    found = regions_of(attribution_charts.regions(make_attribution(), make_voice(), DARK))
    assert (found.zmin, found.zmax) == (-1.0, 1.0)
    found = regions_of(attribution_charts.regions(make_attribution(), make_voice(), DARK, scale_nats=2.5))
    assert (found.zmin, found.zmax) == (-2.5, 2.5)


def test_two_charts_share_the_largest_value_of_both():
    small = make_attribution([[0.1, -0.2], [0.0, 0.0]])
    assert attribution_charts.largest_nats([small, make_attribution()]) == 1.0
    assert attribution_charts.largest_nats([make_attribution([[0.0, 0.0], [0.0, 0.0]])]) > 0


def test_strong_regions_carry_their_number_so_that_colour_is_not_all():
    figure = attribution_charts.regions(make_attribution(), make_voice(), LIGHT)
    *numbers, about = [note.text for note in figure.layout.annotations]
    assert numbers == ["<b>+1.0</b>", "<b>\u22120.4</b>"]
    assert about == "Why angry? \u00b7 numbers in nats<br>tiny-0123456789ab"


def test_pitch_has_gaps_where_there_is_none_and_says_its_unit():
    figure = attribution_charts.regions(make_attribution(), make_voice(), LIGHT)
    pitch, level = (next(trace for trace in figure.data if trace.name == name) for name in ("Pitch", "Level"))
    assert np.isnan(pitch.y).any()
    assert not pitch.connectgaps
    assert np.min(level.y) == -80
    assert "Hz" in figure.layout.yaxis3.title.text
    assert "dBFS" in figure.layout.yaxis4.title.text


def test_a_voice_without_pitch_says_so():
    figure = attribution_charts.regions(make_attribution(), make_voice(is_voiced=False), LIGHT)
    assert "No pitch could be measured here" in [note.text for note in figure.layout.annotations]


def test_a_figure_holds_no_address_and_stays_small():
    for surface in (LIGHT, DARK):
        figure = attribution_charts.regions(make_attribution(), make_voice(), surface)
        text = plotly.io.to_json(figure)
        assert "http" not in json.dumps(json.loads(text)["layout"])
        assert len(text) < 300_000
        assert figure.layout.paper_bgcolor == surface.background


def test_the_download_holds_plotly_and_escapes_what_others_wrote():
    recording = make_recording(name="<script>alert(1)</script>.wav")
    text = document(recording, make_prediction(recording), make_attribution(), make_voice()).decode()
    assert "plotly.js v" in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert "speaks most for angry" in text
    assert "http" not in re.sub("<script.*?</script>", "", text, flags=re.DOTALL)
    assert "tiny-0123456789ab" in text


@pytest.mark.parametrize("values", [[[0.0, 0.0], [0.0, 0.0]], [[np.float32(3e-5), 0.0], [0.0, -1e-6]]])
def test_an_attribution_of_nothing_is_drawn_all_the_same(values):
    attribution = replace(make_attribution(values), contrast=Emotion.CALM)
    assert regions_of(attribution_charts.regions(attribution, make_voice(), LIGHT)).zmax >= 1e-3
