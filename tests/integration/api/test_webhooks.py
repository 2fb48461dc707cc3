"""Webhooks over the API: made by people, seen by programs, told of what the API does."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from standardwebhooks import Webhook
from starlette.testclient import TestClient

from core.domain import Role, Scope
from tests.callers import key_header, make_user
from tests.integration.api.fakes import NO_LIMIT
from tests.waiting import wait_until
from tests.webhook_server import webhook_server

HOOKS = "/api/v1/webhooks"


@pytest.fixture
def settings(settings):
    return replace(settings, allowed_networks="127.0.0.0/8", address_limits=NO_LIMIT)


@pytest.fixture
def user(workbench):
    return make_user(workbench, Role.ANALYST, password=None)


@pytest.fixture
def person(api, workbench, user):
    """Somebody with a token, as after signing in."""
    signed_in = workbench.access.start_session(user, address="127.0.0.1", user_agent="a test")
    headers = {"Authorization": f"Bearer {signed_in.access_token}"}
    with TestClient(api, headers=headers, client=("127.0.0.1", 50_000)) as opened:
        yield opened


def made(person: TestClient, url: str = "http://127.0.0.1:9/hook", **given: object) -> dict:
    answer = person.post(HOOKS, json={"url": url, **given})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_secret_is_shown_once(person):
    new = made(person, event_types=["recording.deleted"], description="archive")
    assert new["secret"].startswith("whsec_")
    [listed] = person.get(HOOKS).json()["items"]
    assert listed == new["webhook"] == person.get(f"{HOOKS}/{listed['id']}").json()
    assert "secret" not in listed
    assert (listed["event_types"], listed["description"]) == (["recording.deleted"], "archive")
    assert listed["is_active"]


def test_changing_and_deleting(person):
    path = f"{HOOKS}/{made(person)['webhook']['id']}"
    changed = person.patch(path, json={"is_active": False, "description": "off"}).json()
    assert (changed["is_active"], changed["disabled_because"]) == (False, "It was switched off by hand.")
    assert changed["url"] == "http://127.0.0.1:9/hook"
    assert person.patch(path, json={"is_active": True}).json()["disabled_at"] is None
    assert person.delete(path).status_code == 204
    assert person.get(path).status_code == 404


def test_rotation_shows_the_new_secret(person):
    new = made(person)
    path = f"{HOOKS}/{new['webhook']['id']}/rotate"
    rotated = person.post(path, json={"overlap_hours": 2})
    assert rotated.status_code == 201
    assert rotated.json()["secret"] not in ("", new["secret"])
    assert rotated.json()["webhook"]["previous_secret_until"] is not None
    assert person.post(path, json={"overlap_hours": -1}).status_code == 422


def test_what_cannot_be_is_refused(person):
    for given, code in (
        ({"url": "http://169.254.169.254/latest/meta-data"}, "address_refused"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "address_refused"),
        ({"url": "ftp://127.0.0.1/"}, "invalid_parameter"),
        ({"event_types": ["prediction.made"]}, "invalid_parameter"),
        ({"colour": "red"}, "invalid_parameter"),
    ):
        answer = person.post(HOOKS, json={"url": "http://127.0.0.1:9/"} | given)
        assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_key_sees_but_makes_none_and_strangers_see_nothing(person, client, workbench, user):
    """Not even admins: their own stand there."""
    new = made(person)
    own_key = key_header(workbench, user=user, scopes=[Scope.READ])
    assert client.get(HOOKS, headers=own_key).json()["items"] == [new["webhook"]]
    assert client.post(HOOKS, json={"url": "http://127.0.0.1:9/"}, headers=own_key).status_code == 403
    assert client.get(HOOKS).json()["items"] == []
    assert client.get(f"{HOOKS}/{new['webhook']['id']}").json()["code"] == "unknown_webhook"
    assert client.get(f"{HOOKS}/{new['webhook']['id']}/deliveries").status_code == 404
    assert client.post(f"/api/v1/webhook-deliveries/{new['webhook']['id']}/replay").json()["code"] == "unknown_delivery"


def test_prediction_and_deletion_are_told(person, workbench, user, wav):
    """Through durable jobs to a real receiver; what told of the recording is gone with it."""
    workbench.jobs.start(polling_interval_s=0.02)
    with webhook_server() as server:
        new = made(person, server.url)
        secret, path = new["secret"], f"{HOOKS}/{new['webhook']['id']}"
        predicted = person.post("/api/v1/predict", files={"file": ("clip.wav", wav)}).json()
        assert server.arrived.acquire(timeout=30)
        wait_until(lambda: person.get(f"{path}/deliveries").json()["items"][0]["state"] == "taken")
        [delivery] = person.get(f"{path}/deliveries", params={"state": "taken"}).json()["items"]
        assert delivery["event_type"] == "prediction.created"
        assert person.delete(f"/api/v1/recordings/{predicted['recording_id']}").status_code == 204
        assert server.arrived.acquire(timeout=30)
        created, deleted = (
            Webhook(secret).verify(body, headers) for body, headers in zip(server.bodies, server.headers, strict=True)
        )
        assert created["data"]["prediction_id"] == predicted["id"]
        assert created["data"]["emotion"] == predicted["emotion"]
        assert created["data"]["probabilities"] == pytest.approx(predicted["probabilities"])
        assert deleted["type"] == "recording.deleted"
        assert deleted["data"]["recording_id"] == predicted["recording_id"]
        [left] = person.get(f"{path}/deliveries").json()["items"]
        assert left["event_type"] == "recording.deleted"
        person.post(f"/api/v1/webhook-deliveries/{left['id']}/replay")
        assert server.arrived.acquire(timeout=30)
        assert server.headers[2]["webhook-id"] == left["message_id"] == server.headers[1]["webhook-id"]
        assert person.post(f"{path}/test").status_code == 202
        assert server.arrived.acquire(timeout=30)
        assert Webhook(secret).verify(server.bodies[3], server.headers[3])["type"] == "webhook.test"


def test_deliveries_come_in_pages(person, workbench):
    new = made(person)
    path = f"{HOOKS}/{new['webhook']['id']}"
    sent = [person.post(f"{path}/test").json()["id"] for _ in range(3)]
    first = person.get(f"{path}/deliveries", params={"limit": 2}).json()
    assert [each["id"] for each in first["items"]] == sent[:0:-1]
    rest = person.get(f"{path}/deliveries", params={"before": first["next_before"]}).json()
    assert ([each["id"] for each in rest["items"]], rest["next_before"]) == (sent[:1], None)
    assert person.get(f"{path}/deliveries", params={"state": "taken"}).json()["items"] == []
    assert len(person.get(f"{path}/deliveries", params={"state": "waiting"}).json()["items"]) == 3
    assert person.get(f"{path}/deliveries", params={"state": "failed"}).json()["items"] == []


def test_deleted_account_leaves_no_webhooks(person, workbench, user):
    made(person)
    person.post(f"{HOOKS}/{person.get(HOOKS).json()['items'][0]['id']}/test")
    assert person.delete("/api/v1/account").status_code == 204
    assert workbench.webhooks.endpoints(user.id) == []
    assert UUID(int=0) not in workbench.webhooks.owners()
    assert workbench.webhooks.owners() == frozenset()
