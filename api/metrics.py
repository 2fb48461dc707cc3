"""Prometheus metrics of the process. Every label takes its values from a closed list."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0

from core.alerts import rules_of
from core.config import Settings
from core.domain import AttemptOutcome
from core.errors import JobError, StoreError
from core.machine import disk_share, memory_share
from core.workbench import Analysis, Workbench

REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.08, 0.15, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds at and around 2 s, where the alert on latency has its limit: between bounds, a quantile is interpolated."""
STAGE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
CONFIDENCE_BUCKETS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
REFUSALS = (
    "body_too_large",
    "busy",
    "forbidden",
    "invalid_credentials",
    "not_signed_in",
    "quota_exceeded",
    "rate_limited",
    "shutting_down",
    "upload_too_large",
)
"""Codes of refusals that operators count."""
ALERT_RULES = tuple(rule.name for rule in rules_of(Settings()))
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
CONTENT_TYPE = CONTENT_TYPE_PLAIN_1_0_0


class Metrics:
    """The metrics of one API, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "telepathy_http_requests",
            "Requests by route template and status; 499 means that the sender left first.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._request_seconds = Histogram(
            "telepathy_http_request_duration_seconds",
            "From the first byte of a request to the end of its answer.",
            ["route"],
            buckets=REQUEST_BUCKETS_S,
            registry=registry,
        )
        self._predictions = Counter(
            "telepathy_predictions",
            "Predictions stored by this process, by every door.",
            ["emotion", "source", "model"],
            registry=registry,
        )
        self._in_flight = Gauge(
            "telepathy_http_requests_in_flight", "Requests being answered, this one included.", registry=registry
        )
        self._refusals = Counter(
            "telepathy_refusals", "Requests refused, by the code of the problem.", ["code"], registry=registry
        )
        self._confidence = Histogram(
            "telepathy_prediction_confidence",
            "Confidence of stored predictions.",
            ["model"],
            buckets=CONFIDENCE_BUCKETS,
            registry=registry,
        )
        self._abstentions = Counter(
            "telepathy_abstentions", 'Predictions whose answer is "not sure".', registry=registry
        )
        self._stage_seconds = Histogram(
            "telepathy_inference_stage_duration_seconds",
            "Time that one recording spends in each stage.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._audio_seconds = Counter(
            "telepathy_audio_seconds", "Length of the recordings analysed.", registry=registry
        )
        self._queue_depth = Gauge(
            "telepathy_inference_queue_depth", "Recordings waiting for an inference worker.", registry=registry
        )
        self._queue_limit = Gauge(
            "telepathy_inference_queue_limit", "How many may wait before the next is refused.", registry=registry
        )
        self._alerts_open = Gauge("telepathy_alerts_open", "Alerts that last, by rule.", ["rule"], registry=registry)
        self._alerts_unacknowledged = Gauge(
            "telepathy_alerts_unacknowledged", "Alerts that last and that nobody has acknowledged.", registry=registry
        )
        self._deliveries_waiting = Gauge(
            "telepathy_deliveries_waiting", "Mails and webhooks on their way.", registry=registry
        )
        self._webhook_attempts = Counter(
            "telepathy_webhook_attempts",
            "Attempts of this process to deliver a webhook, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        self._webhooks_waiting = Gauge(
            "telepathy_webhook_deliveries_waiting", "Webhooks that were not taken yet.", registry=registry
        )
        self._webhooks_overdue = Gauge(
            "telepathy_webhook_overdue_seconds", "How long the oldest webhook is overdue.", registry=registry
        )
        self._webhooks_lost = Gauge(
            "telepathy_webhook_messages_lost", "Webhooks that could not be kept.", registry=registry
        )
        self._jobs_waiting = Gauge(
            "telepathy_jobs_waiting", "Jobs waiting for their turn in the background.", registry=registry
        )
        self._jobs_oldest_s = Gauge(
            "telepathy_jobs_oldest_waiting_seconds", "How long the oldest of them has waited.", registry=registry
        )
        self._usage_waiting = Gauge(
            "telepathy_usage_lines_waiting", "Lines of the usage ledger noted and not yet written.", registry=registry
        )
        self._usage_lost = Gauge(
            "telepathy_usage_lines_lost", "Lines of the usage ledger that could not be kept.", registry=registry
        )
        self._disk_share = Gauge(
            "telepathy_disk_share", "Share of the disk of `data_dir` in use, 0 to 1.", registry=registry
        )
        Gauge(
            "telepathy_memory_share", "Share of the memory of machine or container in use, 0 to 1.", registry=registry
        ).set_function(memory_share)
        process = psutil.Process()
        Gauge("process_resident_memory_bytes", "Resident memory of the process.", registry=registry).set_function(
            lambda: process.memory_info().rss
        )
        Gauge("process_start_time_seconds", "Unix time at which the process began.", registry=registry).set(
            process.create_time()
        )
        for code in REFUSALS:
            self._refusals.labels(code)
        for outcome in AttemptOutcome:
            self._webhook_attempts.labels(outcome.value)

    def begin_request(self) -> None:
        """Count a request as being answered, until `observe_request`."""
        self._in_flight.inc()

    def observe_request(
        self, method: str, route: str, status: int, duration_s: float, *, problem_code: str | None = None
    ) -> None:
        """Count one answered request. `route` is a template such as `/api/v1/predictions/{prediction_id}`."""
        self._in_flight.dec()
        if problem_code in REFUSALS:
            self._refusals.labels(problem_code).inc()
        self._requests.labels(method if method in METHODS else "other", route, str(status)).inc()
        self._request_seconds.labels(route).observe(duration_s)

    def observe_analysis(self, analysis: Analysis) -> None:
        """Count one stored prediction and the time it took."""
        prediction = analysis.prediction
        self._predictions.labels(prediction.emotion.value, prediction.source.value, prediction.model_version).inc()
        self._confidence.labels(prediction.model_version).observe(prediction.confidence)
        self._abstentions.inc(prediction.abstained)
        self._audio_seconds.inc(prediction.duration_s)
        for stage, duration_s in analysis.stage_durations_s.items():
            self._stage_seconds.labels(stage).observe(duration_s)

    def observe_webhook_attempt(self, outcome: AttemptOutcome) -> None:
        """Count one attempt to deliver a webhook."""
        self._webhook_attempts.labels(outcome.value).inc()

    def render(self, workbench: Workbench | None) -> bytes:
        """All metrics in Prometheus' text format; what only the workbench knows is NaN without it."""
        told: dict[Gauge, Callable[[Workbench], float]] = {
            self._queue_depth: lambda known: known.executor.n_waiting,
            self._queue_limit: lambda known: known.executor.n_queue,
            self._deliveries_waiting: lambda known: known.outbox.n_waiting,
            self._webhooks_lost: lambda known: known.webhooks.n_lost,
            self._usage_waiting: lambda known: known.usage.n_waiting,
            self._usage_lost: lambda known: known.usage.n_lost,
            self._disk_share: _disk_share_of,
        }
        for gauge, tell in told.items():
            gauge.set(math.nan if workbench is None else tell(workbench))
        self._tell_alerts(workbench)
        self._tell_webhooks(workbench)
        self._tell_jobs(workbench)
        return generate_latest(self._registry)

    def _tell_alerts(self, workbench: Workbench | None) -> None:
        """A store that does not answer hides the alerts and nothing else."""
        n_by_rule, n_unacknowledged = dict.fromkeys(ALERT_RULES, math.nan), math.nan
        if workbench is not None:
            with contextlib.suppress(StoreError):
                alerts = workbench.alerts.open_alerts()
                n_by_rule = {name: float(sum(alert.rule == name for alert in alerts)) for name in ALERT_RULES}
                n_unacknowledged = float(sum(alert.acknowledged_at is None for alert in alerts))
        for name, n_open in n_by_rule.items():
            self._alerts_open.labels(name).set(n_open)
        self._alerts_unacknowledged.set(n_unacknowledged)

    def _tell_webhooks(self, workbench: Workbench | None) -> None:
        n_waiting, overdue_s = math.nan, math.nan
        if workbench is not None:
            with contextlib.suppress(StoreError):
                waiting = workbench.webhooks.waiting()
                n_waiting, overdue_s = waiting.n_deliveries, waiting.overdue_s
        self._webhooks_waiting.set(n_waiting)
        self._webhooks_overdue.set(overdue_s)

    def _tell_jobs(self, workbench: Workbench | None) -> None:
        n_waiting, oldest_s = math.nan, math.nan
        if workbench is not None:
            with contextlib.suppress(JobError, StoreError):
                n_waiting, oldest_s = workbench.jobs.waiting()
        self._jobs_waiting.set(n_waiting)
        self._jobs_oldest_s.set(oldest_s)


def _disk_share_of(workbench: Workbench) -> float:
    try:
        return disk_share(workbench.settings.data_dir)
    except OSError:
        return math.nan
