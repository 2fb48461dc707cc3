"""Who may open which page and call which route: the one table of it.

tests/integration/api/test_roles.py walks every page and every route, fails on one that is missing here, and asks each
as each role.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.domain import Caller, Role, Scope
from core.errors import ForbiddenError

EVERYBODY = frozenset(Role)
"""Who is signed in, whatever for."""
WORKING = frozenset({Role.ANALYST, Role.ANNOTATOR, Role.ADMIN})
"""All but viewers, who show what it does: they send no batches and hold no keys."""
LABELLERS = WORKING
"""Who may be an annotator of a project."""
ADMINS = frozenset({Role.ADMIN})
REVIEWING = frozenset({Role.ANALYST, Role.ADMIN})
"""Who sets up how projects are labelled, and decides where annotators disagree."""

PAGES: Mapping[str, frozenset[Role]] = {
    "analyse": EVERYBODY,
    "live": EVERYBODY,
    "explore": WORKING,
    "explain": EVERYBODY,
    "reports": WORKING,
    "batch": WORKING,
    "jobs": WORKING,
    "annotate": LABELLERS,
    "review": REVIEWING,
    "labelling": REVIEWING,
    "models": frozenset({Role.ANALYST, Role.ADMIN}),
    "projects": WORKING,
    "usage": EVERYBODY,
    "webhooks": WORKING,
    "account": EVERYBODY,
    "people": ADMINS,
    "admin": ADMINS,
    "sign_out": EVERYBODY,
}
"""By the name of the page's file."""


ROLE_SCOPES: Mapping[Role, frozenset[Scope]] = {
    Role.VIEWER: frozenset({Scope.PREDICT, Scope.READ, Scope.DELETE}),
    Role.ANALYST: frozenset({Scope.PREDICT, Scope.READ, Scope.DELETE}),
    Role.ANNOTATOR: frozenset({Scope.PREDICT, Scope.READ, Scope.DELETE}),
    Role.ADMIN: frozenset(Scope),
}
"""What somebody who is signed in may ask for, and the most that their keys can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Who may call a route."""

    roles: frozenset[Role] = EVERYBODY
    scope: Scope | None = None
    """What an API key must be allowed besides; None for what any key may."""
    is_public: bool = False
    """Nobody is asked who they are."""
    needs_person: bool = False
    """A session or a signed token, not an API key: a key that leaked must not be able to make others."""


PUBLIC = Rule(is_public=True)
_PREDICT = Rule(scope=Scope.PREDICT)
_READ = Rule(scope=Scope.READ)
_REPORT = Rule(roles=WORKING, scope=Scope.READ)
_LABEL = Rule(roles=LABELLERS, scope=Scope.PREDICT)
_PERSON = Rule(needs_person=True)
_HOOKS = Rule(roles=WORKING, scope=Scope.READ)
_MODELS = Rule(roles=ADMINS, scope=Scope.ADMIN)
_KEYS = Rule(roles=WORKING, needs_person=True)

WEBSOCKET = "WEBSOCKET"
"""Stands where the method of other routes does."""

