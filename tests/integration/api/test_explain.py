"""POST /api/v1/explain: what it answers, that it stores nothing, and that it keeps the rules of predict."""

from __future__ import annotations

import asyncio
import shutil
import threading

import numpy as np
import pytest

from api.schemas import ExplanationShape
from core.config import Settings
from core.domain import PROCESS, Emotion
from core.store.predictions import count_predictions
from core.store.recordings import count_recordings
from core.workbench import open_workbench
from tests.bundles import TINY
from tests.integration.api.fakes import FakeWorkbench
from tests.integration.api.test_limits import BLOCK, HEAD, MULTIPART, TAIL, client_of
from tests.problems import refused
from tests.sounds import SAMPLE_RATE_HZ, voice_wav, wav_bytes
from tests.surrogates import write_small_surrogate


@pytest.fixture
def workbench_with_surrogate(tmp_path):
    """A workbench whose model has a small surrogate beside it."""
    models_dir = tmp_path / "models"
    shutil.copytree(TINY, models_dir / "tiny")
    write_small_surrogate(models_dir / "tiny")
    settings = Settings(data_dir=tmp_path / "data", models_dir=models_dir, model="tiny")
    opened = open_workbench(settings)
    yield opened
    opened.close()


@pytest.fixture
def explain(client, wav):
    def post(data: bytes = wav, **query: object) -> dict:
        answer = client.post("/api/v1/explain", files={"file": ("clip.wav", data)}, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return post


def test_answer_is_a_grid_of_values_that_add_up(explain):
    body = explain()
    values = np.array(body["values"])
    assert values.shape == (len(body["time_edges_s"]) - 1, len(body["band_edges_hz"]) - 1)
    assert values.sum() == pytest.approx(body["output"] - body["baseline"], rel=0.01)
    assert body["unit"] == "nats"
    assert body["emotion"] == max(body["probabilities"], key=body["probabilities"].get)
    assert body["runner_up"] != body["emotion"]
    assert body["contrast"] is None
    assert body["model_version"].startswith("tiny-")
    assert body["window"] == {"start_s": 0.0, "end_s": 2.0}
    stretch = body["strongest_stretch"]
    assert stretch["start_s"] in body["time_edges_s"]
    assert stretch["end_s"] in body["time_edges_s"]
    assert (body["seed"], 0 < body["n_evaluations"] <= 120) == (0, True)


def test_times_are_written_without_the_dust_of_binary_numbers(explain):
    body = explain()
    times_s = [*body["time_edges_s"], *body["window"].values(), *body["strongest_stretch"].values()]
    assert all(len(str(time_s)) <= len("12.123456") for time_s in times_s), times_s


def test_api_and_core_say_the_same(explain, workbench, wav):
    by_core = workbench.explain(wav, emotion=Emotion.SAD, contrast=Emotion.ANGRY, seed=4)
    body = explain(emotion="sad", contrast="angry", seed=4)
    assert body["values"] == by_core.values.tolist()
    assert (body["emotion"], body["contrast"], body["seed"]) == ("sad", "angry", 4)


def test_voice_is_measured_and_compared(explain):
    body = explain(voice_wav(seconds=2.0, pitch_hz=150.0))
    voice = body["voice"]
    assert voice["reference"] == "neutral speech in CREMA-D"
    assert (voice["n_recordings"], voice["n_speakers"]) == (300, 79)
    pitch = next(each for each in voice["features"] if each["measure"] == "pitch_median_hz")
    assert pitch["value"] == pytest.approx(150, rel=0.06)  # the made-up voice glides
    assert pitch["unit"] == "Hz"
    assert pitch["sentence"].startswith("Pitch 1")
    assert "neutral speech in CREMA-D" in pitch["sentence"]
    assert len(voice["contour_times_s"]) == len(voice["pitch_hz"]) == len(voice["intensity_dbfs"])
    assert np.median([hz for hz in voice["pitch_hz"] if hz > 0]) == pytest.approx(pitch["value"], rel=0.01)


def test_voice_is_compared_with_the_reference_asked_for(explain, client, wav):
    name = "neutral speech of women in CREMA-D"
    assert explain(reference=name)["voice"]["reference"] == name
    answer = client.post("/api/v1/explain", files={"file": wav}, params={"reference": "Martians"})
    assert f"'{name}'" in refused(answer, 422, "invalid_parameter")["detail"]


def test_model_without_a_surrogate_says_how_to_make_one(explain):
    body = explain()
    assert body["surrogate"] is None
    assert "python -m training surrogate --model tiny" in body["surrogate_missing"]


def test_reasons_of_the_surrogate_add_up_and_carry_their_fidelity(workbench_with_surrogate, wav):
    attribution = workbench_with_surrogate.explain(wav)
    voice = workbench_with_surrogate.explain_voice(wav, attribution)
    body = ExplanationShape.of_recording(attribution, voice).model_dump(mode="json")
    reasons = body["surrogate"]
    assert body["surrogate_missing"] == ""
    assert sum(reasons["values"].values()) + reasons["base_value"] == pytest.approx(reasons["output"], abs=1e-6)
    assert reasons["is_agreed"] is (reasons["emotion"] == body["emotion"])
    assert reasons["protocol"] == "made up"
    assert any("not of the model" in sentence for sentence in reasons["sentences"])


def test_nothing_is_stored(explain, workbench):
    explain()
    assert (count_recordings(workbench.store, reader=PROCESS), count_predictions(workbench.store, reader=PROCESS)) == (
        0,
        0,
    )


@pytest.mark.parametrize("by", ["params", "data"])
def test_parameters_come_by_query_or_by_form(client, by):
    given = {"emotion": "happy", "model": "tiny", "seed": "7", "start_s": "1.5"}
    answer = client.post("/api/v1/explain", files={"file": voice_wav(seconds=5.0)}, **{by: given}).json()
    assert (answer["emotion"], answer["seed"]) == ("happy", 7)
    assert answer["window"] == {"start_s": 1.5, "end_s": 4.5}


@pytest.mark.parametrize(
    ("query", "parameter", "expected"),
    [
        ({"emotion": "b" * 41}, "emotion", "1 to 40 printable characters"),
        ({"contrast": "b" * 41}, "contrast", "1 to 40 printable characters"),
        ({"seed": "-1"}, "seed", "greater than or equal to 0"),
        ({"start_s": "-1"}, "start_s", "greater than or equal to 0"),
        ({"start_s": "nan"}, "start_s", "finite"),
        ({"n_passes": "9"}, "n_passes", "left out"),
    ],
)
@pytest.mark.parametrize("by", ["params", "data"])
def test_parameter_out_of_place_is_refused_with_what_would_be_right(client, wav, query, parameter, expected, by):
    body = refused(client.post("/api/v1/explain", files={"file": wav}, **{by: query}), 422, "invalid_parameter")
    assert body["errors"][0]["parameter"] == parameter
    assert expected in body["detail"]


def test_parameters_that_do_not_go_together_are_refused(client, wav):
    for query, said in (
        ({"emotion": "sad", "contrast": "sad"}, "another emotion than the one explained"),
        ({"emotion": "bored"}, "one that tiny says: neutral, calm, happy"),
        ({"contrast": "bored"}, "one that tiny says: neutral, calm, happy"),
        ({"start_s": 2.5}, "less than the recording's 2.00 s"),
    ):
        answer = client.post("/api/v1/explain", files={"file": wav}, params=query)
        assert said in refused(answer, 422, "invalid_parameter")["detail"]


def test_unknown_model_is_named_with_those_there_are(client, wav):
    answer = client.post("/api/v1/explain", files={"file": wav}, params={"model": "none"})
    assert "tiny" in refused(answer, 404, "model_not_found")["detail"]


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "empty_audio"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), 415, "unsupported_format"),
        (wav_bytes(np.zeros(SAMPLE_RATE_HZ, np.float32)), 422, "silent_audio"),
        (voice_wav(seconds=0.1), 422, "clip_too_short"),
        (bytes(2_200_000), 413, "upload_too_large"),
    ],
)
def test_recording_that_cannot_be_used_is_refused(client, data, status, code):
    refused(client.post("/api/v1/explain", files={"file": ("x.wav", data)}), status, code)


