"""Prometheus metrics of the process. Every label takes its values from a closed list."""

from __future__ import annotations

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0

from core.domain import Emotion, Source
from core.workbench import Analysis, Workbench

REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.08, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STAGE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
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
            ["emotion", "source"],
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
        process = psutil.Process()
        Gauge("process_resident_memory_bytes", "Resident memory of the process.", registry=registry).set_function(
            lambda: process.memory_info().rss
        )
        Gauge("process_start_time_seconds", "Unix time at which the process began.", registry=registry).set(
            process.create_time()
        )
        for emotion in Emotion:
            self._predictions.labels(emotion.value, Source.API.value)

    def observe_request(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Count one answered request. `route` is a template such as `/api/v1/predictions/{prediction_id}`."""
        self._requests.labels(method if method in METHODS else "other", route, str(status)).inc()
        self._request_seconds.labels(route).observe(duration_s)

    def observe_analysis(self, analysis: Analysis) -> None:
        """Count one stored prediction and the time it took."""
        prediction = analysis.prediction
        self._predictions.labels(prediction.emotion.value, prediction.source.value).inc()
        self._abstentions.inc(prediction.abstained)
        self._audio_seconds.inc(prediction.duration_s)
        for stage, duration_s in analysis.stage_durations_s.items():
            self._stage_seconds.labels(stage).observe(duration_s)

    def render(self, workbench: Workbench | None) -> bytes:
        """All metrics in Prometheus' text format."""
        self._queue_depth.set(float("nan") if workbench is None else workbench.executor.n_waiting)
        return generate_latest(self._registry)
