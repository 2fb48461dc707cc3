"""Tokens for programs, renewal for browsers, API keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.access import (
    Asking,
    OpenWorkbench,
    delete_session_cookies,
    require_same_origin,
    session_cookies,
    set_session_cookies,
)
from api.once import OnceRoute
from api.routes_predictions import refusals
from api.schemas_access import (
    CallerShape,
    KeyListShape,
    KeyRequest,
    KeyShape,
    NewKeyShape,
    RefreshRequest,
    RotationRequest,
    TokenRequest,
    TokenShape,
)
from api.signing_in import signed_in_by_password
from api.uploads import json_schema, received_json
from core.access.access import Access
from core.domain import ApiKey, Caller, Role, Scope
from core.errors import ForbiddenError, InvalidParameterError, NotSignedInError, UnknownKeyError

router = APIRouter(prefix="/api/v1", tags=["access"], route_class=OnceRoute)

RENEWED: dict[int | str, dict[str, Any]] = {204: {"description": "A browser's cookies were renewed."}}


@router.post(
    "/auth/token",
    summary="Get a token",
    responses=refusals(400, 401, 408, 413, 415, 422, 429),
    openapi_extra=json_schema(TokenRequest),
)
async def token(request: Request, workbench: OpenWorkbench) -> TokenShape:
    """A JWT for a program, by e-mail address and password or by a refresh token. It lives a quarter of an hour."""
    asked = await received_json(request, TokenRequest, stall_s=workbench.settings.upload_stall_s)
    if asked.refresh_token is not None:
        if asked.email is not None or asked.password is not None:
            raise InvalidParameterError("refresh_token", "beside a password", "sent alone")
        signed_in = await run_in_threadpool(workbench.access.refresh, asked.refresh_token)
    else:
        for name, value in (("email", asked.email), ("password", asked.password)):
            if value is None:
                raise InvalidParameterError(name, "missing", "given; or a refresh_token alone")
        signed_in = await signed_in_by_password(request, email=asked.email or "", password=asked.password or "")
    return TokenShape.of(signed_in, access_token_minutes=workbench.settings.access_token_minutes)


@router.post(
    "/auth/refresh",
    summary="Renew a token",
    response_model=TokenShape,
    responses=RENEWED | refusals(400, 401, 403, 408, 413, 415, 422),
    openapi_extra=json_schema(RefreshRequest, is_required=False),
)
async def refresh(request: Request, workbench: OpenWorkbench) -> TokenShape | Response:
    """With a refresh token in the body: the next access and refresh tokens. From a browser: its cookies renewed."""
    access, settings = workbench.access, workbench.settings
    if request.headers.get("content-type") is not None:
        asked = await received_json(request, RefreshRequest, stall_s=settings.upload_stall_s)
        renewed = await run_in_threadpool(access.refresh, asked.refresh_token)
        return TokenShape.of(renewed, access_token_minutes=settings.access_token_minutes)
    _, refresh_token = session_cookies(request, settings)
    if refresh_token is None:
        raise NotSignedInError
    require_same_origin(request)
    response = Response(status_code=204)
    set_session_cookies(response, await run_in_threadpool(access.refresh, refresh_token), request, settings)
    return response


@router.post("/auth/sign-out", status_code=204, summary="End the session", responses=refusals(401, 403))
async def sign_out(caller: Asking, workbench: OpenWorkbench) -> Response:
    """Token, refresh token and cookies of this session are refused from now on."""
    if caller.session_id is not None:
        await run_in_threadpool(workbench.access.sign_out, caller.session_id)
    response = Response(status_code=204)
    delete_session_cookies(response)
    return response


@router.get("/auth/me", summary="Who asks", responses=refusals(401))
async def me(caller: Asking) -> CallerShape:
    """What the process makes of the key or token that was sent."""
    return CallerShape.of(caller)


@router.get("/keys", summary="List API keys", responses=refusals(401, 403, 422))
def list_keys(caller: Asking, workbench: OpenWorkbench, everybody: bool = False) -> KeyListShape:
    """One's own; with `everybody`, for admins, all."""
    if everybody and caller.user.role is not Role.ADMIN:
        raise ForbiddenError("Only admins see the keys of others. Leave `everybody` out.")
    keys = workbench.access.all_keys() if everybody else workbench.access.keys_of(caller.user.id)
    return KeyListShape(items=[KeyShape.of(key) for key in sorted(keys, key=lambda key: key.created_at, reverse=True)])


@router.post(
    "/keys",
    status_code=201,
    summary="Make an API key",
    responses=refusals(400, 401, 403, 408, 413, 415, 422),
    openapi_extra=json_schema(KeyRequest),
)
async def create_key(request: Request, caller: Asking, workbench: OpenWorkbench) -> NewKeyShape:
    """The answer is the only place where the key ever stands."""
    asked = await received_json(request, KeyRequest, stall_s=workbench.settings.upload_stall_s)
    if Scope.ADMIN in asked.scopes and caller.user.role is not Role.ADMIN:
        raise ForbiddenError("Only admins make keys with the scope 'admin'.")
    made, key = await run_in_threadpool(
        workbench.access.create_key,
        caller.user.id,
        asked.name,
        frozenset(asked.scopes),
        expires_at=asked.expires_at,
        by=caller,
    )
    return NewKeyShape(key=key, api_key=KeyShape.of(made))


@router.delete("/keys/{key_id}", status_code=204, summary="Revoke an API key", responses=refusals(401, 403, 404, 422))
def revoke_key(key_id: UUID, caller: Asking, workbench: OpenWorkbench) -> Response:
    """It is refused from the next request on."""
    workbench.access.revoke_key(_own_key(workbench.access, caller, key_id).id, by=caller)
    return Response(status_code=204)


@router.post(
    "/keys/{key_id}/rotate",
    status_code=201,
    summary="Replace an API key",
    responses=refusals(400, 401, 403, 404, 408, 413, 415, 422),
    openapi_extra=json_schema(RotationRequest, is_required=False),
)
async def rotate_key(key_id: UUID, request: Request, caller: Asking, workbench: OpenWorkbench) -> NewKeyShape:
    """A new key of the same name and scopes; the old one stays valid for a while, so that programs can change over."""
    asked = RotationRequest()
    if request.headers.get("content-type") is not None:
        asked = await received_json(request, RotationRequest, stall_s=workbench.settings.upload_stall_s)
    replaced = await run_in_threadpool(_own_key, workbench.access, caller, key_id)
    made, key = await run_in_threadpool(
        workbench.access.rotate_key, replaced.id, by=caller, overlap=timedelta(hours=asked.overlap_hours)
    )
    return NewKeyShape(key=key, api_key=KeyShape.of(made))


def _own_key(access: Access, caller: Caller, key_id: UUID) -> ApiKey:
    """The key, if it is the caller's or the caller an admin; to others it does not exist."""
    seen = access.all_keys() if caller.user.role is Role.ADMIN else access.keys_of(caller.user.id)
    for key in seen:
        if key.id == key_id:
            return key
    raise UnknownKeyError(key_id)
