"""Alerts: what admins are told without asking. Rules are numbers from the settings, measurements are functions.

An alert opens once when its measurement passes the limit, stays while that lasts, and closes by itself when the
measurement is clearly back: 5 % below the limit, so that one that trembles there is one alert and not many.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from core.config import Settings
from core.domain import PROCESS, Alert, MonthUsage, User
from core.errors import InvalidSettingError, MailError, TelepathyError
from core.machine import disk_share, host_name, memory_share
from core.mail import Mailer, require_address
from core.outbox import Outbox
from core.plans import Plan
from core.store.alerts import (
    insert_acknowledgement,
    insert_alert,
    insert_closing,
    select_open_alerts,
    select_past_alerts,
)
from core.store.engine import Store
from core.store.usage import UsageFilter, UsageSummary, month_of, select_month_usage_by_user, select_usage_summary
from core.webhooks.posting import is_webhook_url, post_json
from core.webhooks.signing import key_of

BACK_SHARE = 0.95
"""An alert closes once its measurement is at most this share of the limit."""
ITSELF = "telepathy"
"""Who closes an alert whose measurement is back."""
WINDOW = timedelta(minutes=15)
"""Of requests that latency and errors are measured on."""
N_NEWER, N_OLDER = 50, 200
"""Corrected samples whose accuracy is compared with that of those before."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """When to tell, and in which words."""

    name: str
    title: str
    """A few words, for headings and subjects of mails."""
    sentence: str
    """With `{value}`, `{limit}` and `{about}` in it."""
    limit: float
    unit: str
    """`s` or `share`."""
    includes_limit: bool = False
    """Whether reaching the limit is enough."""
    is_of_machine: bool = False
    """Whether each machine measures for itself: then none closes an alert of another."""

    def is_over(self, value: float) -> bool:
        return value >= self.limit if self.includes_limit else value > self.limit

    def is_back(self, value: float) -> bool:
        return not self.is_over(value) and value <= (self.limit if self.includes_limit else BACK_SHARE * self.limit)

    def shown(self, value: float) -> str:
        """`value` with its unit."""
        return f"{value:.3g} s" if self.unit == "s" else f"{100 * value:.3g}\u00a0%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One finding."""

    value: float
    subject: str = ""
    """What it is about, where there are several: the id of a user, the name of a machine."""
    about: str = ""
    """The subject in words."""


Measures = Mapping[str, Callable[[], Sequence[Measured]]]
"""By the name of a rule, what finds its numbers. None found means that all is well: no calls are no slow calls."""


def rules_of(settings: Settings) -> tuple[AlertRule, ...]:
    """The rules, with the limits of the settings."""
    return (
        AlertRule(
            name="latency",
            title="Answers are slow",
            sentence="The slowest 5\u00a0% of requests within 15 minutes took {value} or longer; the limit is {limit}.",
            limit=settings.alert_p95_latency_s,
            unit="s",
        ),
        AlertRule(
            name="errors",
            title="Requests fail",
            sentence="{value} of the requests within 15 minutes failed with 5xx; the limit is {limit}.",
            limit=settings.alert_error_share,
            unit="share",
        ),
        AlertRule(
            name="memory",
            title="Memory is short",
            sentence="{value} of the memory of {about} is in use; the limit is {limit}.",
            limit=settings.alert_memory_share,
            unit="share",
            is_of_machine=True,
        ),
        AlertRule(
            name="disk",
            title="The disk fills up",
            sentence="{value} of the disk of {about} is in use; the limit is {limit}.",
            limit=settings.alert_disk_share,
            unit="share",
            is_of_machine=True,
        ),
        AlertRule(
            name="quota",
            title="A quota is reached",
            sentence="{about} has used {value} of this month's quota; admins are told from {limit} on.",
            limit=settings.alert_quota_share,
            unit="share",
            includes_limit=True,
        ),
        AlertRule(
            name="accuracy",
            title="Accuracy falls",
            sentence=(
                f"Accuracy on the last {N_NEWER} corrected samples is {{value}} below that of the {N_OLDER} before; "
                "the limit is {limit}."
            ),
            limit=settings.alert_accuracy_drop,
            unit="share",
        ),
    )


