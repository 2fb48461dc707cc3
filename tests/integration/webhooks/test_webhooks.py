"""Webhooks from event to receiver: the public library checks what a real server got."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from core.domain import AttemptOutcome, DeliveryState
from core.errors import (
    AddressRefusedError,
    InvalidParameterError,
    InvalidSettingError,
    StoreError,
    UnknownDeliveryError,
    UnknownWebhookError,
)
from core.identifiers import new_id
from core.store.schema import webhook_endpoints
from core.webhooks import intake
from core.webhooks.address_guard import system_addresses
from core.webhooks.events import EVENT_TYPES, EVENTS
from core.webhooks.retries import JITTER_SHARE, WAITS_S
from core.webhooks.webhooks import MAX_ENDPOINTS, Waiting
from tests.callers import make_fake_caller
from tests.process import free_port
from tests.webhook_server import HANGS, webhook_server


def received(server, secret: str, number: int = 0) -> dict:
    """What the receiver makes of a message, once it has checked it."""
    return Webhook(secret).verify(server.bodies[number], server.headers[number])


def test_event_arrives_signed(bench):
    with webhook_server() as server:
        _, secret = bench.endpoint(f"{server.url}/hook")
        bench.emit()
        delivery = bench.attempt()
    assert received(server, secret) == {
        "type": "prediction.created",
        "timestamp": bench.clock.now().isoformat(),
        "data": {"emotion": "happy"},
    }
    assert server.headers[0]["webhook-id"] == delivery.message.sent_id
    assert delivery.state is DeliveryState.TAKEN
    [attempt] = delivery.attempts
    assert (attempt.outcome, attempt.status, attempt.problem) == (AttemptOutcome.TAKEN, 204, "")
    assert not bench.due


def test_nobody_is_asked_about_who_has_no_endpoint(bench):
    bench.store.close()
    assert bench.webhooks.emit("prediction.created", owner=new_id(), data={}) is None


def test_endpoint_is_told_of_what_it_takes_and_nothing_else(bench):
    with webhook_server() as server:
        bench.endpoint(server.url, event_types=["recording.deleted", "batch.failed"])
        bench.emit("prediction.created")
        assert not bench.due
        bench.emit("recording.deleted")
        bench.attempt()
        assert json.loads(server.bodies[0])["type"] == "recording.deleted"


def test_two_endpoints_get_one_message_with_one_id(bench):
    with webhook_server() as first, webhook_server() as second:
        secrets = [bench.endpoint(server.url)[1] for server in (first, second)]
        bench.emit()
        bench.attempt()
        bench.attempt()
    assert first.headers[0]["webhook-id"] == second.headers[0]["webhook-id"]
    assert received(first, secrets[0]) == received(second, secrets[1])
    with pytest.raises(WebhookVerificationError):
        received(first, secrets[1])


def test_receiver_that_fails_is_asked_again_by_the_schedule_with_the_same_id(bench):
    """Ten attempts in three days; each is signed anew, so that the receiver does not find it too old."""
    with webhook_server(*[(500, {})] * 10) as server:
        _, secret = bench.endpoint(server.url)
        bench.emit()
        for number, wait_s in enumerate(WAITS_S, start=1):
            delivery = bench.attempt()
            assert delivery.state is DeliveryState.WAITING
            assert delivery.attempts[-1].number == number
            assert wait_s <= bench.due[0].delay_s <= wait_s * (1 + JITTER_SHARE)
        delivery = bench.attempt()
    assert delivery.state is DeliveryState.FAILED
    assert delivery.attempts[-1].outcome is AttemptOutcome.GIVEN_UP
    assert not bench.due
    assert len({headers["webhook-id"] for headers in server.headers}) == 1
    assert len(server.headers) == 10
    sent_at = [int(headers["webhook-timestamp"]) for headers in server.headers]
    assert sent_at[-1] - sent_at[0] >= sum(WAITS_S) - 10
    assert received(server, secret)["type"] == "prediction.created"


def test_receiver_that_comes_back_gets_what_it_missed(bench):
    port = free_port()
    with webhook_server(port=port):
        bench.endpoint(f"http://127.0.0.1:{port}/")
    bench.emit()
    missed = bench.attempt()
    assert missed.attempts[0].problem.endswith("it cannot be reached. Check its address, and that it answers 2xx.")
    with webhook_server(port=port) as server:
        assert bench.attempt().state is DeliveryState.TAKEN
    assert server.headers[0]["webhook-id"] == missed.message.sent_id


def test_receiver_that_hangs_is_given_up_on_in_time_and_asked_again(bench):
    bench.open(webhook_timeout_s=0.2)
    with webhook_server((HANGS, {})) as server:
        bench.endpoint(server.url)
        bench.emit()
        hung = bench.attempt()
        assert "did not answer within 0.2 s" in hung.attempts[0].problem
        assert hung.attempts[0].status is None
        assert bench.attempt().state is DeliveryState.TAKEN


def test_redirect_is_a_failure_and_nobody_is_led_anywhere(bench):
    with webhook_server() as inside, webhook_server((302, {"Location": f"{inside.url}/admin"})) as server:
        bench.endpoint(server.url)
        bench.emit()
        delivery = bench.attempt()
        assert "redirects are not followed" in delivery.attempts[0].problem
        assert delivery.state is DeliveryState.WAITING
        assert inside.bodies == []


@pytest.mark.parametrize("status", [429, 503, 502, 404])
def test_retry_after_is_honoured(bench, status):
    with webhook_server((status, {"Retry-After": "900"})) as server:
        bench.endpoint(server.url)
        bench.emit()
        assert bench.attempt().attempts[0].status == status
    assert 900 <= bench.due[0].delay_s <= 900 * (1 + JITTER_SHARE)


def test_endpoint_that_is_gone_is_switched_off_and_its_owner_told(bench):
    with webhook_server((410, {})) as server:
        endpoint, _ = bench.endpoint(f"{server.url}/secret-path")
        bench.emit()
        bench.emit()
        assert bench.attempt().attempts[-1].outcome is AttemptOutcome.GONE
        waited = bench.attempt()
        assert waited.attempts[-1].outcome is AttemptOutcome.DROPPED
        bench.emit()
        assert not bench.due
        assert len(server.bodies) == 1
    found = bench.webhooks.endpoint(endpoint.id, owner_id=endpoint.owner_id)
    assert found.disabled_at == bench.clock.now()
    assert "410" in found.disabled_because
    [(_, subject, text)] = [told for told in bench.told if told[0] == endpoint.owner_id]
    assert "switched off" in subject
    assert "127.0.0.1 answered 410" in text
    assert "secret-path" not in text
    bench.webhooks.change(endpoint.id, by=bench.caller, is_active=True)
    bench.emit()
    assert len(bench.due) == 1


def test_rotation_lets_either_secret_verify_until_the_overlap_is_over(bench):
    with webhook_server() as server:
        endpoint, old = bench.endpoint(server.url)
        changed, new = bench.webhooks.rotate(endpoint.id, by=bench.caller, overlap=timedelta(minutes=2))
        assert changed.previous_secret_until == bench.clock.now() + timedelta(minutes=2)
        bench.emit()
        bench.attempt()
        assert received(server, old) == received(server, new)
        bench.clock.pass_s(121)
        bench.emit()
        bench.attempt()
    assert received(server, new, 1)["type"] == "prediction.created"
    with pytest.raises(WebhookVerificationError):
        received(server, old, 1)
    with pytest.raises(InvalidParameterError):
        bench.webhooks.rotate(endpoint.id, by=bench.caller, overlap=timedelta(days=91))


def test_secret_stands_nowhere_in_the_store(bench):
    endpoint, secret = bench.endpoint("https://hooks.example.org/")
    bench.webhooks.rotate(endpoint.id, by=bench.caller)
    with bench.store.transaction("looking") as connection:
        row = connection.execute(webhook_endpoints.select()).one()
    assert secret not in str(row)
    assert row.secret.startswith("t1.")
    assert row.previous_secret.startswith("t1.")


def test_name_that_leads_inside_by_the_time_of_an_attempt_is_not_followed(bench):
    """Rebound after it was registered: the guard asks again before each attempt, and connects to what it checked."""
    bench.open(allowed_networks="127.0.0.2/32")
    bench.addresses = [["9.9.9.9"], ["127.0.0.1"]]
    with webhook_server() as server:
        port = urlsplit(server.url).port
        bench.endpoint(f"https://rebound.example.org:{port}/")
        bench.emit()
        delivery = bench.attempt()
    assert "does not lead to the public internet" in delivery.attempts[0].problem
    assert server.bodies == []
    assert bench.asked == ["rebound.example.org"] * 2


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://2130706433/", "http://0x7f.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/"]
)
def test_address_of_this_machine_is_refused_at_once(bench, url):
    bench.open(allowed_networks="")
    bench.webhooks._resolve = system_addresses
    with pytest.raises(AddressRefusedError):
        bench.endpoint(url)
    assert bench.webhooks.endpoints(bench.caller.user.id) == []


def test_plain_http_over_the_internet_is_refused(bench):
    bench.addresses = [["9.9.9.9"]]
    with pytest.raises(InvalidParameterError, match="one of https"):
        bench.endpoint("http://hooks.example.org/")
    endpoint, _ = bench.endpoint("https://hooks.example.org/")
    with pytest.raises(InvalidParameterError, match="one of https"):
        bench.webhooks.change(endpoint.id, by=bench.caller, url="http://hooks.example.org/")


def test_endpoint_is_changed_and_deleted_by_its_owner_alone(bench):
    endpoint, _ = bench.endpoint("https://hooks.example.org/", event_types=["batch.failed"], description=" mine ")
    assert endpoint.description == "mine"
    changed = bench.webhooks.change(endpoint.id, by=bench.caller, event_types=[], description="ours", is_active=False)
    assert (changed.event_types, changed.description) == (frozenset(), "ours")
    assert changed == bench.webhooks.endpoint(endpoint.id, owner_id=bench.caller.user.id)
    stranger = make_fake_caller()
    for act in (
        lambda: bench.webhooks.change(endpoint.id, by=stranger, url="https://evil.example.org/"),
        lambda: bench.webhooks.delete(endpoint.id, by=stranger),
        lambda: bench.webhooks.rotate(endpoint.id, by=stranger),
        lambda: bench.webhooks.test(endpoint.id, owner_id=stranger.user.id),
        lambda: bench.webhooks.deliveries(endpoint.id, owner_id=stranger.user.id),
    ):
        with pytest.raises(UnknownWebhookError):
            act()
    bench.webhooks.delete(endpoint.id, by=bench.caller)
    assert bench.webhooks.endpoints(bench.caller.user.id) == []
    assert [told[0] for told in bench.told] == ["webhook.create", "webhook.change", "webhook.delete"]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"event_types": ["prediction.create"]}, "'prediction.created'"),
        ({"description": "a\nb"}, "one line"),
        ({"description": "x" * 201}, "one line"),
        ({"url": "file:///etc/passwd"}, "https://HOST/PATH"),
    ],
)
def test_what_is_out_of_place_is_told(bench, given, match):
    with pytest.raises(InvalidParameterError, match=match):
        bench.endpoint(**{"url": "https://hooks.example.org/"} | given)


def test_number_of_endpoints_is_bounded(bench):
    for _ in range(MAX_ENDPOINTS):
        bench.endpoint("https://hooks.example.org/")
    with pytest.raises(InvalidParameterError, match="at most 20"):
        bench.endpoint("https://hooks.example.org/")


def test_test_is_sent_once_whatever_the_endpoint_takes_and_even_switched_off(bench):
    with webhook_server((500, {})) as server:
        endpoint, secret = bench.endpoint(server.url, event_types=["batch.failed"])
        bench.webhooks.change(endpoint.id, by=bench.caller, is_active=False)
        bench.webhooks.test(endpoint.id, owner_id=endpoint.owner_id)
        failed = bench.attempt()
        assert failed.attempts[0].outcome is AttemptOutcome.GIVEN_UP
        assert not bench.due
        bench.webhooks.test(endpoint.id, owner_id=endpoint.owner_id)
        assert bench.attempt().state is DeliveryState.TAKEN
    assert received(server, secret)["type"] == "webhook.test"


def test_replay_sends_the_same_message_under_the_same_id(bench):
    with webhook_server() as server:
        endpoint, secret = bench.endpoint(server.url)
        bench.emit()
        first = bench.attempt()
        replay = bench.webhooks.replay(first.id, owner_id=endpoint.owner_id)
        assert replay.is_replay
        assert bench.attempt().state is DeliveryState.TAKEN
    assert received(server, secret, 0) == received(server, secret, 1)
    assert server.headers[0]["webhook-id"] == server.headers[1]["webhook-id"]
    assert [each.id for each in bench.webhooks.deliveries(endpoint.id, owner_id=endpoint.owner_id)] == [
        replay.id,
        first.id,
    ]
    with pytest.raises(UnknownDeliveryError):
        bench.webhooks.replay(first.id, owner_id=new_id())


def test_who_may_not_have_webhooks_any_more_is_told_nothing(bench):
    with webhook_server() as server:
        bench.endpoint(server.url)
        bench.emit()
        bench.is_welcome = False
        assert bench.attempt().attempts[0].outcome is AttemptOutcome.DROPPED
    assert server.bodies == []


def test_attempt_that_was_made_is_not_made_again(bench):
    """A job that was killed after its attempt and before it handed over the next one does both again."""
    with webhook_server((500, {})) as server:
        bench.endpoint(server.url)
        bench.emit()
        due = bench.due[0]
        delivery = bench.attempt()
        again = bench.webhooks.attempt(due.delivery_id, due.number)
        assert again == bench.due[0]
        assert len(server.bodies) == 1
        assert again.number == len(delivery.attempts) + 1


def test_next_start_finds_what_waits(bench):
    with webhook_server((500, {})) as server:
        bench.endpoint(server.url)
        bench.emit()
        bench.emit()
        bench.attempt()
        before = sorted(bench.due, key=str)
        bench.due.clear()
        bench.open()
        assert bench.webhooks.sweep() == 2
        assert sorted(bench.due, key=str) == before
        bench.attempt()
        bench.attempt()
        assert bench.webhooks.sweep() == 0
        assert len(server.bodies) == 3


def test_messages_about_a_deleted_recording_are_deleted_and_not_sent(bench):
    recording_id = new_id()
    with webhook_server() as server:
        endpoint, _ = bench.endpoint(server.url)
        bench.emit(about=recording_id)
        bench.emit(about=new_id())
        bench.webhooks.forget_recording(recording_id, owner_id=endpoint.owner_id)
        due = bench.due.pop(0)
        assert bench.webhooks.attempt(due.delivery_id, due.number) is None
        bench.attempt()
        assert len(server.bodies) == 1
    assert len(bench.webhooks.deliveries(endpoint.id, owner_id=endpoint.owner_id)) == 1


def test_log_ends_when_its_time_is_over(bench):
    with webhook_server() as server:
        endpoint, _ = bench.endpoint(server.url)
        bench.emit()
        bench.attempt()
        bench.clock.pass_s(31 * 86_400)
        bench.emit()
        bench.webhooks.sweep()
    assert len(bench.webhooks.deliveries(endpoint.id, owner_id=endpoint.owner_id)) == 1


def test_event_that_is_told_twice_under_one_id_is_sent_once(bench, monkeypatch):
    """By the last step of a job, when that was killed before it ended."""
    monkeypatch.setattr(intake, "_TRY_AGAIN_S", 0.01)
    message_id = new_id()
    with webhook_server() as server:
        endpoint, _ = bench.endpoint(server.url)
        bench.emit("batch.succeeded", message_id=message_id)
        bench.emit("batch.succeeded", message_id=message_id)
        for due in bench.due:
            bench.webhooks.attempt(due.delivery_id, due.number)
        assert [headers["webhook-id"] for headers in server.headers] == [f"msg_{message_id.hex}"]
    assert len(bench.webhooks.deliveries(endpoint.id, owner_id=endpoint.owner_id)) == 1


def test_event_that_is_told_twice_before_it_is_kept_is_sent_once(bench, monkeypatch):
    may_write, asked = threading.Event(), intake.insert_webhook_messages

    def written_later(*given, **named):
        may_write.wait()
        asked(*given, **named)

    monkeypatch.setattr(intake, "_TRY_AGAIN_S", 0.01)
    monkeypatch.setattr(intake, "insert_webhook_messages", written_later)
    endpoint, _ = bench.endpoint("https://hooks.example.org/")
    message_id = new_id()
    for given in ({}, {"message_id": message_id}, {"message_id": message_id}):
        bench.webhooks.emit("batch.succeeded", owner=bench.caller.user.id, data={}, **given)
    may_write.set()
    assert bench.webhooks.flush()
    kept = [each.message.id for each in bench.webhooks.deliveries(endpoint.id, owner_id=endpoint.owner_id)]
    assert len(kept) == 2
    assert kept.count(message_id) == 1


def test_whoever_watches_learns_what_waits_and_what_is_overdue(bench):
    outcomes = []
    bench.webhooks.on_attempt = outcomes.append
    assert bench.webhooks.waiting() == Waiting(n_deliveries=0, overdue_s=0.0)
    with webhook_server((500, {})) as server:
        bench.endpoint(server.url)
        bench.emit()
        assert bench.webhooks.waiting().n_deliveries == 0, "asked again too soon"
        bench.clock.pass_s(45)
        assert bench.webhooks.waiting() == Waiting(n_deliveries=1, overdue_s=45.0)
        bench.attempt()
        bench.clock.pass_s(30)
        waiting = bench.webhooks.waiting()
        assert waiting.n_deliveries == 1
        assert 23 < waiting.overdue_s <= 25
        bench.attempt()
        bench.clock.pass_s(30)
        assert bench.webhooks.waiting() == Waiting(n_deliveries=0, overdue_s=0.0)
    assert outcomes == [AttemptOutcome.POSTPONED, AttemptOutcome.TAKEN]


def test_emit_never_raises(bench):
    bench.endpoint("https://hooks.example.org/")
    owner = bench.caller.user.id
    assert bench.webhooks.emit("no.such.event", owner=owner, data={}) is None
    assert bench.webhooks.emit("prediction.created", owner=owner, data={"confidence": float("nan")}) is None
    bench.webhooks.close()
    bench.webhooks.emit("prediction.created", owner=owner, data={})
    assert bench.webhooks.n_lost == 1


def test_store_that_refuses_for_a_while_loses_nothing(bench, monkeypatch):
    keep = intake.insert_webhook_messages
    failures = [StoreError("keeping", "a full disk")] * 2

    def refuse_twice(store, **given):
        if failures:
            if len(failures) == 1:
                keep(store, **given)  # written, and the answer lost
            raise failures.pop()
        keep(store, **given)

    monkeypatch.setattr(intake, "_TRY_AGAIN_S", 0.01)
    monkeypatch.setattr(intake, "insert_webhook_messages", refuse_twice)
    endpoint, _ = bench.endpoint("https://hooks.example.org/")
    bench.emit()
    assert len(bench.webhooks.deliveries(endpoint.id, owner_id=endpoint.owner_id)) == 1
    assert bench.webhooks.n_lost == 0


def test_setting_of_networks_that_is_none_is_refused(bench):
    with pytest.raises(InvalidSettingError, match="allowed_networks"):
        bench.open(allowed_networks="everywhere")


def test_catalogue_names_each_event_once():
    assert len(set(EVENT_TYPES)) == len(EVENTS)
    assert all(event.fields and event.happens and event.told for event in EVENTS)
