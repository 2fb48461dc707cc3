"""Batches of recordings, and keys by which a repeated request is known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("owner_id", sa.Uuid, nullable=False),
        sa.Column("project_id", sa.Uuid),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("n_items", sa.Integer, nullable=False),
        sa.Column("n_passes", sa.Integer, nullable=False),
        sa.Column("timeline", sa.Boolean),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("key_id", sa.Uuid),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "batch_items",
        sa.Column("batch_id", sa.Uuid, primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("location", sa.Text, nullable=False),
    )
    op.create_table(
        "batch_outcomes",
        sa.Column("batch_id", sa.Uuid, primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("owner_id", sa.Uuid, nullable=False),
        sa.Column("recording_id", sa.Uuid),
        sa.Column("prediction_id", sa.Uuid),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("is_repeat", sa.Boolean, nullable=False),
        sa.Column("problem_code", sa.Text, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.Column("finished_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("owner_id", sa.Uuid, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "idempotency_answers",
        sa.Column("owner_id", sa.Uuid, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("ix_batches_owner_id", "batches", ["owner_id", "created_at"])
        op.create_index("ix_batch_outcomes_fingerprint", "batch_outcomes", ["owner_id", "fingerprint"])
