"""What was acknowledged survives `kill -9`."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from uuid import UUID

import pytest

from core.config import REPOSITORY
from core.domain import PROCESS
from core.store.engine import open_store
from core.store.predictions import insert_prediction, select_prediction
from core.store.recordings import insert_recording
from tests.factories import make_prediction, make_recording

N_PREDICTIONS = 200

CHILD = """
import sys
from core.store.engine import open_store
from core.store.predictions import insert_prediction
from core.store.recordings import insert_recording
from tests.factories import make_prediction, make_recording

url, checkpoints, n = sys.argv[1], sys.argv[2] == "often", int(sys.argv[3])
store = open_store(url)
if checkpoints:
    store.checkpoint_bytes = 20_000
recording = insert_recording(store, recording=make_recording("child"))
for _ in range(n):
    print(insert_prediction(store, prediction=make_prediction(recording)).id, flush=True)
"""


def acknowledged_before_the_kill(url, checkpoints, n_before, delay_s):
    """The ids a child printed before it was killed, a random moment after the first `n_before`."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, url, checkpoints, str(N_PREDICTIONS)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    seen = [child.stdout.readline().strip() for _ in range(n_before)]
    killer = threading.Timer(delay_s, lambda: child.send_signal(signal.SIGKILL))
    killer.start()
    seen += child.communicate(timeout=120)[0].split()
    killer.join()
    return [UUID(each) for each in seen if each], child.returncode


@pytest.mark.parametrize("checkpoints", ["seldom", "often"])
def test_kill_9_loses_no_acknowledged_prediction_and_the_store_opens_again(store_url, checkpoints):
    if checkpoints == "often" and store_url.startswith("postgresql"):
        pytest.skip("PostgreSQL's checkpoints happen in its server, which is not the process that is killed")
    randomness = random.Random(checkpoints)
    acknowledged: list[UUID] = []
    n_killed = 0
    for _ in range(3):
        seen, status = acknowledged_before_the_kill(
            store_url, checkpoints, randomness.randrange(1, N_PREDICTIONS), randomness.uniform(0, 0.02)
        )
        n_killed += status == -signal.SIGKILL
        acknowledged += seen
        with open_store(store_url) as store:
            for prediction_id in acknowledged:
                found = select_prediction(store, reader=PROCESS, prediction_id=prediction_id)
                assert found is not None
                assert len(found.windows) == 2
            recording = insert_recording(store, recording=make_recording("child"))
            mine = insert_prediction(store, prediction=make_prediction(recording))
            acknowledged.append(mine.id)
    assert n_killed, "the child was never killed in the middle"
    assert len(set(acknowledged)) == len(acknowledged) > 6
