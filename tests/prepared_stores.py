"""Empty stores with the newest schema: made once and copied, since migrating takes most of the time of a short test."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from core.config import Settings
from core.store.access_store import open_access_store
from core.store.engine import open_store


@cache
def _files() -> dict[str, bytes]:
    """The files of a data folder, by name, after the migrations of both stores."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        open_store(settings.store_location).close()
        open_access_store(settings.access_location).close()
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def prepared(data_dir: Path) -> Path:
    """Have a data folder hold an empty store and no accounts, as before anybody has started; the folder."""
    data_dir.mkdir(parents=True, exist_ok=True)
    for name, content in _files().items():
        path = data_dir / name
        path.write_bytes(content)
        path.chmod(0o600)
    return data_dir


def prepare_postgresql(url: str) -> None:
    """Have a PostgreSQL database hold an empty store and no accounts."""
    open_store(url).close()
    open_access_store(url).close()
