"""Scheduled reports over HTTP: kept, changed, paused, sent now, deleted; by their owner alone."""

from __future__ import annotations

from datetime import datetime

import pytest
from starlette.testclient import TestClient

from core.domain import Role, Scope
from core.identifiers import new_id
from tests.callers import key_header, make_user
from tests.problems import refused

SCHEDULES = "/api/v1/report-schedules"


@pytest.fixture
def owner(workbench):
    return make_user(workbench, password=None)


@pytest.fixture
def client(api, workbench, owner):
    return TestClient(api, headers=key_header(workbench, user=owner, scopes=[Scope.READ]))


@pytest.fixture
def asked(owner):
    return {"title": "Calls", "every": "week", "at": "18:30", "weekday": "friday", "recipients": [owner.email]}


def test_schedule_is_kept_changed_paused_and_deleted(client, asked, owner):
    answer = client.post(SCHEDULES, json=asked | {"timezone": "Europe/Berlin", "filter": {"emotions": ["sad"]}})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["cron"], made["when"]) == ("30 18 * * 5", "every Friday at 18:30")
    assert (made["owner_id"], made["period"], made["format"]) == (str(owner.id), "day", "pdf")
    assert made["filter"]["emotions"] == ["sad"]
    assert datetime.fromisoformat(made["next_due_at"]).weekday() == 4
    address = f"{SCHEDULES}/{made['id']}"
    assert client.get(address).json() == made
    assert client.get(SCHEDULES).json() == {"items": [made]}
    changed = client.patch(address, json={"cron": "0 6 L * *", "format": "xlsx"}).json()
    assert (changed["when"], changed["format"]) == ("on the last day of every month at 06:00", "xlsx")
    assert (changed["title"], changed["filter"], changed["recipients"]) == ("Calls", made["filter"], [owner.email])
    paused = client.patch(address, json={"is_paused": True}).json()
    assert (paused["is_paused"], paused["next_due_at"]) == (True, None)
    assert client.delete(address).status_code == 204
    refused(client.get(address), 404, "unknown_schedule")


def test_one_that_is_sent_now_stands_in_the_history(client, asked):
    made = client.post(SCHEDULES, json=asked | {"every": "month", "day": 31}).json()
    begun = client.post(f"{SCHEDULES}/{made['id']}/run")
    assert begun.status_code == 202
    history = client.get(f"{SCHEDULES}/{made['id']}/runs").json()
    assert history == {"items": [begun.json()]}
    assert (begun.json()["state"], begun.json()["is_by_hand"]) == ("waiting", True)


def test_others_find_nothing(client, api, workbench, asked):
    made = client.post(SCHEDULES, json=asked).json()
    stranger = TestClient(api, headers=key_header(workbench, role=Role.ANALYST, scopes=[Scope.READ]))
    address = f"{SCHEDULES}/{made['id']}"
    assert stranger.get(SCHEDULES).json() == {"items": []}
    for answer in (
        stranger.get(address),
        stranger.patch(address, json={"is_paused": True}),
        stranger.delete(address),
        stranger.post(f"{address}/run"),
        stranger.get(f"{address}/runs"),
    ):
        refused(answer, 404, "unknown_schedule")


@pytest.mark.parametrize(
    ("changed", "parameter"),
    [
        ({"every": None}, "cron"),
        ({"cron": "0 7 * * *"}, "every"),
        ({"every": None, "cron": "* * * * *"}, "cron"),
        ({"at": "25:00"}, "at"),
        ({"every": "month", "day": 30}, "day"),
        ({"weekday": "today"}, "weekday"),
        ({"recipients": []}, "recipients"),
        ({"recipients": ["spam@elsewhere.example"]}, "recipients"),
        ({"timezone": "Mars/Base"}, "timezone"),
        ({"period": "year"}, "period"),
        ({"filter": {"created_from": "2026-01-01T00:00:00Z"}}, "created_from"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_out_of_place_is_refused(client, asked, changed, parameter):
    body = refused(client.post(SCHEDULES, json=asked | changed), 422, "invalid_parameter")
    assert parameter in body["detail"]
    assert client.get(SCHEDULES).json() == {"items": []}


def test_project_has_to_be_shared(client, asked):
    answer = client.post(SCHEDULES, json=asked | {"filter": {"project": str(new_id())}})
    refused(answer, 404, "unknown_project")


def test_request_sent_twice_with_one_key_schedules_once(client, asked):
    headers = {"Idempotency-Key": "one"}
    first, again = (client.post(SCHEDULES, json=asked, headers=headers) for _ in range(2))
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert first.headers["location"] == f"{SCHEDULES}/{first.json()['id']}"
    assert len(client.get(SCHEDULES).json()["items"]) == 1
    runs = [client.post(f"{first.headers['location']}/run", headers={"Idempotency-Key": "two"}) for _ in range(2)]
    assert runs[0].json() == runs[1].json()
