"""Projects: who shares what with whom, for which purpose, and who agreed to being recorded."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from core.access.access import Access
from core.access.roles import is_admin
from core.domain import Caller, Consent, Project, ProjectMember, Purpose, Reader, User
from core.errors import (
    ConsentNeededError,
    ForbiddenError,
    InvalidParameterError,
    PurposeRefusedError,
    UnknownProjectError,
    UnknownUserError,
)
from core.identifiers import new_id
from core.privacy import CONSENT_VERSION, FORBIDDEN
from core.store.projects import (
    delete_project_member,
    insert_consent,
    insert_project,
    insert_project_member,
    select_consents,
    select_project,
    select_project_members,
    select_projects,
    update_project_retention,
)

MAX_NAME, MAX_NOTE = 100, 1000
MAX_RETENTION_DAYS = 36_500
OWN_SPACE = "your own"


class Projects:
    """The projects of one process; tells `access` which are shared with whom. Safe to share between threads."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._store = access.store
        access.project_ids_of = self.ids_of

    def ids_of(self, user_id: UUID) -> frozenset[UUID]:
        """The projects that somebody owns or is a member of."""
        return frozenset(project.id for project in select_projects(self._store, user_id=user_id))

    def create(
        self,
        name: str,
        purpose: Purpose,
        *,
        by: Caller,
        purpose_note: str = "",
        retention_days: int | None = None,
        exception: str = "",
    ) -> Project:
        """Begin a project.

        Raises
        ------
        PurposeRefusedError
            The law forbids the purpose, and it is no admin who says by `exception` why it is lawful here.
        InvalidParameterError
            Name, note, reason or retention is out of place.
        """
        name, purpose_note, exception = (" ".join(text.split()) for text in (name, purpose_note, exception))
        _require_text("name", name, MAX_NAME, is_needed=True)
        _require_text("purpose_note", purpose_note, MAX_NOTE)
        _require_text("exception", exception, MAX_NOTE)
        _require_retention(retention_days)
        if purpose in FORBIDDEN and not (exception and is_admin(by)):
            raise PurposeRefusedError(FORBIDDEN[purpose])
        is_exception = purpose in FORBIDDEN
        now = datetime.now(UTC)
        project = Project(
            id=new_id(),
            name=name,
            purpose=purpose,
            purpose_note=purpose_note,
            exception=exception if is_exception else "",
            exception_by=by.user.email if is_exception else "",
            exception_at=now if is_exception else None,
            retention_days=retention_days,
            owner_id=by.user.id,
            created_at=now,
        )
        with self._store.exclusive("keeping a project"):
            insert_project(self._store, project=project)
            self._access.audit("project.create", str(project.id), by, purpose=purpose, exception=project.exception)
        return project

    def list_for(self, reader: Reader) -> list[Project]:
        """The projects that `reader` may see."""
        return select_projects(self._store, user_id=None if reader.sees_everything else reader.user_id)

    def find(self, project_id: UUID, reader: Reader) -> Project:
        """The project with this id.

        Raises
        ------
        UnknownProjectError
            There is none, or it is not shared with `reader`.
        """
        project = select_project(self._store, project_id=project_id)
        is_theirs = project is not None and (project.owner_id == reader.user_id or project.id in reader.project_ids)
        if project is None or not (is_theirs or reader.sees_everything):
            raise UnknownProjectError(project_id)
        return project

    def members(self, project_id: UUID, reader: Reader) -> list[User]:
        """Who shares a project: its owner first. Raises UnknownProjectError."""
        project = self.find(project_id, reader)
        shared_with = [member.user_id for member in select_project_members(self._store, project_id=project_id)]
        return [self._access.user(user_id) for user_id in (project.owner_id, *shared_with)]

    def add_member(self, project_id: UUID, email: str, *, by: Caller) -> User:
        """Share a project with the account of this address.

        Raises
        ------
        UnknownProjectError, UnknownUserError
            There is no such thing.
        ForbiddenError
            Only its owner and admins may.
        """
        wanted = email.strip().casefold()
        with self._store.exclusive("sharing a project"):
            project = self._changeable(project_id, by)
            user = next((user for user in self._access.users() if user.email.casefold() == wanted), None)
            if user is None:
                raise UnknownUserError(email)
            if user.id != project.owner_id:
                member = ProjectMember(project_id=project_id, user_id=user.id, since=datetime.now(UTC))
                insert_project_member(self._store, member=member)
                self._access.audit("project.share", str(project_id), by, user=user.email)
        return user

    def remove_member(self, project_id: UUID, user_id: UUID, *, by: Caller) -> None:
        """Share a project with somebody no longer; members may leave themselves. Raises like `add_member`."""
        with self._store.exclusive("sharing a project no longer"):
            if user_id != by.user.id:
                self._changeable(project_id, by)
            delete_project_member(self._store, project_id=project_id, user_id=user_id)
            self._access.audit("project.unshare", str(project_id), by, user=user_id)

    def change_retention(self, project_id: UUID, retention_days: int | None, *, by: Caller) -> None:
        """Change how long recordings of a project are kept. Raises like `add_member`."""
        _require_retention(retention_days)
        with self._store.exclusive("changing a project"):
            self._changeable(project_id, by)
            update_project_retention(self._store, project_id=project_id, retention_days=retention_days)
            self._access.audit("project.retention", str(project_id), by, days=retention_days)

    def has_agreed(self, user_id: UUID, project_id: UUID | None) -> bool:
        """Whether somebody agreed to recordings of a project, or outside projects, in the words of now."""
        given = select_consents(self._store, user_id=user_id)
        return any(each.project_id == project_id and each.text_version == CONSENT_VERSION for each in given)

    def agree(self, user_id: UUID, project_id: UUID | None) -> None:
        """Keep that somebody agreed."""
        consent = Consent(
            user_id=user_id, project_id=project_id, text_version=CONSENT_VERSION, agreed_at=datetime.now(UTC)
        )
        insert_consent(self._store, consent=consent)

    def require_consent(self, caller: Caller, project_id: UUID | None, *, agrees: bool = False) -> None:
        """See that `caller` may record into a project, or outside any, and agreed or agrees now.

        Raises
        ------
        UnknownProjectError
            There is no such project, or it is not shared with them.
        ConsentNeededError
            They have not agreed.
        """
        name = OWN_SPACE if project_id is None else f"the project {self.find(project_id, caller.reader).name!r}"
        if self.has_agreed(caller.user.id, project_id):
            return
        if not agrees:
            raise ConsentNeededError(name)
        self.agree(caller.user.id, project_id)

    def _changeable(self, project_id: UUID, by: Caller) -> Project:
        project = self.find(project_id, by.reader)
        if project.owner_id != by.user.id and not by.reader.sees_everything:
            raise ForbiddenError("Only the owner of a project and admins can change it.")
        return project


def _require_text(name: str, text: str, most: int, *, is_needed: bool = False) -> None:
    if len(text) > most or (is_needed and not text) or not text.isprintable():
        raise InvalidParameterError(
            name, repr(text[:50]), f"{'1' if is_needed else '0'} to {most} printable characters"
        )


def _require_retention(days: int | None) -> None:
    if days is not None and not 1 <= days <= MAX_RETENTION_DAYS:
        raise InvalidParameterError("retention_days", str(days), f"a whole number from 1 to {MAX_RETENTION_DAYS}")
