"""The tables. A change here needs a migration beside it in migrations/versions (a test compares the two)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
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
    Column("encoder", Text),
    Column("sketch", LargeBinary),
)
"""What only the whole prediction shows. Apart, since PostgreSQL reads rows whole: counting 100,000 predictions reads
23 MB like this and 187 MB otherwise."""

prediction_own_labels = Table(
    "prediction_own_labels",
    metadata,
    Column("prediction_id", Uuid, primary_key=True),
    Column("probabilities", Text, nullable=False),
)
"""What models with a label set of their own say of labels that are none of the eight emotions, as JSON. Apart: of the
shipped models there is no row."""

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


def emotion_column(emotion: Emotion) -> str:
    """The name of the column that counts answers of `emotion`."""
    return f"n_{emotion}"


def confidence_column(number: int) -> str:
    """The name of the column that counts answers in one of twenty bins of confidence."""
    return f"n_confidence_{number:02}"


def _sums() -> list[Column[Any]]:
    counted = ("n_requests", "n_refused", "n_failed", "n_calls", "n_predictions")
    return [
        *(Column(name, BigInteger, nullable=False) for name in counted),
        Column("audio_s", Double, nullable=False),
        Column("first_at", UtcDateTime, nullable=False),
        Column("last_at", UtcDateTime, nullable=False),
    ]


usage_days = Table(
    "usage_days",
    metadata,
    Column("day", UtcDateTime, primary_key=True),
    Column("n_late", BigInteger, primary_key=True),
    Column("summed_up_at", UtcDateTime, nullable=False),
)
"""Days of the ledger that have been summed up. Its key lets each state of a day be summed up once."""

usage_late = Table(
    "usage_late",
    metadata,
    Column("day", UtcDateTime, nullable=False),
    Column("noted_at", UtcDateTime, nullable=False),
)
"""Writes into days that were over: sums that knew fewer of them than there are now do not hold."""

usage_day_callers = Table(
    "usage_day_callers",
    metadata,
    Column("day", UtcDateTime, nullable=False),
    Column("user_id", Uuid),
    Column("key_id", Uuid),
    Column("plan", Text),
    *_sums(),
)
usage_day_routes = Table(
    "usage_day_routes",
    metadata,
    Column("day", UtcDateTime, nullable=False),
    Column("user_id", Uuid),
    Column("method", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("status", Integer, nullable=False),
    *_sums(),
)
usage_day_answers = Table(
    "usage_day_answers",
    metadata,
    Column("day", UtcDateTime, nullable=False),
    Column("user_id", Uuid),
    *(Column(emotion_column(emotion), BigInteger, nullable=False) for emotion in Emotion),
    *(Column(confidence_column(number), BigInteger, nullable=False) for number in range(20)),
    Column("latencies", Text, nullable=False),
)
usage_day_labels = Table(
    "usage_day_labels",
    metadata,
    Column("day", UtcDateTime, nullable=False),
    Column("user_id", Uuid),
    Column("label", Text, nullable=False),
    Column("n_answers", BigInteger, nullable=False),
)
"""Answers by labels that are none of the eight emotions."""
usage_day_latencies = Table(
    "usage_day_latencies",
    metadata,
    Column("day", UtcDateTime, nullable=False),
    Column("method", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("latencies", Text, nullable=False),
)
"""The sums of days. `latencies` counts answers by bins of their time, as JSON: [[bin, ...], [n, ...]]."""

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, nullable=False),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("event_types", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("previous_secret", Text),
    Column("previous_secret_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("disabled_at", UtcDateTime),
    Column("disabled_because", Text, nullable=False),
)
"""Where messages go. The secrets are sealed; event types stand between commas, none means all."""

webhook_messages = Table(
    "webhook_messages",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("about_id", Uuid),
    Column("created_at", UtcDateTime, nullable=False),
    Column("body", Text, nullable=False),
)
"""What is sent, byte for byte. `about_id` is the recording that it tells of, with which it is deleted."""

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, nullable=False),
    Column("endpoint_id", Uuid, nullable=False),
    Column("message_id", Uuid, nullable=False),
    Column("is_replay", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
"""A message on its way to one endpoint. How that went stands in the ledger of attempts alone."""

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("delivery_id", Uuid, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("owner_id", Uuid, nullable=False),
    Column("happened_at", UtcDateTime, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", Integer),
    Column("duration_ms", Double),
    Column("problem", Text, nullable=False),
    Column("next_at", UtcDateTime),
)
"""Attempts, appended once each has ended; the last one of a delivery says how that stands."""

training_uses = Table(
    "training_uses",
    metadata,
    Column("model_version", Text, primary_key=True),
    Column("recording_id", Uuid, primary_key=True),
    Column("recording_deleted_at", UtcDateTime),
)
"""Which recordings a model version learned from. The row outlives the recording, without its sound or its name."""

recording_terms = Table(
    "recording_terms",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("recording_id", Uuid, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
)
"""When the period of a place is over that a recording has left: it is kept no longer than the shortest it was in."""

report_schedules = Table(
    "report_schedules",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, nullable=False),
    Column("title", Text, nullable=False),
    Column("filter", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("cron", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("recipients", Text, nullable=False),
    Column("is_paused", Boolean, nullable=False),
    Column("stopped_because", Text, nullable=False),
    Column("counts_from", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

report_events = Table(
    "report_events",
    metadata,
    Column("run_id", Uuid, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("recipient", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("schedule_id", Uuid, nullable=False),
    Column("owner_id", Uuid, nullable=False),
    Column("happened_at", UtcDateTime, nullable=False),
    Column("first_due_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("is_by_hand", Boolean, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("n_predictions", Integer),
)
"""What became of scheduled reports, as a ledger. Its key lets each thing happen once, whichever of several processes
does it: begin, reach somebody, fail for the third time, end."""

batches = Table(
    "batches",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, nullable=False),
    Column("project_id", Uuid),
    Column("name", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("n_items", Integer, nullable=False),
    Column("n_passes", Integer, nullable=False),
    Column("timeline", Boolean),
    Column("model", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("key_id", Uuid),
    Column("route", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

batch_items = Table(
    "batch_items",
    metadata,
    Column("batch_id", Uuid, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("location", Text, nullable=False),
)

batch_outcomes = Table(
    "batch_outcomes",
    metadata,
    Column("batch_id", Uuid, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("owner_id", Uuid, nullable=False),
    Column("recording_id", Uuid),
    Column("prediction_id", Uuid),
    Column("fingerprint", Text, nullable=False),
    Column("is_repeat", Boolean, nullable=False),
    Column("problem_code", Text, nullable=False),
    Column("problem", Text, nullable=False),
    Column("finished_at", UtcDateTime, nullable=False),
)
"""Its key lets every recording of a batch be scored once, whoever tries and however often: it is appended in the
transaction that appends the prediction."""

kept_keys = Table(
    "kept_keys",
    metadata,
    Column("key", Text, primary_key=True),
    Column("owner_id", Uuid, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
"""Hashes of the keys that repeated requests come with, each bound to who sent it."""

kept_answers = Table(
    "kept_answers",
    metadata,
    Column("key", Text, primary_key=True),
    Column("owner_id", Uuid, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("about", Text, nullable=False),
)
"""What the first request with a key asked for and was answered, sealed, and the ids of all that it tells of."""

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

data_sets = Table(
    "data_sets",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

data_set_clips = Table(
    "data_set_clips",
    metadata,
    Column("data_set_id", Uuid, nullable=False),
    Column("position", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("speaker", Text, nullable=False),
    Column("duration_s", Double, nullable=False),
    Column("problem", Text, nullable=False),
)
"""Files of data sets; those with a problem have no sound."""

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

labelling_blindfolds = Table(
    "labelling_blindfolds",
    metadata,
    Column("project_id", Uuid, nullable=False),
    Column("annotator_id", Uuid, nullable=False),
)
"""Who rates a project blind now: what its newest settings say, as rows, since every question about predictions asks.
Without a key: DuckDB takes no row back that one transaction deleted and inserts again."""

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
    Column("given_by", Uuid),
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
    Column("start_s", Double),
    Column("end_s", Double),
)
