"""Where the stretch begins and ends that a reviewer's decision is about; nowhere, where it is about the recording."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("labelling_decisions", sa.Column("start_s", sa.Double))
    op.add_column("labelling_decisions", sa.Column("end_s", sa.Double))
