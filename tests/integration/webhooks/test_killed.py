"""Nothing that was accepted is lost by `kill -9`: the next start sends it, under the id it had."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from uuid import UUID

from standardwebhooks import Webhook

from core.config import REPOSITORY
from core.domain import Role
from core.workbench import open_workbench
from tests.callers import make_fake_caller, make_user
from tests.waiting import wait_until
from tests.webhook_process import settings_of
from tests.webhook_server import HANGS, webhook_server

N_EVENTS = 20


def test_killed_process_has_every_accepted_message_delivered_under_one_id(tmp_path):
    """Killed with an attempt under way at the receiver, then while it accepts, then never again."""
    with webhook_server((HANGS, {}), (HANGS, {})) as server:
        workbench = open_workbench(settings_of(tmp_path))
        owner = make_user(workbench, Role.ANALYST, password=None)
        _, secret = workbench.webhooks.create(by=replace(make_fake_caller(), user=owner), url=server.url)
        workbench.close()
        accepted: list[UUID] = []

        def run(n_events: int, *, n_until_killed: int) -> None:
            command = [sys.executable, "-m", "tests.webhook_process", str(tmp_path), str(owner.id), str(n_events)]
            with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
                try:
                    assert process.stdout is not None
                    kept = (UUID(line.split()[1]) for line in process.stdout if line.startswith("kept "))
                    accepted.extend(itertools.islice(kept, n_until_killed))
                    if n_events == n_until_killed:
                        assert server.arrived.acquire(timeout=60)
                    if n_events == 0:
                        wait_until(lambda: {f"msg_{each.hex}" for each in accepted} <= taken(), timeout_s=60)
                finally:
                    process.kill()

        def taken() -> set[str]:
            """Ids of what was answered 2xx: all but what hung."""
            return {headers["webhook-id"] for headers in server.headers[2:]}

        run(1, n_until_killed=1)
        run(N_EVENTS, n_until_killed=7)
        run(0, n_until_killed=0)
        numbers = Counter(
            (headers["webhook-id"], Webhook(secret).verify(body, headers)["data"]["number"])
            for body, headers in zip(server.bodies, server.headers, strict=True)
        )
    assert len(accepted) == 8
    assert len({message_id for message_id, _ in numbers}) == len(numbers)
    assert numbers[f"msg_{accepted[0].hex}", 0] >= 2
