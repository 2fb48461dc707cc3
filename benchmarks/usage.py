"""How fast the usage ledger answers and takes lines, at up to a million of them, on DuckDB and PostgreSQL.

python -m benchmarks.usage                      # both databases, prints the tables of docs/usage.md
python -m benchmarks.usage --sizes 100000       # a quick look
python -m benchmarks.usage --fill PATH_OR_URL --sizes 200000     # leave a big ledger behind, to look at in pages
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, cast
from uuid import UUID

import numpy as np
import psutil
import psycopg
import typer
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.store import empty_stores
from core.domain import Emotion, Reader, UsageEvent
from core.identifiers import new_id
from core.store.engine import Store, open_store
from core.store.predictions import TimeBucket
from core.store.schema import usage_events
from core.store.usage import (
    UsageFilter,
    count_usage_by_confidence,
    count_usage_by_emotion,
    count_usage_by_status,
    insert_usage_events,
    select_month_usage,
    select_month_usage_by_user,
    select_usage_by_key,
    select_usage_by_plan,
    select_usage_by_route,
    select_usage_by_user,
    select_usage_events,
    select_usage_over_time,
    select_usage_overview,
    select_usage_summary,
)
from core.store.usage_days import append_late_days, sum_up_days
from tests.postgresql import PostgreSQLMissingError

SPAN = timedelta(days=90)
N_USERS, N_KEYS_EACH = 60, 3
BATCH = 5000
N_RUNS = 7
ROUTES = (
    ("/api/v1/predict", "POST", 1, 0.58),
    ("/api/v1/predictions", "GET", 0, 0.18),
    ("/api/v1/batch-predict", "POST", 1, 0.08),
    ("/analyse", "PAGE", 1, 0.07),
    ("/api/v1/explain", "POST", 1, 0.04),
    ("/api/v1/stream", "WEBSOCKET", 1, 0.03),
    ("/explain", "PAGE", 1, 0.02),
)
"""Route, method, answers of a model, share of the requests."""
STATUSES, STATUS_SHARES = (200, 401, 404, 413, 422, 429, 500, 503), (0.93, 0.01, 0.01, 0.005, 0.02, 0.015, 0.002, 0.008)
ADMIN = Reader(user_id=UUID(int=0), sees_everything=True)


def fill(store: Store, n: int, *, users: Sequence[UUID] = (), seed: int = 0) -> None:
    """Append `n` plausible lines, spread over the last 90 days; few users have most of them."""
    randomness = np.random.default_rng(seed)
    known = list(users) or [UUID(int=1000 + number) for number in range(N_USERS)]
    shares = 1 / np.arange(1, len(known) + 1)
    start = datetime.now(UTC) - SPAN
    emotions = list(Emotion)
    rows = track(range(0, n, BATCH), description=f"filling {n:,}", transient=True, console=Console(stderr=True))
    for first in rows:
        size = min(BATCH, n - first)
        who = randomness.choice(len(known), size=size, p=shares / shares.sum())
        which = randomness.choice(len(ROUTES), size=size, p=[share for *_, share in ROUTES])
        statuses = randomness.choice(STATUSES, size=size, p=STATUS_SHARES)
        rest = randomness.random((size, 4))
        durations = randomness.lognormal(np.log(45), 0.7, size)
        batch = []
        for row in range(size):
            route, method, n_predictions, _ = ROUTES[which[row]]
            is_answered = bool(statuses[row] == 200) and n_predictions > 0
            by_key = method in ("POST", "GET")
            batch.append(
                UsageEvent(
                    id=new_id(),
                    at=start + SPAN * ((first + row) / n),
                    user_id=known[who[row]],
                    key_id=UUID(int=5000 + N_KEYS_EACH * int(who[row]) + int(rest[row, 0] * N_KEYS_EACH))
                    if by_key
                    else None,
                    plan=("free", "free", "pro", "enterprise")[who[row] % 4],
                    route=route,
                    method=method,
                    status=int(statuses[row]),
                    duration_ms=float(durations[row] * (40 if "explain" in route else 1)),
                    n_predictions=int(is_answered),
                    audio_s=float(1 + 9 * rest[row, 1]) if is_answered else 0.0,
                    emotion=emotions[int(len(emotions) * rest[row, 2] ** 1.5)] if is_answered else None,
                    confidence=float(0.2 + 0.8 * np.sqrt(rest[row, 3])) if is_answered else None,
                    model_version="telepathy-0123456789ab" if is_answered else None,
                    request_id=new_id().hex,
                    address=f"192.0.{who[row]}.0/24",
                )
            )
        append(store, batch)


def append(store: Store, batch: Sequence[UsageEvent]) -> None:
    """Append lines as the ledger does; to PostgreSQL by COPY, since filling is not what is measured."""
    if store.backend != "postgresql":
        insert_usage_events(store, events=batch)
        return
    columns = ", ".join(column.name for column in usage_events.columns)
    with store.transaction("filling the usage ledger") as connection:
        append_late_days(store, connection, batch)
        driver = cast(psycopg.Connection, connection.connection.driver_connection)
        with driver.cursor().copy(f"COPY usage_events ({columns}) FROM STDIN") as copy:
            for event in batch:
                values = (getattr(event, field.name) for field in dataclasses.fields(event))
                copy.write_row([value.value if isinstance(value, Emotion) else value for value in values])


def questions(store: Store) -> dict[str, Callable[[], object]]:
    """What the usage pages ask, by name, over all 90 days; and what quotas and alerts ask."""
    now = datetime.now(UTC)
    month_start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    someone = UUID(int=1000)
    mine = Reader(user_id=someone)
    recent = UsageFilter(since=now - timedelta(minutes=15))
    everything = {"reader": ADMIN, "filter": UsageFilter(since=now - SPAN - timedelta(days=1))}
    admin, usage = partial(admin_page, store, month_start), partial(usage_page, store, mine, someone, month_start)
    return {
        "Admin page, all its questions": partial(admin, UsageFilter()),
        "Admin page, the last 30 days": partial(admin, UsageFilter(since=now - timedelta(days=30))),
        "Usage page, all its questions": partial(usage, UsageFilter()),
        "Usage page, the last 30 days": partial(usage, UsageFilter(since=now - timedelta(days=30))),
        "summary with p50, p95, p99": partial(select_usage_summary, store, **everything),
        "by day": partial(select_usage_over_time, store, bucket=TimeBucket.DAY, **everything),
        "by user": partial(select_usage_by_user, store, **everything),
        "by key": partial(select_usage_by_key, store, **everything),
        "by route": partial(select_usage_by_route, store, **everything),
        "by plan": partial(select_usage_by_plan, store, **everything),
        "by status": partial(count_usage_by_status, store, **everything),
        "by emotion": partial(count_usage_by_emotion, store, **everything),
        "by confidence, 20 bins": partial(count_usage_by_confidence, store, **everything),
        "quota of every user": partial(select_month_usage_by_user, store, reader=ADMIN, month_start=month_start),
        "quota of one user": partial(select_month_usage, store, user_id=someone, month_start=month_start),
        "summary, one user": partial(select_usage_summary, store, reader=mine),
        "by day, one user": partial(select_usage_over_time, store, bucket=TimeBucket.DAY, reader=mine),
        "summary, last 15 minutes": partial(select_usage_summary, store, reader=ADMIN, filter=recent),
        "page of 1,000 lines (CSV)": partial(select_usage_events, store, **everything),
    }


def admin_page(store: Store, month_start: datetime, asked: UsageFilter) -> None:
    """Every question that one run of the page Admin asks of the ledger."""
    select_usage_overview(store, reader=ADMIN, bucket=TimeBucket.DAY, filter=asked)
    select_month_usage_by_user(store, reader=ADMIN, month_start=month_start)


def usage_page(store: Store, mine: Reader, user_id: UUID, month_start: datetime, asked: UsageFilter) -> None:
    """Every question that one run of the page Usage asks of the ledger, for the user with most lines."""
    select_month_usage(store, user_id=user_id, month_start=month_start)
    select_usage_overview(store, reader=mine, bucket=TimeBucket.DAY, filter=asked)


def answering(ask: Callable[[], object]) -> str:
    """The median wall and CPU time of some runs, the first one included; PostgreSQL's own CPU time is not in it."""
    wall, cpu = [], []
    for _ in range(N_RUNS):
        wall_started, cpu_started = time.perf_counter(), time.process_time()
        ask()
        wall.append((time.perf_counter() - wall_started) * 1e3)
        cpu.append((time.process_time() - cpu_started) * 1e3)
    return f"{statistics.median(wall):.0f} ({statistics.median(cpu):.0f}) ms"


