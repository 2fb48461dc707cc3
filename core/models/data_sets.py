"""Data sets that people send to have models learn from them: taken in file by file, kept, listed, deleted."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np

from core.archives import is_archive, unpacked
from core.batch_sources import BatchSources
from core.data_set_files import FileLabel, FileProblem, is_table, label_files
from core.domain import MAX_LABELS, Caller, DataSet, DataSetClip, Reader
from core.errors import AudioError, InvalidParameterError, SourceError, UnknownDataSetError, UploadTooLargeError
from core.features.audio import DecodeLimits, decode
from core.features.clip_stream import LabelledClip
from core.identifiers import new_id
from core.store.data_sets import (
    delete_data_set,
    insert_data_set,
    select_data_set,
    select_data_set_clips,
    select_data_sets,
)

if TYPE_CHECKING:
    from core.store.recording_files import RecordingFiles
    from core.workbench import Workbench

MAX_FILES = 5_000
MAX_NAME_CHARACTERS = 200
MAX_TABLE_BYTES = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFile:
    """One file as it comes; a ZIP holds many."""

    name: str
    """With its folders, where there are any."""
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSetSummary:
    """A data set and what is in it."""

    data_set: DataSet
    clips: tuple[DataSetClip, ...]
    """All files in their order, problems included."""

    @property
    def good(self) -> tuple[DataSetClip, ...]:
        """What can be learnt from."""
        return tuple(clip for clip in self.clips if not clip.problem)

    @property
    def problems(self) -> tuple[DataSetClip, ...]:
        """What cannot."""
        return tuple(clip for clip in self.clips if clip.problem)

    @property
    def labels(self) -> dict[str, int]:
        """How many clips have each label, by name."""
        return dict(sorted(Counter(clip.label for clip in self.good).items()))

    @property
    def n_speakers(self) -> int:
        """0 where not every clip says its speaker."""
        speakers = {clip.speaker for clip in self.good}
        return 0 if "" in speakers else len(speakers)


class DataSets:
    """The data sets of one workbench. Safe to share between threads."""

    def __init__(
        self, workbench: Workbench, *, forget_training: Callable[[UUID], None] = lambda data_set_id: None
    ) -> None:
        """`forget_training` deletes what trainings from a set keep of it until they end."""
        self._workbench = workbench
        self._forget_training = forget_training
        self._store = workbench.store

    def create(self, sent: Iterable[SentFile], *, name: str, by: Caller, agrees: bool = False) -> DataSetSummary:
        """Take in what was sent: what can be learnt from is kept, what is wrong with the rest stands beside it.

        A sound that is there twice is learnt from once, whatever file it came in: a copy in the test clips of one in
        the training clips would make every figure look better than it is.

        Parameters
        ----------
        name
            What its owner calls it; empty for the name of the first file.
        agrees
            Whether whoever speaks has agreed to being recorded, where nobody said so before.

        Raises
        ------
        ConsentNeededError
            Nobody has agreed yet.
        ArchiveError, UploadTooLargeError
            A ZIP is damaged, or there is too much.
        InvalidParameterError
            There is no clip to learn from, too many files or labels, or a table that cannot be used.
        StoreError
            It could not be kept.
        """
        self._workbench.projects.require_consent(by, None, agrees=agrees)
        said = name.strip().removesuffix(".zip")
        data_set = DataSet(id=new_id(), owner_id=by.user.id, name=said, created_at=datetime.now(UTC))
        sounds = self._sounds(data_set.id)
        try:
            first, clips, tables, contents = self._taken_in(sent, sounds)
            known, problems = label_files([clip.name for clip in clips], tables)
            clips = _without_copies(_with_labels(clips, known, problems), contents)
            _require_something(clips)
            data_set = replace(data_set, name=(data_set.name or first)[:MAX_NAME_CHARACTERS])
            insert_data_set(self._store, data_set=data_set, clips=clips)
        except BaseException:
            sounds.delete_all()
            raise
        needed = {clip.sha256 for clip in clips if not clip.problem}
        for sha256 in {clip.sha256 for clip in clips if clip.problem and clip.sha256} - needed:
            sounds.delete(sha256)
        return DataSetSummary(data_set=data_set, clips=tuple(clips))

    def from_folder(self, location: str, *, name: str, by: Caller, agrees: bool = False) -> DataSetSummary:
        """As `create`, of a folder on the server that the setting `batch_sources` allows.

        Raises
        ------
        SourceNotAllowedError, SourceError
            It is not allowed, or cannot be read.
        """
        sources = BatchSources(self._workbench.settings)
        sources.require_allowed(location)
        base = location.rstrip("/")

        def files() -> Iterator[SentFile]:
            for table in ("labels.csv", "labels.tsv"):
                with contextlib.suppress(SourceError):
                    yield SentFile(name=table, data=sources.read(f"{base}/{table}"))
            for each in sources.expand(location):
                yield SentFile(name=each.name, data=sources.read(each.location))

        return self.create(files(), name=name or PurePosixPath(base).name, by=by, agrees=agrees)

    def list_data_sets(self, *, reader: Reader) -> list[DataSetSummary]:
        """Those of `reader`, the newest first."""
        found = select_data_sets(self._store, reader=reader)
        clips = select_data_set_clips(self._store, data_set_ids=[each.id for each in found], reader=reader)
        return [DataSetSummary(data_set=each, clips=tuple(clips[each.id])) for each in found]

    def data_set(self, data_set_id: UUID, *, reader: Reader) -> DataSetSummary:
        """One of `reader`'s. Raises UnknownDataSetError."""
        found = select_data_set(self._store, data_set_id=data_set_id, reader=reader)
        if found is None:
            raise UnknownDataSetError(data_set_id)
        clips = select_data_set_clips(self._store, data_set_ids=[data_set_id], reader=reader)
        return DataSetSummary(data_set=found, clips=tuple(clips[data_set_id]))

    def delete(self, data_set_id: UUID, *, reader: Reader, by: Caller | None = None) -> None:
        """Delete a data set with its sounds; models that learnt from it stay. Raises UnknownDataSetError.

        The audit log notes `by`. Without one nothing is noted: it goes with its account, which is.
        """
        summary = self.data_set(data_set_id, reader=reader)
        self._sounds(data_set_id).delete_all()
        self._forget_training(data_set_id)
        delete_data_set(self._store, data_set_id=data_set_id, reader=reader)
        if by is not None:
            owner_id = summary.data_set.owner_id
            self._workbench.access.audit("data_set.delete", str(data_set_id), by, owner=owner_id)

    def forget_all(self, *, user_id: UUID) -> None:
        """Delete every data set of one user."""
        reader = Reader(user_id=user_id)
        for each in select_data_sets(self._store, reader=reader):
            self.delete(each.id, reader=reader)

    def labelled_clips(self, summary: DataSetSummary, clips: Iterable[DataSetClip]) -> Iterator[LabelledClip]:
        """Some clips of a set, decoded. Raises StoreError, UnknownRecordingError where a sound is gone."""
        sounds = self._sounds(summary.data_set.id)
        limits = DecodeLimits.from_settings(self._workbench.settings)
        for clip in clips:
            waveform = decode(sounds.read(clip.sha256), limits=limits).waveform
            yield LabelledClip(name=clip.name, label=clip.label, speaker=clip.speaker, waveform=waveform)

    def _sounds(self, data_set_id: UUID) -> RecordingFiles:
        return self._workbench.recording_files.waiting(f"data-set-{data_set_id.hex}")

    def _taken_in(
        self, sent: Iterable[SentFile], sounds: RecordingFiles
    ) -> tuple[str, list[DataSetClip], dict[str, bytes], dict[int, str]]:
        """The first name, every file that may be a clip, the tables, and the hash of each sound by position."""
        settings = self._workbench.settings
        limits = DecodeLimits.from_settings(settings)
        clips: list[DataSetClip] = []
        tables: dict[str, bytes] = {}
        contents: dict[int, str] = {}
        n_bytes, first = 0, ""
        for file in self._unpacked(sent):
            first = first or PurePosixPath(file.name).name
            n_bytes += len(file.data)
            if n_bytes > settings.max_background_mb * 1e6:
                raise UploadTooLargeError(n_bytes, settings.max_background_mb, "The data set")
            if len(clips) >= MAX_FILES:
                raise InvalidParameterError("files", "more", f"at most {MAX_FILES:,} clips")
            name = _storable(file.name)
            if is_table(name):
                if len(file.data) > MAX_TABLE_BYTES:
                    raise InvalidParameterError(name, f"{len(file.data):,} bytes", f"at most {MAX_TABLE_BYTES:,}")
                tables[name] = file.data
                continue
            clip = DataSetClip(
                position=len(clips), name=name, sha256="", label="", speaker="", duration_s=0.0, problem=""
            )
            try:
                waveform = decode(file.data, limits=limits).waveform
            except AudioError as error:
                clips.append(replace(clip, problem=str(error)))
                continue
            content = hashlib.sha256(np.round(waveform.samples * 32767).astype("<i2").tobytes()).hexdigest()
            contents[clip.position] = content
            clips.append(replace(clip, sha256=sounds.write(file.data), duration_s=waveform.duration_s))
        return first or "data set", clips, tables, contents

    def _unpacked(self, sent: Iterable[SentFile]) -> Iterator[SentFile]:

        settings = self._workbench.settings
        for file in sent:
            if not is_archive(file.name, file.data[:4]):
                yield file
                continue
            for name, data in unpacked(
                io.BytesIO(file.data),
                name=file.name,
                max_files=MAX_FILES,
                max_mb=settings.max_background_mb,
                max_file_mb=settings.max_upload_mb,
            ):
                yield SentFile(name=name, data=data)


