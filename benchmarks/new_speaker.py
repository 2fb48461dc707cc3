"""What correcting some clips of a new speaker gains on the rest of theirs, and costs on everybody else.

python -m benchmarks.new_speaker             # the tables of docs/retraining.md, some twenty minutes of one core
python -m benchmarks.new_speaker --quick     # one seed, two speakers, fewer cells

The model is `telepathy-commercial` as it ships, retrained by `training.refit` as `python -m training retrain` does it.
It heard nobody but CREMA-D's actors, in its encoder as in its head: the speakers of RAVDESS, SAVEE, TESS and nEMO are
new to it in voice, microphone, sentences and partly language. Everybody else are the speakers of the test part in its
`base.npz`, which no retraining learns from; it knows them, so that it has something to lose.

The last line is of 40 corrections picked at random, mean of all speakers and seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import threadpoolctl
import typer
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from core.config import REPOSITORY
from core.domain import Emotion
from core.inference.recogniser import Recogniser
from core.inference.registry import HEAD
from training.base_sample import read_base_sample
from training.corpora import ManifestRow, read_manifest
from training.embedded import embed_files
from training.head_weights import HeadWeights, logits_of, pass_logits, read_head
from training.refit import Examples, RefitPlan, refit

CORPORA = REPOSITORY.parent / "shared" / "corpora"
CACHE = REPOSITORY / "data" / "runs" / "embedded"
MODELS = REPOSITORY / "data" / "models"
COUNTS = (10, 20, 40, 80)
MIN_REST = 10
"""Clips of the speaker that must be left to judge by: RAVDESS has some 50 of each and is left out at 80."""
N_SEEDS = 5
SEEDS_OF_WAYS = (100,)
IDENTITY = np.eye(len(Emotion), dtype=np.float32)
ALTERNATIVES = {
    "as shipped": RefitPlan(),
    "no replay": RefitPlan(correction_share=0.999, parent_share=0.0, pull_to_parent=0.0),
    "labels only": RefitPlan(parent_share=0.0),
    "parent's answers only": RefitPlan(parent_share=1.0),
    "pull of 30": RefitPlan(pull_to_parent=30.0),
    "learning rate 1e-3": RefitPlan(learning_rate=1e-3),
    "learning rate 1e-4": RefitPlan(learning_rate=1e-4),
    "a tenth of the loss": RefitPlan(correction_share=0.1),
    "half of the loss": RefitPlan(correction_share=0.5),
}
"""Ways to fit again, compared at 20 corrections on other seeds than those of the table."""

console = Console(width=120)
progress = Console(stderr=True, width=120)
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Recordings with their embeddings."""

    embeddings: NDArray[np.float32]
    emotions: Numbers
    speakers: NDArray[np.str_]
    corpora: NDArray[np.str_]

    def examples(self, chosen: Numbers) -> Examples:
        """Some of them with their labels."""
        return Examples(
            embeddings=self.embeddings[chosen],
            targets=IDENTITY[self.emotions[chosen]],
            importance=np.ones(len(chosen), np.float32),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Where a new speaker comes from and who everybody else is."""

    parent: HeadWeights
    heard: Heard
    candidates: tuple[str, ...]
    """Speakers that are new."""
    replay: Examples
    others: Callable[[str], Examples]
    """Everybody else, for a new speaker."""
    plan: RefitPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Accuracies of one retraining, before and after, in shares."""

    queue: str
    n_corrections: int
    speaker: str
    before: float
    after: float
    others_before: float
    others_after: float


# -- queues: which clips of a speaker are corrected first


def at_random(protocol: Protocol, clips: Numbers, generator: np.random.Generator) -> Numbers:
    """Any."""
    del protocol
    return generator.permutation(clips)


def uncertain_first(protocol: Protocol, clips: Numbers, generator: np.random.Generator) -> Numbers:
    """Largest mutual information of thirty passes first."""
    probabilities = _softmax(
        pass_logits(
            protocol.parent,
            protocol.heard.embeddings[clips],
            dropout_rates=protocol.plan.dropout_rates,
            n_passes=30,
            seed=int(generator.integers(1 << 30)),
        )
    )
    information = _entropy(probabilities.mean(axis=0)) - _entropy(probabilities).mean(axis=0)
    return clips[np.argsort(-information)]


def likely_wrong_first(protocol: Protocol, clips: Numbers, generator: np.random.Generator) -> Numbers:
    """Lowest confidence first."""
    probabilities = _softmax(
        pass_logits(
            protocol.parent,
            protocol.heard.embeddings[clips],
            dropout_rates=protocol.plan.dropout_rates,
            n_passes=30,
            seed=int(generator.integers(1 << 30)),
        )
    )
    return clips[np.argsort(probabilities.mean(axis=0).max(axis=1))]


def diverse_first(protocol: Protocol, clips: Numbers, generator: np.random.Generator) -> Numbers:
    """Each the farthest from all before it (Gonzalez 1985), from a drawn first one."""
    embeddings = protocol.heard.embeddings[clips]
    order = [int(generator.integers(len(clips)))]
    distance = np.full(len(clips), np.inf)
    while len(order) < len(clips):
        distance = np.minimum(distance, np.square(embeddings - embeddings[order[-1]]).sum(axis=1))
        distance[order] = -1
        order.append(int(distance.argmax()))
    return clips[order]


QUEUES = {
    "random": at_random,
    "uncertain": uncertain_first,
    "likely wrong": likely_wrong_first,
    "diverse": diverse_first,
}


# -- protocols


def embedded(model: str, rows: Sequence[ManifestRow]) -> Heard:
    """Embeddings of `rows` by a model's encoder, from the cache where they are there."""
    recogniser = Recogniser.open(MODELS / model)
    by_path = {row.path: row for row in rows}
    found = embed_files(
        recogniser, list(by_path), lambda path: (CORPORA / path).read_bytes(), cache=CACHE / f"{model}.npz"
    )
    order = {emotion: number for number, emotion in enumerate(Emotion)}
    good = [by_path[name] for name in found.names]
    return Heard(
        embeddings=found.embeddings,
        emotions=np.array([order[row.emotion] for row in good]),
        speakers=np.array([row.speaker for row in good]),
        corpora=np.array([row.corpus for row in good]),
    )


def sampled(rows: Sequence[ManifestRow], n_of_speaker: int) -> list[ManifestRow]:
    """At most so many recordings of each speaker, picked by their hash."""
    kept: list[ManifestRow] = []
    counts: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: row.sha256_original):
        counts[row.speaker] = counts.get(row.speaker, 0) + 1
        if counts[row.speaker] <= n_of_speaker:
            kept.append(row)
    return kept


