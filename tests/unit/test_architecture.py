"""The arrows of the architecture, read off the syntax trees, and what serving may never load."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.config import REPOSITORY

FOLDERS = ("core", "api", "pages", "training")
SOURCES = [
    *sorted(path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.py")),
    REPOSITORY / "app.py",
]

FORBIDDEN_LIBRARIES = {
    "core": {"streamlit", "fastapi", "plotly", "tensorflow", "keras"},
    "api": {"sqlalchemy", "duckdb", "tensorflow", "keras", "librosa", "streamlit"},
    "pages": {"sqlalchemy", "duckdb", "tensorflow", "keras", "librosa", "fastapi"},
    "app": {"sqlalchemy", "duckdb", "tensorflow", "keras", "librosa"},
    "training": {"streamlit", "fastapi", "sqlalchemy", "duckdb"},
}
SQL_LIBRARIES = {"sqlalchemy", "duckdb", "duckdb_engine", "psycopg", "alembic"}

OWN_PACKAGES = {"core", "api", "pages", "training", "app"}
ARROWS = {
    "core.domain": set(),
    "core.errors": set(),
    "core.identifiers": set(),
    "core.terminal": set(),
    "core.plans": {"core.errors"},
    "core.config": {"core.errors", "core.plans"},
    "core.secrets": {"core.errors", "core.config"},
    "core.features": {"core.domain", "core.errors", "core.config"},
    "core.inference": {"core.domain", "core.errors", "core.config", "core.features"},
    "core.store": {"core.domain", "core.errors", "core.identifiers", "core.secrets"},
    "core.evaluation": {"core.domain", "core.errors"},
    "core.access": {
        *("core.domain", "core.errors", "core.config", "core.plans", "core.identifiers", "core.secrets", "core.store"),
        "core.privacy",
    },
    "core.privacy": {"core.domain"},
    "core.labelling": {
        *("core.domain", "core.errors", "core.identifiers", "core.access", "core.evaluation", "core.store"),
        *("core.features", "core.workbench", "core.archives"),
    },
    "core.kept_answers": {"core.domain", "core.errors", "core.secrets", "core.store"},
    "core.retention": {"core.domain", "core.errors", "core.store", "core.workbench"},
    "core.accounts": {"core"},
    "core.jobs": {
        "core.domain",
        "core.errors",
        "core.config",
        "core.identifiers",
        "core.store",
        "core.inference",
        "core.workbench",
    },
    "core.reports": {
        *("core.domain", "core.errors", "core.config", "core.store", "core.inference", "core.access"),
        *("core.__version__", "core.emotion_colours", "core.evaluation", "core.identifiers", "core.mail"),
        "core.features",
    },
    "core.emotion_colours": {"core.domain"},
    "core.report_jobs": {"core"},
    "core.usage": {
        "core.domain",
        "core.errors",
        "core.config",
        "core.identifiers",
        "core.inference",
        "core.store",
    },
    "core.workbench": {"core"},
    "core.models": {"core"},
    "core.inbox": {"core"},
    "core.batches": {"core"},
    "core.batch": {
        *("core.config", "core.domain", "core.errors", "core.features", "core.inference", "core.reports"),
        "core.terminal",
        "core.batch_sources",
    },
    "core.batch_sources": {"core.config", "core.errors", "core.features", "core.webhooks.address_guard"},
    "core.archives": {"core.errors"},
    "core.data_set_files": {"core.domain", "core.errors"},
    "core.errands": {"core"},
    "core.explaining": {"core"},
    "core.outbox": {"core.errors"},
    "core.mail": {"core.errors", "core.config"},
    "core.access_mails": {"core.mail"},
    "core.webhooks": {
        *("core.domain", "core.errors", "core.config", "core.identifiers", "core.secrets", "core.store"),
        *("core.__version__", "core.jobs"),
    },
    "core.machine": set(),
    "core.own_files": set(),
    "core.redaction": set(),
    "core.logs": {"core.redaction"},
    "core.crash_reports": {"core.__version__", "core.config", "core.redaction"},
    "core.alerts": {
        "core.domain",
        "core.errors",
        "core.config",
        "core.identifiers",
        "core.machine",
        "core.mail",
        "core.outbox",
        "core.plans",
        "core.store",
        "core.webhooks",
    },
    "training": {"core.features", "core.evaluation", "core.domain", "core.errors", "core.config", "core.terminal"},
    "api": {"core", "api"},
    "pages": {"core", "pages"},
    "app": {"core", "pages", "api"},
}
WELL_INFORMED = {
    "core.access.__main__": {"core.own_files"},
    "core.store.__main__": {"core.config", "core.own_files"},
    "core.labelling.__main__": {"core.config", "core.own_files"},
    "training.evaluate": {"core.inference"},
    "training.base_sample": {"core.inference"},
    "training.bundle": {"core.inference"},
    "training.corrections": {"core.inference"},
    "training.custom": {"core.inference"},
    "training.custom_commands": {"core.inference", "core.data_set_files"},
    "training.custom_head": {"core.inference"},
    "training.embedded": {"core.inference"},
    "training.retrain": {"core.inference"},
    "training.retrain_commands": {"core.inference"},
    "training.surrogate": {"core.inference"},
    "training.whisper_commands": {"core.inference"},
    "training.whisper_install": {"core.inference"},
    "training.whisper_model": {"core.inference"},
}
"""Modules that may know more than their package: entry points that have to find the pieces they run, and the writers of
bundles and surrogates, which name files as their readers do."""


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path) -> set[str]:
    """Absolute names of all modules that `path` imports, wherever in the file; `if TYPE_CHECKING` included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import; say the whole name"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return found


