"""Encrypted recordings: unreadable on the disk, whole or refused when read, mixed with plain ones."""

from __future__ import annotations

import io
import os
import uuid

import pytest

from core.config import Settings
from core.errors import SecretError, StoreError, UnknownRecordingError
from core.secrets import Vault, new_secret_key
from core.store.recording_cipher import CHUNK_BYTES, HEADER_BYTES, MAGIC, TAG_BYTES, decrypted, encrypted
from core.store.recording_files import RecordingFiles

OLD, NEW = new_secret_key(), new_secret_key()
SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 77]
WHOLE = CHUNK_BYTES + TAG_BYTES
"""Of a chunk, encrypted."""


def vault(*keys: str) -> Vault:
    return Vault.open(Settings(secret_keys=",".join(keys)))


@pytest.fixture(params=["folder", "object store"])
def url(request, tmp_path):
    return str(tmp_path / "recordings") if request.param == "folder" else f"memory://{uuid.uuid4()}"


def kept(files: RecordingFiles, sha256: str) -> bytes:
    """The bytes as they lie there."""
    return files._files.cat_file(files._path(sha256))


def overwrite(files: RecordingFiles, sha256: str, data: bytes) -> None:
    files._files.pipe_file(files._path(sha256), data)


@pytest.mark.parametrize("size", SIZES)
def test_bytes_come_back_under_the_hash_of_what_they_are(url, size):
    data = os.urandom(size)
    files = RecordingFiles(url, vault=vault(OLD), encrypts=True)
    sha256 = files.write(data)
    assert sha256 == RecordingFiles(f"memory://{uuid.uuid4()}").write(data)
    assert files.read(sha256) == data
    assert files.exists(sha256)
    lies = kept(files, sha256)
    assert lies.startswith(MAGIC)
    n_chunks = max(1, -(-size // CHUNK_BYTES))
    assert len(lies) == HEADER_BYTES + size + n_chunks * TAG_BYTES


def test_nothing_of_a_recording_shows(url):
    files = RecordingFiles(url, vault=vault(OLD), encrypts=True)
    lies = kept(files, files.write(b"confidential words " * 10_000))
    assert b"confidential" not in lies
    assert len({lies[i : i + 19] for i in range(0, 19_000, 19)}) == 1000


def test_same_recording_is_encrypted_differently_in_two_places(tmp_path):
    both = [RecordingFiles(tmp_path / name, vault=vault(OLD), encrypts=True) for name in "ab"]
    first, second = (kept(files, files.write(b"same")) for files in both)
    assert first != second


def test_plain_and_encrypted_are_read_side_by_side(url):
    plain = RecordingFiles(url).write(b"from before")
    encrypting = RecordingFiles(url, vault=vault(OLD), encrypts=True)
    secret = encrypting.write(b"from now on")
    assert encrypting.read(plain) == b"from before"
    not_any_more = RecordingFiles(url, vault=vault(OLD))
    assert not_any_more.read(secret) == b"from now on"
    assert kept(not_any_more, not_any_more.write(b"plain again")) == b"plain again"


def test_wrong_or_missing_key_is_told(url):
    sha256 = RecordingFiles(url, vault=vault(OLD), encrypts=True).write(b"mine")
    for files in (RecordingFiles(url, vault=vault(NEW)), RecordingFiles(url)):
        with pytest.raises(SecretError, match=sha256):
            files.read(sha256)


def test_plain_recording_that_looks_encrypted_is_read_as_it_is(url):
    data = MAGIC + os.urandom(1000)
    files = RecordingFiles(url, vault=vault(OLD))
    assert files.read(files.write(data)) == data


@pytest.mark.parametrize("position", [0, 9, 20, HEADER_BYTES, HEADER_BYTES + WHOLE - 1, HEADER_BYTES + WHOLE + 5, -1])
def test_changed_byte_is_noticed(url, position):
    files = RecordingFiles(url, vault=vault(OLD), encrypts=True)
    sha256 = files.write(os.urandom(2 * CHUNK_BYTES + 10))
    lies = bytearray(kept(files, sha256))
    lies[position] ^= 1
    overwrite(files, sha256, bytes(lies))
    with pytest.raises((StoreError, SecretError)):
        files.read(sha256)


@pytest.mark.parametrize(
    "length",
    [0, 3, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 5, HEADER_BYTES + WHOLE, HEADER_BYTES + 2 * WHOLE, -1],
)
def test_cut_off_recording_is_noticed_wherever_it_is_cut(url, length):
    files = RecordingFiles(url, vault=vault(OLD), encrypts=True)
    sha256 = files.write(os.urandom(2 * CHUNK_BYTES + 10))
    overwrite(files, sha256, kept(files, sha256)[:length])
    with pytest.raises(StoreError, match="damaged"):
        files.read(sha256)


def test_chunks_cannot_change_places_repeat_or_be_added(url):
    files = RecordingFiles(url, vault=vault(OLD), encrypts=True)
    sha256 = files.write(bytes(3 * CHUNK_BYTES))  # all chunks alike: only their numbers tell them apart
    lies = kept(files, sha256)
    header = lies[:HEADER_BYTES]
    first, second, last = (lies[HEADER_BYTES + i * WHOLE : HEADER_BYTES + (i + 1) * WHOLE] for i in range(3))
    for chunks in ([second, first, last], [first, first, last], [first, second, last, last], [first, second], [last]):
        overwrite(files, sha256, header + b"".join(chunks))
        with pytest.raises(StoreError, match="damaged"):
            files.read(sha256)


def test_one_recording_cannot_take_the_place_of_another(url):
    files = RecordingFiles(url, vault=vault(OLD), encrypts=True)
    one, other = files.write(b"one"), files.write(b"other")
    overwrite(files, one, kept(files, other))
    with pytest.raises(StoreError, match="damaged"):
        files.read(one)


def test_no_more_than_two_chunks_are_held_at_a_time():
    class Counting(io.BytesIO):
        largest = 0

        def read(self, size=-1):
            self.largest = max(self.largest, size)
            return super().read(size)

    key, sha256 = vault(OLD), "0" * 64
    plain = Counting(os.urandom(10 * CHUNK_BYTES))
    blocks = list(encrypted(plain, key.sealing_key, sha256))
    sealed = Counting(b"".join(blocks))
    assert b"".join(decrypted(sealed, key, sha256)) == plain.getvalue()
    assert max(map(len, blocks)) == WHOLE
    assert plain.largest == CHUNK_BYTES
    assert sealed.largest == WHOLE


def test_renewed_recording_is_under_the_first_key_and_one_that_was_plain_too(url):
    plain = RecordingFiles(url).write(b"plain")
    old = RecordingFiles(url, vault=vault(OLD), encrypts=True).write(b"old")
    files = RecordingFiles(url, vault=vault(NEW, OLD), encrypts=True)
    assert sorted(files.hashes()) == sorted([plain, old])
    assert not files.is_current(plain)
    assert not files.is_current(old)
    for sha256 in (plain, old):
        files.renew(sha256)
        assert files.is_current(sha256)
    only_new = RecordingFiles(url, vault=vault(NEW))
    assert (only_new.read(plain), only_new.read(old)) == (b"plain", b"old")
    assert sorted(files.hashes()) == sorted([plain, old])


def test_what_is_plain_is_current_where_nothing_is_encrypted(url):
    files = RecordingFiles(url, vault=vault(NEW, OLD))
    assert files.is_current(files.write(b"plain"))
    assert not files.is_current(RecordingFiles(url, vault=vault(OLD), encrypts=True).write(b"old"))


def test_deleted_recording_is_not_renewed(url):
    files = RecordingFiles(url, vault=vault(OLD), encrypts=True)
    sha256 = files.write(b"gone")
    files._files.rm(files._path(sha256))
    with pytest.raises(UnknownRecordingError):
        files.renew(sha256)
    assert not files.exists(sha256)


def test_encrypting_without_keys_is_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="vault"):
        RecordingFiles(tmp_path, encrypts=True)