def strangers(rows: Sequence[ManifestRow]) -> Protocol:
    """`telepathy-commercial` as it ships."""
    model = "telepathy-commercial"
    heard = embedded(model, sampled([row for row in rows if row.corpus != "CREMA-D"], 200))
    base = read_base_sample(MODELS / model)
    replay, test = (
        Examples(
            embeddings=part.embeddings,
            targets=IDENTITY[part.emotions],
            importance=np.ones(len(part), np.float32),
        )
        for part in (base["replay"], base["test"])
    )
    return Protocol(
        parent=read_head(MODELS / model / HEAD),
        heard=heard,
        candidates=tuple(np.unique(heard.speakers).tolist()),
        replay=replay,
        others=lambda speaker: test,
        plan=RefitPlan(),
    )


# -- measuring


def drawn_speakers(protocol: Protocol, seed: int) -> list[str]:
    """One new speaker of each corpus."""
    generator = np.random.default_rng([seed, 2])
    found: dict[str, str] = {}
    for speaker in generator.permutation(list(protocol.candidates)).tolist():
        found.setdefault(speaker.split("-")[0] if not speaker.startswith("CREMA-D") else "CREMA-D", speaker)
    return [found[corpus] for corpus in sorted(found)]


def correct(protocol: Protocol, speaker: str, queue: str, n_corrections: int, seed: int) -> Outcome | None:
    """One retraining; None where too little is left of the speaker."""
    generator = np.random.default_rng([seed, n_corrections])
    clips = np.flatnonzero(protocol.heard.speakers == speaker)
    order = QUEUES[queue](protocol, clips, generator)
    corrected, rest = order[:n_corrections], order[n_corrections:]
    if len(rest) < MIN_REST:
        return None
    fitted = refit(
        protocol.parent,
        protocol.heard.examples(corrected),
        protocol.replay,
        plan=replace(protocol.plan, seed=seed),
    )
    others = protocol.others(speaker)
    before, after = (_accuracy(weights, protocol.heard.examples(rest)) for weights in (protocol.parent, fitted))
    others_before, others_after = (_accuracy(weights, others) for weights in (protocol.parent, fitted))
    progress.print(
        f"seed {seed} {speaker} {queue} {n_corrections}: {before:.3f} to {after:.3f}, "
        f"others {others_before:.3f} to {others_after:.3f}",
        highlight=False,
    )
    return Outcome(
        queue=queue,
        n_corrections=n_corrections,
        speaker=speaker,
        before=before,
        after=after,
        others_before=others_before,
        others_after=others_after,
    )