def _with_labels(
    clips: list[DataSetClip], known: dict[str, FileLabel], problems: list[FileProblem]
) -> list[DataSetClip]:
    """Clips with their labels or what is wrong with those; rows of tables without a file stand behind them."""
    said = {problem.name: problem.sentence for problem in reversed(problems)}
    found = []
    for clip in clips:
        label = known.get(clip.name)
        problem = clip.problem or ("" if label is not None else said.get(clip.name, "Nothing says its label."))
        found.append(
            replace(
                clip,
                label=label.label if label is not None else "",
                speaker=label.speaker if label is not None else "",
                problem=problem,
            )
        )
    names = {clip.name for clip in clips}
    for each in problems:
        if each.name not in names:
            found.append(
                DataSetClip(
                    position=len(found),
                    name=_storable(each.name),
                    sha256="",
                    label="",
                    speaker="",
                    duration_s=0.0,
                    problem=each.sentence,
                )
            )
    return found


def _without_copies(clips: list[DataSetClip], contents: dict[int, str]) -> list[DataSetClip]:
    """Of clips with the same sound the first one that has a label."""
    first: dict[str, DataSetClip] = {}
    found = []
    for clip in clips:
        kept = first.setdefault(contents[clip.position], clip) if not clip.problem else clip
        if kept is not clip:
            other = "" if kept.label == clip.label else f", which has the label {kept.label!r}: one of them is wrong"
            clip = replace(clip, problem=f"It is the same sound as {kept.name}{other}.")
        found.append(clip)
    return found


def _require_something(clips: list[DataSetClip]) -> None:
    good = [clip for clip in clips if not clip.problem]
    if not good:
        first = next((f": {clip.name}: {clip.problem}" for clip in clips), "")
        raise InvalidParameterError("files", f"without a clip to learn from{first}", "clips with labels")
    n_labels = len({clip.label for clip in good})
    if n_labels > MAX_LABELS:
        raise InvalidParameterError("labels", f"{n_labels} different ones", f"at most {MAX_LABELS}")


def _storable(text: str) -> str:
    printable = "".join(character for character in text if character.isprintable())
    return printable.encode("utf-8", "replace").decode("utf-8")[-MAX_NAME_CHARACTERS:] or "unnamed"