ROUTES: Mapping[tuple[str, str], Rule] = {
    ("POST", "/api/v1/predict"): _PREDICT,
    ("POST", "/predict"): _PREDICT,
    ("POST", "/api/v1/batch-predict"): Rule(roles=WORKING, scope=Scope.PREDICT),
    ("POST", "/batch-predict"): Rule(roles=WORKING, scope=Scope.PREDICT),
    ("POST", "/api/v1/batches"): Rule(roles=WORKING, scope=Scope.PREDICT),
    ("GET", "/api/v1/batches"): Rule(roles=WORKING, scope=Scope.READ),
    ("GET", "/api/v1/batches/{batch_id}"): Rule(roles=WORKING, scope=Scope.READ),
    ("GET", "/api/v1/batches/{batch_id}/results"): Rule(roles=WORKING, scope=Scope.READ),
    ("POST", "/api/v1/batches/{batch_id}/retry"): Rule(roles=WORKING, scope=Scope.PREDICT),
    ("DELETE", "/api/v1/batches/{batch_id}"): Rule(roles=WORKING, scope=Scope.PREDICT),
    ("POST", "/api/v1/explain"): _PREDICT,
    (WEBSOCKET, "/api/v1/stream"): _PREDICT,
    (WEBSOCKET, "/ws/stream"): _PREDICT,
    ("GET", "/api/v1/predictions"): _READ,
    ("GET", "/api/v1/predictions/{prediction_id}"): _READ,
    ("POST", "/api/v1/reports"): _REPORT,
    ("GET", "/api/v1/report-schedules"): _REPORT,
    ("POST", "/api/v1/report-schedules"): _REPORT,
    ("GET", "/api/v1/report-schedules/{schedule_id}"): _REPORT,
    ("PATCH", "/api/v1/report-schedules/{schedule_id}"): _REPORT,
    ("DELETE", "/api/v1/report-schedules/{schedule_id}"): _REPORT,
    ("POST", "/api/v1/report-schedules/{schedule_id}/run"): _REPORT,
    ("GET", "/api/v1/report-schedules/{schedule_id}/runs"): _REPORT,
    ("GET", "/api/v1/recordings/{recording_id}/audio"): _READ,
    ("DELETE", "/api/v1/recordings/{recording_id}"): Rule(scope=Scope.DELETE),
    ("GET", "/api/v1/recordings/{recording_id}/overview"): _READ,
    ("GET", "/api/v1/labelling/{project_id}/queue"): _LABEL,
    ("POST", "/api/v1/labelling/{project_id}/ratings"): _LABEL,
    ("POST", "/api/v1/labelling/{project_id}/skips"): _LABEL,
    ("POST", "/api/v1/labelling/{project_id}/undo"): _LABEL,
    ("GET", "/api/v1/labelling/{project_id}/progress"): Rule(roles=WORKING, scope=Scope.READ),
    ("GET", "/api/v1/labelling/{project_id}/agreement"): Rule(roles=WORKING, scope=Scope.READ),
    ("GET", "/api/v1/labelling/{project_id}/consensus"): Rule(roles=WORKING, scope=Scope.READ),
    ("GET", "/api/v1/labelling/{project_id}/review"): Rule(roles=REVIEWING, scope=Scope.READ),
    ("POST", "/api/v1/labelling/{project_id}/decisions"): Rule(roles=REVIEWING, scope=Scope.PREDICT),
    ("GET", "/api/v1/labelling/{project_id}/settings"): Rule(roles=WORKING, scope=Scope.READ),
    ("GET", "/api/v1/labelling/{project_id}/export"): Rule(roles=WORKING, scope=Scope.READ),
    ("POST", "/api/v1/labelling/{project_id}/import"): Rule(roles=WORKING, scope=Scope.PREDICT),
    ("GET", "/api/v1/labelling/{project_id}/assignments"): Rule(roles=WORKING, scope=Scope.READ),
    ("POST", "/api/v1/labelling/{project_id}/assignments"): Rule(roles=WORKING, scope=Scope.PREDICT),
    ("PUT", "/api/v1/labelling/{project_id}/settings"): Rule(roles=WORKING, scope=Scope.PREDICT),
    ("GET", "/api/v1/models"): Rule(),
    ("GET", "/api/v1/models/{name}/card"): Rule(),
    ("GET", "/api/v1/data-sets"): Rule(roles=WORKING, scope=Scope.READ),
    ("POST", "/api/v1/data-sets"): Rule(roles=WORKING, scope=Scope.PREDICT),
    ("GET", "/api/v1/data-sets/{data_set_id}"): Rule(roles=WORKING, scope=Scope.READ),
    ("DELETE", "/api/v1/data-sets/{data_set_id}"): Rule(roles=WORKING, scope=Scope.DELETE),
    ("GET", "/api/v1/trainings"): Rule(roles=WORKING, scope=Scope.READ),
    ("POST", "/api/v1/trainings"): Rule(roles=WORKING, scope=Scope.PREDICT),
    ("POST", "/api/v1/trainings/estimate"): Rule(roles=WORKING, scope=Scope.READ),
    ("GET", "/api/v1/trainings/{training_id}"): Rule(roles=WORKING, scope=Scope.READ),
    ("DELETE", "/api/v1/trainings/{training_id}"): Rule(roles=WORKING, scope=Scope.PREDICT),
    ("POST", "/api/v1/models/{name}/deploy"): _MODELS,
    ("POST", "/api/v1/models/{name}/shadow"): _MODELS,
    ("DELETE", "/api/v1/models/shadow"): _MODELS,
    ("POST", "/api/v1/models/rollback"): _MODELS,
    ("GET", "/api/v1/projects"): Rule(),
    ("POST", "/api/v1/account/consent"): _PREDICT,
    ("GET", "/api/v1/account/export"): _PERSON,
    ("DELETE", "/api/v1/account"): _PERSON,
    ("GET", "/api/v1/auth/me"): Rule(),
    ("POST", "/api/v1/auth/sign-out"): _PERSON,
    ("GET", "/api/v1/keys"): _KEYS,
    ("POST", "/api/v1/keys"): _KEYS,
    ("DELETE", "/api/v1/keys/{key_id}"): _KEYS,
    ("POST", "/api/v1/keys/{key_id}/rotate"): _KEYS,
    # Who may set an address up is a person, as with keys: one that leaked would go on telling its thief of everything.
    ("GET", "/api/v1/webhooks"): _HOOKS,
    ("POST", "/api/v1/webhooks"): _KEYS,
    ("GET", "/api/v1/webhooks/{webhook_id}"): _HOOKS,
    ("PATCH", "/api/v1/webhooks/{webhook_id}"): _KEYS,
    ("DELETE", "/api/v1/webhooks/{webhook_id}"): _KEYS,
    ("POST", "/api/v1/webhooks/{webhook_id}/rotate"): _KEYS,
    ("POST", "/api/v1/webhooks/{webhook_id}/test"): _HOOKS,
    ("GET", "/api/v1/webhooks/{webhook_id}/deliveries"): _HOOKS,
    ("POST", "/api/v1/webhook-deliveries/{delivery_id}/replay"): _HOOKS,
    # Public, each for its reason. These give out or take in what proves who somebody is:
    ("POST", "/api/v1/auth/token"): PUBLIC,
    ("POST", "/api/v1/auth/refresh"): PUBLIC,
    ("GET", "/sign-in"): PUBLIC,
    ("POST", "/sign-in"): PUBLIC,
    ("GET", "/register"): PUBLIC,
    ("POST", "/register"): PUBLIC,
    ("GET", "/forgot"): PUBLIC,
    ("POST", "/forgot"): PUBLIC,
    ("GET", "/set-up"): PUBLIC,
    ("POST", "/set-up"): PUBLIC,
    ("GET", "/link"): PUBLIC,
    ("POST", "/link"): PUBLIC,
    ("GET", "/sign-out"): PUBLIC,
    ("POST", "/sign-out"): PUBLIC,
    ("GET", "/sign-in/assets/{name}"): PUBLIC,
    ("GET", "/sign-in/provider"): PUBLIC,
    ("GET", "/sign-in/vouched"): PUBLIC,
    # These are for machines that watch this one, and tell nothing of what it holds; /metrics asks for a token or
    # for a caller on this machine, /readyz gives details to admins only:
    ("GET", "/api/v1/health"): PUBLIC,
    ("GET", "/health"): PUBLIC,
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/metrics"): PUBLIC,
    # These are the same for everybody who has the source:
    ("GET", "/api"): PUBLIC,
    ("GET", "/api/docs"): PUBLIC,
    ("GET", "/api/docs/assets/{name}"): PUBLIC,
    ("GET", "/api/openapi.json"): PUBLIC,
    ("GET", "/api/asyncapi.json"): PUBLIC,
    # These say that a WebSocket is meant:
    ("GET", "/api/v1/stream"): PUBLIC,
    ("GET", "/ws/stream"): PUBLIC,
}
"""By method and path template. What is not here is open to nobody."""


