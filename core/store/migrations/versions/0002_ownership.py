"""Every recording has an owner and may be in a project; the same content may be kept once for each owner.

DuckDB changes no table that others refer to, and drops no constraint: the tables are made anew, and the rows copied.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

NOBODY = "00000000-0000-0000-0000-000000000000"
PROBABILITIES = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")

RECORDING_COLUMNS = (
    "sha256, name, size_bytes, duration_s, container, codec, sample_rate_hz, n_channels, format_warnings, source, "
    "created_at"
)
PREDICTION_COLUMNS = (
    "created_at, model_version, source, emotion, confidence, abstained, predictive_entropy_nats, "
    "expected_entropy_nats, mutual_information_nats, "
    + ", ".join(f"probability_{emotion}" for emotion in PROBABILITIES)
    + ", n_passes, duration_s, latency_ms"
)


def upgrade() -> None:
    op.execute("CREATE TABLE recordings_before AS SELECT * FROM recordings")
    op.execute("CREATE TABLE predictions_before AS SELECT * FROM predictions")
    op.drop_table("predictions")
    op.drop_table("recordings")
    op.create_table(
        "recordings",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("owner_id", sa.Uuid, nullable=False),
        sa.Column("project_id", sa.Uuid),
        sa.Column("sha256", sa.Text, nullable=False),
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
        sa.UniqueConstraint("owner_id", "sha256"),
    )
    op.create_table(
        "predictions",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("recording_id", sa.Uuid, sa.ForeignKey("recordings.id"), nullable=False),
        sa.Column("owner_id", sa.Uuid, nullable=False),
        sa.Column("project_id", sa.Uuid),
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
    op.execute(
        f"INSERT INTO recordings (id, owner_id, {RECORDING_COLUMNS}) "  # noqa: S608  # nosec B608 - names written above
        f"SELECT id, CAST('{NOBODY}' AS UUID), {RECORDING_COLUMNS} FROM recordings_before"
    )
    op.execute(
        f"INSERT INTO predictions (id, recording_id, owner_id, {PREDICTION_COLUMNS}) "  # noqa: S608  # nosec B608 - names written above
        f"SELECT id, recording_id, CAST('{NOBODY}' AS UUID), {PREDICTION_COLUMNS} FROM predictions_before"
    )
    op.drop_table("predictions_before")
    op.drop_table("recordings_before")
    op.create_table(
        "training_uses",
        sa.Column("model_version", sa.Text, primary_key=True),
        sa.Column("recording_id", sa.Uuid, primary_key=True),
        sa.Column("recording_deleted_at", sa.DateTime),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("ix_predictions_created_at", "predictions", ["created_at", "id"])
        op.create_index("ix_predictions_confidence", "predictions", ["confidence", "id"])
        op.create_index("ix_predictions_predictive_entropy_nats", "predictions", ["predictive_entropy_nats", "id"])
        op.create_index("ix_predictions_recording_id", "predictions", ["recording_id"])
        op.create_index("ix_predictions_owner_id", "predictions", ["owner_id", "created_at", "id"])
        op.create_index("ix_predictions_project_id", "predictions", ["project_id", "created_at", "id"])
        op.create_index("ix_recordings_project_id", "recordings", ["project_id", "created_at"])
        op.create_index("ix_recordings_sha256", "recordings", ["sha256"])
        op.create_index("ix_training_uses_recording_id", "training_uses", ["recording_id"])
