"""The strong model: a head of ours on the frozen encoder of Whisper tiny.en.

1. decode, trim, split, as for the other models; 2. the encoder's graph, from weights that stay outside; 3. embeddings
of every recording, clean, disturbed and sped (`training.whisper_features`); 4. heads and scores by protocol; 5. the
head that ships, and its card. Stages that are done are skipped. The encoder learns nothing from these recordings, so
that five folds by speaker are five tests on strangers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import structlog
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from core.domain import Emotion
from core.features.log_mel import N_MELS
from core.inference.registry import CARD, ENCODER, HEAD, VERSION_DIGITS, PublishedEncoder, weights_digest
from training.bundle import MAX_CONTEXT_S, MIN_AGREEMENT, BundleTexts, compare_number_formats
from training.cache import Recordings
from training.corpora import manifest_sha256
from training.export import NumberFormat, export_head, top_agreement
from training.heads import HeadEpoch, HeadPlan, ScalingHead
from training.judge import (
    Answers,
    Embeddings,
    FittedHead,
    answer_split,
    emotion_numbers,
    fit_head,
    joined,
    score,
)
from training.provenance import commit_of_this_code
from training.scores import VOTES, read_votes
from training.strangers import N_RECORDINGS as N_STRANGERS
from training.strangers import accuracy_of_strangers, in_words
from training.train import (
    CAVEATS,
    N_COMPARED,
    N_TEMPERATURE_FOLDS,
    EncoderPlan,
    Material,
    Places,
    describe_run,
    head_log,
    log_scores,
    prepare,
    shared_temperature,
)
from training.training_record import Exposure, write_training_record
from training.whisper import Encoder
from training.whisper_checkpoint import read_weights
from training.whisper_features import COPIES, embed_copies, voice_groups
from training.whisper_install import NUMBER_FORMAT as ENCODER_FORMAT
from training.whisper_install import pooled_encoder, published_encoder, write_encoder
from training.whole_files import digest_of, write_atomically

_log = structlog.get_logger("training")

NAME = "whisper"
CORPORA = ("RAVDESS", "CREMA-D", "TESS", "SAVEE", "nEMO")
PLAN = HeadPlan(n_members=2, width=512, dropout_rates=(0.6, 0.5), n_epochs=30, mixup_alpha=0.8, are_corpora_apart=True)
N_PROBES = 300
"""Recordings on which the exported head must agree with Keras."""
TEXTS = BundleTexts(
    name=NAME,
    description=(
        "Eight emotions from acted English and Polish speech. The strong model: a small network of ours with dropout "
        "on the frozen encoder of Whisper tiny.en, which is installed apart."
    ),
    licence="CC BY-NC-SA 4.0 and research-only data: no commercial use; encoder by OpenAI, MIT",
    protocol=(
        "Scores are those of heads fitted inside each split, set as the head that ships; that one learnt from every "
        "recording listed here, so none of them can test it. The encoder is frozen and heard none of them from us."
    ),
    caveats=(
        *CAVEATS,
        "Most SAVEE sentences differ by emotion, and the encoder was trained to tell words: scores on SAVEE may read "
        "the label from the text.",
        "What OpenAI trained the encoder on is not published; recordings of these corpora may have been among it.",
    ),
)


def make_whisper(places: Places) -> None:
    """Every stage, from the first that is not done."""
    material = prepare(places)
    describe_run(places, material)
    recordings = material.recordings
    weights = read_weights(places.teacher)
    encoder = published_encoder(weights)
    made_with = digest_of(encoder.weights_sha256, encoder.recipe, COPIES, manifest_sha256(recordings.rows))
    folder = places.run / f"{NAME}-{made_with}"
    folder.mkdir(parents=True, exist_ok=True)
    graph = folder / ENCODER
    if not graph.exists():
        write_encoder(weights, graph)
    wanted = material.heard_by(EncoderPlan(name="wanted", corpora=CORPORA))
    embeddings = embed_copies(
        graph,
        recordings,
        wanted,
        groups=voice_groups(recordings, material.folds, material.shared),
        folder=folder,
        audio=places.audio,
    )
    judged = folder / f"scores-{digest_of(asdict(PLAN), N_COMPARED, N_STRANGERS)}.json"
    log = places.run / "heads.jsonl"
    if not judged.exists():
        votes = read_votes(places.manifest.parent / VOTES)
        network = pooled_encoder(weights).encoder
        found = judge_whisper(embeddings, material, network, votes=votes, log=log, audio=places.audio)
        write_atomically(judged, json.dumps(found, indent=1) + "\n")
    judgement = json.loads(judged.read_text())
    record = head_log(log, model=NAME, encoder=NAME, split="")
    final = fit_head(embeddings, recordings, training=wanted, validation=wanted[:0], plan=PLAN, record=record)
    final = replace(final, temperature=float(judgement["temperature"]))
    write_head(
        places.models / NAME,
        final,
        recordings,
        plan=PLAN,
        encoder=encoder,
        texts=replace(TEXTS, caveats=(*TEXTS.caveats, in_words(judgement["strangers"], is_encoder_frozen=True))),
        labelled=wanted,
        probe=embeddings.clean[np.random.default_rng(0).choice(wanted, size=N_PROBES, replace=False)],
        scores=judgement["scores"],
        table=judgement["number_formats"],
    )


def judge_whisper(
    embeddings: Embeddings,
    material: Material,
    encoder: Encoder,
    *,
    votes: Mapping[str, tuple[Emotion, ...]],
    log: Path,
    audio: Path,
) -> dict[str, object]:
    """What a card says of the model, and the `temperature` of the head that ships.

    Parameters
    ----------
    encoder
        The graph's network in Keras.
    log
        Heads' epochs are added to it.
    audio
        Folder that the manifest's paths begin in.

    Returns
    -------
    dict
        `scores` under both protocols; `temperature`; `strangers`, accuracy by disturbance, of all five folds;
        `number_formats`, compared on recordings of fold 1's test part.
    """
    recordings = material.recordings
    scores: list[dict[str, object]] = []

    def add(answers: Answers, title: str, protocol: str, exposure: Exposure) -> None:
        entry = score(
            answers,
            recordings,
            title=title,
            protocol=protocol,
            exposure=exposure,
            corpora=CORPORA,
            name=NAME,
            votes=votes,
        )
        log_scores(entry)
        scores.append(entry)

    def recorder(split: str) -> Callable[[HeadEpoch], None]:
        return head_log(log, model=NAME, encoder=NAME, split=split)

    by_fold: list[Answers] = []
    fitted: list[FittedHead] = []
    for number, split in enumerate(material.folds, start=1):
        answers, head = answer_split(split, embeddings, recordings, PLAN, corpora=CORPORA, record=recorder(split.name))
        by_fold.append(answers)
        fitted.append(head)
        _log.info(f"fold {number} of {len(material.folds)}", **accuracies(answers, recordings))
    grouped = "speaker-independent heads on the frozen encoder"
    add(
        joined(by_fold),
        "Unseen speakers, all five folds",
        f"{grouped}, grouped folds 1 to 5 of 5",
        Exposure.SPEAKER_UNSEEN,
    )
    for number, answers in enumerate(by_fold, start=1):
        add(
            answers,
            f"Unseen speakers, fold {number} of 5",
            f"{grouped}, grouped folds, one at a time",
            Exposure.SPEAKER_UNSEEN,
        )
    add(
        answer_split(
            material.shared,
            embeddings,
            recordings,
            PLAN,
            corpora=CORPORA,
            record=recorder(material.shared.name),
        )[0],
        "80/10/10 split, test part",
        "80/10/10 split, stratified by corpus and emotion, head on the frozen encoder",
        Exposure.SPEAKER_HEARD,
    )
    strangers = accuracy_of_strangers(
        encoder, list(zip(material.folds, fitted, strict=True)), recordings, plan=PLAN, audio=audio
    )
    compared = np.random.default_rng(0).choice(by_fold[0].indices, size=N_COMPARED, replace=False)
    table = compare_number_formats(encoder, fitted[0], recordings, compared)
    for row in table:
        _log.info("number format", **row)
    return {
        "scores": scores,
        "temperature": shared_temperature(fitted[:N_TEMPERATURE_FOLDS], recordings),
        "strangers": strangers,
        "number_formats": table,
    }


def accuracies(answers: Answers, recordings: Recordings) -> dict[str, float]:
    """Accuracy in per cent by corpus."""
    is_right = answers.probabilities.argmax(axis=1) == emotion_numbers(recordings)[answers.indices]
    corpora = np.array([recordings.rows[index].corpus for index in answers.indices])
    return {corpus: round(100 * float(is_right[corpora == corpus].mean()), 1) for corpus in sorted(set(corpora))}


def write_head(
    folder: Path,
    fitted: FittedHead,
    recordings: Recordings,
    *,
    plan: HeadPlan,
    encoder: PublishedEncoder,
    texts: BundleTexts,
    labelled: NDArray[np.int64],
    probe: NDArray[np.float32],
    scores: Sequence[dict[str, object]],
    table: Sequence[dict[str, object]],
) -> None:
    """Write `head.tflite`, `card.json` and `heard.csv` into `folder`; the encoder is installed elsewhere.

    Parameters
    ----------
    probe
        Embeddings (n_clips, n_dims), unscaled, on which the exported head must agree with Keras.
    table
        Of `compare_number_formats`; the encoder as it is installed must agree with Keras too.

    Raises
    ------
    ValueError
        Head or encoder put another emotion on top too often.
    """
    whole = next(float(str(row["agreement_with_keras"])) for row in table if row["number_format"] == ENCODER_FORMAT)
    if whole < MIN_AGREEMENT[ENCODER_FORMAT]:
        raise ValueError(f"{ENCODER_FORMAT} agrees with Keras on {whole:.1%} only")
    folder.mkdir(parents=True, exist_ok=True)
    scaling = ScalingHead(fitted.head, fitted.mean, fitted.scale, fitted.axes)
    n_dims, width = len(fitted.mean), fitted.head.hidden.units
    n_inputs = n_dims if fitted.axes is None else fitted.axes.shape[1]
    masks = np.ones((len(probe), n_inputs), np.float32), np.ones((len(probe), width), np.float32)
    expected = scaling(probe, *masks).numpy()
    export_head(scaling, folder / HEAD, n_dims=n_dims, n_inputs=n_inputs, number_format=NumberFormat.FLOAT16)
    run = Interpreter(str(folder / HEAD)).get_signature_runner()
    given = run(embedding=probe, mask_0=masks[0], mask_1=masks[1])["logits"]
    agreement = top_agreement(given.argmax(axis=1), expected.argmax(axis=1))
    if agreement < MIN_AGREEMENT[NumberFormat.FLOAT16]:
        raise ValueError(f"the exported head agrees with Keras on {agreement:.1%} only")
    data = write_training_record(folder, labelled=[recordings.rows[index] for index in labelled])
    digest = weights_digest(folder, published=encoder)
    card = {
        "name": texts.name,
        "version": f"{texts.name}-{digest[:VERSION_DIGITS]}",
        "description": texts.description,
        "emotions": [str(emotion) for emotion in Emotion],
        "licence": texts.licence,
        "is_commercial_use_allowed": data["is_commercial_use_allowed"],
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit_of_this_code(),
        "number_format": str(ENCODER_FORMAT),
        "agreement_with_keras": whole,
        "encoder": asdict(encoder),
        "data": data,
        "protocol": texts.protocol,
        "scores": list(scores),
        "number_formats": list(table),
        "head": asdict(plan),
        "caveats": list(texts.caveats),
        "serving": {
            "sample_rate_hz": 16_000,
            "n_mels": N_MELS,
            "temperature": fitted.temperature,
            "n_dims": n_dims,
            "mask_widths": [n_inputs, width],
            "dropout_rates": list(plan.dropout_rates),
            "max_context_s": MAX_CONTEXT_S,
        },
    }
    write_atomically(folder / CARD, json.dumps(card, indent=1) + "\n")
