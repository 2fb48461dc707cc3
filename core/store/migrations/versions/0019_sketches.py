"""Where the recording of a prediction lies among others that its encoder heard; nothing in predictions of before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.add_column("prediction_details", sa.Column("encoder", sa.Text))
    op.add_column("prediction_details", sa.Column("sketch", sa.LargeBinary))
