"""How many labels each queue needs: `python -m benchmarks.queues` prints the tables of docs/queues.md.

python -m benchmarks.queues --quick          # one seed, fewer labels

People label RAVDESS, SAVEE and a part of nEMO, none of which the encoder of `telepathy-commercial` ever heard. A light
linear head on the encoder's embeddings, reduced to their first principal components, knows some recordings of CREMA-D
to begin with. After every round it is fitted again, to those and to what is labelled; what it then says of the clips
still unlabelled is what the queues of the next round go by. It is judged by the unweighted average recall (UAR) over
eight emotions on speakers whom nobody labels.

Clips are chosen by the code that serves, `core.labelling.queues`: the same numbers, the same mixture by turns.

The first table has annotators who are always right, each clip rated once. For disagreement between annotators there is
a second one, with three annotators who are wrong, at random, in 30 % of ratings; there every rating counts as a label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import UUID

import numpy as np
import threadpoolctl
import typer
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from core.config import REPOSITORY, Settings
from core.domain import Emotion, QueueKind, Sketch
from core.evaluation.classification import unweighted_average_recall
from core.features.audio import DecodeLimits, decode
from core.inference.recogniser import Recogniser
from core.inference.registry import find_model
from core.inference.sketch import sketch_of
from core.inference.uncertainty import entropy_nats
from core.labelling.queues import kind_of_turn, ranks
from core.store.labelling import Clip
from training.corpora import ManifestRow, read_manifest

MODEL = "telepathy-commercial"
CORPORA = REPOSITORY.parent / "shared" / "corpora"
CACHE = REPOSITORY / "data" / "runs" / "queues.npz"
FIGURE = REPOSITORY / "docs" / "images" / "queues.svg"
N_OF_NEMO, N_OF_CREMA = 400, 400
N_COMPONENTS = 128
N_PASSES, DROPOUT_RATE = 20, 0.2
"""Of the linear head's input, for its mutual information; the rate is that of the shipped heads' first layer."""
ROUND = 40
N_LABELS = 480
MARKS = (120, 240, 480)
"""Labels picked at random whose UAR the other queues are to reach."""
N_SEEDS = 5
ERROR_RATE = 0.3
N_ANNOTATORS = 3
INK, MUTED, LINE = "#1f2430", "#5c6370", "#c9ced6"
COLOURS = ("#2f6fb0", "#b3541e", "#2e7d4f", "#7a4fa3")

console = Console(width=120)
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Recordings as the encoder heard them."""

    vectors: NDArray[np.float32]
    """Embeddings reduced for the head, (n_clips, N_COMPONENTS)."""
    sketches: Sequence[Sketch]
    emotions: Numbers
    speakers: NDArray[np.str_]
    is_known: NDArray[np.bool_]
    """Whether the head knows them to begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a project would be set up."""

    name: str
    queues: Mapping[QueueKind, int]
    overlap: int = 1
    error_rate: float = 0.0
    has_sketches: bool = True
    """Whether the diverse queue goes by embeddings; by the head's probabilities otherwise."""


RANDOM = Way(name="random", queues={QueueKind.RANDOM: 100})
RIGHT = (
    RANDOM,
    Way(name="uncertain", queues={QueueKind.UNCERTAIN: 100}),
    Way(name="likely wrong", queues={QueueKind.LIKELY_WRONG: 100}),
    Way(name="diverse", queues={QueueKind.DIVERSE: 100}),
    Way(name="diverse, without embeddings", queues={QueueKind.DIVERSE: 100}, has_sketches=False),
    Way(name="likely wrong 50 %, random 50 %", queues={QueueKind.LIKELY_WRONG: 50, QueueKind.RANDOM: 50}),
)
DRAWN = ("random", "uncertain", "likely wrong", "diverse")
WRONG = (
    Way(name="random, rated once", queues={QueueKind.RANDOM: 100}, error_rate=ERROR_RATE),
    Way(name="random, rated by three", queues={QueueKind.RANDOM: 100}, overlap=3, error_rate=ERROR_RATE),
    Way(
        name="disagreement 50 %, random 50 %, by up to three",
        queues={QueueKind.DISAGREEMENT: 50, QueueKind.RANDOM: 50},
        overlap=3,
        error_rate=ERROR_RATE,
    ),
)