def test_forms_that_are_none_are_refused(client, wav):
    refused(
        client.post("/api/v1/explain", content=wav, headers={"content-type": "audio/wav"}),
        415,
        "unsupported_media_type",
    )
    refused(client.post("/api/v1/explain", files={"recording": wav}), 422, "invalid_parameter")
    answer = client.post("/api/v1/explain", files=[("file", wav), ("file", wav)])
    assert "given once" in refused(answer, 422, "invalid_parameter")["detail"]
    headers = {"sec-fetch-site": "cross-site"}
    refused(client.post("/api/v1/explain", files={"file": wav}, headers=headers), 403, "cross_site_request")


def test_explanations_wait_in_the_same_queue_and_are_refused_while_draining():
    async def scenario():
        release, draining = threading.Event(), threading.Event()
        workbench = FakeWorkbench(Settings(inference_workers=1, inference_queue=1), on_analyse=lambda: release.wait(30))
        async with client_of(workbench, is_draining=draining.is_set) as client:

            def post(route: str):
                return client.post(f"/api/v1/{route}", content=HEAD + BLOCK + TAIL, headers=MULTIPART)

            accepted = []
            for n_accepted, route in enumerate(("explain", "predict")):
                accepted.append(asyncio.create_task(post(route)))
                while (workbench.executor.n_running, workbench.executor.n_waiting) != (1, n_accepted):
                    await asyncio.sleep(0.005)
            answer = await post("explain")
            refused(answer, 503, "busy")
            assert int(answer.headers["retry-after"]) >= 1
            draining.set()
            refused(await post("explain"), 503, "shutting_down")
            release.set()
            assert [each.status_code for each in await asyncio.gather(*accepted)] == [200, 200]

    asyncio.run(scenario())
