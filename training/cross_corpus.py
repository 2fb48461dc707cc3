"""How far one corpus teaches another: a head from each corpus alone, asked about all of the others.

Heads stand on the encoder that ships, which heard every recording without labels; emotions count that both corpora
have, and answers are the likeliest among those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.evaluation.classification import unweighted_average_recall
from training.cache import Recordings
from training.heads import HeadPlan
from training.judge import Embeddings, answer, emotion_numbers, fit_head, read_embeddings
from training.train import EMBEDDINGS, HEAD, MODELS, N_COPIES_OF_HEADS, Places, encoder_folder, encoder_plan, prepare


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossCorpus:
    """What the head of one corpus makes of another."""

    learnt_from: str
    asked_about: str
    unweighted_average_recall: float
    n_emotions: int
    """That both have; chance is one over it."""
    n_recordings: int


def cross_corpus(
    embeddings: Embeddings, recordings: Recordings, *, corpora: Sequence[str], plan: HeadPlan
) -> list[CrossCorpus]:
    """Every pair of two of `corpora`; recordings that were not embedded are left out."""
    emotions = emotion_numbers(recordings)
    corpus_of = np.array([row.corpus for row in recordings.rows])
    inside = {corpus: embeddings.among(np.flatnonzero(corpus_of == corpus)) for corpus in corpora}
    found = []
    for learnt_from in corpora:
        training = inside[learnt_from]
        head = fit_head(embeddings, recordings, training=training, validation=training[:0], plan=plan)
        for asked_about in corpora:
            if asked_about == learnt_from:
                continue
            shared = np.intersect1d(emotions[training], emotions[inside[asked_about]])
            asked = inside[asked_about][np.isin(emotions[inside[asked_about]], shared)]
            answers = answer(head, embeddings.clean, asked, plan)
            named = shared[answers.probabilities[:, shared].argmax(axis=1)]
            found.append(
                CrossCorpus(
                    learnt_from=learnt_from,
                    asked_about=asked_about,
                    unweighted_average_recall=unweighted_average_recall(emotions[asked], named),
                    n_emotions=len(shared),
                    n_recordings=len(asked),
                )
            )
    return found


def cross_corpus_table(found: Sequence[CrossCorpus]) -> str:
    """Rows learn, columns are asked about; unweighted average recall in per cent, emotions in brackets."""
    corpora = list(dict.fromkeys(one.learnt_from for one in found))
    cells = {(one.learnt_from, one.asked_about): one for one in found}
    lines = ["| learnt from | " + " | ".join(corpora) + " |", "| --- |" + " ---: |" * len(corpora)]
    for learnt_from in corpora:
        row = [
            f"{100 * one.unweighted_average_recall:.1f} ({one.n_emotions})" if one is not None else ""
            for one in (cells.get((learnt_from, asked_about)) for asked_about in corpora)
        ]
        lines.append(f"| {learnt_from} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def compare_corpora(places: Places) -> str:
    """The table for `telepathy`'s encoder and head plan, from the embeddings that its making kept.

    Raises
    ------
    FileNotFoundError
        `python -m training train --model telepathy` has not come so far in this run folder.
    """
    material = prepare(places)
    model = MODELS[0]
    folder = encoder_folder(encoder_plan(model.encoder), places, material)
    embeddings = read_embeddings(folder / EMBEDDINGS, n_copies=N_COPIES_OF_HEADS)
    return cross_corpus_table(cross_corpus(embeddings, material.recordings, corpora=model.corpora, plan=HEAD))