def measures_of_machine(settings: Settings) -> Measures:
    """Memory, and the disk of `data_dir`."""
    host = host_name()
    return {
        "memory": lambda: [Measured(value=memory_share(), subject=host, about=host)],
        "disk": lambda: [Measured(value=disk_share(settings.data_dir), subject=host, about=host)],
    }


def measures_of_usage(store: Store) -> Measures:
    """Latency and errors of the requests in the usage ledger within 15 minutes."""

    def summary() -> UsageSummary:
        return select_usage_summary(store, reader=PROCESS, filter=UsageFilter(since=datetime.now(UTC) - WINDOW))

    def latency() -> list[Measured]:
        p95_ms = summary().latency.p95_ms
        return [] if p95_ms is None else [Measured(value=p95_ms / 1000)]

    def errors() -> list[Measured]:
        figures = summary().figures
        return [Measured(value=figures.n_failed / figures.n_requests)] if figures.n_requests else []

    return {"latency": latency, "errors": errors}


def measures_of_quotas(store: Store, plans: Mapping[str, Plan], users: Callable[[], Sequence[User]]) -> Measures:
    """How much of their plan's monthly quota users have had: of calls or of seconds of sound, whichever is more."""

    def quota() -> list[Measured]:
        month_start, _ = month_of(datetime.now(UTC))
        used = select_month_usage_by_user(store, reader=PROCESS, month_start=month_start)
        return [
            Measured(
                value=share_of_quota(used[user.id], plans[user.plan]), subject=str(user.id), about=account_of(user.id)
            )
            for user in users()
            if user.id in used and user.plan in plans
        ]

    return {"quota": quota}


def account_of(user_id: UUID) -> str:
    """How an account stands in what is kept of alerts; `naming` makes its address of it."""
    return f"account {user_id}"


def naming(users: Callable[[], Sequence[User]]) -> Callable[[str], str]:
    """What puts addresses in the place of accounts when an alert is shown: none of a deleted account is kept."""

    def named(text: str) -> str:
        if not _ACCOUNT.search(text):
            return text
        addresses = {str(user.id): user.email for user in users()}
        return _ACCOUNT.sub(lambda found: addresses.get(found[1], "an account that was deleted"), text)

    return named


