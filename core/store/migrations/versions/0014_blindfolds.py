"""Who rates a project blind."""

from __future__ import annotations

import json
from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "labelling_blindfolds",
        sa.Column("project_id", sa.Uuid, nullable=False),
        sa.Column("annotator_id", sa.Uuid, nullable=False),
    )
    settings = sa.table(
        "labelling_settings",
        sa.column("id", sa.Uuid),
        sa.column("project_id", sa.Uuid),
        sa.column("settings", sa.Text),
    )
    blindfolds = sa.table("labelling_blindfolds", sa.column("project_id", sa.Uuid), sa.column("annotator_id", sa.Uuid))
    connection = op.get_bind()
    found = connection.execute(sa.select(settings.c.project_id, settings.c.settings).order_by(settings.c.id))
    newest = {row.project_id: json.loads(row.settings) for row in found}
    rows = [
        {"project_id": project_id, "annotator_id": UUID(annotator)}
        for project_id, plain in newest.items()
        if plain["is_blind"]
        for annotator in plain["annotators"]
    ]
    if rows:
        connection.execute(blindfolds.insert(), rows)
