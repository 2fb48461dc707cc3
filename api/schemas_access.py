"""What the API takes and sends about accounts, tokens and keys."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.schemas import Shape
from core.access.access import SignedIn
from core.domain import ApiKey, Caller, Project, Purpose, Role, Scope


class TokenRequest(BaseModel):
    """Who wants a token: by e-mail address and password, or by the refresh token of an earlier answer."""

    model_config = ConfigDict(extra="forbid")

    email: str | None = Field(default=None, max_length=320, examples=["ada@example.org"])
    password: str | None = Field(default=None, max_length=1024, repr=False)
    refresh_token: str | None = Field(default=None, max_length=1024, repr=False)


class RefreshRequest(BaseModel):
    """A refresh token; each is good for one use. Browsers send nothing: theirs is a cookie."""

    model_config = ConfigDict(extra="forbid")

    refresh_token: str = Field(max_length=1024, repr=False)


class KeyRequest(BaseModel):
    """The API key wanted."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, examples=["nightly batch"])
    scopes: list[Scope] = Field(min_length=1, examples=[["predict", "read"]])
    expires_at: AwareDatetime | None = Field(default=None, description="Left out: never.")


class RotationRequest(BaseModel):
    """How to take over from an API key."""

    model_config = ConfigDict(extra="forbid")

    overlap_hours: float = Field(
        default=24.0, ge=0, le=24 * 90, description="How long the old key stays valid beside the new one."
    )


class TokenShape(Shape):
    """Proof of who asks, and what gets the next one."""

    access_token: str = Field(description="A signed JWT; send it as `Authorization: Bearer`.")
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 (the scheme's name)
    expires_in: int = Field(description="Life of the access token, in seconds.")
    refresh_token: str = Field(description="Gets the next access token, and a next refresh token; once.")
    session_expires_at: datetime

    @classmethod
    def of(cls, signed_in: SignedIn, *, access_token_minutes: float) -> Self:
        return cls(
            access_token=signed_in.access_token,
            expires_in=round(access_token_minutes * 60),
            refresh_token=signed_in.refresh_token,
            session_expires_at=signed_in.session_expires_at,
        )


class CallerShape(Shape):
    """Who asks, as the process knows them."""

    id: UUID
    email: str
    name: str
    role: Role
    plan: str
    scopes: list[Scope] = Field(description="What this key or session may do, within the role.")
    key_id: UUID | None = Field(description="The API key that was sent; null with a session or a token.")

    @classmethod
    def of(cls, caller: Caller) -> Self:
        user = caller.user
        return cls(
            id=user.id,
            email=user.email,
            name=user.name,
            role=user.role,
            plan=caller.plan,
            scopes=sorted(caller.scopes),
            key_id=caller.key_id,
        )


class KeyShape(Shape):
    """What is kept of an API key: never the key."""

    id: UUID
    user_id: UUID
    name: str
    prefix: str = Field(examples=["tel_live_x7Qk"])
    last_four: str = Field(examples=["9fZq"])
    scopes: list[Scope]
    plan: str | None = Field(description="Null: that of its owner.")
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    replaces_id: UUID | None = Field(description="The key it took over from.")

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        return cls(
            id=key.id,
            user_id=key.user_id,
            name=key.name,
            prefix=key.prefix,
            last_four=key.last_four,
            scopes=sorted(key.scopes),
            plan=key.plan,
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used_at=key.last_used_at,
            revoked_at=key.revoked_at,
            replaces_id=key.replaces_id,
        )


class NewKeyShape(Shape):
    """An API key, shown this once."""

    key: str = Field(description="Send it as `X-API-Key`. It is kept nowhere: store it now.")
    api_key: KeyShape


class KeyListShape(Shape):
    """API keys, newest first."""

    items: list[KeyShape]


class ProjectShape(Shape):
    """A project that is shared with the caller."""

    id: UUID
    name: str
    purpose: Purpose
    purpose_note: str
    retention_days: int | None = Field(description="Days after which its recordings are deleted; null keeps them.")
    is_own: bool = Field(description="Whether the caller began it.")
    has_agreed: bool = Field(description="Whether the caller has agreed to recordings for it.")
    created_at: datetime

    @staticmethod
    def of(project: Project, *, is_own: bool, has_agreed: bool) -> ProjectShape:
        return ProjectShape(
            id=project.id,
            name=project.name,
            purpose=project.purpose,
            purpose_note=project.purpose_note,
            retention_days=project.retention_days,
            is_own=is_own,
            has_agreed=has_agreed,
            created_at=project.created_at,
        )


class ProjectListShape(Shape):
    """The projects that are shared with the caller, the oldest first."""

    items: list[ProjectShape]
