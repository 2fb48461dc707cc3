"""How far behind live streams are, and what memory they keep: many at once, in real time, against the real process.

python -m benchmarks.streams                          # 20 streams of 30 s with the committed model
python -m benchmarks.streams --streams 1 --seconds 600      # ten minutes of one: does memory grow?

The lag is what a speaker waits for: from sending the frame that completes a window to having read its answer. Each
stream begins at its own moment, sends 20 ms every 20 ms as a microphone does, and asks for an answer every half second.
Senders and process share the machine's cores.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer
import websockets
from rich.console import Console
from rich.table import Table

from core.config import Settings
from tests.process import RunningApp, running_app
from tests.sounds import voice

DEFAULTS = Settings()
RATE = 16_000
FRAME_S = 0.02
HOP_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one stream got."""

    lags_s: list[float]
    n_warnings: int


async def hold_stream(app: RunningApp, sound: bytes, *, seconds: float, delay_s: float) -> Heard:
    """Speak `sound` over and over for `seconds`, in real time."""
    await asyncio.sleep(delay_s)
    frame_bytes = round(FRAME_S * RATE) * 2
    lags_s: list[float] = []
    n_warnings = 0
    address = f"ws://127.0.0.1:{app.port}/api/v1/stream"
    async with websockets.connect(address, additional_headers=app.headers, max_queue=None) as socket:
        await socket.send(json.dumps({"sample_rate": RATE, "hop_s": HOP_S}))
        await socket.recv()
        began = time.perf_counter()

        async def speak() -> None:
            for number in range(round(seconds / FRAME_S)):
                first = number * frame_bytes % (len(sound) - frame_bytes)
                await socket.send(sound[first : first + frame_bytes])
                await asyncio.sleep(max(0.0, began + (number + 1) * FRAME_S - time.perf_counter()))
            await socket.send(json.dumps({"type": "end"}))

        speaking = asyncio.create_task(speak())
        async for text in socket:
            event = json.loads(text)
            if event["type"] in {"emotion", "silence"}:
                # The frame that ends with the window is sent one frame's length before the window's end has passed.
                lags_s.append(time.perf_counter() - (began + event["end_s"] - FRAME_S))
            elif event["type"] == "warning":
                n_warnings += 1
        await speaking
    return Heard(lags_s=lags_s, n_warnings=n_warnings)


async def hold_streams(app: RunningApp, *, n_streams: int, seconds: float) -> tuple[list[Heard], list[float]]:
    """All streams side by side, and the process's resident memory in MB, read once a second."""
    sounds = [(voice(seconds=7.0, pitch_hz=pitch) * 32_767).astype("<i2").tobytes() for pitch in range(90, 250, 8)]
    delays = random.Random(0)
    process = psutil.Process(app.process.pid)
    resident_mb: list[float] = []

    async def watch() -> None:
        while True:
            resident_mb.append(process.memory_info().rss / 1e6)
            await asyncio.sleep(1)

    watching = asyncio.create_task(watch())
    heard = await asyncio.gather(
        *(
            hold_stream(app, sounds[number % len(sounds)], seconds=seconds, delay_s=delays.uniform(0, HOP_S))
            for number in range(n_streams)
        )
    )
    watching.cancel()
    return list(heard), resident_mb


def main(
    streams: Annotated[int, typer.Option(help="How many at once.")] = 20,
    seconds: Annotated[float, typer.Option(help="How long each speaks.")] = 30.0,
    model: str = DEFAULTS.model,
    models_dir: Path = DEFAULTS.models_dir,
) -> None:
    """Print the distribution of lags over all windows of all streams."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_app(Path(folder), model=model, models_dir=models_dir.resolve(), max_streams=max(32, streams)) as app,
    ):
        heard, resident_mb = asyncio.run(hold_streams(app, n_streams=streams, seconds=seconds))
    lags_ms = np.array([lag for one in heard for lag in one.lags_s]) * 1e3
    table = Table(title=f"{streams} streams of {seconds:g} s at once, an answer every {HOP_S:g} s, model {model}")
    table.add_column("figure")
    table.add_column("measured", justify="right")
    table.add_row("windows judged", f"{len(lags_ms):,}")
    for share in (50, 90, 95, 99, 100):
        table.add_row("longest lag" if share == 100 else f"lag p{share}", f"{np.percentile(lags_ms, share):.0f} ms")
    table.add_row("warnings", str(sum(one.n_warnings for one in heard)))
    third = max(1, len(resident_mb) // 3)
    table.add_row("resident memory, first third", f"{np.mean(resident_mb[:third]):.0f} MB")
    table.add_row("resident memory, last third", f"{np.mean(resident_mb[-third:]):.0f} MB")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
