"""Fetch corpora from where their publishers put them: resumed after an interruption, checked against their checksums.

No checksum stands in this file. Each comes with the publisher's own listing of its files: MD5 from Zenodo and from
Borealis (a Dataverse), and for CREMA-D the Git object names of its Git LFS pointers, which hold the SHA-256.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import httpx

from training.corpora import AUDIO_SUFFIXES, Problem
from training.corpus_names import LICENCES, NamedRecording, recognise_name
from training.errors import (
    ChecksumMismatchError,
    DiskFullError,
    DownloadError,
    LicenceDeclinedError,
    RegistrationNeededError,
)

N_ATTEMPTS = 6
"""Tries for one file before giving up; each goes on where the one before stopped."""
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksum:
    """What a file must hash to."""

    algorithm: str
    """`md5`, `sha256`, or `git`: the object name of the file or of the Git LFS pointer to it."""
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """One file that a publisher lists."""

    name: str
    """Where it goes below the corpus's folder."""
    url: str
    checksum: Checksum | None
    n_bytes: int | None = None
    """None where the listing does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Where a corpus comes from and on which terms."""

    corpus: str
    licence: str
    terms: str
    """What the licence allows, in a sentence."""
    page: str
    citation: str
    n_recordings: int
    """As published, to compare with what arrived."""
    list_files: Callable[[httpx.Client], list[RemoteFile]] | None
    """None where a registration is needed."""


def list_zenodo(client: httpx.Client, *, record: str, names: Sequence[str], host: str) -> list[RemoteFile]:
    """The files called `names` of a Zenodo record, with size and MD5 from its API."""
    listing = _get_json(client, f"{host}/api/records/{record}")
    found = [entry for entry in listing["files"] if entry["key"] in names]
    missing = set(names) - {entry["key"] for entry in found}
    if missing:
        raise DownloadError(f"Zenodo record {record}", f"it no longer holds {', '.join(sorted(missing))}")
    files = []
    for entry in found:
        algorithm, _, value = entry["checksum"].partition(":")
        files.append(
            RemoteFile(
                name=entry["key"],
                url=entry["links"]["self"],
                checksum=Checksum(algorithm=algorithm, value=value),
                n_bytes=entry["size"],
            )
        )
    return files


def list_dataverse(client: httpx.Client, *, doi: str, host: str) -> list[RemoteFile]:
    """The audio and archives of a Dataverse dataset, with size and checksum from its API."""
    listing = _get_json(client, f"{host}/api/datasets/:persistentId/?persistentId={doi}")
    files = []
    for entry in listing["data"]["latestVersion"]["files"]:
        stored = entry["dataFile"]
        if PurePosixPath(stored["filename"]).suffix.lower() not in AUDIO_SUFFIXES | {".zip"}:
            continue
        checksum = stored.get("checksum") or {"type": "MD5", "value": stored.get("md5", "")}
        files.append(
            RemoteFile(
                name=str(PurePosixPath(entry.get("directoryLabel") or "") / stored["filename"]),
                url=f"{host}/api/access/datafile/{stored['id']}",
                checksum=Checksum(algorithm=checksum["type"].replace("-", "").lower(), value=checksum["value"])
                if checksum["value"]
                else None,
                n_bytes=stored.get("filesize"),
            )
        )
    if not files:
        raise DownloadError(f"The dataset {doi}", "its listing holds no audio")
    return files


def list_github(
    client: httpx.Client,
    *,
    repository: str,
    branch: str,
    folder: str,
    api_host: str = "https://api.github.com",
    media_host: str = "https://media.githubusercontent.com/media",
) -> list[RemoteFile]:
    """The audio in `folder` of a GitHub repository that keeps it in Git LFS, with Git's own object names."""
    trees = f"{api_host}/repos/{repository}/git/trees"
    root = _get_json(client, f"{trees}/{branch}")["tree"]
    wanted = [entry["sha"] for entry in root if entry["path"] == folder and entry["type"] == "tree"]
    if not wanted:
        raise DownloadError(f"{repository} on GitHub", f"it no longer holds the folder {folder}")
    listing = _get_json(client, f"{trees}/{wanted[0]}")
    if listing.get("truncated"):
        raise DownloadError(f"{repository} on GitHub", f"GitHub cut off the listing of {folder}")
    return [
        RemoteFile(
            name=f"{folder}/{entry['path']}",
            url=f"{media_host}/{repository}/{branch}/{folder}/{entry['path']}",
            checksum=Checksum(algorithm="git", value=entry["sha"]),
        )
        for entry in listing["tree"]
        if entry["type"] == "blob" and PurePosixPath(entry["path"]).suffix.lower() in AUDIO_SUFFIXES
    ]


