"""The real process goes on answering while another model is deployed, rolled back and deployed again."""

from __future__ import annotations

import threading

import httpx2

from core.config import Settings
from tests.bundles import TINY
from tests.challengers import PARENT, challenger
from tests.process import running_app
from tests.sounds import voice_wav

WAV = voice_wav(seconds=1.0)
N_CALLERS, N_TURNS, LEAST_ANSWERS = 4, 5, 40


def test_no_request_fails_while_models_are_deployed_and_rolled_back(tmp_path):
    own = Settings(data_dir=tmp_path).installed_models_dir
    own.mkdir()
    challenger(own)
    answers: list[tuple[int, str]] = []
    may_stop = threading.Event()
    with running_app(tmp_path, models_dir=TINY.parent, model="tiny") as app:

        def ask() -> None:
            with httpx2.Client(base_url=app.url, headers=app.headers, timeout=60) as client:
                while not may_stop.is_set() or len(answers) < LEAST_ANSWERS:
                    sent = client.post("/api/v1/predict", files={"file": ("a.wav", WAV)}, data={"consent": "true"})
                    answers.append((sent.status_code, sent.json().get("model_version", sent.text)))

        callers = [threading.Thread(target=ask) for _ in range(N_CALLERS)]
        for caller in callers:
            caller.start()
        with httpx2.Client(base_url=app.url, headers=app.headers, timeout=60) as admin:
            for _ in range(N_TURNS):
                assert admin.post("/api/v1/models/tiny-2/deploy").status_code == 200
                assert admin.post("/api/v1/models/rollback").status_code == 200
        may_stop.set()
        for caller in callers:
            caller.join()
    assert {status for status, _ in answers} == {200}
    assert len(answers) >= LEAST_ANSWERS
    assert {version.rpartition("-")[0] for _, version in answers} == {"tiny", "tiny-2"}
    assert PARENT in {version for _, version in answers}
