"""Sums of days count answers by labels that are none of the eight emotions. Days that had some are summed up again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
SUMS = ("usage_day_callers", "usage_day_routes", "usage_day_answers", "usage_day_latencies", "usage_days")


def upgrade() -> None:
    op.create_table(
        "usage_day_labels",
        sa.Column("day", sa.DateTime, nullable=False),
        sa.Column("user_id", sa.Uuid),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("n_answers", sa.BigInteger, nullable=False),
    )
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        op.create_index("ix_usage_day_labels_user_id", "usage_day_labels", ["user_id", "day"])
        op.create_index("ix_usage_day_labels_day", "usage_day_labels", ["day"])
    lines = sa.table("usage_events", sa.column("began_at"), sa.column("emotion"))
    of_own = sa.select(sa.func.date_trunc("day", lines.c.began_at)).distinct().where(lines.c.emotion.not_in(EMOTIONS))
    for day in list(connection.execute(of_own).scalars()):
        for name in SUMS:
            sums = sa.table(name, sa.column("day", sa.DateTime))
            connection.execute(sa.delete(sums).where(sums.c.day == day))
