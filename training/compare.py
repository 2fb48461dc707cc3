"""Compare networks, and augmentations, side by side under one stated budget.

`python -m training compare networks` trains each network on the 80/10/10 split and on one speaker-independent fold;
`python -m training compare augmentations` trains one network with none, each one, all, and all but one. The budget is
small and the same for every row: rows compare with each other, not with the model that ships.

A comparison is a list of trials. Each trial has a folder with its settings, every epoch's figures, a checkpoint and,
when it has ended, its result; a killed comparison goes on where it stopped, and a trial whose settings changed starts
again.

Waveform augmentations are made once: for every training recording one copy per augmentation. An epoch hears each
recording as it is or, by the chance that the plan gives, one of the copies that the trial has switched on. SpecAugment
and mixup are drawn anew each time.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np
import structlog
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from core.domain import Emotion
from core.evaluation.bootstrap import bootstrap_interval, paired_bootstrap_difference
from core.evaluation.classification import accuracy, unweighted_average_recall
from core.features.audio import Waveform
from core.features.log_mel import FRAMES_PER_SECOND, N_MELS, log_mel
from core.features.prosody import MEASURES, as_vector, measure_prosody
from training.augment import (
    AUGMENTATIONS,
    WAVEFORM_AUGMENTATIONS,
    Batch,
    Plan,
    augment_batch,
    augment_log_mel,
    disturb_waveform,
)
from training.cache import Recordings, cached_content_hashes, open_recordings
from training.corpora import read_manifest
from training.distil import Checkpoint
from training.networks import (
    NETWORKS,
    LiteRtBundle,
    Network,
    build_network,
    ensemble_probabilities,
    export_ensemble,
    export_network,
    fit_ensemble_weights,
    share_of_learning_rate,
)
from training.progress import Progress
from training.splits import Split, shared_speaker_split, speaker_independent_split
from training.whole_files import write_atomically

_log = structlog.get_logger("training")

CLEAN, DISTURBED = "clean", "disturbed"
DISTURBED_SEED = 1_000_003
"""Disturbances of test recordings are drawn from another seed than those of training copies."""
NETWORK_STRENGTHS: Mapping[str, float] = {"speed": 1.0, "room": 1.0, "noise": 1.0, "gain": 1.0, "spec_augment": 0.5}
"""What networks are compared under: what is cheap to make, the same for all."""
LINEAR = "linear"
"""In place of a network's name: `run_linear_trial`."""
LATENCY_CLIP_S = 5.0
N_PASSES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much a trial may cost; the same for every row of a table."""

    n_training: int
    """Recordings drawn from the training part of the 80/10/10 split; another split learns from those of them that stand
    in its own training part."""
    n_epochs: int
    n_validation: int = 300
    n_test: int = 600
    """Recordings drawn from the validation and test parts."""
    batch_size: int = 32
    crop_frames: int = 300
    """Training hears at most so many frames of a recording, from a drawn start; scores use whole recordings."""
    learning_rate: float = 1.5e-3
    """Highest; rises over the first tenth of the steps and falls to 0 as a cosine (AdamW, weight decay 0.01)."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training run of a comparison."""

    name: str
    network: str
    split: str
    strengths: Mapping[str, float]
    uses_prosody: bool
    budget: Budget

    @property
    def plan(self) -> Plan:
        """The augmentations of this trial."""
        return Plan(strengths=self.strengths, seed=self.budget.seed)

    @property
    def fingerprint(self) -> str:
        """Changes when any setting of the trial does."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out of a trial; `score_clips` has the answers themselves."""

    trial: Trial
    protocol: str
    n_training: int
    n_test: int
    n_parameters: int
    size_bytes: int
    """Both LiteRT files, float32."""
    latency_ms: float
    """LiteRT, one thread, warm: encoder on 5 s of log-mel and one head call with 30 passes; median of 30."""
    litert_agreement: float
    """Share of up to 50 test recordings on which LiteRT and Keras name the same emotion."""
    training_s: float
    test_probabilities: NDArray[np.float64]
    """(n_test, n_emotions)."""
    disturbed_probabilities: NDArray[np.float64]
    """(n_test, n_emotions), or (0, n_emotions) when disturbed recordings were not asked for."""
    validation_probabilities: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """One set of recordings' log-mels under several names: as they are, and after each augmentation."""

    folder: Path
    recordings: Recordings
    seed: int

    def make(self, name: str, indices: NDArray[np.int64]) -> LogMels:
        """Log-mels of `indices` in view `name`, made once and kept; recordings made before are not made again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        key = hashlib.sha256(indices.tobytes() + f"{name}/{self.seed}".encode()).hexdigest()[:12]
        data, done = self.folder / f"{name}-{key}.f16", self.folder / f"{name}-{key}.json"
        if not done.exists():
            n_frames = []
            with data.open("wb") as file, Progress(f"view {name}", len(indices)) as progress:
                for index in indices:
                    made = log_mel(self._heard(name, int(index))).astype(np.float16)
                    file.write(made.tobytes())
                    n_frames.append(len(made))
                    progress.advance()
            write_atomically(done, json.dumps(n_frames))
        offsets = np.concatenate([[0], np.cumsum(json.loads(done.read_text()))]).astype(np.int64)
        values = np.memmap(data, dtype=np.float16, mode="r", shape=(int(offsets[-1]), N_MELS))
        return LogMels(values=values, offsets=offsets, position={int(index): row for row, index in enumerate(indices)})

    def prosody(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Acoustic features of `indices` as they are, (n_clips, n_measures); NaN where one cannot be measured."""
        self.folder.mkdir(parents=True, exist_ok=True)
        key = hashlib.sha256(indices.tobytes() + "/".join(MEASURES).encode()).hexdigest()[:12]
        kept = self.folder / f"prosody-{key}.npy"
        if not kept.exists():
            rows = []
            with Progress("prosody", len(indices)) as progress:
                for index in indices:
                    rows.append(as_vector(measure_prosody(self.recordings.waveform(int(index)))))
                    progress.advance()
            partial = kept.with_suffix(".part.npy")
            np.save(partial, np.stack(rows))
            partial.replace(kept)
        return np.asarray(np.load(kept))

    def _heard(self, name: str, index: int) -> Waveform:
        waveform = self.recordings.waveform(index)
        if name == CLEAN:
            return waveform
        if name == DISTURBED:
            seed = self.seed + DISTURBED_SEED
            name = WAVEFORM_AUGMENTATIONS[
                int(np.random.default_rng([seed, index]).integers(len(WAVEFORM_AUGMENTATIONS)))
            ]
            return disturb_waveform(waveform, name=name, plan=Plan(strengths={name: 1.0}, seed=seed), key=(index,))
        return disturb_waveform(waveform, name=name, plan=Plan(strengths={name: 1.0}, seed=self.seed), key=(index,))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMels:
    """Log-mels of some recordings in one flat array."""

    values: NDArray[np.float16]
    offsets: NDArray[np.int64]
    position: Mapping[int, int]
    """Of a recording, by its number in the manifest."""

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Log-mel of recording `index`: float32 (n_frames, n_mels)."""
        row = self.position[index]
        return self.values[self.offsets[row] : self.offsets[row + 1]].astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Everything a trial needs of one split."""

    split: Split
    labels: NDArray[np.int64]
    """Of every recording of the manifest, (n_recordings,)."""
    speakers: NDArray[np.str_]
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    training_views: Mapping[str, LogMels]
    evaluation_view: LogMels
    """Validation and test recordings as they are."""
    disturbed_view: LogMels | None
    """Test recordings, each after one augmentation drawn for it; None when no score asks for them."""
    prosody: Mapping[int, NDArray[np.float32]]
    """Standardised by the training part; 0, its mean, where a measure is missing. Empty when no trial takes it."""


