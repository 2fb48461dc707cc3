"""`kill -9` at any moment of a batch: every recording is scored exactly once, webhooks are told, no job is stuck."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from uuid import uuid5

from core.batches import Submitted
from core.config import REPOSITORY
from core.domain import PROCESS, Caller, JobState, Reader, Scope, Source
from core.store.predictions import count_predictions
from core.store.recordings import count_recordings
from core.store.usage import select_month_usage
from core.store.webhooks import count_waiting_deliveries, select_known_message_ids
from core.usage import Call
from core.workbench import PREDICTED, open_workbench
from tests.batch_process import BATCH, opened, settings_in
from tests.callers import make_user
from tests.sounds import voice, wav_bytes
from tests.waiting import wait_until

N_KILLS = 20
N_RECORDINGS = 300
SEED = 7


def kept_batch(data_dir) -> Reader:
    """A batch of short recordings, each of another content, kept and not begun; its owner."""
    workbench = open_workbench(replace(settings_in(data_dir), batch_workers=1))
    try:
        user = make_user(workbench, password=None)
        caller = Caller(user=user, scopes=frozenset(Scope), reader=Reader(user_id=user.id), plan=user.plan)
        samples = voice(seconds=0.4)
        sounds = []
        for number in range(N_RECORDINGS):
            samples[-1] = number / 32767
            sounds.append(Submitted(name=f"{number}.wav", data=wav_bytes(samples)))
        workbench.webhooks.create(by=caller, url="http://127.0.0.1:9/nobody-there")
        call = Call(route="/api/v1/batches", method="POST", caller=caller, request_id="r", address="")
        workbench.batches._enqueue = lambda _batch: None
        workbench.jobs.start(polling_interval_s=30)
        workbench.batches.create(sounds, caller=caller, call=call, source=Source.API, batch_id=BATCH)
        return caller.reader
    finally:
        workbench.close()


def test_killed_at_random_moments_every_recording_is_scored_exactly_once_and_webhooks_are_told(tmp_path):
    owner = kept_batch(tmp_path)
    moments = random.Random(SEED)
    n_killed_under_way = 0
    zygote = subprocess.Popen(
        [sys.executable, "-m", "tests.batch_process", str(tmp_path)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        for _ in range(N_KILLS):
            zygote.stdin.write("another\n")
            zygote.stdin.flush()
            said = zygote.stdout.readline().strip()
            time.sleep(moments.uniform(0.0, 0.1))  # the moment is what is tested
            os.kill(int(said), signal.SIGKILL)
            answers = [zygote.stdout.readline().strip()]
            if answers == ["done"]:
                answers.append(zygote.stdout.readline().strip())
            assert answers[-1] == "ended"
            n_killed_under_way += len(answers) == 1
        zygote.stdin.write("the last one\n")
        zygote.stdin.flush()
        assert zygote.stdout.readline().strip().isdigit()
        assert [zygote.stdout.readline().strip() for _ in range(2)] == ["done", "ended"]
    finally:
        zygote.kill()
        zygote.communicate()
    workbench = opened(tmp_path)
    try:
        wait_until(lambda: workbench.jobs.job(BATCH, reader=PROCESS).state.has_ended)
        status = workbench.batches.status(BATCH, reader=PROCESS)
        rows = workbench.batches.rows(BATCH, reader=PROCESS, limit=1000)
        assert n_killed_under_way == N_KILLS
        assert Counter(row.position for row in rows) == Counter(range(N_RECORDINGS))
        assert len({row.prediction_id for row in rows}) == N_RECORDINGS
        assert all(row.emotion is not None for row in rows)
        assert count_predictions(workbench.store, reader=PROCESS) == N_RECORDINGS
        assert count_recordings(workbench.store, reader=PROCESS) == N_RECORDINGS
        assert status.state is JobState.SUCCEEDED
        month_start = status.batch.created_at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        used = select_month_usage(workbench.store, user_id=owner.user_id, month_start=month_start)
        assert round(used.audio_s, 3) == round(N_RECORDINGS * 0.4, 3)
        assert workbench.jobs.job(BATCH, reader=PROCESS).state is JobState.SUCCEEDED
        assert not (tmp_path / "recordings-waiting" / str(BATCH)).exists()
        messages = {uuid5(row.prediction_id, PREDICTED) for row in rows} | {uuid5(BATCH, "batch.succeeded")}
        assert select_known_message_ids(workbench.store, message_ids=list(messages), reader=owner) == messages
        assert count_waiting_deliveries(workbench.store, reader=PROCESS).n_waiting == len(messages)
    finally:
        workbench.close()
