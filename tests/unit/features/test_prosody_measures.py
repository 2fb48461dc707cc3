from __future__ import annotations

import pytest

from core.features.prosody import MEASURES
from core.features.prosody_measures import MEASURE_OF, write_value


def test_every_measure_of_the_vector_has_a_name_in_the_same_order():
    assert tuple(MEASURE_OF) == MEASURES
    labels = [measure.label for measure in MEASURE_OF.values()]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("measure", "value", "written"),
    [
        ("pitch_median_hz", 212.4, "212 Hz"),
        ("voiced_share", 0.456, "46 %"),
        ("jitter_local_percent", 2.04, "2.0 %"),
        ("n_pauses", 3, "3"),
        ("pitch_slope_semitones_per_s", -0.04, "0.0 semitones/s"),
    ],
)
def test_values_are_written_with_unit_and_without_a_negative_nought(measure, value, written):
    assert write_value(measure, value) == written
