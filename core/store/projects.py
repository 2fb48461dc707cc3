"""Projects, their members, consents; and taking an account out of the access store."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, or_, select, update

from core.domain import NOBODY, Consent, Project, ProjectMember, Purpose
from core.store.access_schema import (
    api_keys,
    consents,
    one_time_links,
    project_members,
    projects,
    sessions,
    users,
)
from core.store.access_store import AccessStore


def insert_project(store: AccessStore, *, project: Project) -> Project:
    """Keep a new project."""
    row = {
        "id": project.id,
        "name": project.name,
        "purpose": project.purpose.value,
        "purpose_note": project.purpose_note,
        "exception": project.exception,
        "exception_by": project.exception_by,
        "exception_at": project.exception_at,
        "retention_days": project.retention_days,
        "owner_id": project.owner_id,
        "created_at": project.created_at,
    }
    store.append("keeping a project", (projects, [row]))
    return project


def select_project(store: AccessStore, *, project_id: UUID) -> Project | None:
    """The project with this id."""
    with store.transaction("reading a project") as connection:
        row = connection.execute(select(*projects.columns).where(projects.c.id == project_id)).one_or_none()
    return None if row is None else _project(row)


def select_projects(store: AccessStore, *, user_id: UUID | None = None) -> list[Project]:
    """The projects that somebody owns or is a member of, or all; the oldest first."""
    question = select(*projects.columns).order_by(projects.c.created_at, projects.c.id)
    if user_id is not None:
        shared = select(project_members.c.project_id).where(project_members.c.user_id == user_id)
        question = question.where(or_(projects.c.owner_id == user_id, projects.c.id.in_(shared)))
    with store.transaction("reading projects") as connection:
        return [_project(row) for row in connection.execute(question)]


def update_project_retention(store: AccessStore, *, project_id: UUID, retention_days: int | None) -> None:
    """Keep how long recordings of this project are kept."""
    changed = update(projects).where(projects.c.id == project_id).values(retention_days=retention_days)
    with store.transaction("changing a project") as connection:
        connection.execute(changed)


def insert_project_member(store: AccessStore, *, member: ProjectMember) -> None:
    """Share a project with somebody; nothing changes where it is already."""
    with store.exclusive("sharing a project") as connection:
        is_there = select(project_members.c.user_id).where(
            project_members.c.project_id == member.project_id, project_members.c.user_id == member.user_id
        )
        if connection.execute(is_there).one_or_none() is None:
            connection.execute(
                project_members.insert().values(
                    project_id=member.project_id, user_id=member.user_id, since=member.since
                )
            )


def select_project_members(store: AccessStore, *, project_id: UUID) -> list[ProjectMember]:
    """Who this project is shared with, besides its owner."""
    question = select(*project_members.columns).where(project_members.c.project_id == project_id)
    with store.transaction("reading a project") as connection:
        rows = connection.execute(question.order_by(project_members.c.since)).all()
    return [ProjectMember(project_id=row.project_id, user_id=row.user_id, since=row.since) for row in rows]


def delete_project_member(store: AccessStore, *, project_id: UUID, user_id: UUID) -> None:
    """Share a project with somebody no longer."""
    with store.transaction("sharing a project no longer") as connection:
        connection.execute(
            delete(project_members).where(
                project_members.c.project_id == project_id, project_members.c.user_id == user_id
            )
        )


def insert_consent(store: AccessStore, *, consent: Consent) -> None:
    """Keep that somebody agreed; the first time counts."""
    row = {
        "user_id": consent.user_id,
        "project_id": consent.project_id or NOBODY,
        "text_version": consent.text_version,
        "agreed_at": consent.agreed_at,
    }
    with store.exclusive("keeping a consent") as connection:
        is_this = [consents.c[name] == row[name] for name in ("user_id", "project_id", "text_version")]
        if connection.execute(select(consents.c.user_id).where(*is_this)).one_or_none() is None:
            connection.execute(consents.insert().values(row))


def select_consents(store: AccessStore, *, user_id: UUID) -> list[Consent]:
    """What somebody agreed to."""
    question = select(*consents.columns).where(consents.c.user_id == user_id).order_by(consents.c.agreed_at)
    with store.transaction("reading consents") as connection:
        rows = connection.execute(question).all()
    return [
        Consent(
            user_id=row.user_id,
            project_id=None if row.project_id == NOBODY else row.project_id,
            text_version=row.text_version,
            agreed_at=row.agreed_at,
        )
        for row in rows
    ]


def delete_project(store: AccessStore, *, project_id: UUID) -> None:
    """Delete a project, with who it is shared with and who agreed to it."""
    with store.exclusive("deleting a project") as connection:
        connection.execute(delete(project_members).where(project_members.c.project_id == project_id))
        connection.execute(delete(consents).where(consents.c.project_id == project_id))
        connection.execute(delete(projects).where(projects.c.id == project_id))


def delete_user(store: AccessStore, *, user_id: UUID) -> None:
    """Delete an account that owns no projects, with all the access store holds of it but the audit log."""
    with store.exclusive("deleting an account") as connection:
        for table in (consents, project_members, api_keys, sessions, one_time_links):
            connection.execute(delete(table).where(table.c.user_id == user_id))
        connection.execute(delete(users).where(users.c.id == user_id))


def _project(row: Row[*tuple[Any, ...]]) -> Project:
    return Project(
        id=row.id,
        name=row.name,
        purpose=Purpose(row.purpose),
        purpose_note=row.purpose_note,
        exception=row.exception,
        exception_by=row.exception_by,
        exception_at=row.exception_at,
        retention_days=row.retention_days,
        owner_id=row.owner_id,
        created_at=row.created_at,
    )