def chosen_rows() -> list[ManifestRow]:
    """RAVDESS, SAVEE, and the recordings of nEMO and CREMA-D with the smallest hashes."""
    rows, _ = read_manifest(CORPORA / "manifest.csv")
    rows.sort(key=lambda row: row.sha256_original)
    found = [row for row in rows if row.corpus in {"RAVDESS", "SAVEE"}]
    for corpus, n in (("nEMO", N_OF_NEMO), ("CREMA-D", N_OF_CREMA)):
        found += [row for row in rows if row.corpus == corpus][:n]
    return found


def hear(rows: Sequence[ManifestRow]) -> Heard:
    """What the encoder says of `rows`, from the cache where it is there."""
    recogniser = Recogniser.open(find_model(Settings().models_dir, MODEL))
    known: dict[str, NDArray[np.float32]] = {}
    if CACHE.exists():
        with np.load(CACHE) as stored:
            if str(stored["version"]) == recogniser.card.version:
                known = dict(zip(stored["names"].tolist(), stored["embeddings"], strict=True))
    limits = DecodeLimits.from_settings(Settings())
    missing = [row.path for row in rows if row.path not in known]
    for path in track(missing, "Embedding", console=Console(stderr=True)):
        known[path] = recogniser.embed_speech(decode((CORPORA / path).read_bytes(), limits=limits).waveform)
    if missing:
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        np.savez(CACHE, version=recogniser.card.version, names=list(known), embeddings=np.stack(list(known.values())))
    embeddings = np.stack([known[row.path] for row in rows])
    scaled = (embeddings - embeddings.mean(axis=0)) / (embeddings.std(axis=0) + 1e-6)
    reduced = PCA(N_COMPONENTS, whiten=True, random_state=0).fit_transform(scaled)
    order = {emotion: number for number, emotion in enumerate(Emotion)}
    return Heard(
        vectors=reduced.astype(np.float32),
        sketches=[Sketch(encoder=MODEL, numbers=sketch_of(each)) for each in embeddings],
        emotions=np.array([order[row.emotion] for row in rows]),
        speakers=np.array([row.speaker for row in rows]),
        is_known=np.array([row.corpus == "CREMA-D" for row in rows]),
    )


