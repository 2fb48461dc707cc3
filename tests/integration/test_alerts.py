"""Alerts: opened once, kept while they last, closed when clearly over, told by mail and webhook."""

from __future__ import annotations

import dataclasses
import json
import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import select
from standardwebhooks import Webhook, WebhookVerificationError
from structlog.testing import capture_logs

from core.alerts import (
    AlertRule,
    Alerts,
    Measured,
    account_of,
    measures_of_machine,
    measures_of_quotas,
    measures_of_usage,
    naming,
    rules_of,
    teller,
)
from core.config import Settings
from core.domain import Role, User
from core.errors import InvalidSettingError, StoreError
from core.identifiers import new_id
from core.mail import Mailer
from core.outbox import Outbox
from core.store.schema import alert_events
from core.store.usage import insert_usage_events
from core.webhooks.signing import new_secret
from tests.factories import make_usage_event
from tests.mail_server import mail_server
from tests.webhook_server import webhook_server

ANN, BOB = "ann@example.org", "bob@example.org"
RULES = {rule.name: rule for rule in rules_of(Settings())}


class Gauges:
    """Measurements that a test sets; `told` is what admins would have been told."""

    def __init__(self, store, rules=None, **measured):
        self.measured = {name: value if isinstance(value, list) else [value] for name, value in measured.items()}
        self.told = []
        measures = {name: lambda name=name: self.measured[name] for name in self.measured}
        self.alerts = Alerts(store, rules or list(RULES.values()), measures, tell=self.told.append, interval_s=3600)

    def evaluate(self, **measured):
        """Evaluate with other measurements; what opened and what closed, as rule and subject."""
        self.measured |= {name: value if isinstance(value, list) else [value] for name, value in measured.items()}
        with capture_logs():
            changed = self.alerts.evaluate()
        return [(alert.rule, alert.subject, "opened" if alert.closed_at is None else "closed") for alert in changed]


def m(value, subject="", about=""):
    return Measured(value=value, subject=subject, about=about)


def test_alert_opens_once_stays_and_closes_when_it_is_over(store):
    gauges = Gauges(store, latency=m(1.0))
    assert gauges.evaluate() == []
    assert gauges.evaluate(latency=m(2.5)) == [("latency", "", "opened")]
    assert gauges.evaluate(latency=m(9.0)) == []
    [alert] = gauges.alerts.open_alerts()
    assert alert.sentence == (
        "The slowest 5\u00a0% of requests within 15 minutes took 2.5 s or longer; the limit is 2 s."
    )
    assert gauges.evaluate(latency=m(0.5)) == [("latency", "", "closed")]
    assert gauges.alerts.open_alerts() == []
    [past] = gauges.alerts.past_alerts()
    assert (past.id, past.closed_by, past.closing_sentence) == (
        alert.id,
        "telepathy",
        "Answers are slow: over. 0.5 s was measured.",
    )
    assert gauges.told == [alert, past]


def test_measurement_that_trembles_at_the_limit_is_one_alert(store):
    gauges = Gauges(store, memory=m(0.91, "host"))
    assert gauges.evaluate() == [("memory", "host", "opened")]
    for value in (0.9, 0.89, 0.91, 0.86):
        assert gauges.evaluate(memory=m(value, "host")) == []
    assert gauges.evaluate(memory=m(0.85, "host")) == [("memory", "host", "closed")]


@pytest.mark.parametrize(
    ("rule", "fine", "over"),
    [
        ("latency", 2.0, 2.001),
        ("errors", 0.05, 0.051),
        ("memory", 0.9, 0.901),
        ("disk", 0.9, 0.901),
        ("quota", 0.999, 1.0),
        ("accuracy", 0.1, 0.101),
    ],
)
def test_each_rule_has_its_limit(store, rule, fine, over):
    gauges = Gauges(store, **{rule: m(fine)})
    assert gauges.evaluate() == []
    assert gauges.evaluate(**{rule: m(over)}) == [(rule, "", "opened")]


