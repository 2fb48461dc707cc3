"""How long Explore takes to answer, at 1,000, 10,000 and 100,000 predictions.

python -m benchmarks.explore                     # prints the table of docs/pages.md
python -m benchmarks.explore --sizes 1000        # a quick look
python -m benchmarks.explore --folder FOLDER     # keep the filled stores there, and use them again

Times are those of the page's script, from the reader's action to the last element handed to the browser, by Streamlit's
own test runner in this process: queries, figures and tables, without network and drawing.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

from benchmarks.store import fill
from core.config import REPOSITORY, Settings
from core.domain import PROCESS
from core.reports.predictions_csv import predictions_csv
from core.store.engine import open_store
from core.store.predictions import count_predictions, select_predictions
from core.workbench import Workbench, open_workbench, set_current_workbench

N_RUNS = 9


def main(
    sizes: Annotated[list[int] | None, typer.Option(help="Numbers of predictions.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where filled stores are kept; a temporary one otherwise.")
    ] = None,
) -> None:
    """Print the median and the slowest of nine runs of each action, in milliseconds."""
    table = Table("action", title="Explore, ms: median (slowest)")
    columns = []
    with tempfile.TemporaryDirectory() as temporary:
        for size in sizes or [1_000, 10_000, 100_000]:
            table.add_column(f"{size:,}", justify="right")
            columns.append(measure((folder or Path(temporary)) / str(size), size))
    for action in columns[0]:
        table.add_row(action, *(column[action] for column in columns))
    Console().print(table)


def measure(data_dir: Path, size: int) -> dict[str, str]:
    """Each action and its times."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with open_store(data_dir / "store.duckdb") as store:
        fill(store, size - count_predictions(store, reader=PROCESS))
    workbench = open_workbench(Settings(data_dir=data_dir))
    set_current_workbench(workbench)
    try:
        return _times(workbench)
    finally:
        set_current_workbench(None)
        workbench.close()


def _times(workbench: Workbench) -> dict[str, str]:
    opened = select_predictions(workbench.store, reader=PROCESS, limit=1).items[0].id

    def open_page() -> AppTest:
        app = AppTest.from_file(REPOSITORY / "pages" / "navigation.py", default_timeout=120).run()
        return app.switch_page("explore.py")

    def filtered() -> AppTest:
        app = open_page().run()
        app.pills[0].set_value(["angry"])
        return app

    def turned() -> Button:
        app = open_page().run()
        return next(button for button in app.button if button.label == "Next").click()

    def detail() -> AppTest:
        app = open_page()
        app.query_params["prediction"] = str(opened)
        return app

    open_page().run()
    return {
        "open the page": _time(open_page),
        "choose an emotion": _time(filtered),
        "turn to the next page": _time(turned),
        "open a prediction": _time(detail),
        "download all as CSV": _time_of(
            lambda: sum(map(len, predictions_csv(workbench.store, reader=PROCESS))), n_runs=3
        ),
    }


def _time(prepare: Callable[[], AppTest | Button]) -> str:
    times = []
    for _ in range(N_RUNS):
        app = prepare()
        started = time.perf_counter()
        ran = app.run()
        times.append((time.perf_counter() - started) * 1e3)
        assert not ran.exception
    return _say(times)


def _time_of(act: Callable[[], object], *, n_runs: int) -> str:
    times = []
    for _ in range(n_runs):
        started = time.perf_counter()
        act()
        times.append((time.perf_counter() - started) * 1e3)
    return _say(times)


def _say(times: list[float]) -> str:
    return f"{statistics.median(times):,.0f} ({max(times):,.0f})"


if __name__ == "__main__":
    typer.run(main)
