"""What labelling means, said to people who are not engineers."""

from __future__ import annotations

import math
from collections.abc import Mapping

from core.domain import QueueKind, Rating, RatingFlag
from core.labelling.consensus import Method
from core.labelling.exchange import Import
from core.labelling.labelling import ReviewClip
from pages.parts.people_names import Names
from pages.parts.words import count, percent

QUEUE_WORDS: Mapping[QueueKind, str] = {
    QueueKind.UNCERTAIN: "Most uncertain",
    QueueKind.LIKELY_WRONG: "Most likely wrong",
    QueueKind.DISAGREEMENT: "Annotators disagree",
    QueueKind.DIVERSE: "Unlike the others",
    QueueKind.RANDOM: "At random",
}
QUEUE_HELP: Mapping[QueueKind, str] = {
    QueueKind.UNCERTAIN: "The model's parts disagree about these most: what it could learn from.",
    QueueKind.LIKELY_WRONG: "The model's own confidence in its answer is the lowest.",
    QueueKind.DISAGREEMENT: "People who rated them gave different labels. Needs two ratings a clip or more.",
    QueueKind.DIVERSE: "Each as different as can be from those before it, so that no kind is missed.",
    QueueKind.RANDOM: "A fair sample. Keep some of it: only on these can accuracy be measured.",
}
QUEUES_HELP = "Of all clips that are given out, how many each rule chooses."
ALPHA_HELP = (
    "Krippendorff's alpha, for labels without an order. 1: all agree; 0: no better than labels drawn by chance. "
    "From 0.80 on labels can be relied upon; from 0.67 to 0.80 conclusions are tentative (Krippendorff 2004). "
    "The interval holds 95 % of what other clips of the same kind would give."
)
PERCENT_HELP = "Of all pairs of ratings of the same clip, how many are equal. Chance alone gives some of it."
KAPPA_HELP = "Cohen's kappa of each two annotators, on the clips both rated: agreement beyond chance, at most 1."
BY_LABEL_HELP = "Where one of two people says this label, how often the other says it too."
ANNOTATOR_HELP = "Against the consensus of all ratings, their own included, and against clips whose label is known."
GOLD_HELP = "Gold clips have a known label. Annotators are not told which they are."
SHARE_HELP = "How much of the consensus this label has: with a majority, the share of ratings that say so."
METHOD_WORDS: Mapping[Method, str] = {Method.MAJORITY: "Majority", Method.DAWID_SKENE: "Dawid and Skene"}
METHOD_HELP = (
    "Majority: each rating counts alike. Dawid and Skene (1979): a rating counts by how reliable its annotator proves, "
    "and for which labels. A label that a reviewer decided counts before either."
)
SEGMENTS_HELP = (
    "Over all pairs of those who drew segments: of the time that one of the two labelled, how much both gave the same "
    "label; and how many of their boundaries lie within a quarter of a second of one of the other's (F-measure)."
)
STRETCH_HELP = (
    "Press a segment, or drag across the picture, to choose it. What you decide counts before what people drew there. "
    "Where as many say one thing as another, the consensus waits for you."
)
FLAG_WORDS = {RatingFlag.CANNOT_TELL: "can't tell", RatingFlag.BAD_AUDIO: "bad audio"}
INTENSITIES = {1: "weak", 2: "medium", 3: "strong"}


def alpha_verdict(alpha: float) -> str:
    """What an alpha means, in a few words.

    >>> alpha_verdict(0.85), alpha_verdict(0.7), alpha_verdict(0.3)
    ('Labels can be relied upon.', 'Good enough for tentative conclusions.', 'Too little to rely on single labels.')
    """
    if math.isnan(alpha):
        return "No clip has two ratings yet."
    if alpha >= 0.8:
        return "Labels can be relied upon."
    if alpha >= 0.667:
        return "Good enough for tentative conclusions."
    return "Too little to rely on single labels."


def number(value: float) -> str:
    """Two digits, or a dash for what cannot be told.

    >>> number(-0.5), number(float("nan"))
    ('\u22120.50', '\u2013')
    """
    return "\u2013" if math.isnan(value) else f"{value:.2f}".replace("-", "\u2212")


def rating_in_words(rating: Rating) -> str:
    """What somebody said of a clip: `angry, strong; or disgust`. Where each segment lies stands in its track."""
    if rating.flag is not None:
        return FLAG_WORDS[rating.flag]
    if rating.segments:
        return f"{count(len(rating.segments), 'segment')}: {', '.join(each.label for each in rating.segments)}"
    strength = f", {INTENSITIES[rating.intensity]}" if rating.intensity is not None else ""
    second = f"; or {rating.second}" if rating.second else ""
    return f"{rating.label}{strength}{second}"


def share(part: int, whole: int) -> str:
    """`3 of 4 (75 %)`; a dash of nothing.

    >>> share(3, 4), share(0, 0)
    ('3 of 4 (75\\xa0%)', '\u2013')
    """
    return f"{part:,} of {whole:,} ({percent(part / whole)})" if whole else "\u2013"


def segments_in_words(clip: ReviewClip) -> str:
    """How far those who drew segments agree; empty where fewer than two did."""
    if math.isnan(clip.time_agreement):
        return ""
    meet = f"; {percent(clip.boundary_agreement)} of their boundaries meet"
    return f"They say the same {percent(clip.time_agreement)} of the time{meet}."


def state(clip: ReviewClip, names: Names) -> str:
    """What is to be done about a clip, or was."""
    if clip.is_contested:
        return "segments to decide"
    decided_by = next((each.adjudicated_by for each in clip.segments if each.adjudicated_by is not None), None)
    if decided_by is not None:
        return f"segments decided by {names.user(decided_by)}"
    if clip.consensus is not None and clip.consensus.adjudicated_by is not None:
        return f"decided by {names.user(clip.consensus.adjudicated_by)}"
    if not clip.ratings:
        return "sent back"
    if clip.disagreement_nats > 0:
        return "people disagree"
    if any(rating.flag is not None for rating in clip.ratings):
        return "somebody could not tell"
    return "rated once" if len(clip.ratings) == 1 else "all agree"


def import_in_words(done: Import) -> str:
    """What became of a file of ratings."""
    new = "1 rating is" if done.n_new == 1 else f"{done.n_new:,} ratings are"
    known = f" {done.n_known:,} were there before." if done.n_known else ""
    left_out = f" {len(done.problems):,} could not be used; each says why." if done.problems else ""
    return f"{new} new.{known}{left_out}"
