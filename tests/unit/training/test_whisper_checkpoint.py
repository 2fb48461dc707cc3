"""Published weights: read without running anything in them, told apart by their values, fetched and checked."""

from __future__ import annotations

import hashlib
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from tests.whisper_files import random_weights, write_pt
from training.downloads import Checksum, RemoteFile
from training.errors import CheckpointError, ChecksumMismatchError, DownloadError
from training.whisper_checkpoint import PUBLISHED, SHA256, fetch_checkpoint, read_weights, weights_sha256


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Malicious:
    """Unpickled without care, this makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_checkpoint_and_archive_of_the_same_weights_give_the_same_numbers(tmp_path, monkeypatch):
    weights = random_weights()
    np.savez(tmp_path / "encoder.npz", **weights)
    write_pt(tmp_path / "tiny.pt", weights, monkeypatch)
    filed = read_weights(tmp_path / "encoder.npz")
    published = read_weights(tmp_path / "tiny.pt", sha256=digest_of(tmp_path / "tiny.pt"))
    assert filed.keys() == published.keys()
    assert all(np.array_equal(filed[name], published[name]) for name in filed)
    assert np.array_equal(filed["blocks.1.mlp.0.weight"], weights["blocks.1.mlp.0.weight"].astype(np.float32))
    assert weights_sha256(filed) == weights_sha256(published)


def test_only_what_the_encoder_uses_is_kept(tmp_path):
    np.savez(tmp_path / "encoder.npz", **random_weights())
    assert {name.split(".")[0] for name in read_weights(tmp_path / "encoder.npz")} == {"conv1", "conv2", "blocks"}


def test_other_values_or_names_give_another_digest():
    weights = random_weights()
    changed = {**weights, "conv1.bias": weights["conv1.bias"] + np.float16(0.01)}
    renamed = {"conv3.bias" if name == "conv1.bias" else name: values for name, values in weights.items()}
    assert len({weights_sha256(one) for one in (weights, changed, renamed)}) == 3


def test_checkpoint_with_another_checksum_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "tiny.en.pt"
    write_pt(path, random_weights(), monkeypatch)
    with pytest.raises(ChecksumMismatchError, match=f"published is {SHA256}"):
        read_weights(path)
    assert path.exists()


def test_call_hidden_in_a_checkpoint_is_never_made(tmp_path, monkeypatch):
    path = tmp_path / "tiny.en.pt"
    write_pt(path, random_weights(), monkeypatch, extra=Malicious(tmp_path / "made"))
    with pytest.raises(CheckpointError, match=r"names \w+\.mkdir, which no tensor needs"):
        read_weights(path, sha256=digest_of(path))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("function", [eval, getattr, os.system, np.load, np.ndarray])
def test_no_name_but_those_of_tensors_is_known(tmp_path, monkeypatch, function):
    path = tmp_path / "tiny.en.pt"
    write_pt(path, random_weights(), monkeypatch, extra=function)
    with pytest.raises(CheckpointError, match="which no tensor needs"):
        read_weights(path, sha256=digest_of(path))


def test_tensor_that_does_not_lie_in_one_piece_is_refused(tmp_path, monkeypatch):
    weights = random_weights()
    weights["conv1.weight"] = np.asfortranarray(weights["conv1.weight"])
    write_pt(tmp_path / "tiny.pt", weights, monkeypatch)
    with pytest.raises(CheckpointError, match="in one piece"):
        read_weights(tmp_path / "tiny.pt", sha256=digest_of(tmp_path / "tiny.pt"))


def test_archive_with_objects_in_it_is_refused(tmp_path):
    np.savez(tmp_path / "encoder.npz", **{"conv1.weight": np.array([Malicious(tmp_path / "made")], dtype=object)})
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_weights(tmp_path / "encoder.npz")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive"])
@pytest.mark.parametrize("name", ["tiny.en.pt", "encoder.npz"])
def test_file_that_is_no_checkpoint_is_told(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_weights(tmp_path / name, sha256=digest_of(tmp_path / name))


def test_missing_file_and_foreign_weights_are_told(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        read_weights(tmp_path / "tiny.en.pt")
    np.savez(tmp_path / "other.npz", weight=np.zeros(3))
    with pytest.raises(CheckpointError, match="no encoder of Whisper"):
        read_weights(tmp_path / "other.npz")


def test_address_of_the_weights_carries_their_checksum():
    assert PUBLISHED.url.split("/")[-2] == SHA256 == PUBLISHED.checksum.value
    assert len(bytes.fromhex(SHA256)) == 32


@pytest.fixture
def served(tmp_path):
    """A folder, and the address under which a local server gives out what is in it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_args):
            """Say nothing."""

    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def remote(host, sha256):
    return RemoteFile(name="tiny.en.pt", url=f"{host}/tiny.en.pt", checksum=Checksum(algorithm="sha256", value=sha256))


def test_download_is_kept_when_its_checksum_is_right(tmp_path, served):
    folder, host = served
    (folder / "tiny.en.pt").write_bytes(b"weights" * 1000)
    arrived = []
    wanted = remote(host, hashlib.sha256(b"weights" * 1000).hexdigest())
    path = fetch_checkpoint(tmp_path / "downloads", remote=wanted, received=arrived.append)
    assert path.read_bytes() == b"weights" * 1000
    assert sum(arrived) == 7000


def test_download_with_a_wrong_checksum_is_refused_and_removed(tmp_path, served):
    folder, host = served
    (folder / "tiny.en.pt").write_bytes(b"something else")
    with pytest.raises(ChecksumMismatchError, match="run the same command again"):
        fetch_checkpoint(tmp_path / "downloads", remote=remote(host, SHA256))
    assert list((tmp_path / "downloads").iterdir()) == []


def test_download_from_a_server_without_the_file_is_told(tmp_path, served):
    _, host = served
    with pytest.raises(DownloadError, match="status 404"):
        fetch_checkpoint(tmp_path / "downloads", remote=remote(host, SHA256), sleep=lambda _: None)
