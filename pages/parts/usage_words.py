"""What figures of usage mean, said to people who are not engineers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.domain import MonthUsage
from core.plans import Plan
from core.store.usage import StatusCount, month_of
from pages.parts import words

REQUESTS_HELP = "Calls of the API, and actions on pages that have something judged."
PREDICTIONS_HELP = "How often a model answered: once for a recording, for a live stream and for an explanation."
LATENCY_HELP = (
    "From the first byte of a request to the end of its answer; live streams, which last as long as somebody speaks, "
    "are left out. Half of the answers were faster than the median (p50), 95 of 100 faster than p95."
)
ERRORS_HELP = "Requests that were refused (4xx), which the caller can mend, or that failed (5xx), which we have to."

STATUS_WORDS = {
    400: ("The request could not be read", "Compare it with the examples on /api/docs."),
    401: ("No valid key or session came with it", "Send an API key, or sign in again."),
    403: ("It was not allowed", "The key lacks the scope, or the role the right. An admin can help."),
    404: ("There was no such thing", "It was deleted, never existed, or belongs to somebody else."),
    405: ("The address knows no such method", "Compare it with the examples on /api/docs."),
    408: ("The upload stalled", "Send it again over a steadier connection."),
    409: ("It contradicted what is there", "Read it again, then change it."),
    413: ("The upload was too large", "Send shorter recordings, or compress them."),
    415: ("It was no recording that we can read", "WAV, FLAC, MP3, Ogg, Opus, M4A and WebM are read."),
    422: ("The recording or a parameter could not be used", "The sentence in the answer says what would be right."),
    426: ("A stream was opened like a page", "Connect to it as a WebSocket."),
    429: (
        "Too many calls, or the month's quota was used up",
        "Wait as long as the answer says, or change the plan.",
    ),
    499: ("The caller left before the answer", "Allow more time before giving up."),
    500: ("A mistake of ours", "Tell us the request id: it stands in the answer and in the CSV."),
    503: ("There was too much to do, or the process was stopping", "Try again after as long as the answer says."),
}


def what_went_wrong(status: int) -> tuple[str, str]:
    """What a status above 399 says, and what helps."""
    if status in STATUS_WORDS:
        return STATUS_WORDS[status]
    if status >= 500:
        return f"It failed with status {status}", "Try again; tell us if it stays so."
    return f"It was refused with status {status}", "The sentence in the answer says why."


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """All requests that ended with one status, wherever."""

    status: int
    n_requests: int
    route: str
    """Where it happened most."""


def troubles(counts: Sequence[StatusCount]) -> list[Trouble]:
    """What went wrong, most often first."""
    found: dict[int, list[StatusCount]] = {}
    for count in counts:
        if count.status >= 400:
            found.setdefault(count.status, []).append(count)
    summed = [
        Trouble(
            status=status,
            n_requests=sum(count.n_requests for count in own),
            route=max(own, key=lambda count: count.n_requests).route,
        )
        for status, own in found.items()
    ]
    return sorted(summed, key=lambda trouble: (-trouble.n_requests, trouble.status))


def milliseconds(value_ms: float | None) -> str:
    """`48 ms`, `2.3 s`, or a dash where nothing was measured."""
    return "\u2013" if value_ms is None else words.duration(value_ms / 1e3, exact=True)


def sound(seconds: float) -> str:
    """`42 s`, `3.5 min` or `12.4 h` of sound.

    Examples
    --------
    >>> sound(0), sound(41.6), sound(210), sound(44640)
    ('0 s', '42 s', '3.5 min', '12.4 h')
    """
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5_970 else f"{seconds / 3600:,.1f} h"


def share(part: float, whole: float) -> float:
    """`part` of `whole`; 0 of nothing."""
    return part / whole if whole else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How much of one allowance is used."""

    title: str
    used: str
    allowed: str
    share: float
    """In [0, 1]; more than all of it counts as all."""
    left: str


def quotas(plan: Plan, used: MonthUsage) -> list[Quota]:
    """The allowances of a plan that end somewhere."""
    found = []
    if plan.calls_per_month is not None:
        found.append(
            Quota(
                title="Calls",
                used=f"{used.n_calls:,}",
                allowed=f"{plan.calls_per_month:,}",
                share=_used(used.n_calls, plan.calls_per_month),
                left=f"{max(0, plan.calls_per_month - used.n_calls):,} left",
            )
        )
    if plan.audio_s_per_month is not None:
        found.append(
            Quota(
                title="Sound",
                used=sound(used.audio_s),
                allowed=sound(plan.audio_s_per_month),
                share=_used(used.audio_s, plan.audio_s_per_month),
                left=f"{sound(max(0.0, plan.audio_s_per_month - used.audio_s))} left",
            )
        )
    return found


def _used(part: float, whole: float) -> float:
    """An allowance of nothing is used up."""
    return min(1.0, part / whole) if whole else 1.0


def most_used(plan: Plan, used: MonthUsage) -> float | None:
    """The share of that allowance of which most is used; None for a plan without end."""
    return max((quota.share for quota in quotas(plan, used)), default=None)


def begins_anew(now: datetime) -> str:
    """When quotas begin anew, in a sentence."""
    return f"The month ends, and quotas begin anew, on {month_of(now)[1]:%-d %B %Y}, 0:00 UTC."


def rate(value: float) -> str:
    """So many a minute.

    Examples
    --------
    >>> rate(1234.5), rate(0.125), rate(0.0007), rate(0.0)
    ('1,234.50', '0.12', 'under 0.01', '0')
    """
    if 0 < value < 0.01:
        return "under 0.01"
    return f"{value:,.2f}" if value else "0"


def money(amount: float, currency: str) -> str:
    """`1,234.50 EUR`; amounts below a tenth with four digits, since a call costs less than a cent.

    Examples
    --------
    >>> money(1234.5, "EUR"), money(0.0123, "EUR"), money(0, "EUR"), money(-0.628, "EUR")
    ('1,234.50 EUR', '0.0123 EUR', '0.00 EUR', '-0.63 EUR')
    """
    digits = 4 if 0 < abs(amount) < 0.1 else 2
    return f"{amount:,.{digits}f}\u00a0{currency}".replace("\u00a0", " ")
