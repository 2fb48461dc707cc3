"""Sums of whole days beside the usage ledger."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


def sums() -> list[sa.Column[Any]]:
    counted = ("n_requests", "n_refused", "n_failed", "n_calls", "n_predictions")
    return [
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in counted),
        sa.Column("audio_s", sa.Double, nullable=False),
        sa.Column("first_at", sa.DateTime, nullable=False),
        sa.Column("last_at", sa.DateTime, nullable=False),
    ]


def upgrade() -> None:
    op.create_table(
        "usage_days",
        sa.Column("day", sa.DateTime, primary_key=True),
        sa.Column("n_late", sa.BigInteger, primary_key=True),
        sa.Column("summed_up_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "usage_late",
        sa.Column("day", sa.DateTime, nullable=False),
        sa.Column("noted_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "usage_day_callers",
        sa.Column("day", sa.DateTime, nullable=False),
        sa.Column("user_id", sa.Uuid),
        sa.Column("key_id", sa.Uuid),
        sa.Column("plan", sa.Text),
        *sums(),
    )
    op.create_table(
        "usage_day_routes",
        sa.Column("day", sa.DateTime, nullable=False),
        sa.Column("user_id", sa.Uuid),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        *sums(),
    )
    op.create_table(
        "usage_day_answers",
        sa.Column("day", sa.DateTime, nullable=False),
        sa.Column("user_id", sa.Uuid),
        *(sa.Column(f"n_{emotion}", sa.BigInteger, nullable=False) for emotion in EMOTIONS),
        *(sa.Column(f"n_confidence_{number:02}", sa.BigInteger, nullable=False) for number in range(20)),
        sa.Column("latencies", sa.Text, nullable=False),
    )
    op.create_table(
        "usage_day_latencies",
        sa.Column("day", sa.DateTime, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("latencies", sa.Text, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        for table in ("usage_day_callers", "usage_day_routes", "usage_day_answers"):
            op.create_index(f"ix_{table}_user_id", table, ["user_id", "day"])
        for table in ("usage_day_callers", "usage_day_routes", "usage_day_answers", "usage_day_latencies"):
            op.create_index(f"ix_{table}_day", table, ["day"])
