"""How long the next clip takes to be there once a key was pressed: the real process, a real browser.

python -m benchmarks.annotate                       # 30 clips, half a second of listening to each, then without a pause
python -m benchmarks.annotate --n-clips 60 --pause-s 1

From the key's own time stamp, which the browser gives, to the frame in which the next clip's picture stands on screen
with its sound ready to play; the page itself measures it (`performance.measure`). The labels travel meanwhile.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer
from playwright.sync_api import Page, sync_playwright
from rich import box
from rich.console import Console
from rich.table import Table

from tests.browser.conftest import FLAGS
from tests.bundles import TINY
from tests.labelling_projects import fill_data_dir
from tests.process import running_app

READY = ".labeller[data-state=ready]"
TIMES = "() => performance.getEntriesByName('telepathy-next-clip').map(entry => entry.duration)"

console = Console(width=120)


def label_clips(page: Page, n_clips: int, *, pause_s: float) -> list[float]:
    """Press a key for each of `n_clips`, `pause_s` after it was shown; milliseconds until the next was."""
    n_before = len(page.evaluate(TIMES))
    for number in range(n_clips):
        page.locator(READY).wait_for()
        page.wait_for_timeout(1e3 * pause_s)
        page.keyboard.press(str(1 + number % 8))
        page.wait_for_function(f"n => ({TIMES})().length > n", arg=n_before + number)
    times_ms: list[float] = page.evaluate(TIMES)
    return times_ms[n_before:]


def main(
    n_clips: Annotated[int, typer.Option(help="How many clips are labelled in each row.")] = 30,
    pause_s: Annotated[float, typer.Option(help="How long each is listened to, in the first row.")] = 0.5,
) -> None:
    """Print how long the next clip takes."""
    table = Table("listened to each", "clips", "p50, ms", "p95, ms", "longest, ms", box=box.MARKDOWN)
    loads: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        cookies = fill_data_dir(data_dir, n_clips=2 * n_clips + 1)
        settings = {"models_dir": TINY.parent, "model": "tiny"}  # no model is asked
        with running_app(data_dir, signs_in=False, **settings) as app, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            context.add_cookies([{"name": name, "value": value, "url": app.url} for name, value in cookies.items()])
            page = context.new_page()
            page.goto(f"{app.url}/annotate")
            for pause in (pause_s, 0.0):
                loads.append(f"{psutil.getloadavg()[0]:.1f}")
                times_ms = label_clips(page, n_clips, pause_s=pause)
                p50, p95 = np.percentile(times_ms, [50, 95])
                said = f"{pause:g} s" if pause else "as fast as it comes"
                table.add_row(said, str(len(times_ms)), f"{p50:.0f}", f"{p95:.0f}", f"{max(times_ms):.0f}")
            browser.close()
    console.print(table)
    console.print(f"Load of the machine before each: {', '.join(loads)}; its cores: {psutil.cpu_count()}")


if __name__ == "__main__":
    typer.run(main)