_ACCOUNT = re.compile(r"account ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


def share_of_quota(used: MonthUsage, plan: Plan) -> float:
    """The larger share that is used of the plan's two quotas; those without end, or of nothing, do not count."""
    shares = [0.0]
    if plan.calls_per_month:
        shares.append(used.n_calls / plan.calls_per_month)
    if plan.audio_s_per_month:
        shares.append(used.audio_s / plan.audio_s_per_month)
    return max(shares)


N_CORRECTIONS_NEEDED = N_NEWER + N_OLDER


def accuracy_drop(is_right_newest_first: Sequence[bool]) -> float | None:
    """How far accuracy on the newest 50 corrected samples lies below that of the 200 before; None with fewer.

    >>> accuracy_drop([True] * 25 + [False] * 25 + [True] * 150 + [False] * 50)
    0.25
    >>> accuracy_drop([True] * 249) is None
    True
    """
    newer, older = is_right_newest_first[:N_NEWER], is_right_newest_first[N_NEWER : N_NEWER + N_OLDER]
    if len(older) < N_OLDER:
        return None
    return sum(older) / N_OLDER - sum(newer) / N_NEWER


def measures_of_corrections(corrected_answers: Callable[[], Sequence[bool]]) -> Measures:
    """How far accuracy on corrected samples has fallen; nothing while there are fewer than it takes to say."""

    def accuracy() -> list[Measured]:
        drop = accuracy_drop(corrected_answers())
        return [] if drop is None else [Measured(value=drop)]

    return {"accuracy": accuracy}


class Alerts:
    """The alerts of one store. Safe to share between threads and, by the store, between processes.

    Parameters
    ----------
    measures
        What finds the numbers; a rule without a measure never opens an alert.
    tell
        Called with every alert that opens or closes, once, by whichever process noticed.
    interval_s
        Between two evaluations once `start` was called.
    named
        Puts addresses in the place of accounts, whenever an alert is shown or told of.
    """

    def __init__(
        self,
        store: Store,
        rules: Sequence[AlertRule],
        measures: Measures,
        *,
        tell: Callable[[Alert], None],
        interval_s: float,
        named: Callable[[str], str] = str,
    ) -> None:
        self.rules = tuple(rules)
        self._store = store
        self._measures = dict(measures)
        self._tell = tell
        self._named = named
        self._interval_s = interval_s
        self._evaluating = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def add_measures(self, measures: Measures) -> None:
        """Let `measures` find numbers too."""
        with self._evaluating:
            self._measures |= measures

    @property
    def measured_rules(self) -> tuple[AlertRule, ...]:
        """The rules whose numbers somebody finds."""
        return tuple(rule for rule in self.rules if rule.name in self._measures)

    def start(self) -> None:
        """Evaluate the rules from now on, by a thread of its own."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
            self._thread.start()

    def close(self, *, deadline_s: float = 5.0) -> None:
        """Stop evaluating. Safe to call twice, and without a start."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(deadline_s)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self.evaluate()

    def evaluate(self) -> list[Alert]:
        """Measure, and open and close what is to be; gives the alerts that this call opened or closed.

        A measurement that fails leaves its alerts as they are, with a line in the log.
        """
        changed: list[Alert] = []
        with self._evaluating:
            for rule in self.measured_rules:
                try:
                    changed += self._evaluate(rule, self._measures[rule.name]())
                except TelepathyError as error:
                    log.warning("alert rule not evaluated", rule=rule.name, reason=str(error))
                except Exception as error:  # a mistake in one measurement hides none of the others
                    log.error("alert rule failed", rule=rule.name, exc_info=error)
        shown = [self._shown(alert) for alert in changed]
        for alert in shown:
            log.warning(
                "alert" if alert.closed_at is None else "alert over",
                rule=alert.rule,
                value=alert.value,
                limit=alert.limit,
                alert_id=str(alert.id),
            )
            self._tell(alert)
        return shown

    def _shown(self, alert: Alert) -> Alert:
        return replace(
            alert,
            sentence=self._named(alert.sentence),
            closing_sentence=self._named(alert.closing_sentence),
            acknowledged_by=alert.acknowledged_by and self._named(alert.acknowledged_by),
            closed_by=alert.closed_by and self._named(alert.closed_by),
        )

    def _evaluate(self, rule: AlertRule, found: Sequence[Measured]) -> list[Alert]:
        changed: list[Alert | None] = []
        by_subject = {measured.subject: measured for measured in found}
        open_subjects = set()
        for alert in select_open_alerts(self._store):
            if alert.rule != rule.name:
                continue
            open_subjects.add(alert.subject)
            measured = by_subject.get(alert.subject)
            if measured is None:
                if not rule.is_of_machine:
                    changed.append(self._close(alert, f"{rule.title}: nothing is measured any more.", None))
            elif rule.is_back(measured.value):
                sentence = f"{rule.title}: over. {rule.shown(measured.value)} was measured."
                changed.append(self._close(alert, sentence, measured.value))
        for measured in found:
            if measured.subject not in open_subjects and rule.is_over(measured.value):
                sentence = rule.sentence.format(
                    value=rule.shown(measured.value), limit=rule.shown(rule.limit), about=measured.about
                )
                opened = insert_alert(
                    self._store,
                    rule=rule.name,
                    subject=measured.subject,
                    sentence=sentence,
                    value=measured.value,
                    limit=rule.limit,
                    opened_at=datetime.now(UTC),
                )
                changed.append(opened)
        return [alert for alert in changed if alert is not None]

    def _close(self, alert: Alert, sentence: str, value: float | None, actor: str = ITSELF) -> Alert | None:
        return insert_closing(
            self._store, alert_id=alert.id, actor=actor, sentence=sentence, value=value, at=datetime.now(UTC)
        )

    def open_alerts(self) -> list[Alert]:
        """Those that last, newest first."""
        return [self._shown(alert) for alert in select_open_alerts(self._store)]

    def past_alerts(self, *, limit: int = 100) -> list[Alert]:
        """Those that are over, the one that closed last first."""
        return [self._shown(alert) for alert in select_past_alerts(self._store, limit=limit)]

    def acknowledge(self, alert_id: UUID, *, by: str) -> Alert:
        """Note that `by` has seen it; it stays open while it lasts. Whoever was first stays noted."""
        return self._shown(insert_acknowledgement(self._store, alert_id=alert_id, actor=by, at=datetime.now(UTC)))

    def dismiss(self, alert: Alert, *, by: str) -> None:
        """Close it by hand, such as that of a machine that is gone; it opens again while it is still measured."""
        closed = self._close(alert, f"Closed by {by}.", None, actor=by)
        if closed is not None:
            self._tell(self._shown(closed))


def teller(settings: Settings, mailer: Mailer, outbox: Outbox, titles: Mapping[str, str]) -> Callable[[Alert], None]:
    """What tells admins of an alert by mail and webhook, as far as the settings name any; in the background.

    Raises InvalidSettingError for receivers that are none, and for a secret that is none.
    """
    receivers = [address.strip() for address in settings.alert_emails.split(",") if address.strip()]
    for receiver in receivers:
        try:
            require_address(receiver)
        except MailError:
            expected = "e-mail addresses, comma-separated"
            raise InvalidSettingError("alert_emails", repr(settings.alert_emails), expected) from None
    if settings.alert_webhook_url and not is_webhook_url(settings.alert_webhook_url):
        raise InvalidSettingError("alert_webhook_url", "no address of the web", "an address such as https://HOST/PATH")
    signs_with = [secret.strip() for secret in settings.alert_webhook_secret.split(",") if secret.strip()]
    try:
        for secret in signs_with:
            key_of(secret)
    except ValueError:
        raise InvalidSettingError(
            "alert_webhook_secret", "no secret of webhooks", "`whsec_` and 24 to 64 random bytes in base64"
        ) from None

    def tell(alert: Alert) -> None:
        title = titles.get(alert.rule, alert.rule)
        subject = f"Telepathy: {title}" if alert.closed_at is None else f"Telepathy: over: {title}"
        text = _text(alert, settings)
        if mailer.is_configured:
            for receiver in receivers:
                outbox.put("an alert by mail", lambda to=receiver: mailer.send(to, subject, text))  # type: ignore[misc]
        if settings.alert_webhook_url:
            message = _message(alert, subject)
            message_id = f"msg_{alert.id.hex}_{message['event']}"
            outbox.put(
                "an alert by webhook",
                lambda: post_json(settings.alert_webhook_url, message, message_id=message_id, signs_with=signs_with),
            )

    return tell


def _text(alert: Alert, settings: Settings) -> str:
    lines = [alert.sentence, f"Noticed at {alert.opened_at:%Y-%m-%d %H:%M:%S} UTC."]
    if alert.closed_at is not None:
        lines = [alert.closing_sentence, f"Over at {alert.closed_at:%Y-%m-%d %H:%M:%S} UTC. It was:", *lines]
    if settings.public_url:
        lines.append(f"{settings.public_url.rstrip('/')}/admin")
    return "\n\n".join(lines) + "\n"


def _message(alert: Alert, subject: str) -> dict[str, object]:
    """What a webhook gets. `text` is what chat programs show."""
    return {
        "event": "opened" if alert.closed_at is None else "closed",
        "text": f"{subject}. {alert.closing_sentence or alert.sentence}",
        "alert_id": str(alert.id),
        "rule": alert.rule,
        "subject": alert.subject,
        "sentence": alert.sentence,
        "value": alert.value,
        "limit": alert.limit,
        "opened_at": alert.opened_at.isoformat(),
        "closed_at": None if alert.closed_at is None else alert.closed_at.isoformat(),
    }
