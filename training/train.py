"""The whole way from ../shared/corpora to `data/models/telepathy`: stages that skip what is done.

1. decode and trim every recording; 2. splits; 3. the teacher's layers; 4. encoders, each a student distilled without
labels: `folds_3_to_5` hears the speakers of those folds only, so that the speakers of folds 1 and 2 can be scored
through an encoder that never heard a recording of theirs; `everything`, the one that ships, goes on from it;
`commercial` hears CREMA-D only; 5. their weights rounded to what int8 keeps, and what they say of every recording,
clean and disturbed; 6. heads, scores by protocol, temperature (`training.judge`); 7. export.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import keras
import numpy as np
import structlog
import tensorflow as tf
from numpy.typing import NDArray

from core.domain import Emotion
from training.bundle import MIN_AGREEMENT, BundleTexts, compare_number_formats, write_bundle
from training.cache import LayerCache, Recordings, cached_content_hashes, open_recordings, write_layers
from training.calibrate import fit_temperature
from training.copies import with_sped_copies
from training.corpora import ManifestRow, manifest_sha256, read_manifest
from training.distil import Checkpoint, Phase, distil_side_by_side, distil_together
from training.export import NumberFormat
from training.heads import HeadEpoch, HeadPlan
from training.judge import (
    DISTURBED_SHARE,
    Answers,
    Embeddings,
    FittedHead,
    answer_split,
    embed_all,
    emotion_numbers,
    fit_head,
    joined,
    score,
    select,
)
from training.precision import policy_of_this_machine
from training.provenance import commit_of_this_code
from training.rounding import round_weights
from training.scores import VOTES, read_votes
from training.splits import Split, shared_speaker_split, speaker_independent_splits, write_split
from training.strangers import accuracy_of_strangers, in_words
from training.student import N_BLOCKS, build_student
from training.training_record import Exposure
from training.whisper import Encoder, load_teacher
from training.whole_files import digest_of, write_atomically

_log = structlog.get_logger("training")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderPlan:
    """How one encoder comes to be."""

    name: str
    folds: tuple[int, ...] = (1, 2, 3, 4, 5)
    corpora: tuple[str, ...] = ()
    """Only these, when any are named."""
    n_blocks: int = N_BLOCKS
    begins_as: str = ""
    """Name of the encoder whose weights it starts from; empty for a random start."""
    seed: int = 0
    share_of_nemo: float = 0.34
    """Share of the Polish recordings that is heard: they are a third of all speech."""
    leaves_out_validation: bool = False
    """Whether it does not hear the validation speakers of folds 1 and 2 either. A temperature fitted to voices that the
    encoder was distilled on meets embeddings nearer to the teacher's than those of strangers, and is too sure of them.
    """
    side_by_side: Phase = field(default_factory=lambda: Phase(n_epochs=0, learning_rate=0.0))
    together: Phase = field(default_factory=lambda: Phase(n_epochs=0, learning_rate=0.0))


ENCODERS = (
    EncoderPlan(
        name="folds_3_to_5",
        folds=(3, 4, 5),
        leaves_out_validation=True,
        share_of_nemo=1.0,
        seed=606,
        side_by_side=Phase(n_epochs=3, learning_rate=2e-3),
        together=Phase(n_epochs=7, learning_rate=1e-3, disturbed_share=0.4, seed=1),
    ),
    EncoderPlan(
        name="everything",
        share_of_nemo=1.0,
        begins_as="folds_3_to_5",
        together=Phase(n_epochs=2, learning_rate=7e-4, disturbed_share=0.4, seed=2),
    ),
    EncoderPlan(
        name="commercial",
        corpora=("CREMA-D",),
        n_blocks=2,
        side_by_side=Phase(n_epochs=3, learning_rate=2e-3),
        together=Phase(n_epochs=6, learning_rate=1e-3, disturbed_share=0.3, seed=3),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a run reads and writes."""

    manifest: Path
    audio: Path
    teacher: Path
    run: Path
    models: Path = Path("data/models")

    @property
    def cache(self) -> Path:
        """Decoded recordings and layers; large, and made again when removed."""
        return self.run / "cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What every stage needs: recordings and splits."""

    recordings: Recordings
    folds: tuple[Split, ...]
    shared: Split

    @property
    def rows(self) -> tuple[ManifestRow, ...]:
        """The manifest."""
        return self.recordings.rows

    def heard_by(self, plan: EncoderPlan) -> NDArray[np.int64]:
        """Recordings that an encoder learns from."""
        paths = {path for number in plan.folds for path in self.folds[number - 1].test}
        if plan.corpora:
            paths = {row.path for row in self.rows if row.path in paths and row.corpus in plan.corpora}
        if plan.leaves_out_validation:
            paths -= {path for split in self.folds[:N_TEMPERATURE_FOLDS] for path in split.validation}
        polish = sorted(row.path for row in self.rows if row.path in paths and row.corpus == "nEMO")
        n_unheard = round(len(polish) * (1 - plan.share_of_nemo))
        unheard = set(np.random.default_rng(0).choice(polish, size=n_unheard, replace=False)) if polish else set()
        return self.recordings.indices(paths - unheard)