def may_open(role: Role, page: str) -> bool:
    """Whether somebody in `role` may open the page of this file name; no for one the table lacks.

    >>> may_open(Role.VIEWER, "analyse"), may_open(Role.VIEWER, "admin")
    (True, False)
    """
    return role in PAGES.get(page, frozenset())


def is_admin(caller: Caller) -> bool:
    """Whether `caller` may do what only admins may: by their role, and by their key's scopes where they use one."""
    return caller.user.role is Role.ADMIN and Scope.ADMIN in caller.scopes


def rule_of(method: str, path: str) -> Rule:
    """Who may call a route.

    Raises
    ------
    ForbiddenError
        The table lacks it.
    """
    rule = ROUTES.get((method, path))
    if rule is None:
        raise ForbiddenError(f"Nobody may call {method} {path}: it stands in no table.")
    return rule


def require_route(caller: Caller, method: str, path: str) -> None:
    """See that `caller` may call a route.

    Raises
    ------
    ForbiddenError
        They may not: their role, their key's scopes, or a key where a person has to be.
    """
    rule = rule_of(method, path)
    if rule.is_public:
        return
    role = caller.user.role
    if role not in rule.roles:
        able = ", ".join(each.value for each in Role if each in rule.roles)
        raise ForbiddenError(f"The role {role.value!r} may not do this; {able} may. Ask an admin for another role.")
    if rule.needs_person and caller.key_id is not None:
        raise ForbiddenError(
            "An API key may not do this. Sign in with a browser, or ask for a token: POST /api/v1/auth/token."
        )
    if rule.scope is not None and rule.scope not in caller.scopes:
        raise ForbiddenError(f"This API key lacks the scope {rule.scope.value!r}. Make one that has it.")
