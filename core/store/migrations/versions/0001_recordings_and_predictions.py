"""Recordings and predictions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

PROBABILITIES = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


def upgrade() -> None:
    op.create_table(
        "recordings",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("sha256", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("duration_s", sa.Double, nullable=False),
        sa.Column("container", sa.Text, nullable=False),
        sa.Column("codec", sa.Text, nullable=False),
        sa.Column("sample_rate_hz", sa.Integer, nullable=False),
        sa.Column("n_channels", sa.Integer, nullable=False),
        sa.Column("format_warnings", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "predictions",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("recording_id", sa.Uuid, sa.ForeignKey("recordings.id"), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("emotion", sa.Text, nullable=False),
        sa.Column("confidence", sa.Double, nullable=False),
        sa.Column("abstained", sa.Boolean, nullable=False),
        sa.Column("predictive_entropy_nats", sa.Double, nullable=False),
        sa.Column("expected_entropy_nats", sa.Double, nullable=False),
        sa.Column("mutual_information_nats", sa.Double, nullable=False),
        *(sa.Column(f"probability_{emotion}", sa.Double) for emotion in PROBABILITIES),
        sa.Column("n_passes", sa.Integer, nullable=False),
        sa.Column("duration_s", sa.Double, nullable=False),
        sa.Column("latency_ms", sa.Double, nullable=False),
    )
    op.create_table(
        "prediction_details",
        sa.Column("prediction_id", sa.Uuid, primary_key=True),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("timeline", sa.Text, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        # DuckDB keeps minima and maxima per row group instead, and forbids most changes to a table with indexes.
        op.create_index("ix_predictions_created_at", "predictions", ["created_at", "id"])
        op.create_index("ix_predictions_confidence", "predictions", ["confidence", "id"])
        op.create_index("ix_predictions_predictive_entropy_nats", "predictions", ["predictive_entropy_nats", "id"])
        op.create_index("ix_predictions_recording_id", "predictions", ["recording_id"])