def prepare(places: Places) -> Material:
    """Decode, trim and split; the same every time for the same manifest."""
    keras.utils.set_random_seed(0)
    rows, problems = read_manifest(places.manifest)
    for problem in problems:
        _log.warning("left out", path=problem.path, reason=problem.reason)
    recordings = open_recordings(rows, audio=places.audio, folder=places.cache)
    hashes = cached_content_hashes(rows, audio=places.audio, folder=places.cache)
    return Material(
        recordings=recordings,
        folds=speaker_independent_splits(rows, seed=0, content_hashes=hashes),
        shared=shared_speaker_split(rows, seed=0, content_hashes=hashes),
    )


def describe_run(places: Places, material: Material) -> None:
    """Add a line to `runs.jsonl`: commit, settings, data hashes and machine; and write the splits beside it."""
    teacher = hashlib.sha256(places.teacher.read_bytes()).hexdigest() if places.teacher.exists() else ""
    described = {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit_of_this_code(),
        "manifest_sha256": manifest_sha256(material.rows),
        "teacher_sha256": teacher,
        "n_recordings": len(material.rows),
        "hours_of_speech": round(float(material.recordings.n_frames.sum()) * 0.02 / 3600, 3),
        "encoders": [asdict(plan) for plan in ENCODERS],
        "head": asdict(HEAD),
        "versions": {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__},
        "n_cores": os.cpu_count(),
        "gpus": [device.name for device in tf.config.list_physical_devices("GPU")],
    }
    with (places.run / "runs.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(described) + "\n")
    for split in (*material.folds, material.shared):
        write_split(split, places.run / "splits")


def teacher_layers(places: Places, material: Material) -> LayerCache:
    """The teacher's stem and its blocks as far as the student goes, for every recording as it is."""
    teacher = None
    name = f"teacher-{N_BLOCKS}-{digest_of(manifest_sha256(material.rows))}"
    if not (places.cache / f"layers-{name}.done").exists():
        keras.mixed_precision.set_global_policy(policy_of_this_machine())
        teacher = load_teacher(places.teacher, n_blocks=N_BLOCKS)
        keras.mixed_precision.set_global_policy("float32")
    return write_layers(
        material.recordings,
        _compiled(teacher) if teacher else _never,
        name=name,
        n_layers=N_BLOCKS + 1,
        width=384,
        folder=places.cache,
    )


def encoder_folder(plan: EncoderPlan, places: Places, material: Material) -> Path:
    """Where an encoder is kept: named by all that it is made with, so that another plan never finds it."""
    made_with = [manifest_sha256(material.rows)]
    while True:
        made_with.append(json.dumps(asdict(plan), sort_keys=True))
        if not plan.begins_as:
            break
        plan = encoder_plan(plan.begins_as)
    name = json.loads(made_with[1])["name"]
    return places.run / f"{name}-{digest_of(*made_with)}"


def encoder_plan(name: str) -> EncoderPlan:
    """The plan of that name."""
    return next(one for one in ENCODERS if one.name == name)


def train_encoder(plan: EncoderPlan, places: Places, material: Material, targets: LayerCache) -> Encoder:
    """The encoder of `plan`, trained as far as it is not yet."""
    folder = encoder_folder(plan, places, material)
    folder.mkdir(parents=True, exist_ok=True)
    keras.mixed_precision.set_global_policy(policy_of_this_machine())
    keras.utils.set_random_seed(plan.seed)
    student = build_student(n_blocks=plan.n_blocks)
    keras.mixed_precision.set_global_policy("float32")
    weights = Checkpoint(folder / "encoder.npz", student.variables)
    if weights.restore():
        return student
    if plan.begins_as:
        earlier = train_encoder(encoder_plan(plan.begins_as), places, material, targets)
        student.set_weights(earlier.get_weights())
    heard = material.heard_by(plan)
    if plan.side_by_side.n_epochs:
        distil_side_by_side(student, material.recordings, targets, heard, phase=plan.side_by_side, folder=folder)
    distil_together(student, material.recordings, targets, heard, phase=plan.together, folder=folder)
    weights.save(1)
    return student


def _compiled(encoder: Encoder):
    return tf.function(
        lambda mels, mask: encoder(mels, mask),
        input_signature=[tf.TensorSpec([None, None, 80]), tf.TensorSpec([None, None])],
    )


def _never(mels: tf.Tensor, mask: tf.Tensor) -> list[tf.Tensor]:
    raise AssertionError("layers are cached")


# -- models


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """One model that ships: which encoder, which corpora, which words on its card."""

    name: str
    encoder: str
    clean_encoder: str
    """Encoder through which folds 1 and 2 are scored; it heard none of their speakers."""
    corpora: tuple[str, ...]
    description: str
    licence: str


MODELS = (
    ModelPlan(
        name="telepathy",
        encoder="everything",
        clean_encoder="folds_3_to_5",
        corpora=("RAVDESS", "CREMA-D", "TESS", "SAVEE", "nEMO"),
        description=(
            "Eight emotions from acted English and Polish speech. Two convolutions and three transformer blocks "
            "of our own, trained from random weights by distillation, then a small network with dropout."
        ),
        licence="CC BY-NC-SA 4.0 and research-only data: no commercial use",
    ),
    ModelPlan(
        name="telepathy-commercial",
        encoder="commercial",
        clean_encoder="",
        corpora=("CREMA-D",),
        description=(
            "Six emotions of CREMA-D (never calm or surprised), for commercial use: a network of the same kind with "
            "two transformer blocks, trained on recordings whose licence allows it."
        ),
        licence="ODbL 1.0 (CREMA-D); distilled from Whisper tiny.en (MIT)",
    ),
)

N_COPIES_OF_HEADS = 1
"""Of every recording at other speeds, that heads learn from beside it."""
EMBEDDINGS = f"embeddings-{digest_of(DISTURBED_SHARE, N_COPIES_OF_HEADS, 'whole files')}.npz"
"""In an encoder's folder; named by what heads learn from."""
HEAD = HeadPlan(n_epochs=30, mixup_alpha=0.8, are_corpora_apart=True)
N_COMPARED = 400
"""Recordings on which number formats are compared: of 120, two percent are two or three."""
N_TEMPERATURE_FOLDS = 2
"""Their validation parts hold some two thousand recordings, enough for one number."""

CAVEATS = (
    "All recordings are acted, most of them in a studio and in few sentences: spontaneous speech is harder.",
    "Accuracy differs between speakers by tens of points; see the scores by fold.",
    "A label is what an actor was asked to show, not what anybody felt. Not for decisions about people.",
)


def make_models(places: Places, *, model: str = "all") -> None:
    """Every stage for the models named, from the first that is not done."""
    material = prepare(places)
    targets = teacher_layers(places, material)
    describe_run(places, material)
    for plan in MODELS:
        if model in ("all", plan.name):
            make_model(plan, places, material, targets)


def make_model(plan: ModelPlan, places: Places, material: Material, targets: LayerCache) -> None:
    """Encoders, embeddings, heads, scores and the bundle of one model."""
    copies = with_sped_copies(material.recordings, n_copies=N_COPIES_OF_HEADS, folder=places.cache)
    labelled = material.heard_by(EncoderPlan(name="labelled", corpora=plan.corpora))
    embeddings: dict[str, Embeddings] = {}
    encoders: dict[str, Encoder] = {}
    folders: list[str] = []
    for name in dict.fromkeys(name for name in (plan.clean_encoder, plan.encoder) if name):
        folder = encoder_folder(encoder_plan(name), places, material)
        folders.append(folder.name)
        encoders[name] = train_encoder(encoder_plan(name), places, material, targets)
        round_weights(encoders[name])
        embeddings[name] = embed_all(
            encoders[name],
            material.recordings,
            path=folder / EMBEDDINGS,
            wanted=labelled,
            heard=material.heard_by(encoder_plan(name)),
            audio=places.audio,
            copies=copies,
            n_copies=N_COPIES_OF_HEADS,
        )
    made_with = digest_of(folders, EMBEDDINGS, asdict(HEAD))
    recordings = material.recordings

    @cache
    def answers_of(split: Split, encoder: str) -> tuple[Answers, FittedHead]:
        record = head_log(places.run / "heads.jsonl", model=plan.name, encoder=encoder, split=split.name)
        return answer_split(split, embeddings[encoder], recordings, HEAD, corpora=plan.corpora, record=record)

    judged = places.run / f"scores-{plan.name}-{made_with}.json"
    if not judged.exists():
        votes = read_votes(places.manifest.parent / VOTES)
        write_atomically(judged, json.dumps(judge_model(plan, answers_of, material, votes=votes), indent=1) + "\n")
    scores = json.loads(judged.read_text())

    noise: tuple[str, ...] = ()
    if plan.clean_encoder:
        disturbed = places.run / f"strangers-{plan.name}-{made_with}.json"
        if not disturbed.exists():
            found = accuracy_of_strangers(
                encoders[plan.clean_encoder],
                [(split, answers_of(split, plan.clean_encoder)[1]) for split in material.folds[:N_TEMPERATURE_FOLDS]],
                recordings,
                plan=HEAD,
                audio=places.audio,
            )
            write_atomically(disturbed, json.dumps(found, indent=1) + "\n")
        noise = (in_words(json.loads(disturbed.read_text())),)

    def fitted_through(encoder: str) -> list[FittedHead]:
        return [answers_of(split, encoder)[1] for split in material.folds[:N_TEMPERATURE_FOLDS]]

    fitted = fitted_through(plan.encoder)
    tempering = temperature_encoder(plan)
    temperature = shared_temperature(fitted if tempering == plan.encoder else fitted_through(tempering), recordings)
    record = head_log(places.run / "heads.jsonl", model=plan.name, encoder=plan.encoder, split="")
    final = fit_head(
        embeddings[plan.encoder], recordings, training=labelled, validation=labelled[:0], plan=HEAD, record=record
    )
    final = replace(final, temperature=temperature)
    unheard = material.folds[0]
    compared_head = fitted[0]
    probe = np.random.default_rng(0).choice(
        embeddings[plan.encoder].among(recordings.indices(unheard.test)),
        size=N_COMPARED,
        replace=False,
    )
    table = compare_number_formats(encoders[plan.encoder], compared_head, recordings, probe)
    for row in table:
        _log.info("number format", **row)
    write_bundle(
        places.models / plan.name,
        encoders[plan.encoder],
        final,
        recordings,
        plan=HEAD,
        texts=BundleTexts(
            name=plan.name,
            description=plan.description,
            licence=plan.licence,
            protocol=(
                "Scores are those of heads fitted inside each split, set as the head that ships; that one learnt from "
                "every recording listed here, so none of them can test it."
            ),
            caveats=(*CAVEATS, *noise),
        ),
        labelled=labelled,
        unlabelled=material.heard_by(encoder_plan(plan.encoder)),
        compare_on=probe,
        scores=scores,
        number_format=best_format(table),
        table=table,
    )


def head_log(path: Path, **told: str) -> Callable[[HeadEpoch], None]:
    """Writes every epoch of a head as a line of `path`, with what it is told now: model, encoder and split."""

    def record(epoch: HeadEpoch) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**told, **asdict(epoch)}) + "\n")

    return record


