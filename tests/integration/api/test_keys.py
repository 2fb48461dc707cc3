"""API keys over HTTP: made and shown once, listed without themselves, replaced, revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from core.domain import Role
from tests.callers import make_user
from tests.problems import refused

ME = "/api/v1/auth/me"


@pytest.fixture
def person(api, workbench):
    """Opens a client signed in as somebody of a role."""

    def sign_in(role: Role = Role.ANALYST) -> TestClient:
        signed_in = workbench.access.start_session(make_user(workbench, role), address="", user_agent="")
        return TestClient(api, headers={"Authorization": f"Bearer {signed_in.access_token}"})

    return sign_in


@pytest.fixture
def program(api):
    """Opens a client that sends a key."""
    return lambda key: TestClient(api, headers={"X-API-Key": key})


def made(client: TestClient, **asked: object) -> dict:
    answer = client.post("/api/v1/keys", json={"name": "nightly", "scopes": ["read"]} | asked)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_key_is_shown_once_and_works(person, program):
    client = person()
    body = made(client, scopes=["read", "predict"])
    assert body["key"].startswith("tel_live_")
    assert body["key"].startswith(body["api_key"]["prefix"])
    assert body["key"].endswith(body["api_key"]["last_four"])
    assert program(body["key"]).get(ME).json()["scopes"] == ["predict", "read"]
    listed = client.get("/api/v1/keys")
    assert [key["id"] for key in listed.json()["items"]] == [body["api_key"]["id"]]
    assert body["key"] not in listed.text


def test_key_makes_no_keys(person, program):
    client = program(made(person(Role.ADMIN), scopes=["admin", "read", "predict", "delete"])["key"])
    answer = client.post("/api/v1/keys", json={"name": "more", "scopes": ["read"]})
    assert "Sign in" in refused(answer, 403, "forbidden")["detail"]
    refused(client.get("/api/v1/keys"), 403, "forbidden")


def test_revoked_key_is_refused_on_the_next_request(person, program):
    client = person()
    body = made(client)
    holder = program(body["key"])
    assert holder.get(ME).status_code == 200
    assert client.delete(f"/api/v1/keys/{body['api_key']['id']}").status_code == 204
    refused(holder.get(ME), 401, "invalid_credentials")


def test_replaced_key_stays_for_the_overlap(person, program):
    client = person()
    old = made(client)
    new = client.post(f"/api/v1/keys/{old['api_key']['id']}/rotate")
    assert new.status_code == 201
    assert new.json()["api_key"]["replaces_id"] == old["api_key"]["id"]
    for key in (old["key"], new.json()["key"]):
        assert program(key).get(ME).status_code == 200
    newest = client.post(f"/api/v1/keys/{new.json()['api_key']['id']}/rotate", json={"overlap_hours": 0}).json()
    refused(program(new.json()["key"]).get(ME), 401, "invalid_credentials")
    assert program(newest["key"]).get(ME).status_code == 200


def test_keys_of_others_do_not_exist(person):
    theirs = made(person())["api_key"]["id"]
    client = person()
    refused(client.delete(f"/api/v1/keys/{theirs}"), 404, "unknown_key")
    refused(client.post(f"/api/v1/keys/{theirs}/rotate"), 404, "unknown_key")
    assert client.get("/api/v1/keys").json()["items"] == []
    refused(client.get("/api/v1/keys?everybody=true"), 403, "forbidden")


def test_admins_see_and_revoke_every_key(person, program):
    theirs = made(person())
    admin = person(Role.ADMIN)
    assert theirs["api_key"]["id"] in {key["id"] for key in admin.get("/api/v1/keys?everybody=true").json()["items"]}
    assert admin.delete(f"/api/v1/keys/{theirs['api_key']['id']}").status_code == 204
    refused(program(theirs["key"]).get(ME), 401, "invalid_credentials")


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"scopes": ["admin"]}, 403, "forbidden"),
        ({"scopes": []}, 422, "invalid_parameter"),
        ({"scopes": ["fly"]}, 422, "invalid_parameter"),
        ({"name": ""}, 422, "invalid_parameter"),
        ({"name": "x" * 101}, 422, "invalid_parameter"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 422, "invalid_parameter"),
        ({"expires_at": "2040-01-01T00:00:00"}, 422, "invalid_parameter"),
        ({"plan": "enterprise"}, 422, "invalid_parameter"),
    ],
)
def test_odd_keys_are_refused(person, asked, status, code):
    refused(person().post("/api/v1/keys", json={"name": "nightly", "scopes": ["read"]} | asked), status, code)


def test_key_that_has_expired_is_refused(person, program, workbench, monkeypatch):
    soon = datetime.now(UTC) + timedelta(hours=1)
    body = made(person(), expires_at=soon.isoformat())
    assert program(body["key"]).get(ME).status_code == 200

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + timedelta(hours=2)

    monkeypatch.setattr("core.access.keys.datetime", Later)
    refused(program(body["key"]).get(ME), 401, "invalid_credentials")
