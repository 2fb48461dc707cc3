"""Answers to repeated requests, sealed. Those that stood in the clear are forgotten."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.drop_table("idempotency_answers")
    op.drop_table("idempotency_keys")
    op.create_table(
        "kept_keys",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("owner_id", sa.Uuid, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "kept_answers",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("owner_id", sa.Uuid, nullable=False),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
    )
