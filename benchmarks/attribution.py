"""How long an explanation takes, and whether what it points at is what the model goes by.

python -m benchmarks.attribution                      # prints the tables of docs/explanation.md, draws its figure
python -m benchmarks.attribution --n-clips 5 --figure deletion.svg      # a quick look

The recordings are those of ../shared/corpora, picked by their hash; none is copied.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from core.config import REPOSITORY, Settings
from core.features.audio import DecodeLimits, decode
from core.features.waveform import Waveform
from core.inference.attribution import attribute, probabilities_after_deletion
from core.inference.recogniser import Recogniser
from core.inference.registry import find_model
from tests.sounds import SAMPLE_RATE_HZ, voice

DEFAULTS = Settings()
CORPORA = REPOSITORY.parent / "shared" / "corpora"
FIGURE = REPOSITORY / "docs" / "images" / "deletion.svg"
LENGTHS_S = (1, 3, 5, 10)
N_RANDOM_ORDERS = 1
N_COMPARED = 20
"""Recordings explained with a second seed."""
SHARES = np.linspace(0, 1, 41)
"""Shares of the regions deleted at which curves of different lengths are compared."""
INK, MUTED, LINE, ACCENT = "#1f2430", "#5c6370", "#c9ced6", "#2f6fb0"

console = Console()


def latency(recogniser: Recogniser, n_times: int) -> Table:
    """Wall and processor time of one explanation, once the library is loaded."""
    table = Table(
        "speech, s", "evaluations", "wall p50, s", "least, s", "processor p50, s", title="Explaining", box=box.MARKDOWN
    )
    started = time.perf_counter()
    attribute(recogniser, Waveform(samples=voice(seconds=1), sample_rate=SAMPLE_RATE_HZ))
    console.print(f"First explanation of the process, 1 s of speech: {time.perf_counter() - started:.1f} s")
    for seconds in LENGTHS_S:
        waveform = Waveform(samples=voice(seconds=seconds), sample_rate=SAMPLE_RATE_HZ)
        walls_s, processors_s = [], []
        for _ in range(n_times):
            started, used = time.perf_counter(), time.process_time()
            answer = attribute(recogniser, waveform)
            walls_s.append(time.perf_counter() - started)
            processors_s.append(time.process_time() - used)
        table.add_row(
            str(seconds),
            str(answer.n_evaluations),
            f"{np.median(walls_s):.2f}",
            f"{min(walls_s):.2f}",
            f"{np.median(processors_s):.2f}",
        )
    return table


def recordings(n_clips: int) -> list[Waveform]:
    """Recordings of all corpora, picked by their hash."""
    with (CORPORA / "manifest.csv").open(encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["sha256_original"])
    limits = DecodeLimits.from_settings(DEFAULTS)
    return [decode((CORPORA / row["path"]).read_bytes(), limits=limits).waveform for row in rows[:n_clips]]


def deletion_curves(recogniser: Recogniser, clips: list[Waveform]) -> dict[str, NDArray[np.float64]]:
    """Probability of the explained emotion at each of `SHARES`, (n_clips, n_shares), by order of deletion.

    The baseline's own probability is the last one of every curve.
    """
    rng = np.random.default_rng(0)
    curves: dict[str, list[NDArray[np.float64]]] = {"attribution": [], "random": []}
    for clip in track(clips, "Deleting", console=Console(stderr=True)):
        attribution = attribute(recogniser, clip)
        values = attribution.values.ravel()

        def after(
            order: NDArray[np.int64], clip: Waveform = clip, attribution: object = attribution
        ) -> NDArray[np.float64]:
            probabilities = probabilities_after_deletion(recogniser, clip, attribution, order.tolist())
            return np.interp(SHARES, np.linspace(0, 1, len(probabilities)), probabilities)

        curves["attribution"].append(after(np.argsort(-values)))
        randoms = [after(rng.permutation(len(values))) for _ in range(N_RANDOM_ORDERS)]
        curves["random"].append(np.mean(randoms, axis=0))
    return {name: np.stack(each) for name, each in curves.items()}


def agreement(recogniser: Recogniser, clips: list[Waveform]) -> Table:
    """How alike the values of two seeds are: what an estimate from few evaluations is worth."""
    correlations, kept = [], []
    for clip in track(clips, "Comparing seeds", console=Console(stderr=True)):
        one, other = (attribute(recogniser, clip, seed=seed).values.ravel() for seed in (0, 1))
        correlations.append(np.corrcoef(one, other)[0, 1])
        kept.append(int(one.argmax()) in np.argsort(-other)[:3])
    table = Table("clips", "correlation, mean", "least", "top region among the other's top three", box=box.MARKDOWN)
    table.add_row(
        str(len(clips)), f"{np.mean(correlations):.2f}", f"{min(correlations):.2f}", f"{np.mean(kept):.0%} of clips"
    )
    return table


def areas(curves: dict[str, NDArray[np.float64]]) -> Table:
    """Mean area under each curve, its 95 % interval by bootstrap over clips, and who wins how often."""
    table = Table("deleted first", "area under the curve", "95 %", title="Deletion", box=box.MARKDOWN)
    rng = np.random.default_rng(0)
    by_clip = {name: np.trapezoid(each, SHARES, axis=1) for name, each in curves.items()}
    by_clip["random less attribution"] = by_clip["random"] - by_clip["attribution"]
    for name, each in by_clip.items():
        means = rng.choice(each, (2000, len(each))).mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        table.add_row(name, f"{each.mean():.3f}", f"{low:.3f} to {high:.3f}")
    n_won = int((by_clip["random less attribution"] > 0).sum())
    starts, ends = curves["attribution"][:, 0].mean(), curves["attribution"][:, -1].mean()
    table.caption = (
        f"{len(by_clip['random'])} clips, attribution better on {n_won}; probability from {starts:.3f} to {ends:.3f}"
    )
    return table


def figure(curves: dict[str, NDArray[np.float64]]) -> str:
    """Mean curves as SVG: probability over the share of regions deleted."""
    width, height, margin = 440, 280, 48

    def place(share: float, probability: float) -> str:
        x = margin + (width - 2 * margin) * share
        return f"{x:.1f},{height - margin - (height - 2 * margin) * probability:.1f}"

    marks = []
    for name, colour, dashes in (("random", MUTED, "5 4"), ("attribution", ACCENT, "")):
        mean = curves[name].mean(axis=0)
        points = " ".join(place(share, value) for share, value in zip(SHARES, mean, strict=True))
        marks.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
        )
        x, y = place(0.3, mean[12]).split(",")
        said = "at random" if name == "random" else "most attributed first"
        marks.append(f'<text x="{float(x) + 6}" y="{float(y) - 6}" fill="{colour}">{said}</text>')
    ticks = []
    for share in (0.0, 0.5, 1.0):
        x, _ = place(share, 0).split(",")
        _, y = place(0, share).split(",")
        ticks.append(f'<text x="{x}" y="{height - margin + 16}" text-anchor="middle">{share:.0%}</text>')
        ticks.append(f'<text x="{margin - 6}" y="{float(y) + 4}" text-anchor="end">{share:g}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="11" fill="{INK}" role="img" aria-label="Deletion curves">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
        f'<rect x="{margin}" y="{margin}" width="{width - 2 * margin}" height="{height - 2 * margin}" fill="none" '
        f'stroke="{LINE}"/>{"".join(marks)}{"".join(ticks)}'
        f'<text x="{width / 2}" y="{height - 12}" text-anchor="middle">share of regions deleted</text>'
        f'<text x="14" y="{height / 2}" text-anchor="middle" transform="rotate(-90 14 {height / 2})">'
        f"probability of the emotion</text></svg>\n"
    )


def main(
    model: Annotated[str, typer.Option(help="Name of the model.")] = DEFAULTS.model,
    n_clips: Annotated[int, typer.Option(help="Recordings behind the deletion curves.")] = 50,
    n_times: Annotated[int, typer.Option(help="Explanations of each length that are timed.")] = 5,
    figure_path: Annotated[Path, typer.Option("--figure", help="Where the figure goes.")] = FIGURE,
) -> None:
    """Print the tables of docs/explanation.md and draw its figure."""
    recogniser = Recogniser.open(find_model(DEFAULTS.models_dir, model), n_interpreters=DEFAULTS.inference_workers)
    console.print(f"Model {recogniser.card.version}")
    console.print(latency(recogniser, n_times))
    curves = deletion_curves(recogniser, recordings(n_clips))
    console.print(areas(curves))
    console.print(agreement(recogniser, recordings(min(n_clips, N_COMPARED))))
    figure_path.write_text(figure(curves), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