def prepare_material(
    recordings: Recordings,
    split: Split,
    *,
    pool: NDArray[np.int64],
    budget: Budget,
    augmentations: Sequence[str],
    views_folder: Path,
    uses_prosody: bool = False,
    is_disturbed: bool = False,
) -> Material:
    """Draw the recordings of each part and make the views that trials on `split` need; English corpora only.

    Parameters
    ----------
    pool
        Recordings that may be learnt from under any split (`draw_pool`), so that views are made once for all splits; a
        split learns from those that stand in its training part.
    """
    training = np.intersect1d(pool, recordings.indices(split.training))
    validation, test = (
        _drawn(recordings, paths, n_recordings, seed=budget.seed)
        for paths, n_recordings in [(split.validation, budget.n_validation), (split.test, budget.n_test)]
    )
    views = Views(folder=views_folder, recordings=recordings, seed=budget.seed)
    names = [CLEAN, *(name for name in WAVEFORM_AUGMENTATIONS if name in augmentations)]
    held_out = np.sort(np.concatenate([validation, test]))
    prosody: dict[int, NDArray[np.float32]] = {}
    if uses_prosody:
        fitted = views.prosody(training)
        mean, spread = _mean_and_spread(fitted)
        for indices, values in [(training, fitted), (held_out, views.prosody(held_out))]:
            standardised = np.clip(np.nan_to_num((values - mean) / spread), -4, 4).astype(np.float32)
            prosody.update(zip(map(int, indices), standardised, strict=True))
    return Material(
        split=split,
        labels=np.array([list(Emotion).index(row.emotion) for row in recordings.rows]),
        speakers=np.array([row.speaker for row in recordings.rows]),
        training=training,
        validation=validation,
        test=test,
        training_views={name: views.make(name, pool) for name in names},
        evaluation_view=views.make(CLEAN, held_out),
        disturbed_view=views.make(DISTURBED, test) if is_disturbed else None,
        prosody=prosody,
    )


