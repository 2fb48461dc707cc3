"""When a scheduled report is due: lines of cron in a time zone, and what becomes of them when the clocks change.

An hour that happens twice, in autumn, fires the first time only. A time that does not exist, in spring, fires at the
moment the clocks jump over it. Two times that fall on that moment fire once.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from croniter import CroniterBadDateError, croniter

from core.errors import InvalidParameterError

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_FORM = re.compile(r"[0-9A-Za-z*,/#-]+( [0-9A-Za-z*,/#-]+){4}")
_EXPECTED = "five fields of cron whose minute is one number, such as 30 7 * * 1 for Mondays at 7:30"
_SIMPLE = re.compile(r"([0-9]{1,2}) ([0-9]{1,2}) (\*|[0-9]{1,2}|L) \* (\*|[0-7])")


@functools.cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def find_zone(name: str) -> ZoneInfo:
    """The zone of this name. Raises InvalidParameterError."""
    if name not in _zones():
        raise InvalidParameterError("timezone", repr(name[:64]), "a time zone such as Europe/Berlin or UTC")
    return ZoneInfo(name)


def daily(at: str) -> str:
    """The line of cron for every day at this time.

    >>> daily("07:30")
    '30 7 * * *'
    """
    hour, minute = _clock(at)
    return f"{minute} {hour} * * *"


def weekly(weekday: int, at: str) -> str:
    """The line of cron for one day of each week, 0 for Monday to 6 for Sunday.

    >>> weekly(0, "07:30"), weekly(6, "18:00")
    ('30 7 * * 1', '0 18 * * 0')
    """
    if not 0 <= weekday <= 6:
        raise InvalidParameterError("weekday", str(weekday), "0 for Monday to 6 for Sunday")
    hour, minute = _clock(at)
    return f"{minute} {hour} * * {(weekday + 1) % 7}"


def monthly(day: int, at: str) -> str:
    """The line of cron for one day of each month; 31 means its last, whichever that is.

    >>> monthly(1, "07:30"), monthly(31, "07:30")
    ('30 7 1 * *', '30 7 L * *')
    """
    if not (1 <= day <= 28 or day == 31):
        raise InvalidParameterError("day", str(day), "1 to 28, which every month has, or 31 for its last")
    hour, minute = _clock(at)
    return f"{minute} {hour} {'L' if day == 31 else day} * *"


def _clock(at: str) -> tuple[int, int]:
    found = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", at)
    if found is None:
        raise InvalidParameterError("at", repr(at[:20]), "a time of day such as 07:30")
    return int(found[1]), int(found[2])


def require_cron(cron: str) -> str:
    """A line of cron in plain form.

    >>> require_cron(" 30  7 * * mon ")
    '30 7 * * mon'

    Raises
    ------
    InvalidParameterError
        It is none, fires more often than once an hour, or never.
    """
    plain = " ".join(cron.split())
    is_cron = _FORM.fullmatch(plain) is not None and re.fullmatch("[0-9]{1,2}", plain.split()[0]) is not None
    try:
        if not is_cron or re.search(r"\b[rRhH]\b", plain) or not croniter.is_valid(plain):
            raise InvalidParameterError("cron", repr(cron[:60]), _EXPECTED)
        croniter(plain, datetime(2026, 1, 1)).get_next(datetime)
    except CroniterBadDateError as error:
        raise InvalidParameterError("cron", f"{cron[:60]!r}, a day that never comes", _EXPECTED) from error
    return plain


def next_due(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The first moment later than `after` at which `cron` fires in `zone`, in UTC."""
    shown = after.astimezone(zone).replace(tzinfo=None)
    times = croniter(cron, shown)
    while True:
        due = moment_of(times.get_next(datetime), zone)
        if due > after:
            return due


def last_due(cron: str, zone: ZoneInfo, until: datetime) -> datetime:
    """The last moment not later than `until` at which `cron` fired in `zone`, in UTC."""
    # Clocks were never set back by more than a day at once: a wall that far ahead shows no later moment.
    shown = until.astimezone(zone).replace(tzinfo=None) + timedelta(days=1)
    times = croniter(cron, shown)
    while True:
        due = moment_of(times.get_prev(datetime), zone)
        if due <= until:
            return due


def moment_of(shown: datetime, zone: ZoneInfo) -> datetime:
    """The moment, in UTC, at which clocks in `zone` show this: the first of two, or when they jump over it.

    Examples
    --------
    >>> berlin = ZoneInfo("Europe/Berlin")
    >>> moment_of(datetime(2026, 3, 29, 2, 30), berlin).isoformat()
    '2026-03-29T01:00:00+00:00'
    >>> moment_of(datetime(2026, 10, 25, 2, 30), berlin).isoformat()
    '2026-10-25T00:30:00+00:00'
    """
    first = shown.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) == shown:
        return first
    # PEP 495: in a gap, fold 0 counts by the offset before it and fold 1 by the one after; the jump lies between.
    jumped, low = first, shown.replace(tzinfo=zone, fold=1).astimezone(UTC)
    after = jumped.astimezone(zone).utcoffset()
    while jumped - low > timedelta(seconds=1):
        middle = low + (jumped - low) / 2
        if middle.astimezone(zone).utcoffset() == after:
            jumped = middle
        else:
            low = middle
    return jumped.replace(microsecond=0)


def day_begins(day: date, zone: ZoneInfo) -> datetime:
    """The moment, in UTC, at which a day begins in `zone`."""
    return moment_of(datetime(day.year, day.month, day.day), zone)


def timing_words(cron: str) -> str:
    """A line of cron in words, where it is of a simple form.

    >>> timing_words("30 7 * * *"), timing_words("0 18 * * 0"), timing_words("0 6 L * *"), timing_words("5 6 1-3 * *")
    ('every day at 07:30', 'every Sunday at 18:00', 'on the last day of every month at 06:00', 'by cron: 5 6 1-3 * *')
    """
    found = _SIMPLE.fullmatch(cron)
    if found is None or (found[3] != "*" and found[4] != "*"):
        return f"by cron: {cron}"
    at = f"{int(found[2]):02d}:{int(found[1]):02d}"
    if found[4] != "*":
        return f"every {WEEKDAYS[(int(found[4]) - 1) % 7]} at {at}"
    if found[3] == "*":
        return f"every day at {at}"
    day = "the last day" if found[3] == "L" else f"day {int(found[3])}"
    return f"on {day} of every month at {at}"
