"""Webhooks: endpoints of users, what is told to them, and how each attempt went."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from core.config import Settings
from core.domain import (
    PROCESS,
    AttemptOutcome,
    Caller,
    DeliveryState,
    Reader,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookMessage,
)
from core.errors import (
    AddressRefusedError,
    InvalidParameterError,
    InvalidSettingError,
    SecretError,
    TelepathyError,
    UnknownDeliveryError,
    UnknownWebhookError,
    WebhookError,
)
from core.identifiers import new_id
from core.secrets import Vault
from core.store.engine import Store
from core.store.sealed_columns import PREVIOUS_WEBHOOK_SECRET, WEBHOOK_SECRET
from core.store.webhooks import (
    SealedSecrets,
    WaitingDeliveries,
    count_waiting_deliveries,
    delete_webhook_endpoint,
    delete_webhook_messages,
    insert_webhook_attempt,
    insert_webhook_endpoint,
    insert_webhook_messages,
    select_known_message_ids,
    select_unfinished_deliveries,
    select_webhook_deliveries,
    select_webhook_delivery,
    select_webhook_endpoint,
    select_webhook_endpoints,
    select_webhook_secrets,
    update_webhook_endpoint,
    update_webhook_secrets,
)
from core.webhooks.address_guard import Network, Resolve, networks_of, pin, system_addresses
from core.webhooks.events import EVENT_TYPES, TEST, body_of, require_event_types
from core.webhooks.intake import Accepted, Intake
from core.webhooks.retries import seconds_of, wait_s
from core.webhooks.sending import Answer, host_of, post, require_safe_scheme
from core.webhooks.signing import new_secret, signed_headers

MAX_ENDPOINTS = 20
"""Of one user: each is a message more for everything that happens."""
MAX_DESCRIPTION = 200
LOOK_EVERY_S = 30.0
"""Until another process's endpoints are noticed."""
SWEEP_EVERY_S = 300.0
"""Until a delivery is noticed that nobody goes on with."""
GONE = 410
MAX_OVERLAP = timedelta(days=90)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits, for whoever watches."""

    n_deliveries: int
    overdue_s: float
    """How long the one is overdue that has been for longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """An attempt that is to be made."""

    delivery_id: UUID
    owner_id: UUID
    number: int
    """From 1."""
    delay_s: float