def package_of(module: str) -> str:
    """The unit of the architecture that a module of ours belongs to: `core.features`, `api`, ..."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "core" and len(parts) > 1 else parts[0]


def is_within(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_no_arrow_points_the_wrong_way(path):
    module = module_name(path)
    package = package_of(module)
    allowed = ARROWS.get(package, set()) | {package} | WELL_INFORMED.get(module, set())
    ours = {name for name in imported_modules(path) if name.split(".")[0] in OWN_PACKAGES and name != "core"}
    wrong = {name for name in ours if not is_within(name, allowed)}
    assert not wrong, f"{module} may import {sorted(allowed)}, not {sorted(wrong)}"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_each_layer_keeps_to_its_libraries(path):
    module = module_name(path)
    forbidden = set(FORBIDDEN_LIBRARIES[module.split(".")[0]])
    if module.startswith("core") and not module.startswith("core.store"):
        forbidden |= SQL_LIBRARIES
    used = {name.split(".")[0] for name in imported_modules(path)}
    assert not used & forbidden


def test_environment_and_secrets_are_read_in_one_place_only():
    readers = re.compile(r"os\.environ|os\.getenv|st\.secrets")
    found = {module_name(path) for path in SOURCES if readers.search(path.read_text())}
    assert found <= {"core.workbench", "core.config"}, f"read settings through Settings.load: {sorted(found)}"


def loaded_after(statement: str) -> set[str]:
    """Top-level modules loaded in a fresh interpreter after `statement`."""
    code = f"{statement}\nimport sys\nprint(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY, timeout=120
    )
    return set(done.stdout.split())


def test_core_loads_neither_user_interface_nor_tensorflow():
    loaded = loaded_after(
        "import core.workbench, core.store, core.features.quality; "
        "import core.inference.recogniser, core.inference.attribution"
    )
    assert not loaded & {"streamlit", "fastapi", "plotly", "tensorflow", "keras", "shap", "parselmouth"}


def test_api_loads_no_tensorflow():
    assert not loaded_after("import api.application") & {"streamlit", "tensorflow", "keras", "shap", "parselmouth"}


def test_pages_load_neither_shap_nor_what_it_brings_before_they_explain():
    loaded = loaded_after("import app, pages.navigation, pages.parts.answer, pages.parts.charts")
    assert not loaded & {"shap", "numba", "sklearn", "tensorflow", "keras", "parselmouth", "streamlit_webrtc", "aiortc"}