def test_limits_come_from_the_settings():
    settings = Settings(alert_p95_latency_s=7, alert_disk_share=0.5)
    limits = {rule.name: rule.limit for rule in rules_of(settings)}
    assert (limits["latency"], limits["disk"]) == (7, 0.5)


def test_nobody_near_a_quota_is_no_alert_and_each_user_has_their_own(store):
    gauges = Gauges(store, quota=[])
    assert gauges.evaluate() == []
    both = [m(1.2, "1", ANN), m(1.0, "2", BOB)]
    assert gauges.evaluate(quota=both) == [("quota", "1", "opened"), ("quota", "2", "opened")]
    sentences = {alert.subject: alert.sentence for alert in gauges.alerts.open_alerts()}
    assert sentences["1"].startswith(f"{ANN} has used 120\u00a0% of this month's quota;")
    changed = gauges.evaluate(quota=[m(0.01, "1", ANN)])  # a new month: one called again, the other not yet
    assert sorted(changed) == [("quota", "1", "closed"), ("quota", "2", "closed")]


def test_no_calls_are_no_slow_calls(store):
    gauges = Gauges(store, latency=m(3.0))
    gauges.evaluate()
    assert gauges.evaluate(latency=[]) == [("latency", "", "closed")]


def test_no_machine_closes_the_alert_of_another(store):
    here, there = Gauges(store, disk=m(0.5, "here")), Gauges(store, disk=m(0.95, "there"))
    assert there.evaluate() == [("disk", "there", "opened")]
    assert here.evaluate() == []
    assert there.evaluate(disk=m(0.2, "there")) == [("disk", "there", "closed")]


def test_measurement_that_is_no_number_changes_nothing(store):
    gauges = Gauges(store, latency=m(float("nan")))
    assert gauges.evaluate() == []
    gauges.evaluate(latency=m(3.0))
    assert gauges.evaluate(latency=m(float("nan"))) == []
    assert len(gauges.alerts.open_alerts()) == 1


@pytest.mark.parametrize("mistake", [StoreError("counting", "it is full"), ZeroDivisionError()])
def test_measurement_that_fails_leaves_its_alert_and_hides_no_other(store, mistake):
    gauges = Gauges(store, latency=m(3.0), errors=m(0.0))
    gauges.evaluate()

    def fail():
        raise mistake

    gauges.alerts.add_measures({"latency": fail})
    assert gauges.evaluate(errors=m(0.5)) == [("errors", "", "opened")]
    assert {alert.rule for alert in gauges.alerts.open_alerts()} == {"latency", "errors"}


def test_failing_measurement_is_logged(store):
    gauges = Gauges(store, latency=m(1.0))
    gauges.measured.clear()
    with capture_logs() as logged:
        gauges.alerts.evaluate()
    assert [(line["event"], line["rule"]) for line in logged] == [("alert rule failed", "latency")]


def test_rule_without_a_measurement_is_not_evaluated(store):
    gauges = Gauges(store, latency=m(1.0))
    assert [rule.name for rule in gauges.alerts.measured_rules] == ["latency"]


def test_two_that_watch_one_store_tell_of_an_alert_once(store):
    gauges = [Gauges(store, latency=m(3.0)) for _ in range(2)]
    together = threading.Barrier(2)

    def evaluate(one):
        together.wait(30)
        one.alerts.evaluate()

    threads = [threading.Thread(target=evaluate, args=(one,)) for one in gauges]
    with capture_logs():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert sum(len(one.told) for one in gauges) == 1


def test_alert_is_acknowledged_by_whom_and_stays_open(store):
    gauges = Gauges(store, latency=m(3.0))
    gauges.evaluate()
    [alert] = gauges.alerts.open_alerts()
    assert gauges.alerts.acknowledge(alert.id, by=ANN).acknowledged_by == ANN
    assert [each.acknowledged_by for each in gauges.alerts.open_alerts()] == [ANN]
    assert gauges.evaluate() == []


