"""A client of the API over a real workbench: real store, real files, real inference with a tiny model."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.application import create_api
from core.config import REPOSITORY, Settings
from core.workbench import Workbench, open_workbench
from tests.callers import key_header
from tests.integration.api.fakes import NO_LIMIT, ROOMY_PLANS
from tests.prepared_stores import prepared
from tests.sounds import voice_wav

TINY_MODELS = REPOSITORY / "tests" / "reference" / "models"


@pytest.fixture
def settings(tmp_path):
    return Settings(
        data_dir=prepared(tmp_path),
        models_dir=TINY_MODELS,
        model="tiny",
        max_upload_mb=2.0,
        max_batch_mb=3.0,
        address_limits=NO_LIMIT,
        plans=ROOMY_PLANS,
    )


@pytest.fixture
def workbench(settings):
    opened = open_workbench(settings)
    yield opened
    opened.close()


@pytest.fixture
def api(workbench):
    return create_api(lambda: workbench)


@pytest.fixture
def client(api, workbench):
    """Who sends an admin's key with everything, from this machine."""
    with client_of(api, workbench) as opened:
        yield opened


def client_of(api: FastAPI, workbench: Workbench) -> TestClient:
    """A client on this machine with an admin's key."""
    return TestClient(api, "http://localhost", headers=key_header(workbench), client=("127.0.0.1", 50_000))


@pytest.fixture(scope="session")
def wav():
    """Two seconds of a voice-like sound, as WAV."""
    return voice_wav(seconds=2.0)


@pytest.fixture
def predict(client, wav):
    """Posts a recording, another one for each `pitch_hz`, and returns the answer's body."""

    def post(*, pitch_hz: float = 120.0, name: str = "clip.wav", **query: object) -> dict:
        data = wav if pitch_hz == 120.0 else voice_wav(seconds=2.0, pitch_hz=pitch_hz)
        answer = client.post("/api/v1/predict", files={"file": (name, data)}, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return post
