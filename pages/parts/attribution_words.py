"""Explanations said to people who are not engineers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.domain import Label
from core.inference.attribution import Attribution, strongest_stretch

SMALLEST_NATS = 0.05
"""A region that moves the odds by less than a twentieth is not worth a sentence."""
MOST_SHARE = 0.5
N_REASONS_FOR, N_REASONS_AGAINST = 3, 2

NATS_HELP = (
    "Numbers are in nats, a unit of evidence: +0.7 about doubles the odds of the emotion, \u22120.7 halves them, "
    "and the numbers of all regions add up."
)
REGIONS_HELP = (
    "The sound is cut into stretches of time and bands from low to high. We ask the model again and again, each time "
    "with other regions replaced by the recording's own background, and share the change of its answer among the "
    "regions (SHAP values). Click a region to hear that stretch alone."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One sentence about a stretch of the recording."""

    start_s: float
    end_s: float
    nats: float
    sentence: str


def target(attribution: Attribution) -> str:
    """What the numbers speak for: `angry`, or `angry rather than calm`."""
    if attribution.contrast is None:
        return attribution.emotion.value
    return f"{attribution.emotion} rather than {attribution.contrast}"


def question(emotion: Label, contrast: Label | None) -> str:
    """The heading: `Why angry?` or `Why angry and not calm?`."""
    return f"Why {emotion}?" if contrast is None else f"Why {emotion} and not {contrast}?"


def stretch(start_s: float, end_s: float) -> str:
    """`0.8 to 1.3 s`, on one line."""
    return f"{start_s:.1f} to {end_s:.1f}\u00a0s"


def band(low_hz: float, high_hz: float, *, top_hz: float) -> str:
    """Where a band lies: `below 760 Hz`, `between 760 Hz and 1.7 kHz`, `above 3.6 kHz`."""
    if low_hz <= 0:
        return f"below {frequency(high_hz)}"
    if high_hz >= top_hz:
        return f"above {frequency(low_hz)}"
    return f"between {frequency(low_hz)} and {frequency(high_hz)}"


def frequency(hz: float) -> str:
    """`760 Hz` or `1.7 kHz`."""
    return f"{hz / 1000:.1f}\u00a0kHz" if round(hz, -1) >= 1000 else f"{round(hz, -1):.0f}\u00a0Hz"


def signed(nats: float, *, n_decimals: int = 2) -> str:
    """`+0.42` or `\u22120.42`."""
    return f"{nats:+.{n_decimals}f}".replace("-", "\u2212")


def odds(log_odds: float) -> str:
    """`3.2 to 1`, or `1 to 9` where it is less likely than not.

    Examples
    --------
    >>> odds(math.log(3.2)), odds(-math.log(9)), odds(0.0)
    ('3.2 to 1', '1 to 9', '1 to 1')
    """
    size = math.exp(min(abs(log_odds), math.log(999)))
    many = "more than 998" if size > 998 else f"{size:.1f}" if size < 9.95 else f"{size:.0f}"
    many = many.removesuffix(".0")
    return f"{many} to 1" if log_odds >= 0 else f"1 to {many}"


def odds_sentence(attribution: Attribution) -> str:
    """From what odds the regions bring the emotion to what."""
    return (
        f"With all of it replaced by background the odds for {target(attribution)} would be "
        f"{odds(attribution.baseline)}; the recording as it is brings them to {odds(attribution.output)}."
    )


