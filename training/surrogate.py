"""Surrogates: boosted trees that imitate a served model's answers from prosody, and how well they do so.

`python -m training surrogate --model NAME`; docs/surrogate.md says what comes out. Prosody is measured once for all
models (`training.prosody_sample`); a new model is only asked again.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import GroupKFold
from threadpoolctl import threadpool_limits

from core.config import Settings
from core.domain import Emotion
from core.evaluation.bootstrap import bootstrap_interval
from core.features.audio import decode
from core.features.prosody import Prosody
from core.features.waveform import DecodeLimits
from core.inference.recogniser import Recogniser
from core.inference.registry import find_model
from core.inference.surrogate import (
    SCHEMA,
    SURROGATE,
    SURROGATE_MEASURES,
    TREES,
    Surrogate,
    explain_many,
    open_surrogate,
    predict_log_odds,
    surrogate_vector,
)
from training.corpora import COMMERCIAL_LICENCES, ManifestRow, manifest_sha256
from training.errors import SurrogateError
from training.progress import Progress
from training.prosody_sample import MeasuredRecording, measuring_version
from training.training_record import Exposure, read_training_record
from training.whole_files import write_atomically

N_FOLDS = 5
MIN_PROBABILITY = 1e-3
"""Smaller ones are lifted to this before their logarithm: whether 1 in 2,000 or in 20,000 explains nothing to anybody,
yet would decide what the trees are fitted to."""
TREES_PLAN: Mapping[str, float | int | None] = {
    "max_iter": 200,
    "learning_rate": 0.06,
    "max_leaf_nodes": 12,
    "min_samples_leaf": 20,
    "l2_regularization": 1.0,
    "random_state": 0,
}
N_OVERVIEW = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Imitation:
    """A surrogate before it is written."""

    regressors: tuple[HistGradientBoostingRegressor, ...]
    """One for each of the model's emotions."""
    held_out: NDArray[np.float64]
    """(n_recordings, n_emotions): log-odds of each recording, from trees fitted to other speakers."""


def usable_recordings(measured: Sequence[MeasuredRecording], *, is_commercial: bool) -> list[MeasuredRecording]:
    """What a surrogate may be fitted to: for a model free for commercial use, recordings that are free for it too."""
    return [one for one in measured if not is_commercial or one.row.licence in COMMERCIAL_LICENCES]


def ask_model(
    recogniser: Recogniser, rows: Sequence[ManifestRow], *, audio: Path, folder: Path, settings: Settings
) -> NDArray[np.float64]:
    """What the model, as served, says of each recording: (n_recordings, n_emotions), kept in `folder` by version."""
    emotions = recogniser.card.emotions
    kept = folder / f"answers-{recogniser.card.version}-{settings.n_passes}-{settings.seed}.csv"
    answers: dict[str, list[float]] = {}
    if kept.exists():
        with kept.open(encoding="ascii", newline="") as file:
            answers = {
                record["sha256_original"]: [float(record[emotion]) for emotion in emotions]
                for record in csv.DictReader(file)
            }
    missing = [row for row in rows if row.sha256_original not in answers]
    limits = DecodeLimits.from_settings(settings)
    with Progress(f"ask {recogniser.card.version}", len(missing)) as progress:
        for row in missing:
            recognition = recogniser.recognise(
                decode((audio / row.path).read_bytes(), limits=limits).waveform,
                n_passes=settings.n_passes,
                seed=settings.seed,
                window_s=settings.window_s,
                hop_s=settings.hop_s,
                abstention_confidence=settings.abstention_confidence,
                timeline=False,
            )
            answers[row.sha256_original] = [recognition.probabilities[emotion] for emotion in emotions]
            progress.advance()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sha256_original", *emotions])
    writer.writerows([digits, *values] for digits, values in answers.items())
    write_atomically(kept, text.getvalue())
    return np.array([answers[row.sha256_original] for row in rows])


