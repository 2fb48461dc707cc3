"""Which label each file of a data set has: by a table, or by the folders it lies in.

A table is a CSV with the columns `file` and `label`, and perhaps `speaker`; `file` is the path inside the data set, or
the name alone where only one file is called so. Without a table the folder says it: `LABEL/file`, or
`SPEAKER/LABEL/file`. Labels are written small: `Bored` and `bored` are one.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from core.domain import MAX_LABEL_LENGTH, is_label_name
from core.errors import InvalidParameterError

TABLE_SUFFIXES = (".csv", ".tsv")
MAX_DEPTH = 16
"""Folders of a path that a table may leave some of out."""
_FILE, _LABEL, _SPEAKER = ("file", "path", "filename", "name"), ("label", "emotion"), ("speaker", "actor")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLabel:
    """What is said of one file."""

    label: str
    speaker: str = ""
    """Empty where nobody says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProblem:
    """Why one file cannot be learnt from."""

    name: str
    sentence: str


def is_table(name: str) -> bool:
    """Whether a file of this name says labels.

    >>> is_table("set/Labels.CSV"), is_table("a.wav")
    (True, False)
    """
    return name.lower().endswith(TABLE_SUFFIXES)


def label_files(names: Sequence[str], tables: Mapping[str, bytes]) -> tuple[dict[str, FileLabel], list[FileProblem]]:
    """The label of each file in `names`, and what is wrong with the others.

    Parameters
    ----------
    tables
        By name; none for labels by folder, several are read one after the other.

    Raises
    ------
    InvalidParameterError
        A table cannot be read or lacks a column.
    """
    if not tables:
        return _by_folder(names)
    found: dict[str, FileLabel] = {}
    problems: list[FileProblem] = []
    by_path = {_plain(name): name for name in names}
    by_ending = _by_ending(by_path)
    base_names = Counter(PurePosixPath(path).name for path in by_path)
    by_base = {PurePosixPath(path).name: name for path, name in by_path.items()}
    for table, data in tables.items():
        for row, (file, label, speaker) in _rows(table, data):
            where = f"{table}, row {row}"
            base = PurePosixPath(_plain(file)).name
            name = by_path.get(_plain(file)) or by_ending.get(_plain(file))
            if name is None and base_names[base] == 1:
                name = by_base[base]
            if name is None:
                why = "several files are called so: say the folder too" if base_names[base] else "no such file is there"
                problems.append(FileProblem(name=file or where, sentence=f"{where} names {file!r}, but {why}."))
            elif not is_label_name(label):
                problems.append(FileProblem(name=name, sentence=_no_label(where, label)))
            elif name in found and found[name].label != label:
                said = f"{where} says {label!r}, another row {found[name].label!r}; the first counts."
                problems.append(FileProblem(name=name, sentence=said))
            else:
                found.setdefault(name, FileLabel(label=label, speaker=speaker))
    named = {problem.name for problem in problems}
    problems += [
        FileProblem(name=name, sentence=f"No row of {', '.join(tables)} names it.")
        for name in names
        if name not in found and name not in named
    ]
    return found, problems


def _by_folder(names: Sequence[str]) -> tuple[dict[str, FileLabel], list[FileProblem]]:
    found: dict[str, FileLabel] = {}
    problems: list[FileProblem] = []
    folders = {name: PurePosixPath(_plain(name)).parts[:-1] for name in names}
    n_shared = _n_shared(list(folders.values()))
    for name, parts in folders.items():
        inside = parts[n_shared:]
        label = _small(inside[-1]) if inside else ""
        if not inside:
            sentence = "It lies in no folder whose name could be its label, and there is no CSV with labels."
            problems.append(FileProblem(name=name, sentence=sentence))
        elif not is_label_name(label):
            problems.append(FileProblem(name=name, sentence=_no_label("Its folder", label)))
        else:
            found[name] = FileLabel(label=label, speaker=inside[-2] if len(inside) > 1 else "")
    return found, problems


def _n_shared(folders: Sequence[tuple[str, ...]]) -> int:
    """How many folders stand around all others: a ZIP of a folder has one."""
    n = 0
    while any(len(parts) > n + 1 for parts in folders) and len({parts[n : n + 1] for parts in folders}) == 1:
        n += 1
    return n


def _rows(table: str, data: bytes) -> list[tuple[int, tuple[str, str, str]]]:
    expected = "a CSV in UTF-8"
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidParameterError(table, "not UTF-8", expected) from error
    head = text.partition("\n")[0]
    reader = csv.DictReader(text.splitlines(), delimiter=max(",;\t", key=head.count))
    try:
        rows = list(enumerate(reader, start=2))
    except csv.Error as error:
        raise InvalidParameterError(table, f"no CSV ({error})", expected) from error
    columns = {(column or "").strip().lower(): column for column in reader.fieldnames or ()}
    file, label = (next((columns[each] for each in names if each in columns), None) for names in (_FILE, _LABEL))
    speaker = next((columns[each] for each in _SPEAKER if each in columns), None)
    if file is None or label is None:
        shown = ", ".join(filter(None, columns)) or "none"
        raise InvalidParameterError(f"columns of {table}", shown[:200], "file and label, and perhaps speaker")
    return [
        (
            number,
            (
                (row[file] or "").strip(),
                _small(row[label] or ""),
                (row[speaker] or "").strip()[:MAX_LABEL_LENGTH] if speaker is not None else "",
            ),
        )
        for number, row in rows
    ]


def _by_ending(by_path: Mapping[str, str]) -> dict[str, str | None]:
    """The one file whose path ends so, in two folders or more; None where several do. A table inside a folder leaves
    that folder out."""
    found: dict[str, str | None] = {}
    for path, name in by_path.items():
        parts = path.split("/")
        for n in range(2, min(len(parts), MAX_DEPTH)):
            ending = "/".join(parts[-n:])
            found[ending] = None if ending in found else name
    return found


def _small(label: str) -> str:
    return " ".join(label.split()).lower()


def _plain(path: str) -> str:
    """
    >>> _plain("./a\\\\b.wav")
    'a/b.wav'
    """
    return path.replace("\\", "/").removeprefix("./").lstrip("/")


def _no_label(where: str, label: str) -> str:
    if not label:
        return f"{where} gives it no label."
    return f"{where} gives it the label {label[:60]!r}; labels have 1 to {MAX_LABEL_LENGTH} printable characters."
