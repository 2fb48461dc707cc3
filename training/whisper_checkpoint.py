"""Weights of Whisper tiny.en's encoder: fetched from where OpenAI publishes them, and read without running anything.

The published file is a ZIP with a pickle in it, and a pickle can call any function. It is read only when its SHA-256 is
the published one, and even then by an unpickler that knows four names: an ordered dictionary, two kinds of storage, and
a function of this module that takes down where a tensor lies.

Conventions: weights go by the checkpoint's names without their `encoder.` in front; they are published as float16, so
float16 loses nothing.
"""

from __future__ import annotations

import hashlib
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import httpx
import numpy as np
from numpy.typing import NDArray

from training.downloads import Checksum, RemoteFile, fetch_file
from training.errors import CheckpointError, ChecksumMismatchError

NAME = "Whisper tiny.en (OpenAI)"
LICENCE = "MIT"
PAGE = "https://github.com/openai/whisper"
CITATION = "Radford et al.: Robust Speech Recognition via Large-Scale Weak Supervision, ICML, 2023"
SHA256 = "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03"
"""Of the published file; part of its address."""
PUBLISHED = RemoteFile(
    name="tiny.en.pt",
    url=f"https://openaipublic.azureedge.net/main/whisper/models/{SHA256}/tiny.en.pt",
    checksum=Checksum(algorithm="sha256", value=SHA256),
)
_TIMEOUT_S = 30.0
_PREFIX = "encoder."
_USED = ("conv1.", "conv2.", "blocks.")
"""Its positions are computed, and its last normalisation is not used."""

Weights = dict[str, NDArray[np.float32]]


def fetch_checkpoint(
    folder: Path,
    *,
    remote: RemoteFile = PUBLISHED,
    received: Callable[[int], None] = lambda n_bytes: None,
    client: httpx.Client | None = None,
    sleep: Callable[[float], None] | None = None,
) -> Path:
    """The published file below `folder`: fetched, gone on with, or found there already; its checksum is right.

    Raises
    ------
    DownloadError
        As `downloads.fetch_file`.
    """
    opened = nullcontext(client) if client else httpx.Client(timeout=_TIMEOUT_S, follow_redirects=True)
    with opened as session:
        if sleep is None:
            return fetch_file(session, remote, folder, received=received)
        return fetch_file(session, remote, folder, received=received, sleep=sleep)


def read_weights(path: Path, *, sha256: str = SHA256) -> Weights:
    """The encoder's weights from a `.pt` as published or an `.npz` under its names.

    Parameters
    ----------
    sha256
        What a `.pt` must hash to. An `.npz` runs nothing when it is read; `weights_sha256` tells what is in it.

    Raises
    ------
    CheckpointError
        The file is missing, of another kind, or holds something else.
    ChecksumMismatchError
        A `.pt` that is not the published one.
    """
    if not path.is_file():
        raise CheckpointError(path, "there is no such file")
    try:
        found = _read_npz(path) if path.suffix == ".npz" else _read_pt(path, sha256)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise CheckpointError(path, f"it cannot be read ({error})") from error
    weights = {name: values.astype(np.float32) for name, values in found.items() if name.startswith(_USED)}
    if not {"conv1.weight", "conv2.weight", "blocks.0.mlp.0.weight"} <= set(weights):
        raise CheckpointError(path, "it holds no encoder of Whisper")
    return weights


def weights_sha256(weights: Mapping[str, NDArray[np.floating]]) -> str:
    """SHA-256 over name, shape and float16 values of every weight, by name: the same for both kinds of file."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(weights[name], dtype="<f2").tobytes())
    return digest.hexdigest()


def _read_npz(path: Path) -> dict[str, NDArray[np.float16]]:
    with np.load(path, allow_pickle=False) as stored:
        return {name.removeprefix(_PREFIX): stored[name].astype(np.float16) for name in stored.files}


def _read_pt(path: Path, sha256: str) -> dict[str, NDArray[np.float16]]:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ChecksumMismatchError(path.name, "sha256", sha256, found, is_removed=False)
    with zipfile.ZipFile(path) as archive:
        pickled = next((name for name in archive.namelist() if PurePosixPath(name).name == "data.pkl"), None)
        if pickled is None:
            raise CheckpointError(path, "it is no checkpoint of PyTorch")
        with archive.open(pickled) as stream:
            content = _TensorUnpickler(stream).load()
        tensors = content.get("model_state_dict") if isinstance(content, dict) else None
        if not isinstance(tensors, dict):
            raise CheckpointError(path, "it holds no model_state_dict")
        storages = PurePosixPath(pickled).parent / "data"
        return {
            name.removeprefix(_PREFIX): _values(archive, storages, tensor)
            for name, tensor in tensors.items()
            if isinstance(name, str) and name.startswith(_PREFIX) and isinstance(tensor, _Tensor)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Storage:
    dtype: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    """Where a tensor lies; its values are read only for those that are wanted."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _take_down(storage: object, offset: object, shape: object, stride: object, *_rest: object) -> _Tensor:
    """Stands for `torch._utils._rebuild_tensor_v2`."""
    if not (
        isinstance(storage, _Storage)
        and isinstance(offset, int)
        and isinstance(shape, tuple)
        and isinstance(stride, tuple)
        and all(isinstance(number, int) and number >= 0 for number in (offset, *shape, *stride))
    ):
        raise pickle.UnpicklingError("a tensor is described in a way that is not known")
    return _Tensor(storage=storage, offset=offset, shape=shape, stride=stride)


_KNOWN: Mapping[tuple[str, str], object] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _take_down,
    ("torch", "HalfStorage"): "<f2",
    ("torch", "FloatStorage"): "<f4",
}


class _TensorUnpickler(pickle.Unpickler):
    """Knows tensors and dictionaries, refuses every other name."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream)

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no tensor needs")
        return _KNOWN[module, name]

    def persistent_load(self, pid: object) -> _Storage:
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and pid[1] in ("<f2", "<f4")):
            raise pickle.UnpicklingError("it refers to something that is no storage of numbers")
        key = str(pid[2])
        if not key.isdigit():
            raise pickle.UnpicklingError(f"a storage is called {key!r}")
        return _Storage(dtype=pid[1], key=key)


def _values(archive: zipfile.ZipFile, folder: PurePosixPath, tensor: _Tensor) -> NDArray[np.float16]:
    contiguous = tuple(math.prod(tensor.shape[axis + 1 :]) for axis in range(len(tensor.shape)))
    if tensor.stride != contiguous:
        raise pickle.UnpicklingError("a tensor does not lie in one piece")
    stored = np.frombuffer(archive.read(str(folder / tensor.storage.key)), dtype=tensor.storage.dtype)
    values = stored[tensor.offset : tensor.offset + math.prod(tensor.shape)]
    return values.reshape(tensor.shape).astype(np.float16)