def test_alert_closed_by_hand_opens_again_while_it_is_measured(store):
    gauges = Gauges(store, latency=m(3.0))
    gauges.evaluate()
    [alert] = gauges.alerts.open_alerts()
    gauges.alerts.dismiss(alert, by=ANN)
    gauges.alerts.dismiss(alert, by=BOB)
    assert [(each.closed_by, each.closing_sentence) for each in gauges.alerts.past_alerts()] == [
        (ANN, f"Closed by {ANN}.")
    ]
    assert len(gauges.told) == 2
    assert gauges.evaluate() == [("latency", "", "opened")]


def test_rules_are_evaluated_on_schedule_until_the_end(store):
    evaluated = threading.Semaphore(0)

    def measure():
        evaluated.release()
        return []

    alerts = Alerts(store, list(RULES.values()), {"latency": measure}, tell=lambda alert: None, interval_s=0.001)
    alerts.start()
    alerts.start()
    for _ in range(3):
        assert evaluated.acquire(timeout=30)
    alerts.close()
    alerts.close()
    assert not any(thread.name == "alerts" for thread in threading.enumerate())


def test_machine_is_measured(tmp_path):
    measures = measures_of_machine(Settings(data_dir=tmp_path))
    for rule in ("memory", "disk"):
        [measured] = measures[rule]()
        assert 0 < measured.value <= 1
        assert measured.subject == measured.about != ""


def make_user(*, email, plan="free"):
    return User(
        id=new_id(),
        email=email,
        name="",
        role=Role.ANALYST,
        plan=plan,
        is_active=True,
        has_password=True,
        created_at=datetime.now(UTC),
        last_sign_in_at=None,
    )


def asked(store, *, ms, status=200, before=timedelta(0), **given):
    events = [make_usage_event(duration_ms=each, status=status, at=datetime.now(UTC) - before, **given) for each in ms]
    insert_usage_events(store, events=events)


def test_latency_and_errors_are_those_of_the_last_quarter_of_an_hour(store):
    measures = measures_of_usage(store)
    assert measures["latency"]() == measures["errors"]() == []
    asked(store, ms=[60_000.0] * 50, status=500, before=timedelta(minutes=16))
    assert measures["latency"]() == measures["errors"]() == []
    asked(store, ms=[100.0] * 94)
    asked(store, ms=[3000.0] * 6, status=503)
    [latency], [errors] = measures["latency"](), measures["errors"]()
    assert latency.value == pytest.approx(np.quantile([0.1] * 94 + [3.0] * 6, 0.95))
    assert errors.value == 0.06


def test_slow_and_failing_requests_open_alerts(store):
    alerts = Alerts(store, list(RULES.values()), measures_of_usage(store), tell=lambda alert: None, interval_s=3600)
    asked(store, ms=[100.0] * 90)
    asked(store, ms=[3000.0] * 10, status=500)
    with capture_logs():
        assert {alert.rule for alert in alerts.evaluate()} == {"latency", "errors"}


def test_quota_counts_calls_or_sound_of_this_month_whichever_is_more(store):
    plans = Settings.load({}, "[plans.free]\ncalls_per_month = 10\naudio_s_per_month = 100").plans
    ann, bob, eve = (make_user(email=email) for email in (ANN, BOB, "eve@example.org"))
    boss = make_user(email="boss@example.org", plan="enterprise")
    asked(store, ms=[1.0] * 10, user_id=ann.id, audio_s=1.0)
    asked(store, ms=[1.0] * 3, user_id=bob.id, audio_s=30.0)
    asked(store, ms=[1.0] * 50, user_id=boss.id, audio_s=30.0)
    asked(store, ms=[1.0] * 50, user_id=eve.id, before=timedelta(days=32))
    measures = measures_of_quotas(store, plans, lambda: [ann, bob, eve, boss])
    found = {measured.about: measured.value for measured in measures["quota"]()}
    assert found == {account_of(ann.id): 1.0, account_of(bob.id): pytest.approx(0.9), account_of(boss.id): 0.0}
    alerts = Alerts(
        store,
        list(RULES.values()),
        measures,
        tell=lambda alert: None,
        interval_s=3600,
        named=naming(lambda: [ann, bob, eve, boss]),
    )
    with capture_logs():
        [alert] = alerts.evaluate()
    assert (alert.rule, alert.subject) == ("quota", str(ann.id))