def summary(title: str, found: Sequence[Outcome], *, rows: Sequence[tuple[str, Callable[[Outcome], bool]]]) -> Table:
    """One line for each row: means over speakers and seeds, and the deviation of the gain between them."""
    table = Table(
        title,
        "retrainings",
        "speaker before",
        "speaker after",
        "gain",
        "deviation of gain",
        "others before",
        "others after",
        "loss",
        box=box.MARKDOWN,
    )
    for name, belongs in rows:
        chosen = [one for one in found if belongs(one)]
        if not chosen:
            continue
        gains = np.array([one.after - one.before for one in chosen]) * 100
        table.add_row(
            name,
            str(len(chosen)),
            f"{100 * _mean(one.before for one in chosen):.1f}",
            f"{100 * _mean(one.after for one in chosen):.1f}",
            f"{gains.mean():+.1f}",
            f"{gains.std():.1f}",
            f"{100 * _mean(one.others_before for one in chosen):.1f}",
            f"{100 * _mean(one.others_after for one in chosen):.1f}",
            f"{100 * _mean(one.others_before - one.others_after for one in chosen):+.2f}",
        )
    return table


def main(
    quick: Annotated[bool, typer.Option("--quick", help="One seed, two speakers, 10 and 40 corrections.")] = False,
    ways: Annotated[bool, typer.Option("--ways", help="Compare ways to fit again instead.")] = False,
) -> None:
    """Measure and print the tables."""
    threadpoolctl.threadpool_limits(limits=1)
    rows, _ = read_manifest(CORPORA / "manifest.csv")
    if ways:
        _compare_ways(rows)
        return
    seeds = range(1 if quick else N_SEEDS)
    counts = (10, 40) if quick else COUNTS
    protocol = strangers(rows)
    found: list[Outcome] = []
    for seed in seeds:
        for speaker in drawn_speakers(protocol, seed)[: 2 if quick else None]:
            for queue in QUEUES:
                outcomes = [correct(protocol, speaker, queue, count, seed) for count in counts]
                found += [one for one in outcomes if one is not None]
    for count in counts:
        cells = [(queue, lambda one, q=queue, n=count: one.queue == q and one.n_corrections == n) for queue in QUEUES]
        console.print(summary(f"{count} corrections", found, rows=cells))
    corpora = sorted({one.speaker.rsplit("-", 1)[0] for one in found})
    of_corpora = [
        (corpus, lambda one, c=corpus: one.speaker.startswith(c) and one.queue == "random" and one.n_corrections == 40)
        for corpus in corpora
    ]
    console.print(summary("40 at random, by corpus", found, rows=of_corpora))
    final = [one for one in found if one.queue == "random" and one.n_corrections == 40]
    gain = 100 * _mean(one.after - one.before for one in final)
    loss = 100 * _mean(one.others_before - one.others_after for one in final)
    console.print(f"gain_on_speaker {gain:.2f} loss_on_others {loss:.2f}", highlight=False)


def _compare_ways(rows: Sequence[ManifestRow]) -> None:
    protocol = strangers(rows)
    found: list[Outcome] = []
    for seed in SEEDS_OF_WAYS:
        for speaker in drawn_speakers(protocol, seed):
            for name, plan in ALTERNATIVES.items():
                outcome = correct(replace(protocol, plan=plan), speaker, "random", 20, seed)
                if outcome is not None:
                    found.append(replace(outcome, queue=name))
    named = [(name, lambda one, n=name: one.queue == n) for name in ALTERNATIVES]
    console.print(summary("20 at random", found, rows=named))


def _accuracy(weights: HeadWeights, examples: Examples) -> float:
    top = logits_of(weights, examples.embeddings).argmax(axis=1)
    return float((top == examples.targets.argmax(axis=1)).mean())


def _mean(values: object) -> float:
    return float(np.mean(list(values)))  # type: ignore[call-overload]


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: NDArray[np.float32] = powers / powers.sum(axis=-1, keepdims=True)
    return result


def _entropy(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    result: NDArray[np.float32] = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=-1)
    return result


if __name__ == "__main__":
    typer.run(main)