def judge_model(
    plan: ModelPlan,
    answers_of: Callable[[Split, str], tuple[Answers, FittedHead]],
    material: Material,
    *,
    votes: Mapping[str, tuple[Emotion, ...]],
) -> list[dict[str, object]]:
    """Scores under every protocol, from the answers and the head of a split through the encoder so named."""
    recordings = material.recordings
    scores = []

    def add(answers: Answers, title: str, protocol: str, exposure: Exposure) -> None:
        scores.append(
            score(
                answers,
                recordings,
                title=title,
                protocol=protocol,
                exposure=exposure,
                corpora=plan.corpora,
                name=plan.name,
                votes=votes,
            )
        )

    grouped = "speaker-independent heads, grouped folds"
    by_fold = [answers_of(split, plan.encoder) for split in material.folds]
    all_folds = joined([answers for answers, _ in by_fold])
    if plan.clean_encoder:
        clean = joined([answers_of(split, plan.clean_encoder)[0] for split in material.folds[:2]])
        add(
            clean,
            "Unseen speakers, folds 1 and 2 of 5",
            f"{grouped} 1 and 2 of 5, through an encoder distilled on folds 3 to 5 only",
            Exposure.SPEAKER_UNSEEN,
        )
        add(
            joined([answers for answers, _ in by_fold[:2]]),
            "The same folds through the encoder that ships",
            f"{grouped} 1 and 2 of 5; the encoder heard these recordings in distillation",
            Exposure.RECORDING_HEARD,
        )
    add(
        all_folds,
        "All five folds through the encoder that ships",
        f"{grouped} 1 to 5 of 5; the encoder heard these recordings in distillation",
        Exposure.RECORDING_HEARD,
    )
    for number, (answers, _) in enumerate(by_fold, start=1):
        add(
            answers,
            f"Fold {number} of 5 through the encoder that ships",
            f"{grouped}, one at a time; the encoder heard these recordings in distillation",
            Exposure.RECORDING_HEARD,
        )
    shared, _ = answers_of(material.shared, plan.encoder)
    add(
        shared,
        "80/10/10 split, test part",
        "80/10/10 split, stratified by corpus and emotion; the encoder heard these recordings in distillation",
        Exposure.RECORDING_HEARD,
    )
    if plan.clean_encoder:
        away = {path for split in material.folds[:2] for path in split.test}
        answers, _ = answers_of(material.shared, plan.clean_encoder)
        inside = np.array([recordings.rows[index].path in away for index in answers.indices])
        add(
            select(answers, inside),
            "80/10/10 split, test recordings of the speakers in folds 1 and 2",
            "80/10/10 split, stratified by corpus and emotion, through an encoder that heard none of these speakers",
            Exposure.SPEAKER_HEARD,
        )
    for entry in scores:
        log_scores(entry)
    return scores


