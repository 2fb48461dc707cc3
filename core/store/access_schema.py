"""The tables of the access store. A change here needs a migration beside it in access_migrations/versions (tested).

Apart from core/store/schema.py: by default they stand in an SQLite file of their own (docs/decisions/0006).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, MetaData, Table, Text, Uuid

from core.store.schema import UtcDateTime

metadata = MetaData()

users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("email", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("password_hash", Text),
    Column("is_email_proven", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_sign_in_at", UtcDateTime),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey(users.c.id), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("refresh_hash", Text, nullable=False),
    Column("previous_refresh_hash", Text),
    Column("refreshed_at", UtcDateTime, nullable=False),
    Column("address", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("revoked_at", UtcDateTime),
    Index("ix_sessions_user_id", "user_id"),
    Index("ix_sessions_expires_at", "expires_at"),
)

one_time_links = Table(
    "one_time_links",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("user_id", Uuid, ForeignKey(users.c.id)),
    Column("email", Text, nullable=False),
    Column("role", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Index("ix_one_time_links_email", "email"),
)
"""An invitation has a role and no user yet; every other link has a user and no role."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey(users.c.id), nullable=False),
    Column("name", Text, nullable=False),
    Column("key_hash", Text, nullable=False, unique=True),
    Column("prefix", Text, nullable=False),
    Column("last_four", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("plan", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("replaces_id", Uuid, ForeignKey("api_keys.id")),
    Index("ix_api_keys_user_id", "user_id"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor_id", Uuid),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("previous_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)
"""One row, of id 1: the newest entry of the log, so that entries missing at its end are noticed."""

projects = Table(
    "projects",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("purpose_note", Text, nullable=False),
    Column("exception", Text, nullable=False),
    Column("exception_by", Text, nullable=False),
    Column("exception_at", UtcDateTime),
    Column("retention_days", Integer),
    Column("owner_id", Uuid, ForeignKey(users.c.id), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_projects_owner_id", "owner_id"),
)

project_members = Table(
    "project_members",
    metadata,
    Column("project_id", Uuid, ForeignKey(projects.c.id), primary_key=True),
    Column("user_id", Uuid, ForeignKey(users.c.id), primary_key=True),
    Column("since", UtcDateTime, nullable=False),
    Index("ix_project_members_user_id", "user_id"),
)
"""The owner of a project is none of its members."""

consents = Table(
    "consents",
    metadata,
    Column("user_id", Uuid, ForeignKey(users.c.id), primary_key=True),
    Column("project_id", Uuid, primary_key=True),
    Column("text_version", Integer, primary_key=True),
    Column("agreed_at", UtcDateTime, nullable=False),
)
"""`project_id` is that of `core.domain.NOBODY` for recordings outside projects: a key may hold no NULL."""
