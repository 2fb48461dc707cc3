"""How many labels each queue of a labelling project needs, against clips drawn at random.

python -m benchmarks.queues                            # prints the tables of docs/labelling.md, draws its figure
python -m benchmarks.queues --embeddings runs/x.npz --n-pool 300 --max-labels 100 --figure x.svg     # a quick look

What the shipped encoder says of the recordings of ../shared/corpora is read from a file, which is written first where
it is missing (half an hour on two cores for 8,000). Then, for each seed: a fifth of the speakers of each corpus is put
aside to test with; clips of the others wait without labels; a linear head learns from as many as have been labelled;
and the queue under test, the product's own, says which are labelled next. Labels are those of the corpora.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import UUID

import numpy as np
import typer
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from core.config import REPOSITORY, Settings
from core.domain import Emotion, QueueKind
from core.evaluation.classification import unweighted_average_recall
from core.features.audio import DecodeLimits, decode
from core.inference.recogniser import Recogniser
from core.inference.registry import find_model
from core.labelling.queues import ranks
from core.store.labelling import Clip

DEFAULTS = Settings()
CORPORA = REPOSITORY.parent / "shared" / "corpora"
FIGURE = REPOSITORY / "docs" / "images" / "queues.svg"
EMBEDDINGS = REPOSITORY / "data" / "runs" / "embedded" / "telepathy.npz"
N_RECORDINGS = 8000
N_SEEDS = 5
N_FIRST, N_STEP = 40, 20
"""Labels drawn at random before any queue can know anything, the same for all; and how many are added between fits."""
N_DIMS = 128
"""Principal components of the clips' embeddings that the head learns from, fitted without any label. Of 64 and 128,
each whitened or not, and three strengths of regularisation this learnt most on a split that is none of these."""
N_PASSES, DROPOUT = 30, 0.3
QUEUES = (QueueKind.RANDOM, QueueKind.UNCERTAIN, QueueKind.LIKELY_WRONG, QueueKind.DIVERSE)
"""Disagreement is not among them: it chooses which clips are rated again, not which are new."""
ASKING_THE_MODEL = (QueueKind.UNCERTAIN, QueueKind.LIKELY_WRONG)
SHARES = (0.8, 0.9, 0.95)
"""Of the UAR that the head has once every clip is labelled."""
COLOURS = {
    QueueKind.RANDOM: "#5c6370",
    QueueKind.UNCERTAIN: "#2f6fb0",
    QueueKind.LIKELY_WRONG: "#b0562f",
    QueueKind.DIVERSE: "#3a8a4d",
}
INK, LINE = "#1f2430", "#c9ced6"

console = Console()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """Recordings with all that is known of them."""

    embeddings: NDArray[np.float32]
    """(n_clips, n_dims)"""
    labels: NDArray[np.int64]
    speakers: NDArray[np.str_]
    corpora: NDArray[np.str_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One seed's clips that wait for labels, and those that test."""

    pool: NDArray[np.int64]
    test: NDArray[np.int64]


def read_clips(path: Path) -> Clips:
    """The recordings in `path`, embedded first where there is no such file."""
    rows = {row["path"]: row for row in csv.DictReader((CORPORA / "manifest.csv").open(encoding="utf-8"))}
    if not path.exists():
        embed(path, sorted(rows, key=lambda name: rows[name]["sha256_original"])[:N_RECORDINGS])
    kept = np.load(path, allow_pickle=False)
    console.print(f"{len(kept['names']):,} recordings, embedded by {kept['version']}")
    found = [rows[str(name)] for name in kept["names"]]
    order = {emotion.value: number for number, emotion in enumerate(Emotion)}
    return Clips(
        embeddings=kept["embeddings"],
        labels=np.array([order[row["emotion"]] for row in found]),
        speakers=np.array([row["speaker"] for row in found]),
        corpora=np.array([row["corpus"] for row in found]),
    )


def embed(path: Path, names: list[str]) -> None:
    """Write what the shipped encoder says of recordings to `path`."""
    recogniser = Recogniser.open(
        find_model(DEFAULTS.models_dir, DEFAULTS.model), installed_dir=DEFAULTS.installed_models_dir, n_interpreters=1
    )
    limits = DecodeLimits.from_settings(DEFAULTS)
    embeddings = [
        recogniser.embed_speech(decode((CORPORA / name).read_bytes(), limits=limits).waveform)
        for name in track(names, "Embedding", console=console)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, version=recogniser.card.version, names=names, embeddings=np.stack(embeddings))


