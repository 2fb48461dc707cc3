"""When recordings are over that have left a place with a shorter period."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "recording_terms",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("recording_id", sa.Uuid, nullable=False),
        sa.Column("ends_at", sa.DateTime, nullable=False),
    )
