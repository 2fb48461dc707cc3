"""The parts that both usage pages draw: figures in a row, charts of a period, quotas, errors, downloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo

import streamlit as st

from core.domain import Label, MonthUsage, Reader
from core.machine import disk_share, memory_share, processor_share, resident_mb
from core.plans import Plan
from core.reports.usage_csv import MAX_ROWS, usage_csv
from core.store.usage import ConfidenceBin, StatusCount, UsageInBucket, UsageSummary
from core.workbench import Workbench
from pages.parts import charts, session, usage_charts, usage_tables, usage_words, words
from pages.parts.people_names import Names
from pages.parts.periods import Period
from pages.parts.theme import surface

N_NEWEST_SHOWN = 200
"""Accuracy is told of the newest so many corrected answers."""


def heading(text: str, *, help: str | None = None) -> None:
    st.markdown(f"##### {text}", help=help, anchors=False)


def summary(shown: UsageSummary, period: Period, *, is_for_admins: bool = False) -> None:
    """Draw what a period amounts to, as figures in a row."""
    figures, latency = shown.figures, shown.latency
    n_wrong = figures.n_refused + figures.n_failed
    row = [
        ("Requests", f"{figures.n_requests:,}", usage_words.REQUESTS_HELP),
        ("Predictions", f"{figures.n_predictions:,}", usage_words.PREDICTIONS_HELP),
        ("Sound judged", usage_words.sound(figures.audio_s), "Length of the recordings and streams judged."),
        (
            "Errors",
            words.percent(usage_words.share(n_wrong, figures.n_requests)) if figures.n_requests else "\u2013",
            f"{usage_words.ERRORS_HELP} {figures.n_refused:,} refused, {figures.n_failed:,} failed.",
        ),
        ("Answer, p50", usage_words.milliseconds(latency.p50_ms), usage_words.LATENCY_HELP),
        ("Answer, p95", usage_words.milliseconds(latency.p95_ms), usage_words.LATENCY_HELP),
    ]
    if is_for_admins:
        since = period.since or shown.first_at or datetime.now(UTC)
        now = datetime.now(UTC)
        a_minute = usage_charts.per_minute(figures.n_predictions, since, now - since, now)
        row.append(("Answer, p99", usage_words.milliseconds(latency.p99_ms), usage_words.LATENCY_HELP))
        row.append(("Per minute", usage_words.rate(a_minute), f"Predictions a minute, on average {period.words}."))
    with st.container(horizontal=True, gap="medium"):
        for label, value, help in row:
            st.metric(label, value, help=help, width=128)


def over_time(buckets: Sequence[UsageInBucket], period: Period, zone: tzinfo, *, key: str) -> None:
    """Draw how many requests there were when, and what became of them."""
    heading(f"Requests by {period.bucket}", help=f"{usage_words.REQUESTS_HELP} {usage_words.ERRORS_HELP}")
    st.html(_key_to_shades([("answered", surface().quiet), ("refused", surface().bar), ("failed", surface().text)]))
    st.plotly_chart(
        usage_charts.requests(buckets, period.bucket_length, zone, surface()),
        key=key,
        config=charts.CONFIG,
        alt=f"Requests by {period.bucket}: {sum(each.figures.n_requests for each in buckets):,} {period.words}",
    )


def latency(buckets: Sequence[UsageInBucket], period: Period, zone: tzinfo, *, key: str) -> None:
    """Draw how long answers took."""
    heading(f"Answer times by {period.bucket}", help=usage_words.LATENCY_HELP)
    st.html(_key_to_shades([("p50", surface().quiet), ("p95", surface().bar), ("p99", surface().text)]))
    st.plotly_chart(
        usage_charts.latency(buckets, period.bucket_length, zone, surface()),
        key=key,
        config=charts.CONFIG,
        alt=f"Median, 95th and 99th percentile of answer times by {period.bucket}",
    )


def predictions(buckets: Sequence[UsageInBucket], period: Period, zone: tzinfo, *, key: str) -> None:
    """Draw predictions a minute."""
    heading("Predictions a minute", help=f"{usage_words.PREDICTIONS_HELP} Averaged over each {period.bucket}.")
    st.plotly_chart(
        usage_charts.predictions_per_minute(buckets, period.bucket_length, datetime.now(UTC), zone, surface()),
        key=key,
        config=charts.CONFIG,
        alt=f"Predictions a minute, averaged over each {period.bucket}",
    )


def emotions(counts: Mapping[Label, int], *, key: str) -> None:
    """Draw how often which emotion was heard."""
    heading("What was heard", help="The most probable label of every answer, live streams included.")
    st.plotly_chart(
        charts.by_emotion(counts, (), surface()),
        key=key,
        config=charts.CONFIG,
        alt="Answers by emotion: " + ", ".join(f"{emotion} {n:,}" for emotion, n in counts.items()),
    )


def confidence(bins: Sequence[ConfidenceBin], *, key: str) -> None:
    """Draw how sure the answers were."""
    heading("How sure answers were", help=words.CONFIDENCE_HELP)
    st.plotly_chart(
        usage_charts.confidence(bins, surface()), key=key, config=charts.CONFIG, alt="Answers by confidence"
    )


def troubles(counts: Sequence[StatusCount], period: Period, *, key: str) -> None:
    """Draw what went wrong, in plain words."""
    heading("What went wrong", help=usage_words.ERRORS_HELP)
    found = usage_words.troubles(counts)
    if not found:
        st.success(f"Nothing went wrong {period.words}.", icon=":material/check_circle:")
        return
    usage_tables.draw(usage_tables.troubles_frame(found), key=key, alt="Requests that were refused or failed")


def quotas(plan_name: str, plan: Plan, used: MonthUsage) -> None:
    """Draw what is left of a plan's monthly allowances."""
    heading("This month", help=usage_words.begins_anew(datetime.now(UTC)))
    bounded = usage_words.quotas(plan, used)
    for quota in bounded:
        text = f"**{quota.title}**: {quota.used} of {quota.allowed} used, {quota.left}"
        st.progress(quota.share, text=text)
    if not bounded:
        st.markdown(f"{used.n_calls:,} calls and {usage_words.sound(used.audio_s)} of sound.", anchors=False)
    ends = usage_words.begins_anew(datetime.now(UTC)) if bounded else "It sets no end to either."
    st.caption(f"Your plan is **{plan_name}**. {ends}")


