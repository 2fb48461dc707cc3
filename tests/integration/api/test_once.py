"""`Idempotency-Key`: every POST is answered once for each, and what is kept for that stands in no clear text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.requests import Request
from starlette.testclient import TestClient

from api.once import NOT_ONCE, OnceRoute, _Asked
from core.domain import PROCESS, Role, Scope, User
from core.errors import IdempotencyKeyBusyError
from core.kept_answers import KeptAnswers
from core.secrets import Vault, new_secret_key, parsed_keys
from core.store.idempotency import LIFETIME, delete_idempotency_keys
from core.store.sealed_columns import KEPT_ANSWER, SEALED_COLUMNS, update_sealed
from core.webhooks.address_guard import networks_of
from tests.callers import key_header, make_fake_caller, make_user
from tests.problems import refused

KEY = {"Idempotency-Key": "6d0b7b1c"}
KEYS, CONSENT = "/api/v1/keys", "/api/v1/account/consent"
ASKED = {"name": "nightly", "scopes": ["predict"]}


def posts(api) -> dict[str, APIRoute]:
    return {
        each.path: each.original_route for each in iter_route_contexts(api.routes) if "POST" in (each.methods or ())
    }


def test_every_post_honours_the_key_or_says_why_not(api):
    found = posts(api)
    assert len(found) > 20
    assert {path for path, route in found.items() if not (isinstance(route, OnceRoute) and route.is_once)} == set(
        NOT_ONCE
    )
    assert all(reason.endswith(".") for reason in NOT_ONCE.values())


def test_the_documentation_names_the_key_where_it_is_honoured(client):
    document = client.get("/api/openapi.json").json()
    for path, operations in document["paths"].items():
        named = {parameter["name"] for parameter in operations.get("post", {}).get("parameters", [])}
        assert ("Idempotency-Key" in named) == ("post" in operations and path not in NOT_ONCE), path


@pytest.fixture
def sign_in(api, workbench):
    """Opens a client signed in as somebody new, from this machine."""

    def opened(user: User | None = None) -> TestClient:
        user = user or make_user(workbench, Role.ANALYST, password=None)
        session = workbench.access.start_session(user, address="", user_agent="")
        return TestClient(
            api, headers={"Authorization": f"Bearer {session.access_token}"}, client=("127.0.0.1", 50_000)
        )

    return opened


@pytest.fixture
def person(sign_in):
    return sign_in()


def test_a_secret_shown_once_is_shown_again_to_who_made_it_and_stands_nowhere(person, workbench, settings):
    first, again = (person.post(KEYS, json=ASKED, headers=KEY) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    assert len(person.get(KEYS).json()["items"]) == 1
    workbench.close()
    secret = first.json()["key"].encode()
    kept = [path for path in Path(settings.data_dir).rglob("*") if path.is_file()]
    assert kept
    assert not any(secret in path.read_bytes() for path in kept)


def test_another_body_query_or_route_with_the_key_is_refused(person):
    assert person.post(KEYS, json=ASKED, headers=KEY).status_code == 201
    for path, asked in (
        (KEYS, ASKED | {"name": "weekly"}),
        (KEYS, ASKED | {"name": "n" * 100_000}),
        (f"{KEYS}?x=1", ASKED),
        ("/api/v1/webhooks", ASKED),
    ):
        refused(person.post(path, json=asked, headers=KEY), 422, "idempotency_key_reused")


def test_a_key_is_its_senders_own_with_each_of_their_api_keys(sign_in, workbench):
    user = make_user(workbench, Role.ANALYST, password=None)
    mine, mine_again, anothers = sign_in(user), sign_in(user), sign_in()
    answers = [client.post(KEYS, json=ASKED, headers=KEY) for client in (mine, mine_again, anothers)]
    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, "true", None]
    programs = [key_header(workbench, user=user, scopes=[Scope.READ]) for _ in range(2)]
    answers = [mine.post(CONSENT, headers={"Authorization": ""} | KEY | program) for program in programs]
    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, None], answers


def test_who_may_not_ask_any_more_gets_no_answer_of_before(sign_in, workbench):
    user = make_user(workbench, Role.ANALYST, password=None)
    person = sign_in(user)
    assert person.post(KEYS, json=ASKED, headers=KEY).status_code == 201
    workbench.access.sign_out_everywhere(user.id)
    refused(person.post(KEYS, json=ASKED, headers=KEY), 401, "invalid_credentials")


def test_a_replay_counts_on_the_limit_of_calls(person, workbench, monkeypatch):
    admitted = Mock(wraps=workbench.limits.admit)
    monkeypatch.setattr(workbench.limits, "admit", admitted)
    assert [person.post(KEYS, json=ASKED, headers=KEY).status_code for _ in range(2)] == [201, 201]
    assert admitted.call_count == 2


def test_a_route_without_a_body_is_done_once_whatever_body_came(person, workbench, monkeypatch):
    monkeypatch.setattr(workbench.webhooks, "_networks", networks_of("127.0.0.0/8"))
    made = person.post("/api/v1/webhooks", json={"url": "http://127.0.0.1:9/nobody"}).json()["webhook"]["id"]
    tests = [person.post(f"/api/v1/webhooks/{made}/test", content=b"{}", headers=KEY) for _ in range(2)]
    assert [answer.status_code for answer in tests] == [202, 202]
    assert tests[0].json()["id"] == tests[1].json()["id"]


def test_kept_answers_are_sealed_anew_when_the_keys_change(person, workbench):
    first = person.post(KEYS, json=ASKED, headers=KEY).json()
    newer = Vault((*parsed_keys(new_secret_key()), workbench.kept_answers._vault.sealing_key))
    assert KEPT_ANSWER in SEALED_COLUMNS
    assert len(list(update_sealed(workbench.store, newer, KEPT_ANSWER))) == 1
    workbench.kept_answers = KeptAnswers(workbench.store, Vault((newer.sealing_key,)))
    assert person.post(KEYS, json=ASKED, headers=KEY).json() == first


def test_after_a_day_a_key_may_be_used_anew(person, workbench):
    first = person.post(KEYS, json=ASKED, headers=KEY).json()
    delete_idempotency_keys(workbench.store, reader=PROCESS, before=datetime.now(UTC) - LIFETIME)
    assert person.post(KEYS, json=ASKED, headers=KEY).json() == first
    delete_idempotency_keys(workbench.store, reader=PROCESS, before=datetime.now(UTC) + timedelta(seconds=1))
    assert person.post(KEYS, json=ASKED, headers=KEY).json()["key"] != first["key"]


def test_of_two_that_come_at_once_one_is_answered(workbench):
    caller = make_fake_caller()
    workbench.kept_answers.take(caller, "k")
    for act in (workbench.kept_answers.take, workbench.kept_answers.find):
        with pytest.raises(IdempotencyKeyBusyError):
            act(caller, "k")


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
def test_a_form_is_the_same_with_another_boundary_and_in_other_blocks(size):
    def asked(boundary: str, content: bytes, size: int) -> str:
        scope = {
            "type": "http",
            "path": "/",
            "query_string": b"",
            "headers": [(b"content-type", f"multipart/form-data; boundary={boundary}".encode())],
        }
        asked, body = _Asked(Request(scope)), b"--%b\r\n%b\r\n--%b--" % (boundary.encode(), content, boundary.encode())
        for first in range(0, len(body), size):
            asked._note(body[first : first + size])
        return asked.fingerprint()

    whole = asked("aab", b"a sound aa", 10_000)
    assert asked("xyz--w", b"a sound aa", size) == whole
    assert asked("aab", b"a sound ab", size) != whole