def split(clips: Clips, *, seed: int, n_pool: int) -> Split:
    """A fifth of the speakers of each corpus, at least one, tests; of the other clips `n_pool` wait for labels."""
    randomness = np.random.default_rng(seed)
    testing: set[str] = set()
    for corpus in np.unique(clips.corpora):
        speakers = np.unique(clips.speakers[clips.corpora == corpus])
        testing |= set(randomness.permutation(speakers)[: max(1, round(len(speakers) / 5))].tolist())
    is_test = np.isin(clips.speakers, sorted(testing))
    others = randomness.permutation(np.flatnonzero(~is_test))
    return Split(pool=others[:n_pool], test=np.flatnonzero(is_test))


class Head:
    """Multinomial logistic regression on principal components, with dropout of its inputs to be unsure by."""

    def __init__(self, features: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        self._model = LogisticRegression(C=1.0, max_iter=500).fit(features, labels)

    def labels(self, features: NDArray[np.float64]) -> NDArray[np.int64]:
        """The most probable label of each clip, (n_clips,)."""
        found: NDArray[np.int64] = self._model.predict(features)
        return found

    def clips(self, ids: list[UUID], features: NDArray[np.float64], *, seed: int) -> list[Clip]:
        """What the queues are told of each clip: mean probabilities of the passes, and their mutual information."""
        randomness = np.random.default_rng(seed)
        total = np.zeros((len(features), len(self._model.classes_)))
        expected = np.zeros(len(features))
        for _ in range(N_PASSES):
            mask = (randomness.random(features.shape) > DROPOUT) / (1 - DROPOUT)
            passed = self._model.predict_proba(features * mask)
            total += passed / N_PASSES
            expected += entropy(passed) / N_PASSES
        emotions = list(Emotion)
        return [
            Clip(
                recording_id=clip_id,
                probabilities={emotions[label]: float(p) for label, p in zip(self._model.classes_, row, strict=True)},
                mutual_information_nats=float(information),
            )
            for clip_id, row, information in zip(ids, total, entropy(total) - expected, strict=True)
        ]


def entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row, in nats."""
    found: NDArray[np.float64] = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1)
    return found


def curve(
    queue: QueueKind, clips: Clips, halves: Split, features: NDArray[np.float64], *, seed: int, max_labels: int
) -> list[float]:
    """UAR on the test speakers after `N_FIRST` labels and after every `N_STEP` more."""
    pool, test = halves.pool, halves.test
    ids = [UUID(int=int(number) + 1) for number in range(len(pool))]
    labelled = np.random.default_rng(seed).permutation(len(pool))[:N_FIRST].tolist()
    vectors = features[pool].astype(np.float32)
    embeddings = dict(zip(ids, vectors, strict=True))
    names = [emotion.value for emotion in Emotion]
    unknown = [Clip(recording_id=clip_id, probabilities={}, mutual_information_nats=0.0) for clip_id in ids]
    found = []
    while True:
        head = Head(features[pool[labelled]], clips.labels[pool[labelled]])
        found.append(unweighted_average_recall(clips.labels[test], head.labels(features[test])))
        if len(labelled) >= max_labels:
            return found
        told = head.clips(ids, features[pool], seed=seed) if queue in ASKING_THE_MODEL else unknown
        for _ in range(N_STEP):
            said = {ids[number]: [names[clips.labels[pool[number]]]] for number in labelled}
            numbers = ranks(queue, told, labels=said, seed=seed, embeddings=embeddings)
            numbers[labelled] = -math.inf
            labelled.append(int(numbers.argmax()))


def needed(uars: list[float], wanted: float) -> int | None:
    """Labels after which the UAR is first reached; None where it never is."""
    return next((N_FIRST + N_STEP * step for step, uar in enumerate(uars) if uar >= wanted), None)


def figure(curves: dict[QueueKind, NDArray[np.float64]], whole: float) -> str:
    """Mean UAR over the number of labels as SVG, with the least and the largest of the seeds behind it."""
    width, height, margin = 560, 340, 52
    n_steps = len(next(iter(curves.values()))[0])
    most = N_FIRST + N_STEP * (n_steps - 1)
    low = math.floor(min(each.min() for each in curves.values()) * 20) / 20
    high = math.ceil(max(whole, *(each.max() for each in curves.values())) * 20) / 20

    def place(step: float, uar: float) -> str:
        x = margin + (width - 2 * margin) * step / (n_steps - 1)
        return f"{x:.1f},{height - margin - (height - 2 * margin) * (uar - low) / (high - low):.1f}"

    marks = []
    for queue, uars in curves.items():
        top = [place(step, uar) for step, uar in enumerate(uars.max(axis=0))]
        bottom = [place(step, uar) for step, uar in enumerate(uars.min(axis=0))]
        marks.append(f'<polygon points="{" ".join(top + bottom[::-1])}" fill="{COLOURS[queue]}" opacity="0.1"/>')
    for number, (queue, uars) in enumerate(curves.items()):
        points = " ".join(place(step, uar) for step, uar in enumerate(uars.mean(axis=0)))
        dashes = ' stroke-dasharray="5 4"' if queue is QueueKind.RANDOM else ""
        marks.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[queue]}" stroke-width="2"{dashes}/>')
        y = height - margin - 12 - 16 * (len(curves) - 1 - number)
        said = queue.value.replace("_", " ")
        marks.append(f'<text x="{width - margin - 90}" y="{y}" fill="{COLOURS[queue]}">{said}</text>')
    _, y = place(0, whole).split(",")
    marks.append(
        f'<line x1="{margin}" x2="{width - margin}" y1="{y}" y2="{y}" stroke="{LINE}" stroke-dasharray="2 3"/>'
    )
    marks.append(f'<text x="{margin + 6}" y="{float(y) - 5}">every clip of the pool labelled</text>')
    for labels in range(100, most + 1, 100):
        x, _ = place((labels - N_FIRST) / N_STEP, low).split(",")
        marks.append(f'<text x="{x}" y="{height - margin + 16}" text-anchor="middle">{labels}</text>')
    for uar in np.arange(low, high + 0.001, 0.05):
        _, y = place(0, float(uar)).split(",")
        marks.append(f'<text x="{margin - 6}" y="{float(y) + 4}" text-anchor="end">{uar:.0%}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="11" fill="{INK}" role="img" aria-label="UAR by labels and queue">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
        f'<rect x="{margin}" y="{margin}" width="{width - 2 * margin}" height="{height - 2 * margin}" fill="none" '
        f'stroke="{LINE}"/>{"".join(marks)}'
        f'<text x="{width / 2}" y="{height - 14}" text-anchor="middle">labels</text>'
        f'<text x="14" y="{height / 2}" text-anchor="middle" transform="rotate(-90 14 {height / 2})">'
        f"UAR on other speakers</text></svg>\n"
    )


def main(
    embeddings: Annotated[Path, typer.Option(help="Where the embeddings are, or go.")] = EMBEDDINGS,
    n_pool: Annotated[int, typer.Option(help="Clips that wait for labels.")] = 1000,
    max_labels: Annotated[int, typer.Option(help="Labels given to each queue.")] = 400,
    figure_file: Annotated[Path, typer.Option("--figure", help="Where the figure goes.")] = FIGURE,
) -> None:
    """Print the tables and draw the figure."""
    clips = read_clips(embeddings)
    curves: dict[QueueKind, list[list[float]]] = defaultdict(list)
    whole: list[float] = []
    for seed in track(range(N_SEEDS), "Labelling", console=console):
        halves = split(clips, seed=seed, n_pool=n_pool)
        components = PCA(N_DIMS, random_state=seed).fit(clips.embeddings[halves.pool])
        features = components.transform(clips.embeddings).astype(np.float64)
        features /= features[halves.pool].std()
        head = Head(features[halves.pool], clips.labels[halves.pool])
        whole.append(unweighted_average_recall(clips.labels[halves.test], head.labels(features[halves.test])))
        for queue in QUEUES:
            curves[queue].append(curve(queue, clips, halves, features, seed=seed, max_labels=max_labels))
    console.print(f"All {n_pool:,} clips labelled: UAR {np.mean(whole):.1%} ({min(whole):.1%} to {max(whole):.1%})\n")
    places = [place for place in (100, 200, 300, 400) if place <= max_labels]
    by_labels = Table("queue", *(f"UAR after {place}" for place in places), title="By labels", box=box.MARKDOWN)
    for queue in QUEUES:
        uars = np.array(curves[queue])
        cells = [uars[:, (place - N_FIRST) // N_STEP] for place in places]
        by_labels.add_row(queue.value, *(f"{cell.mean():.1%} ({cell.min():.1%} to {cell.max():.1%})" for cell in cells))
    console.print(by_labels)
    by_share = Table(
        "queue", *(f"labels to {share:.0%} of that" for share in SHARES), title="Labels needed", box=box.MARKDOWN
    )
    for queue in QUEUES:
        cells = []
        for share in SHARES:
            counts = [needed(uars, share * all_of_it) for uars, all_of_it in zip(curves[queue], whole, strict=True)]
            reached = sorted(count if count is not None else math.inf for count in counts)
            median = reached[len(reached) // 2]
            said = f"more than {max_labels}" if median == math.inf else f"{median:.0f}"
            cells.append(f"{said} ({sum(count is not None for count in counts)} of {N_SEEDS} seeds got there)")
        by_share.add_row(queue.value, *cells)
    console.print(by_share)
    figure_file.write_text(figure({queue: np.array(uars) for queue, uars in curves.items()}, float(np.mean(whole))))


if __name__ == "__main__":
    typer.run(main)