def health(workbench: Workbench) -> None:
    """Draw how the machine and the process are at this moment."""
    settings = workbench.settings
    memory, processor, disk = memory_share(), processor_share(), disk_share(settings.data_dir)
    for place, (label, share, note) in zip(
        st.columns(3, gap="medium"),
        (
            ("Memory", memory, f"this process: {resident_mb():,.0f} MB"),
            ("Processor", processor, f"{workbench.executor.n_waiting} recordings wait for their turn"),
            ("Disk", disk, f"of the folder {settings.data_dir.name}"),
        ),
        strict=True,
    ):
        place.progress(min(1.0, share), text=f"**{label}**: {words.percent(share)} in use")
        place.caption(note)
    for check in workbench.readiness():
        if not check.ok:
            st.error(check.sentence, icon=":material/error:")


def accuracy(is_right_newest_first: Sequence[bool]) -> None:
    """Draw how often answers that people looked at again had been right."""
    heading("Accuracy on corrected answers", help="Of those that somebody listened to and confirmed or corrected.")
    newest = is_right_newest_first[:N_NEWEST_SHOWN]
    if not newest:
        st.info(
            "No corrections yet. Once people say what they hear themselves, how often the model agreed stands here.",
            icon=":material/rate_review:",
        )
        return
    share = usage_words.share(sum(newest), len(newest))
    st.metric("Right", words.percent(share), help=f"Of the newest {len(newest):,} corrected answers.", width=128)


def download(workbench: Workbench, reader: Reader, period: Period, names: Names, *, key: str) -> None:
    """Offer the ledger of a period as CSV."""
    st.download_button(
        "Download CSV",
        data=session.at_download(
            lambda caller: "".join(
                usage_csv(
                    workbench.store,
                    reader=caller.reader if reader.sees_everything else reader,
                    filter=period.filter,
                    user_names=names.emails,
                    key_names=names.key_names,
                )
            ).encode()
        ),
        file_name="telepathy-usage.csv",
        mime="text/csv",
        key=key,
        icon=":material/download:",
        on_click="ignore",
        help=f"One line for each call {period.words}, newest first, at most {MAX_ROWS:,}.",
    )


def _key_to_shades(shades: Sequence[tuple[str, str]]) -> str:
    items = "".join(f'<span><i style="background:{colour}"></i>{name}</span>' for name, colour in shades)
    return f'<div class="telepathy-key">{items}</div>'
