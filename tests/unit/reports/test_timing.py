"""When scheduled reports are due, above all when the clocks change."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidParameterError
from core.reports.timing import (
    daily,
    day_begins,
    find_zone,
    last_due,
    moment_of,
    monthly,
    next_due,
    require_cron,
    timing_words,
    weekly,
)

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")]


def fires(cron: str, zone: ZoneInfo, after: datetime, n: int) -> list[str]:
    """The next `n` moments, as clocks in `zone` show them, with their offset."""
    found, moment = [], after
    for _ in range(n):
        moment = next_due(cron, zone, moment)
        found.append(f"{moment.astimezone(zone):%d %b %H:%M %z}")
    return found


def test_time_of_day_stays_when_the_clocks_change():
    after = datetime(2026, 3, 28, 6, tzinfo=UTC)
    assert fires(daily("07:30"), BERLIN, after, 3) == ["28 Mar 07:30 +0100", "29 Mar 07:30 +0200", "30 Mar 07:30 +0200"]


def test_time_that_does_not_exist_fires_when_the_clocks_jump_over_it():
    after = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert fires(daily("02:30"), BERLIN, after, 2) == ["29 Mar 03:00 +0200", "30 Mar 02:30 +0200"]


def test_two_times_that_fall_on_the_jump_fire_once():
    after = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    assert fires("0 * * * *", BERLIN, after, 2) == ["29 Mar 03:00 +0200", "29 Mar 04:00 +0200"]
    assert fires("15 2,3 * * *", BERLIN, after, 3) == ["29 Mar 03:00 +0200", "29 Mar 03:15 +0200", "30 Mar 02:15 +0200"]


def test_hour_that_happens_twice_fires_the_first_time_only():
    after = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert fires(daily("02:30"), BERLIN, after, 2) == ["25 Oct 02:30 +0200", "26 Oct 02:30 +0100"]
    within = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)
    assert fires("0 * * * *", BERLIN, within, 2) == ["25 Oct 03:00 +0100", "25 Oct 04:00 +0100"]


def test_day_that_a_country_left_out_fires_when_the_next_begins():
    """Samoa had no 30 December 2011."""
    apia = ZoneInfo("Pacific/Apia")
    after = datetime(2011, 12, 29, 23, tzinfo=UTC)
    assert fires(daily("08:00"), apia, after, 2) == ["31 Dec 00:00 +1400", "31 Dec 08:00 +1400"]


def test_half_hour_of_lord_howe():
    zone = ZoneInfo("Australia/Lord_Howe")
    after = datetime(2026, 10, 3, 14, 30, tzinfo=UTC)
    assert fires(daily("02:15"), zone, after, 2) == ["04 Oct 02:30 +1100", "05 Oct 02:15 +1100"]


@given(
    zone=st.sampled_from(ZONES),
    cron=st.sampled_from(["0 * * * *", "30 2 * * *", "15 1,2,3 * * 0", "0 0 L * *", "59 23 31 12 *"]),
    after=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1)),
)
def test_last_due_is_the_one_before_the_next(zone, cron, after):
    moment = after.replace(tzinfo=UTC, microsecond=0)
    last = last_due(cron, zone, moment)
    following = next_due(cron, zone, moment)
    assert last <= moment < following
    assert next_due(cron, zone, last) == following
    assert last_due(cron, zone, following) == following


@given(zone=st.sampled_from(ZONES), shown=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)))
def test_clocks_that_show_later_are_never_earlier(zone, shown):
    walls = [shown + timedelta(minutes=minutes) for minutes in (0, 1, 20, 90)]
    moments = [moment_of(wall, zone) for wall in walls]
    assert all(one <= other for one, other in itertools.pairwise(moments))


def test_day_begins_at_midnight_or_when_the_clocks_jump_over_it():
    assert day_begins(date(2026, 7, 1), BERLIN) == datetime(2026, 6, 30, 22, tzinfo=UTC)
    santiago = ZoneInfo("America/Santiago")
    assert day_begins(date(2026, 9, 6), santiago).astimezone(santiago).hour == 1


@pytest.mark.parametrize(
    "cron",
    [
        *("", "daily", "@daily", "* * * * *", "*/5 * * * *", "0,30 7 * * *", "0 7 * *", "0 7 * * * *", "61 7 * * *"),
        *(
            "0 25 * * *",
            "0 0 30 2 *",
            "R 7 * * *",
            "0 R * * *",
            "0 H * * *",
            "0 7 * * *\nBcc: x",
            "0 7 * * 8",
            "é 7 * * *",
        ),
    ],
)
def test_lines_that_are_no_cron_fire_never_or_too_often_are_refused(cron):
    with pytest.raises(InvalidParameterError, match="'cron'"):
        require_cron(cron)


@pytest.mark.parametrize("cron", ["0 7 * * mon-fri", "5 */2 1-15 jan,jul *", "0 7 * * 1#2", "0 6 L * *"])
def test_other_lines_are_taken(cron):
    assert require_cron(cron) == cron
    assert timing_words(cron) in {f"by cron: {cron}", "on the last day of every month at 06:00"}


@pytest.mark.parametrize("make", [lambda: daily("24:00"), lambda: daily("7"), lambda: weekly(7, "07:00")])
def test_times_and_days_out_of_place_are_refused(make):
    with pytest.raises(InvalidParameterError):
        make()


@pytest.mark.parametrize("day", [0, 29, 30, 32])
def test_days_that_some_months_lack_are_refused(day):
    with pytest.raises(InvalidParameterError, match="31 for its last"):
        monthly(day, "07:00")


@pytest.mark.parametrize("name", ["", "Europe", "europe/berlin", "../etc/passwd", "Mars/Base"])
def test_zones_that_do_not_exist_are_refused(name):
    with pytest.raises(InvalidParameterError, match="such as Europe/Berlin"):
        find_zone(name)
