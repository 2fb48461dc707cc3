"""The API as one ASGI application. It knows its whole paths, `/api/...` included, wherever it is mounted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anyio import CapacityLimiter
from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from api import (
    routes_auth,
    routes_batches,
    routes_documentation,
    routes_explanations,
    routes_health,
    routes_labelling,
    routes_labelling_files,
    routes_models,
    routes_predictions,
    routes_privacy,
    routes_recordings,
    routes_report_schedules,
    routes_reports,
    routes_review,
    routes_sign_in,
    routes_stream,
    routes_training,
    routes_webhooks,
)
from api.access import require_access
from api.errors import add_error_answers
from api.metrics import Metrics
from api.middleware import Doorkeeper
from api.once import NOT_ONCE, PARAMETER, OnceRoute
from api.routes_predictions import refusals
from api.schemas import Problem
from api.signing_in import HASHING_AT_A_TIME
from core import __version__
from core.access.roles import EVERYBODY, rule_of
from core.domain import Role
from core.workbench import Workbench

ALIASES: Mapping[str, tuple[Callable[..., Any], str]] = {
    "/health": (routes_health.health, "GET"),
    "/predict": (routes_predictions.predict, "POST"),
    "/batch-predict": (routes_predictions.batch_predict, "POST"),
}
"""Short addresses at the root for routes of the same name below /api/v1, and their methods."""
PROBES = ("/healthz", "/readyz", "/metrics")

DESCRIPTION = """
Send a recording of speech, learn which of eight emotions it carries, how sure that is, and how good the recording was.

    curl -H "X-API-Key: $KEY" -F file=@clip.wav http://localhost:8501/api/v1/predict

Send an API key as `X-API-Key`, or a token as `Authorization: Bearer`; the page Account makes keys.

Refusals are `application/problem+json` (RFC 9457) with a stable `code`. Every answer carries an `X-Request-ID`.
"""


def create_api(get_workbench: Callable[[], Workbench], *, is_draining: Callable[[], bool] = lambda: False) -> FastAPI:
    """The API over the workbench that `get_workbench` gives; while `is_draining`, new requests are answered 503."""
    metrics = Metrics()
    api = FastAPI(
        title="Telepathy",
        version=__version__,
        description=DESCRIPTION,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(require_access)],
    )
    api.state.get_workbench = get_workbench
    api.state.metrics = metrics
    api.state.is_draining = is_draining
    api.state.stream_seats = routes_stream.StreamSeats()
    api.state.hashing = CapacityLimiter(HASHING_AT_A_TIME)
    for module in (
        routes_predictions,
        routes_batches,
        routes_explanations,
        routes_recordings,
        routes_reports,
        routes_report_schedules,
        routes_models,
        routes_privacy,
        routes_webhooks,
        routes_labelling,
        routes_labelling_files,
        routes_review,
        routes_auth,
        routes_sign_in,
        routes_health,
        routes_training,
        routes_documentation,
        routes_stream,
    ):
        api.include_router(module.router)
    for alias, (endpoint, method) in ALIASES.items():
        api.router.add_api_route(
            alias, endpoint, methods=[method], include_in_schema=False, route_class_override=OnceRoute
        )
    add_error_answers(api)
    api.state.open_requests = set()
    api.add_middleware(Doorkeeper, metrics=metrics, is_draining=is_draining, open_requests=api.state.open_requests)
    api.openapi = lambda: _openapi(api)  # type: ignore[method-assign]
    return api


def _openapi(api: FastAPI) -> dict[str, object]:
    """The OpenAPI document, with problem+json where FastAPI would put its own shape of refusal."""
    if api.openapi_schema is None:
        document = get_openapi(
            title=api.title, version=api.version, description=api.description, routes=api.routes, tags=TAGS
        )
        schemas = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= problem.pop("$defs") | {Problem.__name__: problem}
        document["components"]["securitySchemes"] = SECURITY_SCHEMES
        _say_who_may(document)
        api.openapi_schema = document
    return api.openapi_schema


SECURITY_SCHEMES = {
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "A key from the page Account, or from `POST /api/v1/keys`.",
    },
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "From `POST /api/v1/auth/token`; an API key is taken here too.",
    },
}


def _say_who_may(document: dict[str, Any]) -> None:
    """Tell of every operation, from the one table, what it asks for; and of those with a body, that it has bounds."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                for status, answer in refusals(400, 408, 413).items():
                    operation["responses"].setdefault(str(status), answer)
            if method == "post" and path not in NOT_ONCE:
                operation.setdefault("parameters", []).append(PARAMETER)
                for status, answer in refusals(409, 422).items():
                    operation["responses"].setdefault(str(status), answer)
            rule = rule_of(method.upper(), path)
            if rule.is_public:
                operation["security"] = []
                continue
            operation["security"] = [{"token": []}] if rule.needs_person else [{"key": []}, {"token": []}]
            who = "everybody" if rule.roles == EVERYBODY else ", ".join(role for role in Role if role in rule.roles)
            scope = "" if rule.scope is None else f" A key needs the scope `{rule.scope}`."
            operation["description"] = f"{operation.get('description', '')}\n\nOpen to {who}.{scope}".strip()
            for status, answer in refusals(401, 403).items():
                operation["responses"].setdefault(str(status), answer)


TAGS = [
    {"name": "access", "description": "Tokens, and keys for programs."},
    {"name": "predictions", "description": "Ask for one, ask for many, read those that were made."},
    {"name": "batches", "description": "Many recordings, in the background."},
    {"name": "explanations", "description": "Why this emotion."},
    {"name": "recordings", "description": "The sound itself."},
    {"name": "reports", "description": "What many predictions amount to, as a file or by e-mail."},
    {"name": "privacy", "description": "Projects, consent, and all that is held on you."},
    {"name": "webhooks", "description": "Have programs of yours told of what happens: docs/webhooks.md."},
    {"name": "labelling", "description": "Say what you hear, and see how far people agree."},
    {"name": "models", "description": "Which can answer."},
    {"name": "training", "description": "Models of your own clips and labels: docs/custom-models.md."},
    {"name": "health", "description": "For load balancers and monitoring."},
]


def routes_of(api: FastAPI) -> list[BaseRoute]:
    """What to register in the application around `api`, so that all its addresses lead to it."""
    whole = _WholePath(api)
    http = [Route(path, whole) for path in ROOT_PATHS]
    sign_in_files = Mount("/sign-in", app=whole)
    return [Mount("/api", app=whole), WebSocketRoute(routes_stream.ALIAS, whole), *http, sign_in_files]


ROOT_PATHS = ("/api", *PROBES, *ALIASES, routes_stream.ALIAS, *routes_sign_in.PATHS)
"""The addresses of the API outside /api."""


def is_of_the_api(path: str) -> bool:
    """Whether a path of the process leads to the API."""
    return path in ROOT_PATHS or path.startswith(("/api/", "/sign-in/"))


class _WholePath:
    """Undoes what `Mount` does to the path: the API is asked with the path as the sender wrote it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("app_root_path", scope.get("root_path", ""))
        await self._app({**scope, "root_path": root, "path_params": {}}, receive, send)