def told_settings(**settings):
    return Settings(public_url="https://telepathy.example.org/", **settings)


def test_alert_is_told_by_mail_and_webhook_when_it_opens_and_when_it_is_over(store):
    with mail_server() as mails, webhook_server() as hooks:
        outbox = Outbox()
        settings = told_settings(
            smtp_url=f"smtp://127.0.0.1:{mails.port}", alert_emails=f"{ANN}, {BOB},", alert_webhook_url=hooks.url
        )
        tell = teller(settings, Mailer.open(settings), outbox, {"latency": "Answers are slow"})
        gauges = Gauges(store, latency=m(3.0))
        gauges.alerts = Alerts(
            store, list(RULES.values()), {"latency": lambda: gauges.measured["latency"]}, tell=tell, interval_s=3600
        )
        gauges.evaluate()
        gauges.evaluate(latency=m(1.0))
        outbox.close(deadline_s=30)
    subjects = [(message["To"], message["Subject"]) for message in mails.messages]
    assert subjects == [
        (ANN, "Telepathy: Answers are slow"),
        (BOB, "Telepathy: Answers are slow"),
        (ANN, "Telepathy: over: Answers are slow"),
        (BOB, "Telepathy: over: Answers are slow"),
    ]
    assert "took 3 s or longer; the limit is 2 s." in mails.messages[0].get_content()
    assert "https://telepathy.example.org/admin" in mails.messages[0].get_content()
    assert mails.messages[2].get_content().startswith("Answers are slow: over. 1 s was measured.")
    opened, closed = map(json.loads, hooks.bodies)
    assert (opened["event"], opened["rule"], opened["value"], opened["limit"]) == ("opened", "latency", 3.0, 2.0)
    assert (closed["event"], closed["alert_id"]) == ("closed", opened["alert_id"])
    assert closed["closed_at"] > opened["opened_at"]
    assert opened["text"].startswith("Telepathy: Answers are slow. The slowest")


def test_webhook_that_is_down_gets_the_alert_later(store):
    with webhook_server((503, {}), (500, {})) as hooks, capture_logs() as logged:
        outbox = Outbox(waits_s=(0.0, 0.0))
        settings = told_settings(alert_webhook_url=hooks.url)
        alerts = Alerts(
            store,
            list(RULES.values()),
            {"latency": lambda: [m(3.0)]},
            tell=teller(settings, Mailer.open(settings), outbox, {}),
            interval_s=3600,
        )
        alerts.evaluate()
        for _ in range(3):
            assert hooks.arrived.acquire(timeout=30)
        outbox.close(deadline_s=30)
    assert len({json.loads(body)["alert_id"] for body in hooks.bodies}) == 1
    assert [line["event"] for line in logged] == ["alert", "not delivered yet", "not delivered yet"]


def test_alert_is_signed_for_receivers_of_standard_webhooks_each_time_it_is_sent(store):
    secret, next_secret = new_secret(), new_secret()
    with webhook_server((503, {})) as hooks, capture_logs():
        outbox = Outbox(waits_s=(0.0,))
        settings = told_settings(alert_webhook_url=hooks.url, alert_webhook_secret=f"{next_secret}, {secret}")
        tell = teller(settings, Mailer.open(settings), outbox, {"latency": "Antworten sind zäh"})
        gauges = Gauges(store, latency=m(3.0))
        for value in (3.0, 1.0):
            gauges.evaluate(latency=m(value))
            tell(gauges.told[-1])
        for _ in range(3):
            assert hooks.arrived.acquire(timeout=30)
        outbox.close(deadline_s=30)
    for body, headers in zip(hooks.bodies, hooks.headers, strict=True):
        for known in (secret, next_secret):
            assert Webhook(known).verify(body, headers)["rule"] == "latency"
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body.replace(b"latency", b"disks.."), headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(new_secret()).verify(body, headers)
    events = [json.loads(body)["event"] for body in hooks.bodies]
    ids = [headers["webhook-id"] for headers in hooks.headers]
    assert len(ids) == 3
    assert len(set(ids)) == len(set(zip(events, ids, strict=True))) == 2, "sent again it is the same message"


