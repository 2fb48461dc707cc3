"""The same clip gives the same numbers, bit for bit, by whichever core call, thread, process or lossless format."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from core.config import REPOSITORY, Settings
from core.domain import NOBODY, PROCESS, Prediction, Source
from core.features.audio import DecodeLimits, decode
from core.features.quality import measure_quality
from core.inference.recogniser import Recogniser
from core.store.predictions import select_prediction
from core.workbench import open_workbench
from tests.bundles import TINY
from tests.sounds import SAMPLE_RATE_HZ, voice, wav_bytes


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    opened = open_workbench(
        Settings(data_dir=tmp_path_factory.mktemp("data"), models_dir=TINY.parent, model="tiny", inference_workers=2)
    )
    yield opened
    opened.close()


@pytest.fixture(scope="module", params=[1.3, 4.7, 14.0], ids=["short", "with timeline", "beyond the context"])
def clip(request):
    return wav_bytes(voice(seconds=request.param))


def numbers(answer):
    """Everything a prediction or a recognition says, as text: floats in full, so that equal text is equal bits."""
    return json.dumps(
        {
            "probabilities": answer.probabilities,
            "standard_deviations": answer.standard_deviations,
            "intervals": {emotion: [each.low, each.high] for emotion, each in answer.intervals.items()},
            "uncertainty": [
                answer.uncertainty.predictive_entropy_nats,
                answer.uncertainty.expected_entropy_nats,
                answer.uncertainty.mutual_information_nats,
            ],
            "abstained": answer.abstained,
            "segments": [[each.start_s, each.end_s, each.emotion, each.confidence] for each in answer.segments],
            "sketch": [answer.sketch.encoder, answer.sketch.numbers.hex()],
            "windows": [[each.start_s, each.end_s, each.probabilities] for each in answer.windows],
        }
    )


def analysed(workbench, data) -> Prediction:
    return workbench.analyse(data, name="clip", source=Source.UPLOAD, owner=NOBODY).prediction


def recognised(settings, waveform):
    return Recogniser.open(TINY).recognise(
        waveform,
        n_passes=settings.n_passes,
        seed=settings.seed,
        window_s=settings.window_s,
        hop_s=settings.hop_s,
        abstention_confidence=settings.abstention_confidence,
    )


def test_workbench_says_what_its_parts_say(workbench, clip):
    prediction = analysed(workbench, clip)
    audio = decode(clip, limits=DecodeLimits.from_settings(workbench.settings))
    assert numbers(prediction) == numbers(recognised(workbench.settings, audio.waveform))
    assert prediction.quality == measure_quality(
        audio.waveform, source_sample_rate_hz=SAMPLE_RATE_HZ, clipping_share=audio.clipping_share
    )


def test_executor_says_what_a_direct_call_says(workbench, clip):
    futures = [
        workbench.executor.submit(workbench.analyse, clip, name=f"{index}", source=Source.API, owner=NOBODY)
        for index in range(6)
    ]
    assert {numbers(future.result(60).prediction) for future in futures} == {numbers(analysed(workbench, clip))}


def test_store_gives_back_what_was_said(workbench, clip):
    prediction = analysed(workbench, clip)
    assert numbers(select_prediction(workbench.store, reader=PROCESS, prediction_id=prediction.id)) == numbers(
        prediction
    )


def test_flac_of_a_wav_says_the_same(workbench, clip):
    samples, _ = soundfile.read(io.BytesIO(clip), dtype="int16")
    flac = io.BytesIO()
    soundfile.write(flac, samples, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    assert numbers(analysed(workbench, flac.getvalue())) == numbers(analysed(workbench, clip))


def test_another_process_says_the_same(workbench, clip, tmp_path):
    (tmp_path / "clip.wav").write_bytes(clip)
    code = """
import sys
from pathlib import Path
from core.config import Settings
from tests.integration.test_parity import analysed, numbers
from core.workbench import open_workbench
folder, models = map(Path, sys.argv[1:])
workbench = open_workbench(Settings(data_dir=folder / "other", models_dir=models, model="tiny"))
sys.stdout.write(numbers(analysed(workbench, (folder / "clip.wav").read_bytes())))
workbench.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(TINY.parent)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == numbers(analysed(workbench, clip))


def test_other_recordings_before_it_change_nothing(workbench, clip):
    before = numbers(analysed(workbench, clip))
    for seconds in np.linspace(0.4, 8, 7):
        analysed(workbench, wav_bytes(voice(seconds=seconds, pitch_hz=90 + 20 * seconds)))
    assert numbers(analysed(workbench, clip)) == before