def split(heard: Heard, seed: int) -> tuple[Numbers, Numbers]:
    """Clips to be labelled, and those of a third of each corpus's speakers, to judge by."""
    generator = np.random.default_rng(seed)
    new = heard.speakers[~heard.is_known]
    corpora = sorted({speaker.split("-")[0] for speaker in new})
    kept_out: list[str] = []
    for corpus in corpora:
        speakers = sorted({speaker for speaker in new if speaker.split("-")[0] == corpus})
        kept_out += list(generator.permutation(speakers)[: max(1, len(speakers) // 3)])
    is_kept_out = np.isin(heard.speakers, kept_out)
    return np.flatnonzero(~is_kept_out & ~heard.is_known), np.flatnonzero(is_kept_out)


class Head:
    """A linear head: fitted to what is known to begin with, then to soft labels too."""

    def __init__(self, heard: Heard) -> None:
        self._vectors, self._labels = heard.vectors[heard.is_known], heard.emotions[heard.is_known]
        self._model = LogisticRegression(C=0.03, max_iter=300)
        self._model.fit(self._vectors, self._labels)

    def learn(self, vectors: NDArray[np.float32], shares: NDArray[np.float64]) -> None:
        """Fit again, to `shares` (n_clips, 8) of the labels of `vectors` besides."""
        clips, labels = np.nonzero(shares)
        self._model.fit(
            np.concatenate([self._vectors, vectors[clips]]),
            np.concatenate([self._labels, labels]),
            sample_weight=np.concatenate([np.ones(len(self._labels)), shares[clips, labels]]),
        )

    def probabilities(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n_clips, 8); 0 for an emotion that nobody has named yet."""
        found = np.zeros((len(vectors), len(Emotion)))
        found[:, self._model.classes_] = self._model.predict_proba(vectors)
        return found

    def clips(self, ids: Sequence[UUID], vectors: NDArray[np.float32], seed: int) -> list[Clip]:
        """What predictions of this head would say, by passes that drop inputs."""
        generator = np.random.default_rng(seed)
        kept = (generator.random((N_PASSES, vectors.shape[1])) >= DROPOUT_RATE) / (1 - DROPOUT_RATE)
        passes = np.stack([self.probabilities(vectors * mask) for mask in kept.astype(np.float32)])
        means = passes.mean(axis=0)
        information = entropy_nats(means) - entropy_nats(passes).mean(axis=0)
        return [
            Clip(
                recording_id=recording_id,
                probabilities=dict(zip(Emotion, mean, strict=True)),
                mutual_information_nats=nats,
            )
            for recording_id, mean, nats in zip(ids, means.tolist(), information.tolist(), strict=True)
        ]


class Project:
    """A labelling project played through."""

    def __init__(self, heard: Heard, way: Way, seed: int) -> None:
        self._heard, self._way, self._seed = heard, way, seed
        self._pool, self._judged = split(heard, seed)
        self._vectors = heard.vectors[self._pool]
        self._ids = [UUID(int=int(number) + 1) for number in self._pool]
        self._by_id = {recording_id: number for number, recording_id in enumerate(self._ids)}
        sketches = [heard.sketches[number] for number in self._pool]
        self._sketches = dict(zip(self._ids, sketches, strict=True)) if way.has_sketches else None
        self._generator = np.random.default_rng([seed, 1])
        self._labels: dict[UUID, list[str]] = {}
        self._raters: dict[UUID, set[int]] = {}
        self._head = Head(heard)
        self._turn = 0

    def curve(self, n_labels: int) -> NDArray[np.float64]:
        """UAR before the first label and after every round."""
        found = [self._uar()]
        for _ in range(0, n_labels, ROUND):
            self._round()
            shares = self._shares()
            rated = np.flatnonzero(shares.sum(axis=1))
            self._head.learn(self._vectors[rated], shares[rated])
            found.append(self._uar())
        return np.array(found)

    def _uar(self) -> float:
        answers = self._head.probabilities(self._heard.vectors[self._judged]).argmax(axis=1)
        return unweighted_average_recall(self._heard.emotions[self._judged], answers)

    def _round(self) -> None:
        clips = self._head.clips(self._ids, self._vectors, seed=self._seed)
        known: dict[QueueKind, NDArray[np.float64]] = {}
        for turn in range(self._turn, self._turn + ROUND):
            annotator = turn % N_ANNOTATORS
            kind = kind_of_turn(turn, self._way.queues)
            if kind in {QueueKind.DIVERSE, QueueKind.DISAGREEMENT} or kind not in known:
                known[kind] = ranks(kind, clips, labels=self._labels, seed=self._seed, sketches=self._sketches)
            order = np.argsort(-known[kind], kind="stable")
            chosen = next(self._ids[number] for number in order if self._is_free(self._ids[number], annotator))
            self._rate(chosen, annotator)
        self._turn += ROUND

    def _is_free(self, recording_id: UUID, annotator: int) -> bool:
        raters = self._raters.get(recording_id, set())
        return len(raters) < self._way.overlap and annotator not in raters

    def _rate(self, recording_id: UUID, annotator: int) -> None:
        truth = int(self._heard.emotions[self._pool[self._by_id[recording_id]]])
        said = truth
        if self._generator.random() < self._way.error_rate:
            said = int(self._generator.choice([number for number in range(len(Emotion)) if number != truth]))
        self._labels.setdefault(recording_id, []).append(list(Emotion)[said].value)
        self._raters.setdefault(recording_id, set()).add(annotator)

    def _shares(self) -> NDArray[np.float64]:
        """Soft labels by majority, (n_clips, 8)."""
        shares = np.zeros((len(self._ids), len(Emotion)))
        for recording_id, said in self._labels.items():
            for label, count in Counter(said).items():
                shares[self._by_id[recording_id], list(Emotion).index(Emotion(label))] = count / len(said)
        return shares


def labels_needed(curve: NDArray[np.float64], uar: float) -> float:
    """Labels after which a curve of UAR first reaches `uar`, between rounds on a line; NaN where it never does.

    >>> labels_needed(np.array([0.2, 0.4, 0.5]), 0.3)
    20.0
    """
    reached = np.flatnonzero(curve >= uar)
    if not len(reached):
        return float("nan")
    last = int(reached[0])
    if last == 0:
        return 0.0
    return float(ROUND * (last - (curve[last] - uar) / (curve[last] - curve[last - 1])))


def table_of(title: str, curves: Mapping[str, NDArray[np.float64]], control: str, marks: Sequence[int]) -> Table:
    """By queue: the UAR after each mark, and the labels it needs for what the first queue reaches there."""
    table = Table("queue", *(f"UAR at {mark}, %" for mark in marks), title=title, box=box.MARKDOWN)
    for mark in marks:
        table.add_column(f"labels for that of {mark} by the first")
    for name, of_seeds in curves.items():
        after = [of_seeds[:, mark // ROUND] * 100 for mark in marks]
        needed = []
        for mark in marks:
            goal = curves[control].mean(axis=0)[mark // ROUND]
            counts = labels_needed(of_seeds.mean(axis=0), goal)
            needed.append("not reached" if np.isnan(counts) else f"{counts:.0f}")
        table.add_row(
            name, *(f"{each.mean():.1f} ± {each.std(ddof=1 if len(each) > 1 else 0):.1f}" for each in after), *needed
        )
    return table


def figure(curves: Mapping[str, NDArray[np.float64]]) -> str:
    """Mean curves as SVG: UAR over labels."""
    width, height, left, right, top, bottom = 640, 340, 52, 170, 18, 44
    means = {name: curves[name].mean(axis=0) * 100 for name in DRAWN}
    low = np.floor(min(mean.min() for mean in means.values()) / 5) * 5
    high = np.ceil(max(mean.max() for mean in means.values()) / 5) * 5
    n_labels = (len(next(iter(means.values()))) - 1) * ROUND

    def place(count: float, uar: float) -> tuple[float, float]:
        x = left + (width - left - right) * count / n_labels
        return x, height - bottom - (height - top - bottom) * (uar - low) / (high - low)

    ends = sorted(DRAWN, key=lambda name: -means[name][-1])
    marks, previous_y = [], -np.inf
    for name in ends:
        colour = COLOURS[DRAWN.index(name)] if name != "random" else MUTED
        points = [place(ROUND * number, uar) for number, uar in enumerate(means[name])]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashes = ' stroke-dasharray="5 4"' if name == "random" else ""
        marks.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        x, y = points[-1]
        previous_y = max(y + 4, previous_y + 14)
        marks.append(f'<text x="{x + 8:.1f}" y="{previous_y:.1f}" fill="{colour}">{name}</text>')
    ticks = []
    for uar in np.arange(low, high + 1, 5):
        x, y = place(0, uar)
        ticks.append(
            f'<line x1="{x}" y1="{y:.1f}" x2="{width - right}" y2="{y:.1f}" stroke="{LINE}" stroke-width="0.5"/>'
        )
        ticks.append(f'<text x="{x - 6}" y="{y + 4:.1f}" text-anchor="end">{uar:.0f}</text>')
    for count in range(0, n_labels + 1, 80):
        x, y = place(count, low)
        ticks.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{count}</text>')
    middle = left + (width - left - right) / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="11" fill="{INK}" role="img" aria-label="UAR over labels, by queue">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{"".join(ticks)}{"".join(marks)}'
        f'<text x="{middle}" y="{height - 10}" text-anchor="middle">labels</text>'
        f'<text x="14" y="{height / 2}" text-anchor="middle" transform="rotate(-90 14 {height / 2})">'
        f"unweighted average recall, %</text></svg>\n"
    )


def play(heard: Heard, ways: Sequence[Way], *, n_seeds: int, n_labels: int) -> dict[str, NDArray[np.float64]]:
    """By way: UAR before and after every round, (n_seeds, n_rounds + 1)."""
    cells = [(way, seed) for way in ways for seed in range(n_seeds)]
    found: dict[str, list[NDArray[np.float64]]] = {way.name: [] for way in ways}
    for way, seed in track(cells, "Labelling", console=Console(stderr=True)):
        found[way.name].append(Project(heard, way, seed).curve(n_labels))
    return {name: np.stack(curves) for name, curves in found.items()}


def main(
    quick: Annotated[bool, typer.Option(help="One seed, half the labels, no figure.")] = False,
    figure_path: Annotated[Path, typer.Option("--figure", help="Where the figure goes.")] = FIGURE,
) -> None:
    """Print the tables of docs/queues.md and draw its figure."""
    threadpoolctl.threadpool_limits(limits=1)
    n_seeds, n_labels = (1, N_LABELS // 2) if quick else (N_SEEDS, N_LABELS)
    marks = [mark for mark in MARKS if mark <= n_labels]
    heard = hear(chosen_rows())
    console.print(f"{len(heard.emotions)} recordings of {len(set(heard.speakers))} speakers, seeds: {n_seeds}")
    right = play(heard, RIGHT, n_seeds=n_seeds, n_labels=n_labels)
    console.print(table_of("Annotators who are right", right, RANDOM.name, marks))
    wrong = play(heard, WRONG, n_seeds=n_seeds, n_labels=n_labels)
    console.print(table_of("Annotators who err", wrong, WRONG[0].name, marks))
    if not quick:
        figure_path.write_text(figure(right), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
