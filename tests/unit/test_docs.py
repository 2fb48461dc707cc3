"""Documents promise what exists: links lead somewhere, make targets are there, README opens with the two commands."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from core.config import REPOSITORY

DOCUMENTS = [
    REPOSITORY / "README.md",
    REPOSITORY / "deploy" / "README.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
COMMANDED = [*DOCUMENTS, *sorted((REPOSITORY / "benchmarks").glob("*.*"))]
"""Those that name commands: the benchmarks say in their first lines how to run them."""
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_somewhere(document: Path):
    missing = [link for link in LINK.findall(document.read_text()) if not (document.parent / link).exists()]
    assert not missing


def test_readme_opens_with_the_two_commands():
    opening = (REPOSITORY / "README.md").read_text().split("\n", 4)
    assert opening[2].split("#")[0].split() == ["make", "run"]
    assert opening[3].split("#")[0].split() == ["make", "test"]


def test_readme_goes_on_with_a_picture_and_then_what_it_does():
    _, _, after = (REPOSITORY / "README.md").read_text().partition("make test")
    picture, image, what_it_does = (
        after.find("!["),
        re.search(r"!\[.+?\]\((\S+)\)", after),
        after.find("Telepathy is a"),
    )
    assert 0 < picture < what_it_does
    assert image is not None
    assert (REPOSITORY / image[1]).stat().st_size > 10_000


@pytest.mark.parametrize("document", COMMANDED, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_python_commands_in_documents_can_be_run(document: Path):
    text = document.read_text()
    assert not re.search(r"python (?:benchmarks|training|core)/", text), "run by path, it does not find its imports"
    modules = set(re.findall(r"python -m ([a-z_]+(?:\.[a-z_]+)*)", text))
    assert {module for module in modules if importlib.util.find_spec(module) is None} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_make_targets_named_in_documents_exist(document: Path):
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^ {4}make (\w+)", document.read_text(), re.MULTILINE))
    assert named <= targets


def test_make_model_makes_everything_that_is_committed_with_a_model():
    makefile = (REPOSITORY / "Makefile").read_text()
    recipe = re.search(r"^model:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    own = re.search(r"^OWN_MODELS := (.+)$", makefile, re.MULTILINE)
    assert recipe is not None
    assert own is not None
    files = {path.name: {file.name for file in path.iterdir()} for path in (REPOSITORY / "data/models").iterdir()}
    of_train = {"card.json", "encoder.tflite", "head.tflite", "heard.csv"}
    of_the_others = {"base.npz", "surrogate.json", "surrogate.npz"}
    assert {name for name, found in files.items() if found & of_the_others} == set(own[1].split())
    assert set.union(*files.values()) <= of_train | of_the_others
    assert {path.stem for path in (REPOSITORY / "docs/models").glob("*.md")} == {*own[1].split(), "whisper"}
    for command in ("train", "base-sample $$name", "surrogate --model $$name", "card $$name"):
        assert f"-m training {command}" in recipe[1]


def test_tensorflow_with_cuda_is_named_in_the_version_that_is_pinned():
    pinned = re.search(r"^tensorflow==(\S+)", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE)
    named = re.findall(r"tensorflow\[and-cuda\]==([\d.]+)", (REPOSITORY / "docs" / "development.md").read_text())
    assert pinned is not None
    assert named == [pinned[1]]


def test_every_folder_of_ours_holds_no_path_of_one_machine():
    texts = [
        path for folder in ("core", "api", "pages", "training", "docs") for path in (REPOSITORY / folder).rglob("*")
    ]
    for path in texts:
        if path.suffix in {".py", ".md", ".js", ".html", ".css"}:
            assert str(REPOSITORY) not in path.read_text(), path


def test_every_test_that_the_threat_model_names_exists():
    text = (REPOSITORY / "docs" / "security.md").read_text()
    named = re.findall(r"`((?:unit|integration|browser)/[a-z_/]+\.py)::(test_\w+)`", text)
    assert len(named) > 50
    missing = [
        f"{path}::{test}"
        for path, test in named
        if not (REPOSITORY / "tests" / path).exists()
        or not re.search(rf"^def {test}\(", (REPOSITORY / "tests" / path).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_every_attack_of_the_threat_model_has_a_test():
    table = (REPOSITORY / "docs" / "security.md").read_text().partition("| attack | defence | test |")[2]
    rows = [line for line in table.split("\n\n")[0].splitlines()[2:] if not line.startswith("| **")]
    assert len(rows) > 40
    assert [row for row in rows if "::test_" not in row] == []
