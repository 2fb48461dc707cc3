"""The one table of who may what: it lacks nothing, and every route and page keeps to it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import structlog
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from api.application import create_api, is_of_the_api, routes_of
from core.access.roles import EVERYBODY, PAGES, ROLE_SCOPES, ROUTES, WEBSOCKET, Rule, may_open, require_route, rule_of
from core.config import REPOSITORY, Settings
from core.domain import Role, Scope
from core.errors import ForbiddenError
from tests.callers import ANY_KEY, FakeAccess, make_fake_caller
from tests.integration.api.fakes import FakeWorkbench

WORKBENCH = FakeWorkbench(Settings())
API = create_api(lambda: WORKBENCH)
CLOSED = [key for key, rule in ROUTES.items() if not rule.is_public]
PUBLIC_PATHS = {path for (_, path), rule in ROUTES.items() if rule.is_public}


def routes_of_the_api() -> Iterator[tuple[str, str]]:
    """Method and path of every route that FastAPI answers."""
    for context in iter_route_contexts(API.routes):
        methods = getattr(context, "methods", None) or {WEBSOCKET}
        yield from ((method, context.path) for method in methods if method != "HEAD")


def test_every_route_stands_in_the_table_and_no_other():
    assert set(routes_of_the_api()) == set(ROUTES)


def test_every_route_of_the_process_leads_to_the_api_which_asks_for_itself():
    from app import app

    ours = app._user_routes
    assert {type(route) for route in ours} == {Mount, Route, WebSocketRoute}
    assert {route.path for route in ours} == {route.path for route in routes_of(API)}
    for route in ours:
        assert is_of_the_api(route.path) or is_of_the_api(f"{route.path}/x")
        assert type(route.app if isinstance(route, Mount) else route.endpoint).__name__ == "_WholePath"


def test_every_page_stands_in_the_table():
    files = {path.stem for path in (REPOSITORY / "pages").glob("*.py")} - {"__init__", "navigation"}
    assert files <= set(PAGES)


def test_what_the_table_lacks_is_open_to_nobody():
    with pytest.raises(ForbiddenError):
        rule_of("GET", "/api/v1/forgotten")
    assert not may_open(Role.ADMIN, "forgotten")


def test_admins_may_all_and_viewers_change_nothing_that_stays():
    assert all(Role.ADMIN in rule.roles for rule in ROUTES.values())
    assert all(Role.ADMIN in roles for roles in PAGES.values())
    assert ROLE_SCOPES[Role.VIEWER] == {Scope.PREDICT, Scope.READ, Scope.DELETE}
    assert not may_open(Role.VIEWER, "people")


def test_public_routes_are_these():
    """A route that becomes public changes this list, where a reviewer sees it."""
    assert {
        *("/healthz", "/health", "/api/v1/health", "/readyz", "/metrics"),
        *("/api", "/api/docs", "/api/docs/assets/{name}", "/api/openapi.json", "/api/asyncapi.json"),
        *("/sign-in", "/register", "/forgot", "/set-up", "/link", "/sign-out", "/sign-in/assets/{name}"),
        *("/sign-in/provider", "/sign-in/vouched"),
        *("/api/v1/auth/token", "/api/v1/auth/refresh"),
        *("/api/v1/stream", "/ws/stream"),  # by GET they say that a WebSocket is meant
    } == PUBLIC_PATHS


def filled(path: str) -> str:
    return re.sub(r"\{\w+\}", "01939b2e-7c11-7d6a-9d0c-5a5f1f0f3c2e", path)


def status_of(client: TestClient, method: str, path: str) -> int:
    """What a call is answered; 0 for a WebSocket that was accepted."""
    if method != WEBSOCKET:
        return client.request(method, filled(path)).status_code
    try:
        with client.websocket_connect(path) as socket:
            socket.close()
    except WebSocketDenialResponse as refused:
        return refused.status_code
    except WebSocketDisconnect:
        pass
    return 0


@pytest.mark.parametrize(("method", "path"), CLOSED, ids=lambda part: str(part))
def test_route_refuses_who_does_not_say_who_they_are(method, path):
    assert status_of(TestClient(API), method, path) == 401


def is_let_in(access: FakeAccess, method: str, path: str) -> bool:
    """Whether the route goes on to its own work: whatever comes of that, it is neither 401 nor 403."""
    WORKBENCH.access = access
    client = TestClient(API, headers=ANY_KEY, raise_server_exceptions=False)
    with structlog.testing.capture_logs():  # what a made-up workbench cannot do ends in tracebacks
        return status_of(client, method, path) not in {401, 403}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("method", "path"), CLOSED, ids=lambda part: str(part))
def test_each_role_gets_what_the_table_says(role, method, path):
    rule = ROUTES[method, path]
    is_key_enough = not rule.needs_person
    assert is_let_in(FakeAccess(role), method, path) == (role in rule.roles and is_key_enough)
    if not is_key_enough:
        person = FakeAccess(role)
        person.is_key = False
        assert is_let_in(person, method, path) == (role in rule.roles)


@pytest.mark.parametrize(("method", "path"), [key for key in CLOSED if ROUTES[key].scope], ids=lambda part: str(part))
def test_key_without_the_scope_is_refused(method, path):
    needed = ROUTES[method, path].scope
    assert is_let_in(FakeAccess(scopes=[needed]), method, path)
    assert not is_let_in(FakeAccess(scopes=set(Scope) - {needed}), method, path)


def test_refusal_says_what_would_be_right():
    caller = make_fake_caller(Role.VIEWER, [Scope.READ])
    with pytest.raises(ForbiddenError, match="'viewer' may not do this; analyst, annotator, admin may"):
        require_route(caller, "POST", "/api/v1/batch-predict")
    with pytest.raises(ForbiddenError, match="lacks the scope 'predict'"):
        require_route(caller, "POST", "/api/v1/predict")


def test_rule_is_closed_unless_it_says_otherwise():
    assert Rule() == Rule(roles=EVERYBODY, scope=None, is_public=False, needs_person=False)


def test_document_says_of_every_operation_who_may():
    document = API.openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            rule = ROUTES[method.upper(), path]
            assert (operation["security"] == []) == rule.is_public, path
            assert rule.is_public or {"401", "403"} <= operation["responses"].keys(), path
    assert document["components"]["securitySchemes"].keys() == {"key", "token"}
