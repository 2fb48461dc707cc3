"""Batches of recordings, durable jobs' own tables, idempotency keys."""

from __future__ import annotations

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Nothing yet."""
