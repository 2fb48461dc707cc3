"""Labelling projects, assignments, ratings and what was decided about them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "labelling_settings",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("project_id", sa.Uuid, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("changed_by", sa.Uuid, nullable=False),
        sa.Column("changed_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "labelling_assignments",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("project_id", sa.Uuid, nullable=False),
        sa.Column("recording_id", sa.Uuid, nullable=False),
        sa.Column("annotator_id", sa.Uuid, nullable=False),
        sa.Column("slot", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("assigned_at", sa.DateTime, nullable=False),
        sa.UniqueConstraint("project_id", "recording_id", "slot", "attempt"),
    )
    op.create_table(
        "labelling_ratings",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("assignment_id", sa.Uuid, nullable=False),
        sa.Column("project_id", sa.Uuid, nullable=False),
        sa.Column("recording_id", sa.Uuid, nullable=False),
        sa.Column("annotator_id", sa.Uuid, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("second", sa.Text),
        sa.Column("intensity", sa.Integer),
        sa.Column("flag", sa.Text),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("segments", sa.Text, nullable=False),
        sa.Column("spent_s", sa.Double, nullable=False),
        sa.Column("answer_shown", sa.Text),
        sa.Column("rated_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "labelling_decisions",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("project_id", sa.Uuid, nullable=False),
        sa.Column("recording_id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("decided_by", sa.Uuid, nullable=False),
        sa.Column("decided_at", sa.DateTime, nullable=False),
    )