def measure(backend: str, sizes: list[int], folder: Path) -> Table:
    """The table for one database."""
    columns: list[dict[str, str]] = []
    with empty_stores(backend, folder) as empty_store:
        for size in sizes:
            with empty_store() as url, open_store(url) as store:
                fill(store, size)
                started = time.perf_counter()
                n_days = sum_up_days(store, now=datetime.now(UTC))
                summed_up_s = time.perf_counter() - started
                column = {name: answering(ask) for name, ask in questions(store).items()}
                column[f"summing up {n_days} days, once"] = f"{summed_up_s:.1f} s"
                column["load of the machine"] = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
                column["memory of this process"] = f"{psutil.Process().memory_info().rss / 1e6:.0f} MB"
                if backend == "duckdb":
                    size_bytes = sum(path.stat().st_size for path in Path(url).parent.glob("store.duckdb*"))
                    column["size of the file and its log"] = f"{size_bytes / 1e6:.0f} MB"
                columns.append(column)
    table = Table(
        "lines in the ledger",
        *(f"{size:,}" for size in sizes),
        title=f"{backend}: median wall time (CPU time of this process)",
        box=box.MARKDOWN,
    )
    for name in columns[0]:
        table.add_row(name, *(column[name] for column in columns))
    return table


def main(
    sizes: Annotated[str, typer.Option(help="Numbers of lines, with commas between.")] = "100000,1000000",
    backends: Annotated[str, typer.Option(help="duckdb, postgresql or both, with a comma.")] = "duckdb,postgresql",
    fill_url: Annotated[
        str, typer.Option("--fill", help="Only fill this store (path or URL) with the largest size.")
    ] = "",
) -> None:
    """Print how fast the usage ledger answers."""
    numbers = [int(size) for size in sizes.split(",")]
    if fill_url:
        with open_store(fill_url) as store:
            fill(store, max(numbers))
            sum_up_days(store, now=datetime.now(UTC))
        return
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        for backend in backends.split(","):
            try:
                console.print(measure(backend, numbers, Path(folder)))
            except PostgreSQLMissingError as missing:
                console.print(str(missing))


if __name__ == "__main__":
    typer.run(main)
