"""Who gave a clip to an annotator by hand; nobody, where a queue chose it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("labelling_assignments", sa.Column("given_by", sa.Uuid))
