"""Models for tests: the tiny one that stands in tests/reference, copied, renamed or spoilt."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

TINY = Path(__file__).parent / "reference" / "models" / "tiny"

PUBLISHED_ENCODER = {
    "name": "Whisper tiny.en (OpenAI)",
    "licence": "MIT",
    "url": "https://example.org/tiny.en.pt",
    "sha256": "00" * 32,
    "weights_sha256": "11" * 32,
    "recipe": "blocks 1 to 4",
}
"""`encoder` in the card of a model whose encoder others publish."""


def copy_of_tiny(models_dir: Path, name: str = "tiny", change: Callable[[dict], object] | None = None) -> Path:
    """A copy of the tiny model as `models_dir/name`; `change` edits its card."""
    folder = models_dir / name
    shutil.copytree(TINY, folder)
    card = json.loads((folder / "card.json").read_text())
    card["name"] = name
    if change is not None:
        change(card)
    (folder / "card.json").write_text(json.dumps(card))
    return folder
