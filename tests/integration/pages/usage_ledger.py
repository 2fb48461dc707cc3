"""A ledger for the usage pages, and accounts to go with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

from core.domain import ApiKey, Caller, Emotion, Reader, Role, Scope, UsageEvent, User
from tests.factories import make_usage_event


def make_user(number: int, email: str, role: Role = Role.ANALYST, plan: str = "free") -> User:
    return User(
        id=UUID(int=number),
        email=email,
        name=email.partition("@")[0].capitalize(),
        role=role,
        plan=plan,
        is_active=True,
        has_password=True,
        created_at=datetime.now(UTC),
        last_sign_in_at=None,
    )


def make_key(number: int, user: User, name: str) -> ApiKey:
    return ApiKey(
        id=UUID(int=number),
        user_id=user.id,
        name=name,
        prefix="tel_live_abcd",
        last_four="wxyz",
        scopes=frozenset(Scope),
        plan=None,
        created_at=datetime.now(UTC),
        expires_at=None,
        last_used_at=None,
        revoked_at=None,
        replaces_id=None,
    )


ANN = make_user(1, "ann@example.org")
BOB = make_user(2, "bob@example.org", Role.ADMIN, plan="pro")
NIGHTLY, UNUSED = make_key(11, ANN, "nightly"), make_key(12, ANN, "unused")
ACCESS = SimpleNamespace(
    users=lambda: [ANN, BOB],
    all_keys=lambda: [NIGHTLY, UNUSED],
    keys_of=lambda user_id: [key for key in (NIGHTLY, UNUSED) if key.user_id == user_id],
)


def caller_of(user: User) -> Caller:
    return Caller(
        user=user,
        scopes=frozenset(Scope),
        reader=Reader(user_id=user.id, sees_everything=user.role is Role.ADMIN),
        plan=user.plan,
    )


def make_ledger() -> list[UsageEvent]:
    """Of Ann: 6 answered, 2 refused, 1 failed, by a key; of Bob: 3 answered; of nobody: 1. All of the last minutes."""
    now = datetime.now(UTC)
    ann = {"user_id": ANN.id, "key_id": NIGHTLY.id, "plan": "free"}
    bob = {"user_id": BOB.id, "plan": "pro", "route": "/", "method": "PAGE", "emotion": Emotion.SAD}
    nothing = {"n_predictions": 0, "audio_s": 0.0, "emotion": None, "confidence": None}
    made = [make_usage_event(at=now - timedelta(minutes=number), audio_s=600.0, **ann) for number in range(6)]
    made += [make_usage_event(at=now, status=422, **ann, **nothing) for _ in range(2)]
    made += [make_usage_event(at=now, status=500, duration_ms=3_000.0, **ann, **nothing)]
    made += [make_usage_event(at=now - timedelta(minutes=number), **bob) for number in range(3)]
    return [*made, make_usage_event(at=now)]
