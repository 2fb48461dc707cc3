"""Models deployed and rolled back in a real process while several programs ask it without a pause."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2
import pytest

from tests.bundles import TINY
from tests.challengers import PARENT, challenger
from tests.process import RunningApp, running_app
from tests.sounds import voice_wav
from tests.waiting import wait_until

N_CLIENTS = 4
N_ANSWERS_EACH = 5
"""Between two changes."""
WAV = voice_wav(seconds=1.0)


@dataclass
class Clients:
    """Programs that ask without naming a model, and what became of each question."""

    app: RunningApp
    settled: tuple[int, str]
    """How many changes there were, and the version that answers; version "" while a change is under way."""
    may_stop: threading.Event = field(default_factory=threading.Event)
    n_answers: list[int] = field(default_factory=lambda: [0] * N_CLIENTS)
    versions: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    """Answers by another version than the one that was deployed from before the question until after the answer."""

    def ask(self, number: int) -> None:
        with httpx2.Client(base_url=self.app.url, headers=self.app.headers, timeout=60) as client:
            while not self.may_stop.is_set():
                before = self.settled
                try:
                    answer = client.post("/api/v1/predict", files={"file": ("a.wav", WAV)})
                except httpx2.HTTPError as error:
                    self.failures.append(repr(error))
                    return
                if answer.status_code != 200:
                    self.failures.append(f"{answer.status_code} {answer.text}")
                    return
                version = answer.json()["model_version"]
                self.versions.add(version)
                if before == self.settled and before[1] not in {"", version}:
                    self.strays.append(f"{version}, where {before[1]} was deployed")
                self.n_answers[number] += 1

    def answer_on(self) -> None:
        """Wait until each of them has had some more answers, or one a failure."""
        wanted = [n + N_ANSWERS_EACH for n in self.n_answers]
        wait_until(
            lambda: self.failures or all(n >= least for n, least in zip(self.n_answers, wanted, strict=True)),
            timeout_s=120,
        )


@contextmanager
def asking(app: RunningApp) -> Iterator[Clients]:
    clients = Clients(app=app, settled=(0, PARENT))
    threads = [threading.Thread(target=clients.ask, args=(number,)) for number in range(N_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        clients.may_stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def app(tmp_path):
    (tmp_path / "models").mkdir()
    challenger(tmp_path / "models")
    with running_app(tmp_path, models_dir=TINY.parent, model="tiny") as started:
        yield started


def test_no_request_fails_while_a_model_is_deployed_and_rolled_back(app):
    with httpx2.Client(base_url=app.url, headers=app.headers, timeout=60) as admin, asking(app) as clients:
        models = {model["name"]: model["version"] for model in admin.get("/api/v1/models").json()["items"]}
        clients.answer_on()
        for n_changes, (change, deployed) in enumerate(
            2 * [("tiny-2/deploy", "tiny-2"), ("rollback", "tiny")] + [("tiny-2/deploy", "tiny-2")], start=1
        ):
            clients.settled = (n_changes, "")
            changed = admin.post(f"/api/v1/models/{change}")
            assert changed.json()["deployed"] == deployed
            clients.settled = (n_changes, models[deployed])
            clients.answer_on()
    assert clients.failures == []
    assert clients.strays == []
    assert clients.versions == {PARENT, models["tiny-2"]}
