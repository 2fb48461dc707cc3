"""How fast the store appends and answers, at 1,000, 10,000 and 100,000 predictions, on DuckDB and PostgreSQL.

python -m benchmarks.store                   # both databases, prints the tables of docs/store.md
python -m benchmarks.store --sizes 1000      # a quick look
python -m benchmarks.store --as-owner        # as one who sees a twentieth of the predictions
python -m benchmarks.store --fill PATH_OR_URL --sizes 100000     # leave a big store behind, to look at in pages
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from uuid import UUID

import numpy as np
import psutil
import typer
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from core.domain import (
    PROCESS,
    AudioFormat,
    Bandwidth,
    Emotion,
    Interval,
    Prediction,
    Quality,
    Reader,
    Recording,
    Segment,
    Source,
    TimelineWindow,
    Uncertainty,
)
from core.identifiers import new_id
from core.store.engine import Store, open_store
from core.store.predictions import (
    PredictionFilter,
    PredictionOrder,
    TimeBucket,
    count_predictions,
    count_predictions_by_confidence_and_entropy,
    count_predictions_by_emotion,
    count_predictions_over_time,
    insert_prediction,
    insert_predictions,
    select_created_range,
    select_model_versions,
    select_prediction,
    select_predictions,
)
from core.store.recordings import insert_recording
from tests.postgresql import PostgreSQLMissingError, running_server

SHARE_OF_LONG_RECORDINGS = 0.1
"""Of the synthetic recordings, those of 60 s (58 windows); the others last 5 s (3 windows)."""
PREDICTIONS_PER_RECORDING = 25
SPAN = timedelta(days=365)
BATCH = 1000
N_RUNS = 15
N_INSERTS = 400
N_THREADS = 8
OWNERS = tuple(UUID(int=number) for number in range(1, 21))
"""Whose the recordings are, by turns."""


def fill(store: Store, n: int, *, seed: int = 0) -> None:
    """Append `n` plausible predictions, spread over the last year, about `n / 25` recordings."""
    randomness = np.random.default_rng(seed)
    start = datetime.now(UTC) - SPAN
    recording = None
    for first in track(range(0, n, BATCH), description=f"filling {n:,}", transient=True, console=Console(stderr=True)):
        batch = []
        for position in range(first, min(first + BATCH, n)):
            created_at = start + SPAN * (position / n)
            if recording is None or position % PREDICTIONS_PER_RECORDING == 0:
                recording = insert_recording(store, recording=make_recording(randomness, created_at))
            batch.append(make_prediction(randomness, recording, created_at))
        insert_predictions(store, predictions=batch)


def make_recording(randomness: np.random.Generator, created_at: datetime) -> Recording:
    """A recording nobody ever made."""
    is_long = randomness.random() < SHARE_OF_LONG_RECORDINGS
    return Recording(
        id=new_id(),
        owner_id=OWNERS[randomness.integers(len(OWNERS))],
        sha256=randomness.bytes(32).hex(),
        name=f"call {randomness.integers(1_000_000):06d}.wav",
        size_bytes=1_920_044 if is_long else 160_044,
        duration_s=60.0 if is_long else 5.0,
        format=AudioFormat(container="wav", codec="pcm_s16le", sample_rate_hz=16_000, n_channels=1),
        source=list(Source)[randomness.integers(len(Source))],
        created_at=created_at,
    )


def make_prediction(randomness: np.random.Generator, recording: Recording, created_at: datetime) -> Prediction:
    """A prediction about `recording`, with windows of 3 s and a hop of 1 s."""
    n_windows = int(recording.duration_s) - 2
    answers = randomness.dirichlet(np.full(len(Emotion), 10 ** randomness.uniform(-1.2, 0.8)), size=1 + n_windows)
    answers = (answers + 1e-6) / (1 + 1e-6 * len(Emotion))
    entropies = -(answers * np.log(answers)).sum(axis=1)
    tops, deviations, rest = answers.argmax(axis=1).tolist(), randomness.random(len(Emotion)), randomness.random(6)
    mean = dict(zip(Emotion, answers[0].tolist(), strict=True))
    emotions = list(Emotion)
    return Prediction(
        id=new_id(),
        recording_id=recording.id,
        model_version=f"telepathy-{'0123456789ab' if rest[0] < 0.7 else 'ba9876543210'}",
        probabilities=mean,
        standard_deviations=dict(zip(Emotion, (deviations * 0.1).tolist(), strict=True)),
        intervals={emotion: Interval(low=p * 0.83, high=p + (1 - p) * 0.17) for emotion, p in mean.items()},
        uncertainty=Uncertainty(
            predictive_entropy_nats=float(entropies[0]),
            expected_entropy_nats=float(entropies[0] * 0.87),
            mutual_information_nats=float(entropies[0] * 0.13),
        ),
        abstained=max(mean.values()) < 0.4,
        n_passes=30,
        quality=Quality(
            peak_dbfs=float(-20 * rest[1]),
            rms_dbfs=float(-20 - 20 * rest[2]),
            clipping_share=0.0,
            speech_ratio=float(rest[3]),
            snr_db=float(5 + 35 * rest[4]),
            bandwidth=Bandwidth.WIDE,
            bandwidth_hz=7500.0,
        ),
        segments=tuple(
            Segment(
                start_s=float(second),
                end_s=second + 1.0,
                emotion=emotions[tops[second + 1]],
                confidence=float(answers[second + 1, tops[second + 1]]),
            )
            for second in range(n_windows)
        ),
        windows=tuple(
            TimelineWindow(
                start_s=float(second),
                end_s=second + 3.0,
                probabilities=dict(zip(Emotion, answers[second + 1].tolist(), strict=True)),
                speech_ratio=float(rest[3]),
                predictive_entropy_nats=float(entropies[second + 1]),
            )
            for second in range(n_windows)
        ),
        duration_s=recording.duration_s,
        latency_ms=float(20 + 40 * rest[5]),
        source=recording.source,
        created_at=created_at,
    )


def questions(store: Store, reader: Reader) -> dict[str, Callable[[], object]]:
    """What the Explore page asks, by name."""
    everything = select_created_range(store, reader=reader)
    assert everything is not None
    middle = everything.first_at + (everything.last_at - everything.first_at) / 2
    filtered = PredictionFilter(
        emotions=(Emotion.ANGRY, Emotion.FEARFUL, Emotion.SAD),
        min_confidence=0.5,
        sources=(Source.API, Source.UPLOAD),
        created_from=middle,
    )
    by_name = PredictionFilter(recording_name="42")
    halfway = select_predictions(store, reader=reader, filter=PredictionFilter(created_before=middle), limit=1)
    cursor = halfway.next_cursor
    some_id = halfway.items[0].id
    half_sure = PredictionFilter(max_confidence=0.5)
    unsure = select_predictions(
        store, reader=reader, filter=half_sure, order=PredictionOrder.MOST_CONFIDENT, limit=1
    ).next_cursor
    return {
        "page of 50, newest first": lambda: select_predictions(store, reader=reader),
        "page of 50, from the middle": lambda: select_predictions(store, reader=reader, cursor=cursor),
        "page of 50, most confident, from the middle": lambda: select_predictions(
            store, reader=reader, order=PredictionOrder.MOST_CONFIDENT, cursor=unsure
        ),
        "page of 50, four filters, most uncertain": lambda: select_predictions(
            store, reader=reader, filter=filtered, order=PredictionOrder.MOST_UNCERTAIN
        ),
        "page of 50, part of the name": lambda: select_predictions(store, reader=reader, filter=by_name),
        "page of 1,000 (CSV)": lambda: select_predictions(store, reader=reader, limit=1000),
        "count": lambda: count_predictions(store, reader=reader),
        "count, four filters": lambda: count_predictions(store, reader=reader, filter=filtered),
        "count by emotion": lambda: count_predictions_by_emotion(store, reader=reader),
        "count by emotion, part of the name": lambda: count_predictions_by_emotion(
            store, reader=reader, filter=by_name
        ),
        "bins of confidence and entropy, 20 x 20": lambda: count_predictions_by_confidence_and_entropy(
            store, reader=reader
        ),
        "by emotion over time, days": lambda: count_predictions_over_time(store, reader=reader, bucket=TimeBucket.DAY),
        "first and last time": lambda: select_created_range(store, reader=reader),
        "model versions": lambda: select_model_versions(store, reader=reader),
        "one prediction, whole": lambda: select_prediction(store, reader=reader, prediction_id=some_id),
    }


def answering(ask: Callable[[], object]) -> str:
    """The median wall and CPU time of some warm runs."""
    ask()
    wall, cpu = [], []
    for _ in range(N_RUNS):
        wall_started, cpu_started = time.perf_counter(), time.process_time()
        ask()
        wall.append((time.perf_counter() - wall_started) * 1e3)
        cpu.append((time.process_time() - cpu_started) * 1e3)
    return f"{statistics.median(wall):.1f} ({statistics.median(cpu):.1f}) ms"


def appending(store: Store) -> dict[str, str]:
    """How long it takes to append one prediction, alone and from eight threads."""
    randomness = np.random.default_rng(1)
    recording = insert_recording(store, recording=make_recording(randomness, datetime.now(UTC)))
    short = dataclasses.replace(recording, duration_s=5.0)

    def append(prediction: Prediction) -> float:
        started = time.perf_counter()
        insert_prediction(store, prediction=prediction)
        return (time.perf_counter() - started) * 1e3

    made = [make_prediction(randomness, short, datetime.now(UTC)) for _ in range(2 * N_INSERTS + 20)]
    for prediction in made[:20]:
        append(prediction)
    cpu_started = time.process_time()
    alone = sorted(append(prediction) for prediction in made[20 : 20 + N_INSERTS])
    cpu_ms = (time.process_time() - cpu_started) * 1e3 / N_INSERTS
    started = time.perf_counter()
    with ThreadPoolExecutor(N_THREADS) as pool:
        together = sorted(pool.map(append, made[20 + N_INSERTS :]))
    rate = N_INSERTS / (time.perf_counter() - started)
    return {
        "append one, p50": f"{_quantile(alone, 0.5):.1f} ({cpu_ms:.1f}) ms",
        "append one, p95": f"{_quantile(alone, 0.95):.1f} ms",
        "append from 8 threads": f"{rate:.0f}/s",
        "append from 8 threads, p50": f"{_quantile(together, 0.5):.1f} ms",
        "append from 8 threads, p95": f"{_quantile(together, 0.95):.1f} ms",
    }


def _quantile(ascending: list[float], share: float) -> float:
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


def fsync_ms(folder: Path) -> float:
    """The median time this disk takes to make 4 kB durable: the floor under every append."""
    times = []
    with (folder / "fsync").open("wb") as file:
        for _ in range(100):
            file.write(bytes(4096))
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


@contextlib.contextmanager
def empty_stores(backend: str, folder: Path) -> Iterator[Callable[[], contextlib.AbstractContextManager[str]]]:
    """A function that gives the URL of an empty store of that kind, as often as it is called."""
    if backend == "postgresql":
        with running_server(survives_power_cuts=True) as server:
            yield server.database
        return

    @contextlib.contextmanager
    def file() -> Iterator[str]:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            yield str(Path(own) / "store.duckdb")

    yield file


def measure(backend: str, sizes: list[int], folder: Path, reader: Reader) -> Table:
    """The table for one database."""
    columns: list[dict[str, str]] = []
    with empty_stores(backend, folder) as empty_store:
        for size in sizes:
            with empty_store() as url, open_store(url) as store:
                fill(store, size)
                column = {name: answering(ask) for name, ask in questions(store, reader).items()}
                column |= appending(store)
                column["disk before an append"] = f"{fsync_ms(folder):.1f} ms"
                column["load of the machine"] = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
                column["memory of this process"] = f"{psutil.Process().memory_info().rss / 1e6:.0f} MB"
                if backend == "duckdb":
                    size_bytes = sum(path.stat().st_size for path in Path(url).parent.glob("store.duckdb*"))
                    column["size of the file and its log"] = f"{size_bytes / 1e6:.0f} MB"
                columns.append(column)
    table = Table(
        "predictions in the store",
        *(f"{size:,}" for size in sizes),
        title=f"{backend}: median wall time (CPU time of this process)",
        box=box.MARKDOWN,
    )
    for name in columns[0]:
        table.add_row(name, *(column[name] for column in columns))
    return table


def main(
    sizes: Annotated[str, typer.Option(help="Numbers of predictions, with commas between.")] = "1000,10000,100000",
    backends: Annotated[str, typer.Option(help="duckdb, postgresql or both, with a comma.")] = "duckdb,postgresql",
    fill_url: Annotated[
        str, typer.Option("--fill", help="Only fill this store (path or URL) with the largest size.")
    ] = "",
    as_owner: Annotated[bool, typer.Option(help="Ask as one of the twenty owners, not as one who sees all.")] = False,
) -> None:
    """Print how fast the store appends and answers."""
    numbers = [int(size) for size in sizes.split(",")]
    reader = Reader(user_id=OWNERS[0], project_ids=frozenset({new_id()})) if as_owner else PROCESS
    if fill_url:
        with open_store(fill_url) as store:
            fill(store, max(numbers))
        return
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        for backend in backends.split(","):
            try:
                console.print(measure(backend, numbers, Path(folder), reader))
            except PostgreSQLMissingError as missing:
                console.print(str(missing))


if __name__ == "__main__":
    typer.run(main)
