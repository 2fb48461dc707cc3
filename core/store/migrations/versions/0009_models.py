"""Deployments of models, and what a model in the shadow says of live traffic."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "model_events",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("happened_at", sa.DateTime, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("actor_id", sa.Uuid),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_table(
        "shadow_answers",
        sa.Column("prediction_id", sa.Uuid, nullable=False),
        sa.Column("recording_id", sa.Uuid, nullable=False),
        sa.Column("answered_at", sa.DateTime, nullable=False),
        sa.Column("champion_version", sa.Text, nullable=False),
        sa.Column("champion_emotion", sa.Text, nullable=False),
        sa.Column("champion_confidence", sa.Double, nullable=False),
        sa.Column("shadow_version", sa.Text, nullable=False),
        sa.Column("shadow_emotion", sa.Text, nullable=False),
        sa.Column("shadow_confidence", sa.Double, nullable=False),
        sa.Column("probabilities", sa.Text, nullable=False),
    )
    op.create_index("shadow_answers_by_version", "shadow_answers", ["shadow_version"])