def log_odds(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of each probability over the geometric mean of its row; softmax undoes it.

    Examples
    --------
    >>> log_odds(np.array([[0.5, 0.5], [0.9, 0.1]])).round(3).tolist()
    [[0.0, 0.0], [1.099, -1.099]]
    """
    logarithms = np.log(np.maximum(probabilities, MIN_PROBABILITY))
    centred: NDArray[np.float64] = logarithms - logarithms.mean(axis=1, keepdims=True)
    return centred


def fit_imitation(
    measures: NDArray[np.float64],
    targets: NDArray[np.float64],
    speakers: Sequence[str],
    *,
    plan: Mapping[str, float | int | None] = TREES_PLAN,
) -> Imitation:
    """Trees from all recordings, and what trees that never heard its speaker say of each.

    Parameters
    ----------
    measures : (n_recordings, n_measures)
        NaN where one is missing: the trees learn where such recordings go.
    targets : (n_recordings, n_emotions)
        The model's log-odds.
    speakers
        Who speaks: none stands on both sides of a fold.
    plan
        Arguments of scikit-learn's regressor.

    Raises
    ------
    SurrogateError
        There are fewer speakers than folds.
    """
    n_speakers = len(set(speakers))
    if n_speakers < N_FOLDS:
        raise SurrogateError(f"{n_speakers} speakers are too few; {N_FOLDS} are needed to hold some out")
    held_out = np.zeros_like(targets)
    # Threads that share two busy cores wait for each other by spinning: minutes instead of seconds.
    with threadpool_limits(limits=1, user_api="openmp"):
        for fitted, tested in GroupKFold(N_FOLDS).split(measures, groups=np.array(speakers)):
            for emotion, regressor in enumerate(_fit(measures[fitted], targets[fitted], plan)):
                held_out[tested, emotion] = regressor.predict(measures[tested])
        return Imitation(regressors=_fit(measures, targets, plan), held_out=held_out)


def _fit(
    measures: NDArray[np.float64], targets: NDArray[np.float64], plan: Mapping[str, float | int | None]
) -> tuple[HistGradientBoostingRegressor, ...]:
    # scikit-learn cannot bin a column without a single value; as a constant it is never split at.
    measures = np.where(np.isnan(measures).all(axis=0), 0.0, measures)
    return tuple(
        HistGradientBoostingRegressor(early_stopping=False, **plan).fit(measures, target) for target in targets.T
    )


def score_imitation(
    held_out: NDArray[np.float64],
    targets: NDArray[np.float64],
    *,
    speakers: Sequence[str],
    corpora: Sequence[str],
    emotions: Sequence[Emotion],
    protocol: str,
) -> dict[str, object]:
    """`fidelity` as `surrogate.json` holds it; the fields are those of `core.inference.surrogate.Fidelity`.

    Parameters
    ----------
    held_out, targets : (n_recordings, n_emotions)
        Log-odds of surrogate and model.
    """
    named, imitated = targets.argmax(axis=1), held_out.argmax(axis=1)
    is_same = named == imitated
    interval = bootstrap_interval(lambda same: float(np.mean(same)), is_same, clusters=speakers)
    unexplained = np.square(targets - held_out).sum(axis=0)
    spread = np.square(targets - targets.mean(axis=0)).sum(axis=0)
    shares = {corpus: is_same[np.array(corpora) == corpus].mean() for corpus in sorted(set(corpora))}
    return {
        "protocol": protocol,
        "n_recordings": len(targets),
        "n_speakers": len(set(speakers)),
        "agreement": round(float(is_same.mean()), 4),
        "agreement_interval": [round(interval.low, 4), round(interval.high, 4)],
        "majority_agreement": round(float(np.bincount(named).max() / len(named)), 4),
        "agreement_by_corpus": {corpus: round(float(share), 4) for corpus, share in shares.items()},
        "r_squared": {
            str(emotion): round(float(1 - unexplained[number] / spread[number]), 4) if spread[number] > 0 else 0.0
            for number, emotion in enumerate(emotions)
        },
    }


def flatten_trees(regressors: Sequence[HistGradientBoostingRegressor]) -> dict[str, NDArray[np.generic]]:
    """All nodes of all trees one after the other, as `open_surrogate` reads them; no pickle."""
    trees = [predictors[0].nodes for regressor in regressors for predictors in regressor._predictors]
    n_trees = [len(regressor._predictors) for regressor in regressors]
    nodes = np.concatenate(trees)
    is_leaf = nodes["is_leaf"].astype(bool)
    left, right = nodes["left"].astype(np.int32), nodes["right"].astype(np.int32)
    return {
        "base": np.array([float(np.squeeze(regressor._baseline_prediction)) for regressor in regressors]),
        "first_tree": np.concatenate([[0], np.cumsum(n_trees)]).astype(np.int32),
        "starts": np.concatenate([[0], np.cumsum([len(tree) for tree in trees])]).astype(np.int32),
        "left": np.where(is_leaf, -1, left).astype(np.int16),
        "right": np.where(is_leaf, -1, right).astype(np.int16),
        "missing": np.where(is_leaf, -1, np.where(nodes["missing_go_to_left"], left, right)).astype(np.int16),
        "measure": np.where(is_leaf, -2, nodes["feature_idx"].astype(np.int32)).astype(np.int8),
        "threshold": nodes["num_threshold"].astype(np.float64),
        "value": nodes["value"].astype(np.float64),
        "n_recordings": nodes["count"].astype(np.int32),
    }


def make_surrogate(
    name: str,
    *,
    models_dir: Path,
    measured: Sequence[MeasuredRecording],
    audio: Path,
    run: Path,
    settings: Settings,
    plan: Mapping[str, float | int | None] = TREES_PLAN,
) -> dict[str, object]:
    """Fit, score and write the surrogate of the model called `name`; its fidelity, as `surrogate.json` holds it.

    Parameters
    ----------
    audio
        Folder that the paths of `measured` begin in.
    run
        Folder that keeps the model's answers.
    plan
        Arguments of scikit-learn's regressor.

    Raises
    ------
    SurrogateError
        There are too few speakers.
    ModelError
        There is no such model, or it cannot be used.
    """
    folder = find_model(models_dir, name)
    recogniser = Recogniser.open(folder)
    card = recogniser.card
    sample = usable_recordings(measured, is_commercial=card.is_commercial_use_allowed)
    rows = [one.row for one in sample]
    probabilities = ask_model(recogniser, rows, audio=audio, folder=run, settings=settings)
    measures, targets = np.stack([surrogate_vector(one.prosody) for one in sample]), log_odds(probabilities)
    speakers, corpora = [row.speaker for row in rows], [row.corpus for row in rows]
    imitation = fit_imitation(measures, targets, speakers, plan=plan)
    record = read_training_record(folder)
    heard = Counter(record.exposure(row) for row in rows)
    n_heard = heard[Exposure.LABEL_HEARD] + heard[Exposure.RECORDING_HEARD]
    counts = Counter(corpora)
    protocol = (
        f"{len(rows):,} recordings of {len(set(speakers))} speakers ({', '.join(sorted(counts))}), stratified by "
        f"corpus, sex and emotion, more of neutral; {N_FOLDS} folds, no speaker on both sides; model {card.version} as "
        f"served, mean of {settings.n_passes} passes; it had heard {n_heard:,} of the recordings in training"
    )
    fidelity = score_imitation(
        imitation.held_out, targets, speakers=speakers, corpora=corpora, emotions=card.emotions, protocol=protocol
    )
    durations = [one.prosody.duration_s for one in sample]
    fields: dict[str, object] = {
        "schema": SCHEMA,
        "model_version": card.version,
        "emotions": [str(emotion) for emotion in card.emotions],
        "measures": list(SURROGATE_MEASURES),
        "fidelity": fidelity,
        "corpora": dict(sorted(counts.items())),
        "licence": "; ".join(sorted({row.licence for row in rows})),
        "duration_s": {"shortest": min(durations), "longest": max(durations)},
        "output": "logarithm of an emotion's probability over the geometric mean of all, in nats",
        "min_probability": MIN_PROBABILITY,
        "trees_plan": dict(plan),
        "manifest_sha256": manifest_sha256(rows),
        "measuring_version": measuring_version(),
        "command": f"python -m training surrogate --model {name}",
    }
    shown = [one.prosody for one in sorted(sample, key=_lot)[:N_OVERVIEW]]
    written = write_surrogate(folder, fields, imitation.regressors, shown=shown)
    _require_same(written, imitation, measures)
    return fidelity


def write_surrogate(
    folder: Path,
    fields: Mapping[str, object],
    regressors: Sequence[HistGradientBoostingRegressor],
    *,
    shown: Sequence[Prosody],
) -> Surrogate:
    """Write a surrogate beside the model in `folder` and read it back.

    Parameters
    ----------
    fields
        Of `surrogate.json`, but for the hash of the trees.
    shown
        Recordings whose SHAP values are kept with it, in 16 bits: the global view on an empty store.
    """
    arrays = flatten_trees(regressors)
    # Written first without an overview: that is what the surrogate, read back, says of the recordings shown.
    _write(folder, fields, arrays | _empty_overview(len(regressors)))
    overview = explain_many(open_surrogate(folder), shown)
    steps = np.maximum(np.abs(overview.values).max(axis=(1, 2)), 1e-9) / 32767
    quantised = np.round(overview.values / steps[:, np.newaxis, np.newaxis]).astype(np.int16)
    kept: dict[str, NDArray[np.generic]] = {
        "overview_values": quantised,
        "overview_step": steps,
        "overview_measurements": overview.measurements,
        "overview_base_values": overview.base_values,
    }
    _write(folder, fields, arrays | kept)
    return open_surrogate(folder)


def _lot(one: MeasuredRecording) -> str:
    return hashlib.sha256(one.row.sha256_original.encode()).hexdigest()


def _empty_overview(n_emotions: int) -> dict[str, NDArray[np.generic]]:
    return {
        "overview_values": np.zeros((n_emotions, 0, len(SURROGATE_MEASURES)), dtype=np.int16),
        "overview_step": np.zeros(n_emotions),
        "overview_measurements": np.zeros((0, len(SURROGATE_MEASURES)), dtype=np.float32),
        "overview_base_values": np.zeros(n_emotions),
    }


def _write(folder: Path, fields: Mapping[str, object], arrays: Mapping[str, NDArray[np.generic]]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    data = content.getvalue()
    partial = folder / (TREES + ".part")
    partial.write_bytes(data)
    partial.replace(folder / TREES)
    digest = hashlib.sha256(data).hexdigest()
    write_atomically(folder / SURROGATE, json.dumps({**fields, "trees_sha256": digest}, indent=1) + "\n")


def _require_same(surrogate: Surrogate, imitation: Imitation, measures: NDArray[np.float64]) -> None:
    """Raise unless the trees read back say what scikit-learn's say."""
    expected = np.stack([regressor.predict(measures) for regressor in imitation.regressors], axis=1)
    if not np.allclose(predict_log_odds(surrogate, measures), expected, rtol=0, atol=1e-9):
        raise SurrogateError("the trees read back do not say what they said before they were written")
