from __future__ import annotations

import math

import pytest

from core.errors import TooFewRecordingsError
from core.features.prosody_reference import (
    compare_prosody,
    describe_deviation,
    make_reference,
)
from tests.prosodies import voice

OWN = "this speaker's neutral"


def deviation_of(measure, prosody, reference):
    return {found.measure: found for found in compare_prosody(prosody, reference)}.get(measure)


def test_linear_measure_is_compared_by_mean_and_standard_deviation():
    reference = make_reference([voice(harmonics_to_noise_db=value) for value in (10.0, 12.0, 14.0)], name=OWN)
    found = deviation_of("harmonics_to_noise_db", voice(harmonics_to_noise_db=16.2), reference)
    assert (found.reference_mean, found.standard_deviation) == pytest.approx((12.0, 2.0))
    assert found.z == pytest.approx(2.1)
    assert (found.usual_low, found.usual_high) == pytest.approx((10.0, 14.0))


def test_ratio_measure_is_compared_by_its_logarithm():
    # 100, 200 and 400 Hz are an octave apart: geometric mean 200, one standard deviation is an octave.
    reference = make_reference([voice(pitch_median_hz=value) for value in (100.0, 200.0, 400.0)], name=OWN)
    found = deviation_of("pitch_median_hz", voice(pitch_median_hz=800.0), reference)
    assert found.reference_mean == pytest.approx(200.0)
    assert found.standard_deviation == pytest.approx(math.log(2))
    assert found.z == pytest.approx(2.0)
    assert (found.usual_low, found.usual_high) == pytest.approx((100.0, 400.0))


def test_far_value_is_told_in_standard_deviations_with_what_is_usual():
    reference = make_reference([voice(pitch_median_hz=value) for value in (100.0, 200.0, 400.0)], name=OWN)
    found = deviation_of("pitch_median_hz", voice(pitch_median_hz=800.0), reference)
    assert describe_deviation(found) == "Pitch 800 Hz: 2.0 sd above this speaker's neutral (usually 100 to 400)."
    low = deviation_of("pitch_median_hz", voice(pitch_median_hz=50.0), reference)
    assert describe_deviation(low).startswith("Pitch 50 Hz: 2.0 sd below this speaker's neutral")


def test_near_value_is_told_as_usual():
    reference = make_reference([voice(harmonics_to_noise_db=value) for value in (10.0, 12.0, 14.0)], name=OWN)
    found = deviation_of("harmonics_to_noise_db", voice(harmonics_to_noise_db=13.0), reference)
    assert describe_deviation(found) == (
        "Harmonics to noise 13.0 dB: as usual for this speaker's neutral (10.0 to 14.0)."
    )


@pytest.mark.parametrize(("n_given", "said"), [(0, "0 recordings were"), (1, "1 recording was"), (2, "2 recordings")])
def test_fewer_than_three_recordings_make_no_reference(n_given, said):
    with pytest.raises(TooFewRecordingsError, match=f"{said}.*at least 3 are needed"):
        make_reference([voice()] * n_given, name=OWN)


def test_measure_that_too_few_recordings_have_is_not_compared():
    voices = [voice(jitter_local_percent=value) for value in (1.0, 2.0, None)]
    assert deviation_of("jitter_local_percent", voice(), make_reference(voices, name=OWN)) is None


def test_measure_that_is_none_here_is_not_compared():
    reference = make_reference([voice(jitter_local_percent=value) for value in (1.0, 2.0, 3.0)], name=OWN)
    assert deviation_of("jitter_local_percent", voice(jitter_local_percent=None), reference) is None
    assert deviation_of("jitter_local_percent", voice(jitter_local_percent=2.0), reference) is not None


def test_measure_that_never_varies_is_not_compared():
    assert compare_prosody(voice(), make_reference([voice()] * 4, name=OWN)) == ()


def test_range_of_nothing_has_no_logarithm_and_is_left_out():
    reference = make_reference([voice(pitch_range_semitones=value) for value in (0.0, 2.0, 4.0, 8.0)], name=OWN)
    assert reference.statistics["pitch_range_semitones"].n_recordings == 3
    assert deviation_of("pitch_range_semitones", voice(pitch_range_semitones=0.0), reference) is None


def test_level_and_pauses_are_compared_with_the_speakers_own_recordings_and_never_with_a_corpus():
    voices = [
        voice(intensity_mean_dbfs=level, pause_share=share, pause_mean_s=1.5 * share)
        for level, share in ((-30.0, 0.2), (-25.0, 0.3), (-20.0, 0.4))
    ]
    measures = {"intensity_mean_dbfs", "pause_share", "pause_mean_s"}
    assert set(make_reference(voices, name=OWN).statistics) == measures
    assert set(make_reference(voices, name="neutral", corpus="CREMA-D").statistics) == set()


def test_pauses_are_compared_only_with_recordings_of_like_length():
    reference = make_reference([voice(pause_share=value) for value in (0.0, 0.1, 0.2)], name=OWN)
    assert deviation_of("pause_share", voice(pause_share=0.3, duration_s=3.0), reference).z == pytest.approx(2.0)
    assert deviation_of("pause_share", voice(pause_share=0.3, duration_s=30.0), reference) is None
    assert "n_pauses" not in reference.statistics