def log_scores(entry: dict[str, object]) -> None:
    """Say accuracy and calibration error of one entry of a card's scores, group by group."""
    _log.info(
        str(entry["title"]),
        **{
            group["name"]: f"{group['accuracy']['value']:.3f} ece {group['expected_calibration_error']:.3f}"
            for group in entry["groups"]
            if group["kind"] in ("pooled", "corpus") or group["name"] == "en"
        },
    )


def temperature_encoder(plan: ModelPlan, encoders: Sequence[EncoderPlan] = ENCODERS) -> str:
    """Name of the encoder that the shipped temperature is fitted through: the clean one if validation is new to it."""
    clean = next((one for one in encoders if one.name == plan.clean_encoder), None)
    return clean.name if clean is not None and clean.leaves_out_validation else plan.encoder


def shared_temperature(fitted: Sequence[FittedHead], recordings: Recordings) -> float:
    """Temperature of the head that ships: that of some folds' validation parts together, which no head here heard."""
    logits = np.concatenate([one.validation_logits for one in fitted], axis=1)
    labels = emotion_numbers(recordings)[np.concatenate([one.validation for one in fitted])]
    return fit_temperature(logits, labels)


def best_format(table: Sequence[dict[str, object]]) -> NumberFormat:
    """The smallest number format that agrees with Keras and costs at most a tenth more time than the fastest."""
    fastest = min(float(str(row["cpu_ms_for_5_s"])) for row in table)
    for number_format in (NumberFormat.INT8, NumberFormat.FLOAT16):
        row = next(one for one in table if one["number_format"] == number_format)
        agrees = float(str(row["agreement_with_keras"])) >= MIN_AGREEMENT[number_format]
        if agrees and float(str(row["cpu_ms_for_5_s"])) <= 1.1 * fastest:
            return number_format
    return NumberFormat.FLOAT16
