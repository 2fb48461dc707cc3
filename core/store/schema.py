"""The tables. A change here needs a migration beside it in migrations/versions (a test compares the two)."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.engine import Dialect

from core.domain import Emotion


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, kept as UTC without zone: what both databases truncate to hours and days alike."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


metadata = MetaData()

recordings = Table(
    "recordings",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, nullable=False),
    Column("project_id", Uuid),
    Column("sha256", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("duration_s", Double, nullable=False),
    Column("container", Text, nullable=False),
    Column("codec", Text, nullable=False),
    Column("sample_rate_hz", Integer, nullable=False),
    Column("n_channels", Integer, nullable=False),
    Column("format_warnings", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("owner_id", "sha256"),
)


def probability_column(emotion: Emotion) -> str:
    """The name of the column that keeps the probability of `emotion`."""
    return f"probability_{emotion}"


predictions = Table(
    "predictions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("recording_id", Uuid, ForeignKey(recordings.c.id), nullable=False),
    Column("owner_id", Uuid, nullable=False),
    Column("project_id", Uuid),
    Column("created_at", UtcDateTime, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("emotion", Text, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("abstained", Boolean, nullable=False),
    Column("predictive_entropy_nats", Double, nullable=False),
    Column("expected_entropy_nats", Double, nullable=False),
    Column("mutual_information_nats", Double, nullable=False),
    *(Column(probability_column(emotion), Double) for emotion in Emotion),
    Column("n_passes", Integer, nullable=False),
    Column("duration_s", Double, nullable=False),
    Column("latency_ms", Double, nullable=False),
)
"""Owner and project are those of the recording, repeated here: whose rows they are is asked in every question, and a
join of 100,000 predictions would cost more than the question."""

prediction_details = Table(
    "prediction_details",
    metadata,
    Column("prediction_id", Uuid, primary_key=True),
    Column("details", Text, nullable=False),
    Column("timeline", Text, nullable=False),
)
"""What only the whole prediction shows. Apart, since PostgreSQL reads rows whole: counting 100,000 predictions reads
23 MB like this and 187 MB otherwise."""

alert_events = Table(
    "alert_events",
    metadata,
    Column("alert_id", Uuid, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("happened_at", UtcDateTime, nullable=False),
    Column("rule", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("value", Double),
    Column("limit_value", Double, nullable=False),
    Column("actor", Text, nullable=False),
)
"""Alerts as a ledger: one row when an alert opens, one when somebody acknowledges it, one when it closes. Its key lets
each happen once, whichever of several processes notices first."""

usage_events = Table(
    "usage_events",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("began_at", UtcDateTime, nullable=False),
    Column("user_id", Uuid),
    Column("key_id", Uuid),
    Column("plan", Text),
    Column("route", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("duration_ms", Double),
    Column("n_predictions", Integer, nullable=False),
    Column("audio_s", Double, nullable=False),
    Column("emotion", Text),
    Column("confidence", Double),
    Column("model_version", Text),
    Column("request_id", Text, nullable=False),
    Column("address", Text, nullable=False),
)
"""The usage ledger. Without a primary key: DuckDB holds one in memory, and a million ids take a fifth of its share."""

training_uses = Table(
    "training_uses",
    metadata,
    Column("model_version", Text, primary_key=True),
    Column("recording_id", Uuid, primary_key=True),
    Column("recording_deleted_at", UtcDateTime),
)
"""Which recordings a model version learned from. The row outlives the recording, without its sound or its name."""

model_events = Table(
    "model_events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("happened_at", UtcDateTime, nullable=False),
    Column("event", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("actor_id", Uuid),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
"""Which model answered since when, as a ledger: deployed, rolled back, in the shadow, no longer in the shadow."""

shadow_answers = Table(
    "shadow_answers",
    metadata,
    Column("prediction_id", Uuid, nullable=False),
    Column("recording_id", Uuid, nullable=False),
    Column("answered_at", UtcDateTime, nullable=False),
    Column("champion_version", Text, nullable=False),
    Column("champion_emotion", Text, nullable=False),
    Column("champion_confidence", Double, nullable=False),
    Column("shadow_version", Text, nullable=False),
    Column("shadow_emotion", Text, nullable=False),
    Column("shadow_confidence", Double, nullable=False),
    Column("probabilities", Text, nullable=False),
)
"""What a model in the shadow said of live traffic. Apart from predictions: nobody was told."""

labelling_settings = Table(
    "labelling_settings",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("project_id", Uuid, nullable=False),
    Column("settings", Text, nullable=False),
    Column("changed_by", Uuid, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)
"""A ledger: the newest row of a project counts."""

labelling_assignments = Table(
    "labelling_assignments",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("project_id", Uuid, nullable=False),
    Column("recording_id", Uuid, nullable=False),
    Column("annotator_id", Uuid, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("assigned_at", UtcDateTime, nullable=False),
    UniqueConstraint("project_id", "recording_id", "slot", "attempt"),
)
"""Only ever appended to. Its id follows from recording and annotator, so that nobody gets a clip twice; the constraint
lets one annotator have each place of a clip, and another after them once theirs ran out (the next attempt)."""

labelling_ratings = Table(
    "labelling_ratings",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("assignment_id", Uuid, nullable=False),
    Column("project_id", Uuid, nullable=False),
    Column("recording_id", Uuid, nullable=False),
    Column("annotator_id", Uuid, nullable=False),
    Column("label", Text),
    Column("second", Text),
    Column("intensity", Integer),
    Column("flag", Text),
    Column("note", Text, nullable=False),
    Column("segments", Text, nullable=False),
    Column("spent_s", Double, nullable=False),
    Column("answer_shown", Text),
    Column("rated_at", UtcDateTime, nullable=False),
)
"""A ledger of what annotators did: rated, skipped, took back. Of one assignment the row with the largest number
counts."""

labelling_decisions = Table(
    "labelling_decisions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("project_id", Uuid, nullable=False),
    Column("recording_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("label", Text),
    Column("note", Text, nullable=False),
    Column("decided_by", Uuid, nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
)
