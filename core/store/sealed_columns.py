"""Columns that hold sealed texts (`core.secrets.Vault`), and how they are sealed anew under another key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Column, select, update

from core.secrets import Vault
from core.store.engine import Store
from core.store.schema import kept_answers, webhook_endpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedColumn:
    """One column of sealed texts, in a table whose rows one other column tells apart."""

    column: Column[str]
    key: Column[object]

    def context(self, key: object) -> str:
        """What the text of the row with this key is sealed for: it opens in no other row or column."""
        return f"{self.column.table.name}.{self.column.name}:{key}"


WEBHOOK_SECRET = SealedColumn(column=webhook_endpoints.c.secret, key=webhook_endpoints.c.id)
PREVIOUS_WEBHOOK_SECRET = SealedColumn(column=webhook_endpoints.c.previous_secret, key=webhook_endpoints.c.id)
KEPT_ANSWER = SealedColumn(column=kept_answers.c.sealed, key=kept_answers.c.key)

SEALED_COLUMNS: tuple[SealedColumn, ...] = (WEBHOOK_SECRET, PREVIOUS_WEBHOOK_SECRET, KEPT_ANSWER)
"""All in the store, for `python -m core.access rotate-secrets`. Whoever adds a column that seals its texts names it
here."""


def update_sealed(store: Store, vault: Vault, sealed: SealedColumn) -> Iterator[str]:
    """Seal every text of a column under the vault's first key, row by row; yields the context of each that was.

    A row that somebody changes meanwhile keeps what they wrote. What was done stays done when it is stopped.

    Raises
    ------
    SecretError
        A text was sealed with a key that is not at hand.
    StoreError
        The store cannot be read or written.
    """
    with store.transaction("reading what is sealed") as connection:
        rows = connection.execute(select(sealed.key, sealed.column).where(sealed.column.is_not(None))).all()
    for key, text in rows:
        if vault.is_current(text):
            continue
        context = sealed.context(key)
        renewed = vault.seal(vault.unseal(text, context), context)
        with store.transaction("sealing a secret anew") as connection:
            changed = connection.execute(
                update(sealed.column.table)
                .where(sealed.key == key, sealed.column == text)
                .values({sealed.column: renewed})
            )
        if changed.rowcount:
            yield context
