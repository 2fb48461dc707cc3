"""Plans: how much a caller may use, and what that costs. A table of the settings."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from limits import parse_many

from core.errors import InvalidSettingError, UnknownSettingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one kind of caller may use. A quota of 0 means none of it; None means no end."""

    calls_per_month: int | None
    """Calls that cost inference."""
    audio_s_per_month: float | None
    """Seconds of sound judged."""
    limits: str
    """Calls of one key and of one user, in moving windows, such as `10 per second; 10000 per day`."""
    max_concurrent: int
    """Calls of one key (or of one user without a key) that are answered at the same time."""
    max_upload_mb: float
    """Largest body, within `max_upload_mb` and `max_batch_mb` of the settings."""
    price_per_call: float
    """In `currency`; what is earned."""
    cost_per_call: float
    """In `currency`; what it costs to run."""


def default_plans() -> dict[str, Plan]:
    """Free, pro and enterprise."""
    return {
        "free": Plan(
            calls_per_month=10_000,
            audio_s_per_month=36_000.0,
            limits="10 per second; 120 per minute; 5000 per day",
            max_concurrent=4,
            max_upload_mb=25.0,
            price_per_call=0.0,
            cost_per_call=0.0002,
        ),
        "pro": Plan(
            calls_per_month=200_000,
            audio_s_per_month=1_800_000.0,
            limits="30 per second; 1000 per minute; 50000 per day",
            max_concurrent=8,
            max_upload_mb=200.0,
            price_per_call=0.002,
            cost_per_call=0.0002,
        ),
        "enterprise": Plan(
            calls_per_month=None,
            audio_s_per_month=None,
            limits="100 per second; 5000 per minute",
            max_concurrent=32,
            max_upload_mb=200.0,
            price_per_call=0.001,
            cost_per_call=0.0002,
        ),
    }


_RANGES: Mapping[str, tuple[float, float]] = {
    "calls_per_month": (0, 1e12),
    "audio_s_per_month": (0, 1e12),
    "max_concurrent": (1, 10_000),
    "max_upload_mb": (0.001, 10_000),
    "price_per_call": (0, 1e6),
    "cost_per_call": (0, 1e6),
}
_ENDLESS = ("calls_per_month", "audio_s_per_month")


def plans_of(given: object) -> dict[str, Plan]:
    """The default plans with the tables of `given` laid over them; `given` may be the text of a JSON object.

    Raises
    ------
    InvalidSettingError, UnknownSettingError
        A table is no table, a new plan lacks a field, or a value is out of place. `"unlimited"` is the value of a
        quota without end.
    """
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except json.JSONDecodeError as error:
            raise InvalidSettingError("plans", repr(given), "a JSON object of plans") from error
    if not isinstance(given, Mapping):
        raise InvalidSettingError("plans", repr(given), "a table of plans, such as [plans.free]")
    plans = default_plans()
    for name, table in given.items():
        plans[name] = _plan(name, table, plans.get(name))
    return plans


def _plan(name: str, table: object, known: Plan | None) -> Plan:
    if not isinstance(table, Mapping):
        raise InvalidSettingError(f"plans.{name}", repr(table), "a table of fields")
    fields = [field.name for field in dataclasses.fields(Plan)]
    for key in table:
        if key not in fields:
            nearest = difflib.get_close_matches(str(key), fields, n=1, cutoff=0.0)[0]
            raise UnknownSettingError(f"plans.{name}.{key}", f"plans.{name}.{nearest}")
    values = ({} if known is None else dataclasses.asdict(known)) | {
        key: _value(f"plans.{name}.{key}", key, value) for key, value in table.items()
    }
    missing = [field for field in fields if field not in values]
    if missing:
        raise InvalidSettingError(
            f"plans.{name}", f"without {', '.join(missing)}", "a table with every field of a plan"
        )
    return Plan(**values)


def require_limits(name: str, value: object) -> None:
    """Raise InvalidSettingError unless `value` names calls in stretches of time: `10 per second; 5000 per day`."""
    try:
        if not isinstance(value, str) or not parse_many(value):
            raise ValueError
    except ValueError as error:
        raise InvalidSettingError(name, repr(value), "limits such as '10 per second; 5000 per day'") from error


def _value(shown: str, key: str, value: object) -> object:
    if key == "limits":
        require_limits(shown, value)
        return value
    if key in _ENDLESS and value == "unlimited":
        return None
    low, high = _RANGES[key]
    whole = key in ("calls_per_month", "max_concurrent")
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        if not whole:
            return float(value)
        if value == int(value):
            return int(value)
    kind = "whole number" if whole else "number"
    endless = ", or 'unlimited'" if key in _ENDLESS else ""
    raise InvalidSettingError(shown, repr(value), f"a {kind} from {low:g} to {high:g}{endless}")