def test_alert_without_a_secret_carries_no_signature(store):
    with webhook_server() as hooks:
        outbox, settings = Outbox(), told_settings(alert_webhook_url=hooks.url)
        gauges = Gauges(store, latency=m(3.0))
        gauges.evaluate()
        teller(settings, Mailer.open(settings), outbox, {})(gauges.told[0])
        outbox.close(deadline_s=30)
    assert not {name for name in hooks.headers[0] if name.startswith("webhook-")}


@pytest.mark.parametrize("secret", ["hunter2", "whsec_hunter2=", f"whsec_{'A' * 44}, hunter2"])
def test_secret_that_is_none_is_refused_without_being_shown(secret):
    settings = Settings(alert_webhook_url="https://hooks.example.org/x", alert_webhook_secret=secret)
    with pytest.raises(InvalidSettingError, match="alert_webhook_secret") as refused:
        teller(settings, Mailer.open(settings), Outbox(), {})
    assert "hunter2" not in str(refused.value)


def test_without_receivers_nothing_is_sent(store):
    outbox, settings = Outbox(), Settings()
    gauges = Gauges(store, latency=m(3.0))
    gauges.evaluate()
    teller(settings, Mailer.open(settings), outbox, {})(gauges.told[0])
    assert outbox.n_waiting == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("alert_emails", "ann@example.org, bob"), ("alert_webhook_url", "file:///x"), ("alert_webhook_url", "hook")],
)
def test_receivers_that_are_none_are_refused(name, value):
    settings = dataclasses.replace(Settings(), **{name: value})
    with pytest.raises(InvalidSettingError, match=name):
        teller(settings, Mailer.open(settings), Outbox(), {})


def test_alert_rule_of_zero_opens_at_the_first_and_closes_at_none(store):
    rule = AlertRule(name="errors", title="Requests fail", sentence="{value}", limit=0.0, unit="share")
    gauges = Gauges(store, rules=(rule,), errors=m(0.0))
    assert gauges.evaluate() == []
    assert gauges.evaluate(errors=m(0.001)) == [("errors", "", "opened")]
    assert gauges.evaluate(errors=m(0.0)) == [("errors", "", "closed")]


def test_no_address_of_a_deleted_account_stays_in_an_alert(store):
    ann, bob = (make_user(email=email) for email in (ANN, BOB))
    people, told = [ann, bob], []
    found = [Measured(value=1.0, subject=str(ann.id), about=account_of(ann.id))]
    alerts = Alerts(
        store,
        [RULES["quota"]],
        {"quota": lambda: found},
        tell=told.append,
        interval_s=3600,
        named=naming(lambda: people),
    )
    with capture_logs():
        [alert] = alerts.evaluate()
    assert told == [alert]
    assert alert.sentence.startswith(f"{ANN} has used 100")
    assert alerts.acknowledge(alert.id, by=account_of(bob.id)).acknowledged_by == BOB
    alerts.dismiss(alert, by=account_of(bob.id))
    people.clear()
    [past] = alerts.past_alerts()
    assert past.sentence.startswith("an account that was deleted has used 100")
    assert past.acknowledged_by == past.closed_by == "an account that was deleted"
    assert past.closing_sentence == "Closed by an account that was deleted."
    with store.transaction("looking") as connection:
        kept = str(connection.execute(select(alert_events)).all())
    assert ANN not in kept
    assert BOB not in kept