class Webhooks:
    """Everything about webhooks in one process. Safe to share between threads; close it once.

    Parameters
    ----------
    may_be_told
        Whether the account with this id may have webhooks, and is not switched off.
    tell_owner
        Called with the id of an account, a subject and a text, when an endpoint was switched off.
    audit
        Told of every change: what was done, to which endpoint, by whom.
    resolve, now
        Where hosts are, and what time it is; of this machine unless a test says otherwise.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        vault: Vault,
        *,
        may_be_told: Callable[[UUID], bool] = lambda owner_id: True,
        tell_owner: Callable[[UUID, str, str], None] = lambda owner_id, subject, text: None,
        audit: Callable[[str, str, Caller], object] = lambda action, subject, by: None,
        resolve: Resolve = system_addresses,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._vault = vault
        self._timeout_s = settings.webhook_timeout_s
        self._log_lasts = timedelta(days=settings.webhook_log_days)
        self._public_url = settings.public_url
        self._may_be_told = may_be_told
        self._tell_owner = tell_owner
        self._audit = audit
        self._resolve = resolve
        self._now = now
        self._networks = _allowed(settings)
        self.hand_over: Callable[[Sequence[Due]], None] | None = None
        """Has attempts made, each once its delay is over. Set by whoever runs jobs; until then what is accepted waits
        in the store."""
        self.on_attempt: Callable[[AttemptOutcome], None] | None = None
        """Told what became of every attempt, by the thread that made it."""
        self._known = threading.Lock()
        self._endpoints: Mapping[UUID, tuple[WebhookEndpoint, ...]] = {}
        """By owner: what happens is compared with these, since the store would have to be asked for each prediction."""
        self._sweeps_at: datetime | None = None
        """None before `start`."""
        self._counted: tuple[datetime, WaitingDeliveries] | None = None
        self._intake = Intake(
            store,
            hand_over=lambda deliveries: self._hand_over([_first(delivery) for delivery in deliveries]),
            look_around=self._look_around,
            look_every_s=LOOK_EVERY_S,
        )
        self._refresh()

    # -- endpoints

    def endpoints(self, owner_id: UUID) -> list[WebhookEndpoint]:
        """Those of one user, oldest first."""
        return select_webhook_endpoints(self._store, reader=Reader(user_id=owner_id))

    def endpoint(self, endpoint_id: UUID, *, owner_id: UUID) -> WebhookEndpoint:
        """One of them. Raises UnknownWebhookError."""
        found = select_webhook_endpoint(self._store, endpoint_id=endpoint_id, reader=Reader(user_id=owner_id))
        if found is None:
            raise UnknownWebhookError(endpoint_id)
        return found

    def create(
        self, *, by: Caller, url: str, event_types: Iterable[str] = (), description: str = ""
    ) -> tuple[WebhookEndpoint, str]:
        """A new endpoint and its secret, which nobody is shown again.

        Raises
        ------
        InvalidParameterError
            The address, an event type or the description is out of place, or there are too many endpoints.
        AddressRefusedError
            The address leads nowhere, or where the settings do not allow.
        """
        url, owner_id = url.strip(), by.user.id
        wanted = require_event_types(event_types)
        self._require_address(url)
        if len(self.endpoints(owner_id)) >= MAX_ENDPOINTS:
            raise InvalidParameterError("url", "one more webhook", f"one of at most {MAX_ENDPOINTS}; delete one first")
        endpoint = WebhookEndpoint(
            id=new_id(),
            owner_id=owner_id,
            url=url,
            description=_described(description),
            event_types=wanted,
            created_at=self._now(),
        )
        secret = new_secret()
        sealed = self._vault.seal(secret, WEBHOOK_SECRET.context(endpoint.id))
        insert_webhook_endpoint(self._store, endpoint=endpoint, sealed_secret=sealed)
        self._refresh()
        self._audit("webhook.create", str(endpoint.id), by)
        return endpoint, secret

    def change(
        self,
        endpoint_id: UUID,
        *,
        by: Caller,
        url: str | None = None,
        event_types: Iterable[str] | None = None,
        description: str | None = None,
        is_active: bool | None = None,
    ) -> WebhookEndpoint:
        """Change what is given and leave the rest. Raises as `create`, and UnknownWebhookError."""
        endpoint = self.endpoint(endpoint_id, owner_id=by.user.id)
        if url is not None and url.strip() != endpoint.url:
            self._require_address(url.strip())
            endpoint = replace(endpoint, url=url.strip())
        if event_types is not None:
            endpoint = replace(endpoint, event_types=require_event_types(event_types))
        if description is not None:
            endpoint = replace(endpoint, description=_described(description))
        if is_active:
            endpoint = replace(endpoint, disabled_at=None, disabled_because="")
        elif is_active is False and endpoint.disabled_at is None:
            endpoint = replace(endpoint, disabled_at=self._now(), disabled_because="It was switched off by hand.")
        if not update_webhook_endpoint(self._store, endpoint=endpoint, reader=Reader(user_id=by.user.id)):
            raise UnknownWebhookError(endpoint_id)
        self._refresh()
        self._audit("webhook.change", str(endpoint_id), by)
        return endpoint

    def delete(self, endpoint_id: UUID, *, by: Caller) -> None:
        """Delete an endpoint and its log; what waits for it is not sent. Raises UnknownWebhookError."""
        if not delete_webhook_endpoint(self._store, endpoint_id=endpoint_id, reader=Reader(user_id=by.user.id)):
            raise UnknownWebhookError(endpoint_id)
        self._refresh()
        self._audit("webhook.delete", str(endpoint_id), by)

    def delete_all(self, owner_id: UUID) -> None:
        """Delete all that is kept of somebody's webhooks."""
        self._intake.flush()
        for endpoint in self.endpoints(owner_id):
            delete_webhook_endpoint(self._store, endpoint_id=endpoint.id, reader=Reader(user_id=owner_id))
        self._refresh()

    def rotate(
        self, endpoint_id: UUID, *, by: Caller, overlap: timedelta = timedelta(days=1)
    ) -> tuple[WebhookEndpoint, str]:
        """A new secret, shown this once; the one before signs beside it for `overlap`, so that receivers can change.

        Raises
        ------
        UnknownWebhookError, InvalidParameterError
            There is no such endpoint; `overlap` is not within 0 to 90 days.
        SecretError
            The present secret cannot be read any more; without an overlap it need not be.
        """
        reader = Reader(user_id=by.user.id)
        if not timedelta(0) <= overlap <= MAX_OVERLAP:
            raise InvalidParameterError("overlap", str(overlap), "from 0 to 90 days")
        endpoint = self.endpoint(endpoint_id, owner_id=by.user.id)
        sealed = select_webhook_secrets(self._store, endpoint_id=endpoint_id, reader=reader)
        if sealed is None:
            raise UnknownWebhookError(endpoint_id)
        secret, previous, until = new_secret(), None, None
        if overlap:
            old = self._vault.unseal(sealed.secret, WEBHOOK_SECRET.context(endpoint_id))
            previous = self._vault.seal(old, PREVIOUS_WEBHOOK_SECRET.context(endpoint_id))
            until = self._now() + overlap
        renewed = SealedSecrets(
            secret=self._vault.seal(secret, WEBHOOK_SECRET.context(endpoint_id)),
            previous_secret=previous,
            previous_secret_until=until,
        )
        if not update_webhook_secrets(self._store, endpoint_id=endpoint_id, sealed=renewed, reader=reader):
            raise UnknownWebhookError(endpoint_id)
        self._refresh()
        self._audit("webhook.rotate", str(endpoint_id), by)
        return replace(endpoint, previous_secret_until=until), secret

    def _require_address(self, url: str) -> None:
        host = host_of(url)
        pinned = pin(host, allowed_networks=self._networks, resolve=self._resolve)
        require_safe_scheme(url, pinned)

    # -- events

    def owners(self) -> frozenset[UUID]:
        """Whoever has an endpoint that is on."""
        with self._known:
            return frozenset(
                owner for owner, endpoints in self._endpoints.items() if any(not each.disabled_at for each in endpoints)
            )

    def emit(
        self,
        event_type: str,
        *,
        owner: UUID,
        data: Mapping[str, object],
        about: UUID | None = None,
        message_id: UUID | None = None,
    ) -> UUID | None:
        """Tell the endpoints of `owner` that take it. Takes microseconds and never raises.

        Gives the id of the message, or None where nobody wants it. `about` is the recording that `data` tells of: the
        message is deleted with it. The same `message_id` again is the same message, and is sent once.
        """
        with self._known:
            wanting = [each for each in self._endpoints.get(owner, ()) if each.takes(event_type)]
        if not wanting:
            return None
        if event_type not in EVENT_TYPES:
            log.error("an event that stands in no catalogue", event_type=event_type)
            return None
        try:
            message = self._message(event_type, owner, data, about)
            if message_id is not None:
                message = replace(message, id=message_id)
        except (TypeError, ValueError) as error:
            log.error("an event that is no JSON", event_type=event_type, exc_info=error)
            return None
        deliveries = tuple(self._delivery(message, endpoint.id) for endpoint in wanting)
        self._intake.put(Accepted(message=message, deliveries=deliveries))
        return message.id

    def untold(self, event_type: str, *, owner: UUID, message_ids: Sequence[UUID]) -> set[UUID]:
        """Those of `message_ids` that are kept of no message, where an endpoint of `owner` takes such events."""
        with self._known:
            if not any(each.takes(event_type) for each in self._endpoints.get(owner, ())):
                return set()
        known = select_known_message_ids(self._store, message_ids=message_ids, reader=Reader(user_id=owner))
        return set(message_ids) - known

    def test(self, endpoint_id: UUID, *, owner_id: UUID) -> WebhookDelivery:
        """Send the endpoint a message to try it out, once. Raises UnknownWebhookError, StoreError."""
        endpoint = self.endpoint(endpoint_id, owner_id=owner_id)
        data = {"sentence": "This is a test. Nothing has happened.", "webhook_id": str(endpoint.id)}
        delivery = self._delivery(self._message(TEST, owner_id, data, None), endpoint.id)
        insert_webhook_messages(self._store, messages=[delivery.message], deliveries=[delivery])
        self._hand_over([_first(delivery)])
        return delivery

    def _message(
        self, event_type: str, owner_id: UUID, data: Mapping[str, object], about_id: UUID | None
    ) -> WebhookMessage:
        now = self._now()
        return WebhookMessage(
            id=new_id(),
            owner_id=owner_id,
            event_type=event_type,
            about_id=about_id,
            created_at=now,
            body=body_of(event_type, data, at=now),
        )

    def _delivery(self, message: WebhookMessage, endpoint_id: UUID, *, is_replay: bool = False) -> WebhookDelivery:
        return WebhookDelivery(
            id=new_id(),
            owner_id=message.owner_id,
            endpoint_id=endpoint_id,
            message=message,
            is_replay=is_replay,
            created_at=self._now(),
        )

    def forget_recording(self, recording_id: UUID, *, owner_id: UUID) -> None:
        """Delete what messages tell of a recording; what is not sent yet is not sent. Raises StoreError."""
        with self._known:
            if owner_id not in self._endpoints:
                return
        self._intake.flush()
        delete_webhook_messages(self._store, about_id=recording_id, reader=PROCESS)

    # -- deliveries

    def deliveries(
        self,
        endpoint_id: UUID,
        *,
        owner_id: UUID,
        state: DeliveryState | None = None,
        limit: int = 50,
        before: UUID | None = None,
    ) -> list[WebhookDelivery]:
        """What was sent to an endpoint or waits for it, newest first. Raises UnknownWebhookError."""
        self.endpoint(endpoint_id, owner_id=owner_id)
        return select_webhook_deliveries(
            self._store,
            endpoint_id=endpoint_id,
            reader=Reader(user_id=owner_id),
            state=state,
            limit=limit,
            before=before,
        )

    def delivery(self, delivery_id: UUID, *, owner_id: UUID) -> WebhookDelivery:
        """One delivery. Raises UnknownDeliveryError."""
        found = select_webhook_delivery(self._store, delivery_id=delivery_id, reader=Reader(user_id=owner_id))
        if found is None:
            raise UnknownDeliveryError(delivery_id)
        return found

    def replay(self, delivery_id: UUID, *, owner_id: UUID) -> WebhookDelivery:
        """Send a message once more, with the id it had: a receiver that took it knows it again.

        Raises UnknownDeliveryError, StoreError.
        """
        replayed = self.delivery(delivery_id, owner_id=owner_id)
        delivery = self._delivery(replayed.message, replayed.endpoint_id, is_replay=True)
        insert_webhook_messages(self._store, messages=[], deliveries=[delivery])
        self._hand_over([_first(delivery)])
        return delivery

    def attempt(self, delivery_id: UUID, number: int) -> Due | None:
        """Make attempt `number` of a delivery, unless it has been made; what is to be done next, None when it is over.

        Raises
        ------
        StoreError
            The store does not answer. The attempt may have been made, and is then made again.
        """
        delivery = select_webhook_delivery(self._store, delivery_id=delivery_id, reader=PROCESS)
        if delivery is None:
            return None  # deleted with its endpoint, or with the recording it tells of
        if delivery.state is DeliveryState.WAITING and len(delivery.attempts) < number:
            attempt = self._attempted(delivery, len(delivery.attempts) + 1)
            insert_webhook_attempt(self._store, delivery=delivery, attempt=attempt)
            delivery = replace(delivery, attempts=(*delivery.attempts, attempt))
            if self.on_attempt is not None:
                self.on_attempt(attempt.outcome)
            if attempt.outcome is AttemptOutcome.GONE:
                self._switch_off(delivery)
        return self._next(delivery)

    def _next(self, delivery: WebhookDelivery) -> Due | None:
        if delivery.state is not DeliveryState.WAITING:
            return None
        next_at = delivery.attempts[-1].next_at if delivery.attempts else None
        delay_s = 0.0 if next_at is None else max(0.0, (next_at - self._now()).total_seconds())
        number = len(delivery.attempts) + 1
        return Due(delivery_id=delivery.id, owner_id=delivery.owner_id, number=number, delay_s=delay_s)

    def _attempted(self, delivery: WebhookDelivery, number: int) -> WebhookAttempt:
        """Send it, and say what became of that."""
        reader = Reader(user_id=delivery.owner_id)
        endpoint = select_webhook_endpoint(self._store, endpoint_id=delivery.endpoint_id, reader=reader)
        at = self._now()

        def ended(outcome: AttemptOutcome, problem: str = "", answer: Answer | None = None) -> WebhookAttempt:
            return WebhookAttempt(
                number=number,
                happened_at=at,
                outcome=outcome,
                status=None if answer is None else answer.status,
                duration_ms=None if answer is None else answer.duration_ms,
                problem=problem,
                next_at=None,
            )

        def failed(problem: str, answer: Answer | None = None) -> WebhookAttempt:
            asked_s = None if answer is None else seconds_of(answer.retry_after, now=self._now())
            wait = None if delivery.message.event_type == TEST else wait_s(number, retry_after_s=asked_s)
            if wait is None:
                return ended(AttemptOutcome.GIVEN_UP, problem, answer)
            later = ended(AttemptOutcome.POSTPONED, problem, answer)
            return replace(later, next_at=self._now() + timedelta(seconds=wait))

        if endpoint is None:
            return ended(AttemptOutcome.DROPPED, "The webhook has been deleted.")
        if not self._may_be_told(delivery.owner_id):
            return ended(AttemptOutcome.DROPPED, "The account may not have webhooks any more.")
        if endpoint.disabled_at is not None and delivery.message.event_type != TEST:
            return ended(AttemptOutcome.DROPPED, f"The webhook is switched off. {endpoint.disabled_because}".strip())
        try:
            answer = self._post(endpoint, delivery.message)
        except (WebhookError, AddressRefusedError, InvalidParameterError, SecretError) as error:
            return failed(str(error))
        if 200 <= answer.status < 300:
            return ended(AttemptOutcome.TAKEN, answer=answer)
        problem = f"It answered {answer.status}, and not 2xx."
        if 300 <= answer.status < 400:
            problem = f"It answered {answer.status}, and redirects are not followed."
        if answer.status == GONE:
            return ended(AttemptOutcome.GONE, "It answered 410: nothing more is to be sent there.", answer)
        return failed(problem, answer)

    def _post(self, endpoint: WebhookEndpoint, message: WebhookMessage) -> Answer:
        pinned = pin(host_of(endpoint.url), allowed_networks=self._networks, resolve=self._resolve)
        require_safe_scheme(endpoint.url, pinned)
        body = message.body.encode()
        headers = signed_headers(
            self._valid_secrets(endpoint.id),
            message_id=message.sent_id,
            timestamp=int(self._now().timestamp()),
            body=body,
        )
        return post(endpoint.url, body, headers, pinned=pinned, timeout_s=self._timeout_s)

    def _valid_secrets(self, endpoint_id: UUID) -> list[str]:
        """What signs now, the newest first."""
        sealed = select_webhook_secrets(self._store, endpoint_id=endpoint_id, reader=PROCESS)
        if sealed is None:
            raise UnknownWebhookError(endpoint_id)
        secrets = [self._vault.unseal(sealed.secret, WEBHOOK_SECRET.context(endpoint_id)).decode()]
        until = sealed.previous_secret_until
        if sealed.previous_secret is not None and until is not None and self._now() < until:
            previous = self._vault.unseal(sealed.previous_secret, PREVIOUS_WEBHOOK_SECRET.context(endpoint_id))
            secrets.append(previous.decode())
        return secrets

    def _switch_off(self, delivery: WebhookDelivery) -> None:
        """Of an endpoint that answered 410; its owner is told."""
        reader = Reader(user_id=delivery.owner_id)
        endpoint = select_webhook_endpoint(self._store, endpoint_id=delivery.endpoint_id, reader=reader)
        if endpoint is None or endpoint.disabled_at is not None:
            return
        off = replace(endpoint, disabled_at=self._now(), disabled_because="It answered 410: it is gone.")
        update_webhook_endpoint(self._store, endpoint=off, reader=reader)
        self._refresh()
        host = host_of(endpoint.url)
        log.warning("a webhook answered 410 and is switched off", endpoint_id=str(endpoint.id), host=host)
        lines = [
            f"Your webhook at {host} answered 410 Gone. That asks for nothing more to be sent there, so it is switched "
            "off, and what waited for it is not sent.",
            "If that was a mistake, switch it on again, and send again from its log what was missed.",
        ]
        if self._public_url:
            lines.append(f"{self._public_url.rstrip('/')}/webhooks")
        self._tell_owner(delivery.owner_id, "Telepathy: a webhook is switched off", "\n\n".join(lines) + "\n")

    # -- in the background

    def start(self) -> None:
        """From now on go on with what waits, a former process's deliveries included. Once `hand_over` is set."""
        self._sweeps_at = self._now()
        self._intake.start()

    def close(self, *, deadline_s: float = 5.0) -> None:
        """Write what was told so far. Attempts are others' to stop. Safe to call twice."""
        self._intake.close(deadline_s=deadline_s)

    def flush(self) -> bool:
        """Wait until what was told so far stands in the store; whether it does."""
        return self._intake.flush()

    @property
    def n_lost(self) -> int:
        """Messages that could not be kept since the process began."""
        return self._intake.n_lost

    def waiting(self) -> Waiting:
        """What waits, as of at most `LOOK_EVERY_S` ago: whoever watches asks often. Raises StoreError."""
        counted_at, counted = self._counted or (None, None)
        if counted is None or counted_at is None or self._now() - counted_at >= timedelta(seconds=LOOK_EVERY_S):
            counted_at, counted = self._now(), count_waiting_deliveries(self._store, reader=PROCESS)
            self._counted = (counted_at, counted)
        due_at = counted.oldest_due_at
        overdue_s = 0.0 if due_at is None else max(0.0, (counted_at - due_at).total_seconds())
        return Waiting(n_deliveries=counted.n_waiting, overdue_s=overdue_s)

    def sweep(self) -> int:
        """Hand over every delivery that is not over, as after a start, and forget what is older than the log; how many
        were handed over. Whoever is handed one twice makes it once."""
        now = self._now()
        delete_webhook_messages(self._store, created_before=now - self._log_lasts, reader=PROCESS)
        due = [
            Due(
                delivery_id=each.delivery_id,
                owner_id=each.owner_id,
                number=each.n_attempts + 1,
                delay_s=0.0 if each.next_at is None else max(0.0, (each.next_at - now).total_seconds()),
            )
            for each in select_unfinished_deliveries(self._store, reader=PROCESS)
        ]
        self._hand_over(due)
        return len(due)

    def _look_around(self) -> None:
        self._refresh()
        if self._sweeps_at is not None and self._now() >= self._sweeps_at:
            self._sweeps_at = self._now() + timedelta(seconds=SWEEP_EVERY_S)
            self.sweep()

    def _refresh(self) -> None:
        by_owner: dict[UUID, tuple[WebhookEndpoint, ...]] = {}
        with self._known:  # the question too: an older answer must not replace a newer one
            for endpoint in select_webhook_endpoints(self._store, reader=PROCESS):
                by_owner[endpoint.owner_id] = (*by_owner.get(endpoint.owner_id, ()), endpoint)
            self._endpoints = by_owner

    def _hand_over(self, due: Sequence[Due]) -> None:
        if self.hand_over is None or not due:
            return
        try:
            self.hand_over(due)
        except TelepathyError as error:
            log.warning("deliveries of webhooks wait for the next sweep", n=len(due), reason=str(error))


def _first(delivery: WebhookDelivery) -> Due:
    return Due(delivery_id=delivery.id, owner_id=delivery.owner_id, number=1, delay_s=0.0)


def _allowed(settings: Settings) -> tuple[Network, ...]:
    try:
        return networks_of(settings.allowed_networks)
    except ValueError as error:
        expected = "networks, comma-separated, such as 10.1.0.0/16"
        raise InvalidSettingError("allowed_networks", repr(settings.allowed_networks), expected) from error


def _described(text: str) -> str:
    """One line of at most 200 characters. Raises InvalidParameterError."""
    text = text.strip()
    if len(text) > MAX_DESCRIPTION or any(unicodedata.category(character)[0] == "C" for character in text):
        expected = f"one line of at most {MAX_DESCRIPTION} characters"
        raise InvalidParameterError("description", f"{len(text)} characters", expected)
    return text