def draw_pool(recordings: Recordings, split: Split, budget: Budget) -> NDArray[np.int64]:
    """The recordings that trials of a comparison learn from, drawn from the training part of `split`."""
    return _drawn(recordings, split.training, budget.n_training, seed=budget.seed)


def _drawn(recordings: Recordings, paths: Sequence[str], n_recordings: int, *, seed: int) -> NDArray[np.int64]:
    """At most `n_recordings` English ones of those at `paths`, in ascending order."""
    english = {row.path for row in recordings.rows if row.language == "en"}
    found = recordings.indices(english.intersection(paths))
    return found[np.sort(np.random.default_rng([seed, 1]).permutation(len(found))[:n_recordings])]


def _mean_and_spread(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each column, over what could be measured; 0 and 1 for a column without any."""
    is_known = np.isfinite(values)
    n_known = np.maximum(is_known.sum(axis=0), 1)
    mean = np.where(is_known, values, 0).sum(axis=0) / n_known
    spread = np.sqrt(np.where(is_known, (values - mean) ** 2, 0).sum(axis=0) / n_known)
    return mean, np.where(spread > 0, spread, 1.0)


# -- one trial


def run_trial(trial: Trial, material: Material, folder: Path) -> Result:
    """The result of `trial`, trained as far as it is not yet; `folder` is its own."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "settings.json"
    if not settings.exists() or json.loads(settings.read_text())["fingerprint"] != trial.fingerprint:
        for name in ("checkpoint.npz", "epochs.jsonl", "result.json", "answers.npz"):
            (folder / name).unlink(missing_ok=True)
        described = asdict(trial) | {"fingerprint": trial.fingerprint, "split_seed": material.split.seed}
        write_atomically(settings, json.dumps(described, indent=1) + "\n")
    if not (folder / "result.json").exists():  # one that has ended is not built again to be read
        _score(trial, _train(trial, material, folder), material, folder)
    return _read_result(trial, folder)


def _train(trial: Trial, material: Material, folder: Path) -> Network:
    """The network of `trial` after its last epoch, from its checkpoint on."""
    budget = trial.budget
    values = material.training_views[CLEAN].values
    sample = np.asarray(values[:: max(len(values) // 50_000, 1)], np.float32)
    network = build_network(
        trial.network,
        log_mel_mean=sample.mean(axis=0),
        log_mel_variance=sample.var(axis=0),
        n_prosody=len(MEASURES) if trial.uses_prosody else 0,
        seed=budget.seed,
    )
    optimizer = keras.optimizers.AdamW(budget.learning_rate, weight_decay=0.01, clipnorm=1.0)
    optimizer.build(network.model.trainable_variables)
    network.model.compile(
        optimizer, keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.05), jit_compile=False
    )
    checkpoint = Checkpoint(folder / "checkpoint.npz", [*network.model.variables, *optimizer.variables])
    n_done = checkpoint.restore()
    n_steps = len(material.training) // budget.batch_size
    for epoch in range(n_done, budget.n_epochs):
        began = time.monotonic()
        losses = []
        with Progress(f"{trial.name} epoch {epoch + 1}/{budget.n_epochs}", n_steps, unit="batches") as progress:
            for step, batch in enumerate(training_batches(trial, material, epoch)):
                share = (epoch * n_steps + step + 1) / (budget.n_epochs * n_steps)
                optimizer.learning_rate = budget.learning_rate * share_of_learning_rate(share)
                losses.append(float(network.model.train_on_batch(_inputs(batch), batch.targets)))
                progress.advance()
        figures = {
            "epoch": epoch + 1,
            "training_loss": float(np.mean(losses)),
            "validation_uar": _uar(network, material, material.validation),
            "seconds": round(time.monotonic() - began, 2),
        }
        with (folder / "epochs.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")
        checkpoint.save(epoch + 1)
        _log.info(trial.name, **{key: round(value, 4) for key, value in figures.items()})
    return network


def training_batches(trial: Trial, material: Material, epoch: int) -> Iterator[Batch]:
    """Every training recording once, in an order, at crops and in views drawn for `epoch`."""
    budget, plan = trial.budget, trial.plan
    rng = np.random.default_rng([budget.seed, 2, epoch])
    order = rng.permutation(material.training)
    copies = [name for name in WAVEFORM_AUGMENTATIONS if plan.strength(name) > 0]
    for step in range(len(order) // budget.batch_size):
        chosen = order[step * budget.batch_size : (step + 1) * budget.batch_size]
        log_mels = np.zeros((len(chosen), budget.crop_frames, N_MELS), np.float32)
        frame_mask = np.zeros((len(chosen), budget.crop_frames), np.float32)
        for row, index in enumerate(chosen):
            # Drawn whether used or not, so that trials differ in what they switch and not in what they draw.
            chance, which, where = rng.random(3)
            view = copies[int(which * len(copies))] if copies and chance < plan.probability else CLEAN
            heard = material.training_views[view][int(index)]
            start = int(where * (max(len(heard) - budget.crop_frames, 0) + 1))
            cut = heard[start : start + budget.crop_frames]
            log_mels[row, : len(cut)] = augment_log_mel(cut, plan=plan, key=(epoch, int(index)))
            frame_mask[row, : len(cut)] = 1
        batch = Batch(
            log_mels=log_mels,
            frame_mask=frame_mask,
            targets=np.eye(len(Emotion), dtype=np.float32)[material.labels[chosen]],
            prosody=np.stack([material.prosody[int(index)] for index in chosen]) if trial.uses_prosody else None,
        )
        yield augment_batch(batch, plan=plan, key=(epoch, step))


def _inputs(batch: Batch) -> list[NDArray[np.float32]]:
    both = [batch.log_mels, batch.frame_mask]
    return both if batch.prosody is None else [*both, batch.prosody]


def _probabilities(
    network: Network, material: Material, indices: NDArray[np.int64], view: LogMels
) -> NDArray[np.float64]:
    """What `network` says of whole recordings, without dropout: (n_clips, n_emotions)."""
    answers = np.zeros((len(indices), len(Emotion)))
    lengths = np.array([view.offsets[view.position[int(i)] + 1] - view.offsets[view.position[int(i)]] for i in indices])
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        # Lengths rounded up to whole half seconds: few shapes, so few graphs.
        longest = -(-int(lengths[rows].max()) // 50) * 50
        log_mels = np.zeros((len(rows), longest, N_MELS), np.float32)
        frame_mask = np.zeros((len(rows), longest), np.float32)
        for place, row in enumerate(rows):
            heard = view[int(indices[row])]
            log_mels[place, : len(heard)] = heard
            frame_mask[place, : len(heard)] = 1
        inputs = [log_mels, frame_mask]
        if network.n_prosody:
            inputs.append(np.stack([material.prosody[int(indices[row])] for row in rows]))
        answers[rows] = network.model.predict_on_batch(inputs)
    return _softmax(answers)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def _uar(network: Network, material: Material, indices: NDArray[np.int64]) -> float:
    answers = _probabilities(network, material, indices, material.evaluation_view)
    return unweighted_average_recall(material.labels[indices], answers.argmax(axis=1))


def _score(trial: Trial, network: Network, material: Material, folder: Path) -> None:
    """Answers on held-out recordings, size and latency, written into `folder`."""
    clean, disturbed = material.evaluation_view, material.disturbed_view
    nothing = np.zeros((0, len(Emotion)))
    test = _probabilities(network, material, material.test, clean)
    with (folder / "answers.part.npz").open("wb") as file:
        np.savez(
            file,
            test=test,
            disturbed=_probabilities(network, material, material.test, disturbed) if disturbed else nothing,
            validation=_probabilities(network, material, material.validation, clean),
        )
    (folder / "answers.part.npz").replace(folder / "answers.npz")
    bundle = export_network(network)
    epochs = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]
    figures = {
        "protocol": material.split.protocol,
        "n_training": len(material.training),
        "n_test": len(material.test),
        "n_parameters": network.n_parameters,
        "size_bytes": bundle.size_bytes,
        "latency_ms": measure_latency_ms(bundle, n_prosody=network.n_prosody),
        "litert_agreement": _agreement(bundle, network, material, test),
        "training_s": sum(epoch["seconds"] for epoch in epochs),
    }
    write_atomically(folder / "result.json", json.dumps(figures, indent=1) + "\n")


def _read_result(trial: Trial, folder: Path) -> Result:
    figures = json.loads((folder / "result.json").read_text())
    with np.load(folder / "answers.npz") as answers:
        return Result(
            trial=trial,
            test_probabilities=answers["test"],
            disturbed_probabilities=answers["disturbed"],
            validation_probabilities=answers["validation"],
            **figures,
        )


def measure_latency_ms(bundle: LiteRtBundle, *, n_prosody: int = 0, n_times: int = 30) -> float:
    """Median time of LiteRT, one thread, on 5 s of log-mel and 30 passes of the head in one call; without features."""
    encoder = Interpreter(model_content=bundle.encoder, num_threads=1).get_signature_runner()
    head = Interpreter(model_content=bundle.head, num_threads=1).get_signature_runner()
    rng = np.random.default_rng(0)
    inputs = {"log_mel": rng.normal(size=(1, round(LATENCY_CLIP_S * FRAMES_PER_SECOND), N_MELS)).astype(np.float32)}
    if n_prosody:
        inputs["prosody"] = np.zeros((1, n_prosody), np.float32)
    masks = {
        f"mask_{number}": np.ones((N_PASSES, width), np.float32) for number, width in enumerate(bundle.mask_widths)
    }
    times_ms = []
    for _ in range(n_times + 3):
        began = time.perf_counter()
        embedding = encoder(**inputs)["embedding"]
        head(embedding=np.repeat(embedding, N_PASSES, axis=0), **masks)
        times_ms.append((time.perf_counter() - began) * 1e3)
    return float(np.median(times_ms[3:]))


def _agreement(
    bundle: LiteRtBundle, network: Network, material: Material, expected: NDArray[np.float64], n_clips: int = 50
) -> float:
    """Share of the first test recordings, spread over all, on which LiteRT names what Keras names."""
    encoder = Interpreter(model_content=bundle.encoder, num_threads=1).get_signature_runner()
    head = Interpreter(model_content=bundle.head, num_threads=1).get_signature_runner()
    masks = {f"mask_{number}": np.ones((1, width), np.float32) for number, width in enumerate(bundle.mask_widths)}
    rows = np.unique(np.linspace(0, len(material.test) - 1, n_clips).astype(int))
    same = 0
    for row in rows:
        index = int(material.test[row])
        inputs = {"log_mel": material.evaluation_view[index][None]}
        if network.n_prosody:
            inputs["prosody"] = material.prosody[index][None]
        logits = head(embedding=encoder(**inputs)["embedding"], **masks)["logits"]
        same += int(logits.argmax() == expected[row].argmax())
    return same / len(rows)


# -- a linear classifier in place of a network


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearResult:
    """What a linear classifier says of the test recordings, as they are and disturbed: (n_test, n_emotions) each."""

    test_probabilities: NDArray[np.float64]
    disturbed_probabilities: NDArray[np.float64]


def run_linear_trial(trial: Trial, material: Material) -> LinearResult:
    """Logistic regression on mean and standard deviation of each mel band over time, for `n_epochs` drawn epochs.

    It hears the very batches that a network would hear. Seconds rather than minutes, and convex: nothing but the
    augmentations differs between two trials. A blended label counts as both labels by their shares.
    """
    features, labels, weights = [], [], []
    for epoch in range(trial.budget.n_epochs):
        for batch in training_batches(trial, material, epoch):
            clips, emotions = np.nonzero(batch.targets)
            features.append(_statistics(batch.log_mels, batch.frame_mask)[clips])
            labels.append(emotions)
            weights.append(batch.targets[clips, emotions])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    classifier.fit(
        np.concatenate(features), np.concatenate(labels), logisticregression__sample_weight=np.concatenate(weights)
    )

    def answers(view: LogMels | None) -> NDArray[np.float64]:
        if view is None:
            return np.zeros((0, len(Emotion)))
        heard = [view[int(index)] for index in material.test]
        rows = [_statistics(one[None], np.ones((1, len(one)), np.float32))[0] for one in heard]
        probabilities = np.zeros((len(rows), len(Emotion)))
        probabilities[:, classifier.classes_] = classifier.predict_proba(np.stack(rows))
        return probabilities

    return LinearResult(
        test_probabilities=answers(material.evaluation_view), disturbed_probabilities=answers(material.disturbed_view)
    )


def _statistics(log_mels: NDArray[np.float32], frame_mask: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean and standard deviation over the frames of each clip: (n_clips, 2 n_mels)."""
    wide = frame_mask[:, :, None].astype(np.float64)
    n_frames = np.maximum(wide.sum(axis=1), 1)
    mean = (log_mels * wide).sum(axis=1) / n_frames
    variance = (np.square(log_mels - mean[:, None]) * wide).sum(axis=1) / n_frames
    return np.concatenate([mean, np.sqrt(variance)], axis=1)


# -- tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Figures of one set of answers on one test part, with 95 % bootstrap intervals over its recordings."""

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    uar: float
    uar_low: float
    uar_high: float


def score_answers(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Score:
    """Accuracy and unweighted average recall of `probabilities`, (n_clips, n_emotions)."""
    named = probabilities.argmax(axis=1)
    of_accuracy = bootstrap_interval(accuracy, labels, named)
    of_uar = bootstrap_interval(unweighted_average_recall, labels, named)
    return Score(
        accuracy=accuracy(labels, named),
        accuracy_low=of_accuracy.low,
        accuracy_high=of_accuracy.high,
        uar=unweighted_average_recall(labels, named),
        uar_low=of_uar.low,
        uar_high=of_uar.high,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRow:
    """One network in the table: what it costs, and its scores by protocol."""

    name: str
    n_parameters: int
    size_bytes: int
    latency_ms: float
    scores: Mapping[str, Score]
    """By protocol."""


def networks_table(rows: Sequence[NetworkRow]) -> str:
    """Markdown, one line per network; two score columns per protocol."""
    protocols = list(dict.fromkeys(protocol for row in rows for protocol in row.scores))
    titles = ["network", "parameters", "LiteRT float32, MB", f"latency, {LATENCY_CLIP_S:g} s, ms"]
    for protocol in protocols:
        titles += [f"accuracy, %: {protocol}", "UAR, %"]
    lines = []
    for row in rows:
        cells = [row.name, f"{row.n_parameters:,}", f"{row.size_bytes / 1e6:.2f}", f"{row.latency_ms:.1f}"]
        for protocol in protocols:
            score = row.scores.get(protocol)
            cells += (
                ["", ""]
                if score is None
                else [
                    _percent(score.accuracy, score.accuracy_low, score.accuracy_high),
                    _percent(score.uar, score.uar_low, score.uar_high),
                ]
            )
        lines.append(cells)
    return _markdown_table(titles, lines)


def augmentations_table(results: Mapping[str, Result | LinearResult], labels: NDArray[np.int64]) -> str:
    """Markdown, one line per trial: UAR clean and disturbed, and the paired difference from its reference.

    `none + X` is compared with `none`, `all - X` with `all`; a positive figure for `none + X`, and a negative one for
    `all - X`, speak for X.
    """
    titles = ["training hears", "UAR clean, %", "difference", "UAR disturbed, %", "difference"]
    lines = []
    for name, result in results.items():
        reference = results.get(name.split(" ")[0])
        cells = [name]
        for answers in ("test_probabilities", "disturbed_probabilities"):
            named = getattr(result, answers).argmax(axis=1)
            cells.append(f"{100 * unweighted_average_recall(labels, named):.1f}")
            if reference is None or reference is result:
                cells.append("")
                continue
            difference = paired_bootstrap_difference(
                unweighted_average_recall, labels, getattr(reference, answers).argmax(axis=1), named
            )
            interval = difference.interval
            cells.append(
                f"{100 * difference.difference:+.1f} ({100 * interval.low:+.1f} to {100 * interval.high:+.1f})"
            )
        lines.append(cells)
    return _markdown_table(titles, lines)


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _markdown_table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [titles, ["---"] * len(titles), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


# -- comparisons


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a comparison reads and writes."""

    manifest: Path
    audio: Path
    cache: Path
    run: Path


def _open_material(
    places: Places,
    *,
    split_name: str,
    budget: Budget,
    augmentations: Sequence[str],
    uses_prosody: bool = False,
    is_disturbed: bool = False,
) -> Material:
    rows, problems = read_manifest(places.manifest)
    for problem in problems:
        _log.warning("left out", path=problem.path, reason=problem.reason)
    recordings = open_recordings(rows, audio=places.audio, folder=places.cache)
    hashes = cached_content_hashes(rows, audio=places.audio, folder=places.cache)
    shared = shared_speaker_split(rows, seed=0, content_hashes=hashes)
    if split_name == "shared":
        split = shared
    else:
        fold = int(split_name.removeprefix("fold_"))
        split = speaker_independent_split(rows, fold=fold, seed=0, content_hashes=hashes)
    return prepare_material(
        recordings,
        split,
        pool=draw_pool(recordings, shared, budget),
        budget=budget,
        augmentations=augmentations,
        views_folder=places.run / "views",
        uses_prosody=uses_prosody,
        is_disturbed=is_disturbed,
    )


def compare_networks(
    places: Places,
    *,
    budget: Budget,
    splits: Sequence[str] = ("shared", "fold_1"),
    networks: Sequence[str] = NETWORKS,
    prosody_networks: Sequence[str] = ("convolutional",),
    prosody_splits: Sequence[str] = ("fold_1",),
    open_material: Callable[..., Material] = _open_material,
) -> list[NetworkRow]:
    """Train every network on every split, weigh them as an ensemble, and write the table; anew after each split.

    Networks with acoustic features come last: measuring those takes as long as training.
    """
    rows: dict[str, NetworkRow] = {}
    for split in splits:
        material = open_material(places, split_name=split, budget=budget, augmentations=tuple(NETWORK_STRENGTHS))
        results = [
            run_trial(trial, material, places.run / trial.name)
            for trial in (_network_trial(name, split, budget=budget) for name in networks)
        ]
        for result in results:
            _add_row(rows, result.trial.network, result, material)
        _add_ensemble_row(rows, results, material, places, split=split)
        write_atomically(places.run / "networks.md", networks_table(list(rows.values())))
    for split in prosody_splits if prosody_networks else ():
        material = open_material(
            places, split_name=split, budget=budget, augmentations=tuple(NETWORK_STRENGTHS), uses_prosody=True
        )
        for name in prosody_networks:
            trial = _network_trial(name, split, budget=budget, uses_prosody=True)
            _add_row(rows, f"{name} + acoustic features", run_trial(trial, material, places.run / trial.name), material)
        write_atomically(places.run / "networks.md", networks_table(list(rows.values())))
    return list(rows.values())


def _network_trial(network: str, split: str, *, budget: Budget, uses_prosody: bool = False) -> Trial:
    return Trial(
        name=f"networks-{split}-{network}{'-prosody' if uses_prosody else ''}",
        network=network,
        split=split,
        strengths=NETWORK_STRENGTHS,
        uses_prosody=uses_prosody,
        budget=budget,
    )


def _add_row(rows: dict[str, NetworkRow], title: str, result: Result, material: Material) -> None:
    """Put `result` into the row of `title`, which is made when it is not there."""
    row = rows.get(title) or NetworkRow(
        name=title,
        n_parameters=result.n_parameters,
        size_bytes=result.size_bytes,
        latency_ms=result.latency_ms,
        scores={},
    )
    score = score_answers(material.labels[material.test], result.test_probabilities)
    rows[title] = replace(row, scores=dict(row.scores) | {result.protocol: score})


def _add_ensemble_row(
    rows: dict[str, NetworkRow], members: Sequence[Result], material: Material, places: Places, *, split: str
) -> None:
    """Weigh `members` on the validation part and put their mixture into its row."""
    title, protocol = "weighted ensemble", material.split.protocol
    weights = fit_ensemble_weights(
        np.stack([member.validation_probabilities for member in members]), material.labels[material.validation]
    )
    named = {member.trial.network: round(float(weight), 3) for member, weight in zip(members, weights, strict=True)}
    _log.info("ensemble", split=split, **named)
    write_atomically(
        places.run / f"networks-{split}-ensemble.json", json.dumps({"weights": named, "protocol": protocol}) + "\n"
    )
    if title not in rows:
        networks = [_train(member.trial, material, places.run / member.trial.name) for member in members]
        bundle = export_ensemble(networks, weights)
        rows[title] = NetworkRow(
            name=title,
            n_parameters=sum(member.n_parameters for member in members),
            size_bytes=bundle.size_bytes,
            latency_ms=measure_latency_ms(bundle),
            scores={},
        )
    answers = ensemble_probabilities(np.stack([member.test_probabilities for member in members]), weights)
    score = score_answers(material.labels[material.test], answers)
    rows[title] = replace(rows[title], scores=dict(rows[title].scores) | {protocol: score})


def ablation_trials(budget: Budget, *, network: str, split: str) -> dict[str, Trial]:
    """By title: none, none + each, all, all - each."""
    everything = dict.fromkeys(AUGMENTATIONS, 1.0)
    strengths: dict[str, dict[str, float]] = {"none": {}, "all": everything}
    for name in AUGMENTATIONS:
        strengths[f"none + {name}"] = {name: 1.0}
        strengths[f"all - {name}"] = {other: 1.0 for other in AUGMENTATIONS if other != name}
    ordered = sorted(strengths, key=lambda title: (title.split(" ")[0] != "none", " " in title))
    return {
        title: Trial(
            name=f"augmentations-{split}-seed-{budget.seed}-"
            + title.replace(" + ", "-with-").replace(" - ", "-without-"),
            network=network,
            split=split,
            strengths=strengths[title],
            uses_prosody=False,
            budget=budget,
        )
        for title in ordered
    }


def compare_augmentations(
    places: Places,
    *,
    budget: Budget,
    network: str = "convolutional",
    split: str = "fold_1",
    open_material: Callable[..., Material] = _open_material,
) -> str:
    """Train every trial of the ablation and write the table; it is written anew after each trial."""
    material = open_material(places, split_name=split, budget=budget, augmentations=AUGMENTATIONS, is_disturbed=True)
    labels = material.labels[material.test]
    results: dict[str, Result | LinearResult] = {}
    table = ""
    for title, trial in ablation_trials(budget, network=network, split=split).items():
        if network == LINEAR:
            results[title] = run_linear_trial(trial, material)
        else:
            results[title] = run_trial(trial, material, places.run / trial.name)
            keras.backend.clear_session()
        _log.info(trial.name, n_training=len(material.training), n_test=len(material.test))
        table = augmentations_table(results, labels)
        write_atomically(places.run / f"augmentations-{network}-seed-{budget.seed}.md", table)
    return table
