"""Which model answers: champion and challengers, deployed and rolled back while the process serves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from core.access.access import Access
from core.config import Settings
from core.domain import PROCESS, Caller, User, own_labels
from core.errors import (
    GateNotPassedError,
    InvalidParameterError,
    ModelError,
    NothingToRollBackError,
    OtherLabelsError,
    StoreError,
)
from core.inference.recogniser import Recogniser
from core.inference.registry import find_model
from core.models.versions import ModelVersion, read_version, read_versions, rename_author
from core.store.engine import Store
from core.store.models import (
    ModelEvent,
    ModelEventKind,
    ShadowCount,
    count_shadow_answers,
    insert_model_event,
    select_model_events,
    update_model_events_of,
)

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 5.0
"""How long after a deployment by another process this one may go on with the old model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Which model answers, which listens, and what was before."""

    deployed: str
    """Name of the model."""
    before: tuple[str, ...]
    """Models to which one can roll back, the last one last."""
    shadow: str | None


class Models:
    """The model versions of one workbench. Safe to share between threads."""

    def __init__(
        self, settings: Settings, store: Store, access: Access, *, open_model: Callable[[str], Recogniser]
    ) -> None:
        self._settings, self._store, self._access = settings, store, access
        self._open_model = open_model
        self._changing = threading.Lock()
        self._standing = Standing(deployed=settings.model, before=(), shadow=None)
        self._look_again_at_s = 0.0
        self._was_read = False
        self.on_event: Callable[[ModelEvent, Caller], None] | None = None
        """Told of every deployment and roll back, by the thread that made it."""

    # -- which there are

    def list_versions(self) -> tuple[list[ModelVersion], list[ModelError]]:
        """Every version that is whole, the newest first, and what is wrong with the others."""
        return read_versions(self._settings)

    def version(self, name: str) -> ModelVersion:
        """The model called `name`, or whose version that is. Raises ModelNotFoundError, DamagedModelError."""
        return read_version(self.folder(name), self._settings)

    def folder(self, name: str) -> Path:
        """Its folder. Raises ModelNotFoundError."""
        return find_model(self._settings.models_dir, name, installed_dir=self._settings.installed_models_dir)

    # -- which answers

    @property
    def standing(self) -> Standing:
        """Which model answers and which listens; at most `LOOK_AGAIN_S` old. Raises StoreError the first time only."""
        with self._changing:
            if time.monotonic() >= self._look_again_at_s:
                try:
                    self._read_standing()
                except StoreError as error:
                    if not self._was_read:
                        raise
                    self._look_again_at_s = time.monotonic() + LOOK_AGAIN_S
                    log.warning("which model is deployed was not looked up again", reason=str(error))
            return self._standing

    @property
    def deployed(self) -> str:
        """Name of the model that answers whoever names none."""
        return self.standing.deployed

    def history(self) -> list[ModelEvent]:
        """All deployments, the newest first."""
        return select_model_events(self._store, reader=PROCESS)[::-1]

    def deploy(self, name: str, *, by: Caller, reason: str = "") -> ModelVersion:
        """Have a model answer from now on. It is loaded before anybody is sent to it; calls under way end with the old.

        Parameters
        ----------
        reason
            Why it is deployed although the gate does not let it pass; kept in the ledger and in the audit log.

        Raises
        ------
        OtherLabelsError
            It says other labels than the deployed model; of the eight emotions it may say fewer or more.
        GateNotPassedError
            The gate does not let it pass, and no reason is given.
        ModelError
            It cannot be used.
        """
        version = self.version(name)
        name = version.card.name
        if name == self.deployed:
            return version
        self._require_same_labels(version)
        obstacle = self.obstacle(version)
        if obstacle and not reason.strip():
            raise GateNotPassedError(name, obstacle)
        self._open_model(name)
        self._note(ModelEventKind.DEPLOYED, version, by, reason=reason.strip() if obstacle else "")
        return version

    def _require_same_labels(self, version: ModelVersion) -> None:
        deployed = self.version(self.deployed).card
        if own_labels(version.card.emotions) != own_labels(deployed.emotions):
            raise OtherLabelsError(version.card.name, version.card.emotions, deployed.name, deployed.emotions)

    def obstacle(self, version: ModelVersion) -> str:
        """Why the gate does not let a version take the place of the deployed one; empty where it does."""
        made = version.retrained
        if made is None:
            return "it was not made from the deployed model, so that nothing compares them"
        deployed = self.version(self.deployed).card.version
        if made.parent != deployed:
            return f"it was compared with {made.parent}, and {deployed} is deployed: retrain from that"
        return "" if made.gate.is_passed else made.gate.sentence[0].lower() + made.gate.sentence[1:].rstrip(".")

    def roll_back(self, *, by: Caller) -> ModelVersion:
        """Have the model answer that did before the deployed one.

        Raises
        ------
        NothingToRollBackError
            There was none.
        ModelError
            It cannot be used any more.
        """
        before = self.standing.before
        if not before:
            raise NothingToRollBackError
        version = self.version(before[-1])
        self._open_model(version.card.name)
        self._note(ModelEventKind.ROLLED_BACK, version, by)
        return version

    # -- which listens

    def start_shadow(self, name: str, *, by: Caller) -> ModelVersion:
        """Have a model judge live traffic silently.

        Raises ModelError, as `deploy` does; InvalidParameterError for the deployed one.
        """
        version = self.version(name)
        if version.card.name == self.deployed:
            raise InvalidParameterError("model", repr(name), "another than the deployed one")
        self._require_same_labels(version)
        self._open_model(version.card.name)
        self._note(ModelEventKind.SHADOWED, version, by)
        return version

    def end_shadow(self, *, by: Caller) -> None:
        """Have no model listen. Nothing happens where none does."""
        shadow = self.standing.shadow
        if shadow is not None:
            self._note(ModelEventKind.UNSHADOWED, self.version(shadow), by)

    def compare_shadow(self, shadow_version: str) -> list[ShadowCount]:
        """What a version said in the shadow against what the version deployed now said of the same clips."""
        champion = self.version(self.deployed).card.version
        return count_shadow_answers(
            self._store, shadow_version=shadow_version, champion_version=champion, reader=PROCESS
        )

    def forget_person(self, user: User) -> None:
        """Name somebody who leaves by their id, in the history of deployments and on cards of models they had made."""
        update_model_events_of(self._store, user_id=user.id)
        rename_author(self._settings, user.email, str(user.id))
        with self._changing:
            self._read_standing()

    def _note(self, event: ModelEventKind, version: ModelVersion, by: Caller, *, reason: str = "") -> None:
        happened = insert_model_event(
            self._store,
            event=event,
            model=version.card.name,
            version=version.card.version,
            actor_id=by.user.id,
            actor=by.user.email,
            reason=reason,
            happened_at=datetime.now(UTC),
        )
        self._access.audit(f"model.{_ACTIONS[event]}", version.card.version, by, reason=reason)
        with self._changing:
            self._read_standing()
        if self.on_event is not None and event in {ModelEventKind.DEPLOYED, ModelEventKind.ROLLED_BACK}:
            self.on_event(happened, by)

    def _read_standing(self) -> None:
        self._standing = standing_after(select_model_events(self._store, reader=PROCESS), first=self._settings.model)
        self._look_again_at_s = time.monotonic() + LOOK_AGAIN_S
        self._was_read = True


def standing_after(events: list[ModelEvent], *, first: str) -> Standing:
    """Which model answers after `events`, oldest first, where `first` did before them."""
    deployed = [first]
    shadow: str | None = None
    for event in events:
        if event.event is ModelEventKind.DEPLOYED:
            deployed.append(event.model)
        elif event.event is ModelEventKind.ROLLED_BACK and len(deployed) > 1:
            deployed.pop()
        elif event.event is ModelEventKind.SHADOWED:
            shadow = event.model
        elif event.event is ModelEventKind.UNSHADOWED:
            shadow = None
    return Standing(
        deployed=deployed[-1], before=tuple(deployed[:-1]), shadow=None if shadow == deployed[-1] else shadow
    )


_ACTIONS = {
    ModelEventKind.DEPLOYED: "deploy",
    ModelEventKind.ROLLED_BACK: "roll_back",
    ModelEventKind.SHADOWED: "shadow",
    ModelEventKind.UNSHADOWED: "unshadow",
}
"""As the audit log says it."""
