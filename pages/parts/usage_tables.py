"""Tables of usage. A frame here is a view: its columns stand in the docstring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from uuid import UUID

import pandas as pd
import streamlit as st

from core.domain import ApiKey, MonthUsage
from core.plans import Plan
from core.store.usage import UsageFigures, UsageInBucket, UsageOfKey, UsageOfPlan, UsageOfRoute, UsageOfUser
from pages.parts import usage_words, words
from pages.parts.people_names import Names, last_use
from pages.parts.usage_words import Trouble

MOST_ROWS = 10
"""Longer tables scroll."""
ROW_HEIGHT_PX = 38
NO_PLAN = "no plan"


def draw(frame: pd.DataFrame, *, key: str, alt: str) -> None:
    """Draw a table of usage."""
    st.dataframe(
        frame,
        key=key,
        hide_index=True,
        row_height=ROW_HEIGHT_PX,
        height=ROW_HEIGHT_PX * (MOST_ROWS + 1) if len(frame) > MOST_ROWS else "content",
        placeholder="\u2013",
        column_config={name: column for name, column in _columns().items() if name in frame.columns},
        alt=alt,
    )


def users_frame(shown: Iterable[UsageOfUser], names: Names, *, zone: tzinfo) -> pd.DataFrame:
    """Columns User, Calls, Predictions, Requests, Refused, Failed, Sound, Last request."""
    rows = [(names.user(each.user_id), *_figures(each.figures), _when(each.figures.last_at, zone)) for each in shown]
    return pd.DataFrame(rows, columns=["User", *_FIGURES, "Last request"])


def keys_frame(shown: Iterable[UsageOfKey], names: Names, *, zone: tzinfo) -> pd.DataFrame:
    """Columns Key, User, Calls, Predictions, Requests, Refused, Failed, Sound, Last request."""
    rows = [
        (
            names.key(each.key_id),
            names.user(each.user_id),
            *_figures(each.figures),
            _when(each.figures.last_at, zone),
        )
        for each in shown
    ]
    return pd.DataFrame(rows, columns=["Key", "User", *_FIGURES, "Last request"])


def own_keys_frame(shown: Iterable[UsageOfKey], keys: Mapping[UUID, ApiKey], *, zone: tzinfo) -> pd.DataFrame:
    """Columns Key, Calls, Predictions, Requests, Refused, Failed, Sound, Last use; keys nobody used included."""
    used = {each.key_id: each.figures for each in shown}
    rows = []
    for key in keys.values():
        figures = used.pop(key.id, None)
        moment = last_use(key, figures.last_at if figures is not None else None)
        name = f"{key.name} ({key.prefix}\u2026{key.last_four})"
        rows.append((name, *(_figures(figures) if figures is not None else _NOTHING), _when(moment, zone)))
    names = Names(keys=keys)
    rows += [(names.key(key_id), *_figures(figures), _when(figures.last_at, zone)) for key_id, figures in used.items()]
    return pd.DataFrame(rows, columns=["Key", *_FIGURES, "Last use"])


def routes_frame(shown: Iterable[UsageOfRoute]) -> pd.DataFrame:
    """Columns Route, Requests, Refused, Failed, p50, p95, p99 (ms)."""
    rows = [
        (
            f"{each.method} {each.route}",
            each.figures.n_requests,
            each.figures.n_refused,
            each.figures.n_failed,
            each.latency.p50_ms,
            each.latency.p95_ms,
            each.latency.p99_ms,
        )
        for each in shown
    ]
    return pd.DataFrame(rows, columns=["Route", "Requests", "Refused", "Failed", "p50", "p95", "p99"])


def buckets_frame(shown: Sequence[UsageInBucket], *, is_hourly: bool) -> pd.DataFrame:
    """Columns From (UTC), Calls, Predictions, Requests, Refused, Failed, Sound, p95 (ms); the newest first."""
    form = "%-d %b %Y, %H:%M" if is_hourly else "%-d %b %Y"
    rows = [(f"{each.started_at:{form}}", *_figures(each.figures), each.latency.p95_ms) for each in reversed(shown)]
    return pd.DataFrame(rows, columns=["From (UTC)", *_FIGURES, "p95"])


def troubles_frame(shown: Iterable[Trouble]) -> pd.DataFrame:
    """Columns What happened, How often, What helps, Mostly at, Status."""
    rows = [(*_said(trouble), trouble.route, str(trouble.status)) for trouble in shown]
    return pd.DataFrame(rows, columns=["What happened", "How often", "What helps", "Mostly at", "Status"])


def _said(trouble: Trouble) -> tuple[str, int, str]:
    what, helps = usage_words.what_went_wrong(trouble.status)
    return what, trouble.n_requests, helps


def quotas_frame(
    used: Mapping[UUID, MonthUsage], names: Names, plans: Mapping[str, Plan], *, fallback: str
) -> pd.DataFrame:
    """Columns User, Plan, Used (%, of the allowance of which most is used), Calls, Sound; the fullest first.

    `fallback` is the plan of accounts whose own the settings have lost, and of those that are gone.
    """
    rows = []
    for user_id, had in used.items():
        user = names.users.get(user_id)
        name = user.plan if user is not None and user.plan in plans else fallback
        share = usage_words.most_used(plans[name], had)
        rows.append(
            (
                names.user(user_id),
                name,
                None if share is None else 100 * share,
                had.n_calls,
                usage_words.sound(had.audio_s),
            )
        )
    rows.sort(key=lambda row: (-(row[2] or 0), -row[3], row[0]))
    return pd.DataFrame(rows, columns=["User", "Plan", "Used", "Calls", "Sound"])


def plans_frame(shown: Iterable[UsageOfPlan], plans: Mapping[str, Plan], currency: str) -> pd.DataFrame:
    """Columns Plan, Calls, Revenue, Cost, Margin; a last row with their sums.

    A plan that the settings no longer have, and callers without one, cost what the dearest plan's calls cost, and pay
    nothing.
    """
    dearest = max((plan.cost_per_call for plan in plans.values()), default=0.0)
    rows: list[tuple[str, int, float, float]] = []
    for each in shown:
        plan = plans.get(each.plan or "")
        price, cost = (plan.price_per_call, plan.cost_per_call) if plan is not None else (0.0, dearest)
        n_calls = each.figures.n_calls
        rows.append((each.plan or NO_PLAN, n_calls, n_calls * price, n_calls * cost))
    if len(rows) > 1:
        rows.append(("All", *(sum(row[at] for row in rows) for at in (1, 2, 3))))  # type: ignore[arg-type]
    shown_rows = [
        (
            name,
            n_calls,
            usage_words.money(revenue, currency),
            usage_words.money(cost, currency),
            usage_words.money(revenue - cost, currency),
        )
        for name, n_calls, revenue, cost in rows
    ]
    return pd.DataFrame(shown_rows, columns=["Plan", "Calls", "Revenue", "Cost", "Margin"])


_FIGURES = ("Calls", "Predictions", "Requests", "Refused", "Failed", "Sound")
_NOTHING: tuple[object, ...] = (0, 0, 0, 0, 0, usage_words.sound(0.0))


def _figures(figures: UsageFigures) -> tuple[object, ...]:
    return (
        figures.n_calls,
        figures.n_predictions,
        figures.n_requests,
        figures.n_refused,
        figures.n_failed,
        usage_words.sound(figures.audio_s),
    )


def _when(moment: datetime | None, zone: tzinfo) -> str | None:
    return None if moment is None else words.when(moment, zone)


def _columns() -> dict[str, object]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    return {
        "Calls": number(format="localized", width="small", help="Requests that had a model answer: what quotas count."),
        "Predictions": number(format="localized", width="small", help=usage_words.PREDICTIONS_HELP),
        "Requests": number(format="localized", width="small", help=usage_words.REQUESTS_HELP),
        "Refused": number(format="localized", width="small", help="Answered 4xx: the caller can mend it."),
        "Failed": number(format="localized", width="small", help="Answered 5xx: we have to mend it."),
        "Sound": text(width="small", help="Length of the recordings and streams judged."),
        "How often": number(format="localized", width="small"),
        "Status": text(width="small"),
        "What happened": text(width="large"),
        "What helps": text(width="large"),
        "p50": number(format="%.0f ms", width="small", help="Half of the answers took at most so long."),
        "p95": number(format="%.0f ms", width="small", help="95 of 100 answers took at most so long."),
        "p99": number(format="%.0f ms", width="small", help="99 of 100 answers took at most so long."),
        "Used": st.column_config.ProgressColumn(
            min_value=0, max_value=100, format="%.0f %%", help="Of the allowance of which most is used.", width=140
        ),
        "User": text(width="medium"),
        "Key": text(width="medium"),
        "Route": text(width="medium"),
        "Last request": text(width=150),
        "Last use": text(width=150),
    }
