"""Probabilities of labels that are none of the eight emotions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "prediction_own_labels",
        sa.Column("prediction_id", sa.Uuid, primary_key=True),
        sa.Column("probabilities", sa.Text, nullable=False),
    )
