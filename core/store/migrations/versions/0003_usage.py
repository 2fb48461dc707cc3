"""The usage ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "usage_events",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("began_at", sa.DateTime, nullable=False),
        sa.Column("user_id", sa.Uuid),
        sa.Column("key_id", sa.Uuid),
        sa.Column("plan", sa.Text),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("duration_ms", sa.Double),
        sa.Column("n_predictions", sa.Integer, nullable=False),
        sa.Column("audio_s", sa.Double, nullable=False),
        sa.Column("emotion", sa.Text),
        sa.Column("confidence", sa.Double),
        sa.Column("model_version", sa.Text),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("ix_usage_events_began_at", "usage_events", ["began_at", "id"])
        op.create_index("ix_usage_events_user_id", "usage_events", ["user_id", "began_at"])