def reasons(attribution: Attribution) -> list[Reason]:
    """The strongest reasons, those for the emotion first; at most five.

    The first is the stretch that mattered most, which may be longer than one column of regions.
    """
    edges = attribution.time_edges_s
    by_time = attribution.values.sum(axis=1, dtype=np.float64)
    start_s, end_s = strongest_stretch(attribution)
    is_strongest = (edges[:-1] >= start_s - 1e-9) & (edges[1:] <= end_s + 1e-9)
    found: list[Reason] = []
    strongest_nats = float(by_time[is_strongest].sum())
    if strongest_nats >= SMALLEST_NATS:
        found.append(_reason(attribution, is_strongest, "speaks most for"))
    others = [index for index in np.argsort(-by_time) if not is_strongest[index]]
    for index in others:
        if by_time[index] >= SMALLEST_NATS and len(found) < N_REASONS_FOR:
            found.append(_reason(attribution, np.arange(len(by_time)) == index, "also speaks for"))
    against = [index for index in np.argsort(by_time) if by_time[index] <= -SMALLEST_NATS][:N_REASONS_AGAINST]
    for position, index in enumerate(against):
        verb = "speaks against" if position else "speaks most against"
        if found and is_strongest[index]:
            verb = f"{verb.replace('speaks', 'in the middle of it speaks')}"
        found.append(_reason(attribution, np.arange(len(by_time)) == index, verb))
    return found


def _reason(attribution: Attribution, columns: np.ndarray, verb: str) -> Reason:  # type: ignore[type-arg]
    values = attribution.values[columns].sum(axis=0, dtype=np.float64)
    nats = float(values.sum())
    edges = attribution.time_edges_s
    positions = np.flatnonzero(columns)
    start_s, end_s = float(edges[positions[0]]), float(edges[positions[-1] + 1])
    where = _where(attribution, values if nats > 0 else -values)
    return Reason(
        start_s=start_s,
        end_s=end_s,
        nats=nats,
        sentence=f"The stretch {stretch(start_s, end_s)} {verb} {target(attribution)} ({signed(nats)} nats), {where}.",
    )


def _where(attribution: Attribution, values: np.ndarray) -> str:  # type: ignore[type-arg]
    """Which band carries most of what points the same way."""
    same = np.maximum(values, 0)
    strongest = int(same.argmax())
    share = float(same[strongest] / same.sum())
    edges_hz = attribution.band_edges_hz
    if share < MOST_SHARE:
        return "spread over low and high sounds"
    place = band(float(edges_hz[strongest]), float(edges_hz[strongest + 1]), top_hz=float(edges_hz[-1]))
    return f"{'nearly all' if share > 0.9 else 'most'} of it {place}"


def nothing_stands_out(attribution: Attribution) -> str:
    """Said where there are no reasons."""
    return (
        f"No stretch stands out: none moves the odds for {target(attribution)} by {SMALLEST_NATS} nats or more. "
        "The answer rests on the recording as a whole, or on little."
    )


def region(attribution: Attribution, time: int, number: int) -> str:
    """What one region says, for whoever points at it."""
    edges_s, edges_hz = attribution.time_edges_s, attribution.band_edges_hz
    nats = float(attribution.values[time, number])
    place = band(float(edges_hz[number]), float(edges_hz[number + 1]), top_hz=float(edges_hz[-1]))
    verb = "speaks for" if nats >= 0 else "speaks against"
    when = stretch(float(edges_s[time]), float(edges_s[time + 1]))
    return f"{when}, {place}<br>{verb} {target(attribution)}: {signed(nats)} nats"


def in_words(attribution: Attribution) -> str:
    """The chart for those who cannot see it."""
    said = [reason.sentence for reason in reasons(attribution)] or [nothing_stands_out(attribution)]
    return f"Which regions speak for {target(attribution)}. " + " ".join(said)


LIMITS = (
    "This says what moved the model's answer, not what moved the speaker: a stretch that speaks for angry need not be "
    "where anybody felt anger.",
    "Regions were replaced by background and not by other speech, so their numbers depend on that choice, and small "
    "ones may come out otherwise with other cuts; read the large ones, and listen for yourself.",
)


def provenance(attribution: Attribution) -> str:
    """Which model this is about and how it was found out: no number stands without it."""
    window = attribution.window
    return (
        f"Model **{attribution.model_version}** · asked {attribution.n_evaluations} times about "
        f"{stretch(window.start_s, window.end_s)} · seed {attribution.seed}"
    )