PUBLISHERS = {
    "ravdess": Publisher(
        corpus="RAVDESS",
        licence=LICENCES["RAVDESS"],
        terms="Attribution, share alike, no commercial use: a model trained on it must not be sold or used for "
        "business.",
        page="https://zenodo.org/records/1188976",
        citation="Livingstone, Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song, PLoS ONE 13(5), "
        "2018",
        n_recordings=1440,
        list_files=lambda client: list_zenodo(
            client, record="1188976", names=["Audio_Speech_Actors_01-24.zip"], host="https://zenodo.org"
        ),
    ),
    "crema-d": Publisher(
        corpus="CREMA-D",
        licence=LICENCES["CREMA-D"],
        terms="Open Database License: attribution, share alike for the database; commercial use is allowed.",
        page="https://github.com/CheyneyComputerScience/CREMA-D",
        citation="Cao et al.: CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset, IEEE Transactions on "
        "Affective Computing 5(4), 2014",
        n_recordings=7442,
        list_files=lambda client: list_github(
            client, repository="CheyneyComputerScience/CREMA-D", branch="master", folder="AudioWAV"
        ),
    ),
    "tess": Publisher(
        corpus="TESS",
        licence=LICENCES["TESS"],
        terms="Attribution, no derivatives, no commercial use: a model trained on it must not be sold or used for "
        "business.",
        page="https://doi.org/10.5683/SP2/E8H2MF",
        citation="Pichora-Fuller, Dupuis: Toronto emotional speech set (TESS), Borealis, 2020",
        n_recordings=2800,
        list_files=lambda client: list_dataverse(client, doi="doi:10.5683/SP2/E8H2MF", host="https://borealisdata.ca"),
    ),
    "savee": Publisher(
        corpus="SAVEE",
        licence=LICENCES["SAVEE"],
        terms="Research only, after a registration: no commercial use, and the recordings must not be passed on.",
        page="http://kahlan.eps.surrey.ac.uk/savee/Register.html",
        citation="Haq, Jackson: Multimodal emotion recognition, in: Machine Audition, IGI Global, 2010",
        n_recordings=480,
        list_files=None,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchProgress:
    """Whom to tell about a fetch. Called from several threads."""

    started: Callable[[int, int | None], None] = lambda n_files, n_bytes: None
    """Number of files, and of bytes where the listing says."""
    received: Callable[[int], None] = lambda n_bytes: None
    """Bytes more on disk; negative where a part has to be fetched anew."""
    finished: Callable[[RemoteFile], None] = lambda file: None


def fetch_corpus(
    publisher: Publisher,
    folder: Path,
    *,
    is_accepted: Callable[[Publisher], bool],
    progress: FetchProgress | None = None,
    client: httpx.Client | None = None,
    n_connections: int = 6,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Fetch a corpus into `folder/CORPUS`; a second call goes on where the first stopped.

    Parameters
    ----------
    publisher
        One of `PUBLISHERS`.
    is_accepted
        Shows the licence and says whether it is accepted; nothing is asked of the publisher before.

    Returns
    -------
    Path
        The folder that holds the corpus.

    Raises
    ------
    LicenceDeclinedError, RegistrationNeededError
        Before the first byte.
    DownloadError
        The publisher cannot be reached, lists something else, or what arrived is not what was published.
    """
    if publisher.list_files is None:
        raise RegistrationNeededError(publisher.corpus, publisher.page)
    if not is_accepted(publisher):
        raise LicenceDeclinedError(publisher.corpus, publisher.licence)
    target = folder / publisher.corpus
    told = progress or FetchProgress()
    opened = nullcontext(client) if client else httpx.Client(timeout=_TIMEOUT_S, follow_redirects=True)
    with opened as session:
        files = publisher.list_files(session)
        sizes = [file.n_bytes for file in files]
        known = [size for size in sizes if size is not None]
        told.started(len(files), sum(known) if len(known) == len(sizes) else None)
        target.mkdir(parents=True, exist_ok=True)
        _require_room(target, files)
        with ThreadPoolExecutor(n_connections) as pool:
            tasks = [
                pool.submit(fetch_file, session, file, target, received=told.received, sleep=sleep) for file in files
            ]
            try:
                for file, task in zip(files, tasks, strict=True):
                    task.result()
                    told.finished(file)
            except BaseException:
                # One file that cannot be had stops the rest: what has arrived is kept for the next run.
                pool.shutdown(cancel_futures=True)
                raise
    for file in files:
        if PurePosixPath(file.name).suffix.lower() == ".zip":
            extract_archive(_below(target, file.name), target)
    return target


def adopt_folder(
    publisher: Publisher, source: Path, folder: Path, *, is_accepted: Callable[[Publisher], bool]
) -> tuple[Path, list[Problem]]:
    """Copy the recordings of a corpus that came by registration from `source` to `folder/CORPUS`.

    Returns
    -------
    tuple
        The folder that holds the corpus, and the audio that is not of this corpus.

    Raises
    ------
    LicenceDeclinedError
        Before anything is copied.
    DownloadError
        `source` holds no recording of the corpus.
    """
    if not is_accepted(publisher):
        raise LicenceDeclinedError(publisher.corpus, publisher.licence)
    target = folder / publisher.corpus
    n_recordings = 0
    problems = []
    for path in sorted(source.rglob("*")):
        if path.suffix.lower() not in AUDIO_SUFFIXES or not path.is_file():
            continue
        name = PurePosixPath(path.relative_to(source).as_posix())
        named = recognise_name(PurePosixPath(source.name) / name)
        if not isinstance(named, NamedRecording) or named.corpus != publisher.corpus:
            problems.append(Problem(path=str(name), reason=f"is no recording of {publisher.corpus} by its name"))
            continue
        copy = target / (named.speaker.removeprefix(f"{publisher.corpus}-")) / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        n_recordings += 1
    if not n_recordings:
        raise DownloadError(publisher.corpus, f"{source} holds none of its recordings")
    return target, problems


def fetch_file(
    client: httpx.Client,
    file: RemoteFile,
    folder: Path,
    *,
    received: Callable[[int], None] = lambda n_bytes: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Fetch one file below `folder`, going on after what an earlier call left in `NAME.part`.

    Raises
    ------
    ChecksumMismatchError
        The whole file arrived and is not what was published; it was removed.
    DiskFullError
        The disk ran full; what has arrived is kept.
    DownloadError
        The server refused, or failed `N_ATTEMPTS` times.
    """
    path = _below(folder, file.name)
    if path.exists():
        if file.checksum is None or _matches(path, file.checksum):
            received(path.stat().st_size)
            return path
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    if partial.exists():
        received(partial.stat().st_size)
    for attempt in range(1, N_ATTEMPTS + 1):
        try:
            _receive(client, file, partial, received)
            break
        except httpx.TransportError as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        except _TryAgainError as error:
            reason = str(error)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise DownloadError(file.name, f"it cannot be written ({error.strerror})") from error
            raise DiskFullError(folder, file.n_bytes or 0, shutil.disk_usage(folder).free) from error
        if attempt == N_ATTEMPTS:
            raise DownloadError(file.name, f"{N_ATTEMPTS} attempts failed, the last with {reason}")
        sleep(min(2.0**attempt, 30.0))
    if file.n_bytes is not None and partial.stat().st_size != file.n_bytes and file.checksum is None:
        n_arrived = partial.stat().st_size
        _discard(partial, received)
        raise DownloadError(file.name, f"{n_arrived} bytes arrived where {file.n_bytes} are published")
    if file.checksum is not None and not _matches(partial, file.checksum):
        found = _digest(partial, file.checksum.algorithm)
        _discard(partial, received)
        raise ChecksumMismatchError(file.name, file.checksum.algorithm, file.checksum.value, found)
    partial.replace(path)
    return path


class _TryAgainError(Exception):
    """The server asked to be asked again."""


def _receive(client: httpx.Client, file: RemoteFile, partial: Path, received: Callable[[int], None]) -> None:
    """Append what is missing to `partial`, or fetch it anew where the server cannot go on in the middle."""
    n_there = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if n_there:
        headers["Range"] = f"bytes={n_there}-"
    with client.stream("GET", file.url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and n_there:
            if _published_size(file, response) == n_there:
                return
            _discard(partial, received)
            raise _TryAgainError("a part longer than the file")
        if response.status_code in (408, 425, 429) or response.status_code >= 500:
            raise _TryAgainError(f"status {response.status_code}")
        if response.status_code not in (200, 206):
            raise DownloadError(file.name, f"{file.url} answered with status {response.status_code}")
        continues = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(
            f"bytes {n_there}-"
        )
        if n_there and not continues:
            received(-n_there)
        with partial.open("ab" if continues else "wb") as target:
            # In chunks as they arrive: a chunk size would hold back, and on a broken connection lose, an unfilled one.
            for chunk in response.iter_bytes():
                target.write(chunk)
                received(len(chunk))


def _published_size(file: RemoteFile, response: httpx.Response) -> int | None:
    _, _, total = response.headers.get("Content-Range", "").partition("/")
    return file.n_bytes if file.n_bytes is not None else (int(total) if total.isdigit() else None)


def _discard(partial: Path, received: Callable[[int], None]) -> None:
    received(-partial.stat().st_size)
    partial.unlink()


def extract_archive(archive: Path, folder: Path) -> list[Path]:
    """Extract the audio of a ZIP file below `folder`; what is there in the right size already stays.

    Raises
    ------
    DownloadError
        The archive is damaged, or a name in it leads outside `folder`.
    """
    extracted = []
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                if member.is_dir() or PurePosixPath(member.filename).suffix.lower() not in AUDIO_SUFFIXES:
                    continue
                path = _below(folder, member.filename)
                extracted.append(path)
                if path.exists() and path.stat().st_size == member.file_size:
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                partial = path.with_name(path.name + ".part")
                with opened.open(member) as source, partial.open("wb") as target:
                    shutil.copyfileobj(source, target)
                partial.replace(path)
    except zipfile.BadZipFile as error:
        raise DownloadError(archive.name, f"the archive is damaged ({error})") from error
    return extracted


def _get_json(client: httpx.Client, url: str) -> dict:  # type: ignore[type-arg]  # a publisher's answer, read key by key above
    try:
        response = client.get(url)
        response.raise_for_status()
        answer = response.json()
    except httpx.HTTPStatusError as error:
        raise DownloadError(url, f"the publisher answered with status {error.response.status_code}") from error
    except httpx.TransportError as error:
        raise DownloadError(url, f"the publisher cannot be reached ({type(error).__name__})") from error
    except ValueError as error:
        raise DownloadError(url, "the publisher did not answer with a listing") from error
    if not isinstance(answer, dict):
        raise DownloadError(url, "the publisher did not answer with a listing")
    return answer


def _below(folder: Path, name: str) -> Path:
    """The path of `name` below `folder`; names from outside may not lead elsewhere."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise DownloadError(repr(name), "its name leads outside the folder")
    return folder.joinpath(*parts)


def _require_room(folder: Path, files: Iterable[RemoteFile]) -> None:
    n_needed = 0
    for file in files:
        path = _below(folder, file.name)
        for there in (path, path.with_name(path.name + ".part")):
            if there.exists():
                n_needed -= there.stat().st_size
        # Archives are extracted beside themselves; WAV shrinks by about a third in them.
        n_needed += int((file.n_bytes or 0) * (2.5 if path.suffix.lower() == ".zip" else 1.0))
    n_free = shutil.disk_usage(folder).free
    if n_needed > n_free:
        raise DiskFullError(folder, n_needed, n_free)


def _matches(path: Path, checksum: Checksum) -> bool:
    if checksum.algorithm == "git":
        return checksum.value.lower() in (_git_object_name(path), _git_lfs_pointer_name(path))
    return _digest(path, checksum.algorithm) == checksum.value.lower()


def _digest(path: Path, algorithm: str) -> str:
    if algorithm == "git":
        return _git_lfs_pointer_name(path)
    try:
        digest = hashlib.new(algorithm)
    except ValueError as error:
        raise DownloadError(path.name, f"its publisher uses the unknown checksum {algorithm!r}") from error
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _git_object_name(path: Path) -> str:
    """Name that Git gives a file: SHA-1 of its length and content."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _git_lfs_pointer_name(path: Path) -> str:
    """Name that Git gives the pointer which stands in a repository for a file kept in Git LFS."""
    pointer = (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{_digest(path, 'sha256')}\n"
        f"size {path.stat().st_size}\n"
    ).encode()
    return hashlib.sha1(b"blob %d\0" % len(pointer) + pointer, usedforsecurity=False).hexdigest()
