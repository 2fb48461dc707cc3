"""Corpora are fetched whole, resumed, checked, and only after their licence is accepted: against a real server."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import soundfile

from tests.integration.training.publisher import Publisher, serve_publisher
from training import downloads
from training.corpora import index_folder
from training.downloads import (
    N_ATTEMPTS,
    PUBLISHERS,
    Checksum,
    FetchProgress,
    RemoteFile,
    adopt_folder,
    extract_archive,
    fetch_corpus,
    fetch_file,
    list_dataverse,
    list_github,
    list_zenodo,
)
from training.errors import (
    ChecksumMismatchError,
    DiskFullError,
    DownloadError,
    LicenceDeclinedError,
    RegistrationNeededError,
)

CONTENT = bytes(np.random.default_rng(0).integers(256, size=600_000, dtype=np.uint8))


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with serve_publisher() as running:
        running.files["/a.wav"] = CONTENT
        yield running


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=5.0, trust_env=False) as opened:
        yield opened


def remote_file(publisher: Publisher, **changes: object) -> RemoteFile:
    fields: dict[str, object] = {
        "name": "a.wav",
        "url": f"{publisher.url}/a.wav",
        "checksum": Checksum(algorithm="md5", value=hashlib.md5(CONTENT).hexdigest()),
        "n_bytes": len(CONTENT),
    }
    return RemoteFile(**fields | changes)


def noise(seed: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(seed).uniform(-0.1, 0.1, 1600), 16_000, format="WAV")
    return file.getvalue()


def never(_: float) -> None:
    raise AssertionError("waited although nothing failed")


def test_file_arrives_as_published(publisher, client, tmp_path) -> None:
    received: list[int] = []
    path = fetch_file(client, remote_file(publisher), tmp_path, received=received.append, sleep=never)
    assert path.read_bytes() == CONTENT
    assert sum(received) == len(CONTENT)
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


def test_interrupted_download_goes_on_where_it_stopped(publisher, client, tmp_path) -> None:
    publisher.breaks_after = [200_000, 100_000]
    received: list[int] = []
    waits: list[float] = []
    path = fetch_file(client, remote_file(publisher), tmp_path, received=received.append, sleep=waits.append)
    assert path.read_bytes() == CONTENT
    starts = [int(range.removeprefix("bytes=").removesuffix("-")) for _, range in publisher.requests if range]
    assert publisher.requests[0] == ("/a.wav", None)
    assert len(starts) == 2
    assert 0 < starts[0] < starts[1] <= 300_000
    assert sum(received) == len(CONTENT)
    assert waits == [2.0, 4.0]


def test_second_run_goes_on_where_a_killed_one_stopped(publisher, client, tmp_path) -> None:
    (tmp_path / "a.wav.part").write_bytes(CONTENT[:123_456])
    path = fetch_file(client, remote_file(publisher), tmp_path, sleep=never)
    assert path.read_bytes() == CONTENT
    assert publisher.requests == [("/a.wav", "bytes=123456-")]


def test_server_without_ranges_sends_the_whole_file_anew(publisher, client, tmp_path) -> None:
    publisher.supports_ranges = False
    publisher.breaks_after = [200_000]
    received: list[int] = []
    path = fetch_file(client, remote_file(publisher), tmp_path, received=received.append, sleep=lambda _: None)
    assert path.read_bytes() == CONTENT
    assert sum(received) == len(CONTENT)
    assert min(received) < 0


def test_complete_part_is_taken_without_fetching_it_again(publisher, client, tmp_path) -> None:
    (tmp_path / "a.wav.part").write_bytes(CONTENT)
    assert fetch_file(client, remote_file(publisher), tmp_path, sleep=never).read_bytes() == CONTENT


def test_part_longer_than_the_file_is_fetched_anew(publisher, client, tmp_path) -> None:
    (tmp_path / "a.wav.part").write_bytes(CONTENT + b"more")
    assert fetch_file(client, remote_file(publisher), tmp_path, sleep=lambda _: None).read_bytes() == CONTENT


def test_file_that_is_there_and_right_is_not_fetched(publisher, client, tmp_path) -> None:
    (tmp_path / "a.wav").write_bytes(CONTENT)
    fetch_file(client, remote_file(publisher), tmp_path, sleep=never)
    assert publisher.requests == []


def test_file_that_is_there_and_wrong_is_fetched_again(publisher, client, tmp_path) -> None:
    (tmp_path / "a.wav").write_bytes(CONTENT[:-1] + b"x")
    assert fetch_file(client, remote_file(publisher), tmp_path, sleep=never).read_bytes() == CONTENT


def test_wrong_checksum_is_refused_with_both_values_and_leaves_nothing(publisher, client, tmp_path) -> None:
    wrong = Checksum(algorithm="md5", value="0" * 32)
    with pytest.raises(ChecksumMismatchError, match=f"md5 is {hashlib.md5(CONTENT).hexdigest()}, published is 0000"):
        fetch_file(client, remote_file(publisher, checksum=wrong), tmp_path, sleep=never)
    assert list(tmp_path.iterdir()) == []


def test_part_of_another_version_is_found_out_by_the_checksum(publisher, client, tmp_path) -> None:
    (tmp_path / "a.wav.part").write_bytes(b"\0" * 1000)
    with pytest.raises(ChecksumMismatchError):
        fetch_file(client, remote_file(publisher), tmp_path, sleep=never)
    assert fetch_file(client, remote_file(publisher), tmp_path, sleep=never).read_bytes() == CONTENT


def test_file_without_a_checksum_must_at_least_have_its_size(publisher, client, tmp_path) -> None:
    with pytest.raises(DownloadError, match="600000 bytes arrived where 7 are published"):
        fetch_file(client, remote_file(publisher, checksum=None, n_bytes=7), tmp_path, sleep=never)


def test_busy_server_is_asked_again(publisher, client, tmp_path) -> None:
    publisher.statuses = [503, 429]
    waits: list[float] = []
    assert fetch_file(client, remote_file(publisher), tmp_path, sleep=waits.append).read_bytes() == CONTENT
    assert waits == [2.0, 4.0]


def test_server_that_always_fails_is_given_up_with_the_reason(publisher, client, tmp_path) -> None:
    publisher.statuses = [500] * N_ATTEMPTS
    with pytest.raises(DownloadError, match=f"{N_ATTEMPTS} attempts failed, the last with status 500"):
        fetch_file(client, remote_file(publisher), tmp_path, sleep=lambda _: None)


def test_file_that_is_gone_is_refused_at_once(publisher, client, tmp_path) -> None:
    with pytest.raises(DownloadError, match="status 404"):
        fetch_file(client, remote_file(publisher, url=f"{publisher.url}/b.wav"), tmp_path, sleep=never)


def test_server_that_is_not_there_is_given_up(client, tmp_path) -> None:
    with serve_publisher() as gone:
        url = gone.url
    file = RemoteFile(name="a.wav", url=f"{url}/a.wav", checksum=None)
    with pytest.raises(DownloadError, match="ConnectError"):
        fetch_file(client, file, tmp_path, sleep=lambda _: None)


def test_full_disk_is_told_and_what_arrived_is_kept(publisher, client, tmp_path) -> None:
    # Every write to /dev/full fails as on a full disk.
    (tmp_path / "a.wav.part").symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match="MB are needed"):
        fetch_file(client, remote_file(publisher), tmp_path, sleep=never)
    assert (tmp_path / "a.wav.part").is_symlink()


@pytest.mark.parametrize("name", ["../a.wav", "/a.wav", "b/../../a.wav", "..\\a.wav", ""])
def test_name_that_leads_outside_the_folder_is_refused(publisher, client, tmp_path, name) -> None:
    with pytest.raises(DownloadError, match="leads outside"):
        fetch_file(client, remote_file(publisher, name=name), tmp_path / "inside", sleep=never)
    assert publisher.requests == []


def test_git_lfs_object_is_checked_by_the_name_of_its_pointer(publisher, client, tmp_path) -> None:
    pointer = (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{hashlib.sha256(CONTENT).hexdigest()}\nsize {len(CONTENT)}\n"
    ).encode()
    name = hashlib.sha1(b"blob " + str(len(pointer)).encode() + b"\0" + pointer).hexdigest()
    right = remote_file(publisher, checksum=Checksum(algorithm="git", value=name), n_bytes=None)
    assert fetch_file(client, right, tmp_path, sleep=never).read_bytes() == CONTENT
    wrong = remote_file(publisher, name="b.wav", checksum=Checksum(algorithm="git", value="1" * 40), n_bytes=None)
    with pytest.raises(ChecksumMismatchError):
        fetch_file(client, wrong, tmp_path, sleep=never)


def test_pointer_of_a_published_recording_has_the_name_that_git_gives_it(tmp_path) -> None:
    # `git hash-object` of a file with this content, run once.
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert downloads._git_object_name(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"


# -- listings


def serve_zenodo(publisher: Publisher, archive: bytes) -> None:
    publisher.files["/content"] = archive
    listing = {
        "files": [
            {
                "key": "Audio_Speech_Actors_01-24.zip",
                "size": len(archive),
                "checksum": f"md5:{hashlib.md5(archive).hexdigest()}",
                "links": {"self": f"{publisher.url}/content"},
            },
            {"key": "Video.zip", "size": 1, "checksum": "md5:0", "links": {"self": "nowhere"}},
        ]
    }
    publisher.files["/api/records/1188976"] = json.dumps(listing).encode()


def make_archive(names: list[str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for seed, name in enumerate(names):
            archive.writestr(name, noise(seed) if name.endswith(".wav") else b"text")
    return file.getvalue()


def local_ravdess(publisher: Publisher) -> downloads.Publisher:
    names = ["Audio_Speech_Actors_01-24.zip"]
    return downloads.Publisher(
        corpus="RAVDESS",
        licence="CC BY-NC-SA 4.0",
        terms="",
        page="",
        citation="",
        n_recordings=3,
        list_files=lambda client: list_zenodo(client, record="1188976", names=names, host=publisher.url),
    )


def test_corpus_on_zenodo_is_fetched_extracted_and_indexed(publisher, client, tmp_path) -> None:
    names = [f"Actor_0{actor}/03-01-05-01-01-01-0{actor}.wav" for actor in (1, 2, 3)]
    serve_zenodo(publisher, make_archive([*names, "README.txt"]))
    told: list[object] = []
    progress = FetchProgress(
        started=lambda n_files, n_bytes: told.append((n_files, n_bytes)), finished=lambda file: told.append(file.name)
    )
    ravdess = local_ravdess(publisher)
    target = fetch_corpus(ravdess, tmp_path, is_accepted=lambda _: True, progress=progress, client=client)
    assert target == tmp_path / "RAVDESS"
    rows, problems = index_folder(tmp_path)
    assert [row.path for row in rows] == [f"RAVDESS/{name}" for name in names]
    assert not problems
    assert told == [(1, len(publisher.files["/content"])), "Audio_Speech_Actors_01-24.zip"]
    n_requests = len(publisher.requests)
    fetch_corpus(ravdess, tmp_path, is_accepted=lambda _: True, client=client)
    assert len(publisher.requests) == n_requests + 1  # the listing only


def test_nothing_is_asked_of_the_publisher_before_the_licence_is_accepted(publisher, client, tmp_path) -> None:
    with pytest.raises(LicenceDeclinedError, match=r"CC BY-NC-SA 4\.0"):
        fetch_corpus(local_ravdess(publisher), tmp_path, is_accepted=lambda _: False, client=client)
    assert publisher.requests == []
    assert list(tmp_path.iterdir()) == []


def test_disk_without_room_is_told_before_the_first_byte(publisher, client, tmp_path, monkeypatch) -> None:
    serve_zenodo(publisher, make_archive(["Actor_01/03-01-05-01-01-01-01.wav"]))
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(DiskFullError):
        fetch_corpus(local_ravdess(publisher), tmp_path, is_accepted=lambda _: True, client=client)
    assert [path for path, _ in publisher.requests] == ["/api/records/1188976"]


def test_record_that_no_longer_holds_the_archive_is_told(publisher, client) -> None:
    publisher.files["/api/records/1"] = b'{"files": []}'
    with pytest.raises(DownloadError, match=r"no longer holds x\.zip"):
        list_zenodo(client, record="1", names=["x.zip"], host=publisher.url)


@pytest.mark.parametrize("answer", [b"<html>maintenance</html>", b"[]"])
def test_answer_that_is_no_listing_is_told(publisher, client, answer) -> None:
    publisher.files["/api/records/1"] = answer
    with pytest.raises(DownloadError, match="did not answer with a listing"):
        list_zenodo(client, record="1", names=["x.zip"], host=publisher.url)


def test_dataset_in_a_dataverse_is_listed_with_checksums(publisher, client, tmp_path) -> None:
    def entry(number: int, name: str, **more: object) -> dict[str, object]:
        content = noise(number)
        publisher.files[f"/api/access/datafile/{number}"] = content
        checksum = {"type": "MD5", "value": hashlib.md5(content).hexdigest()}
        return {"dataFile": {"id": number, "filename": name, "filesize": len(content), "checksum": checksum}} | more

    files = [entry(1, "OAF_back_angry.wav", directoryLabel="OAF"), entry(2, "YAF_back_sad.wav"), entry(3, "terms.pdf")]
    address = "/api/datasets/:persistentId/?persistentId=doi:10.5683/SP2/E8H2MF"
    publisher.files[address] = json.dumps({"data": {"latestVersion": {"files": files}}}).encode()
    listed = list_dataverse(client, doi="doi:10.5683/SP2/E8H2MF", host=publisher.url)
    assert [file.name for file in listed] == ["OAF/OAF_back_angry.wav", "YAF_back_sad.wav"]
    for file in listed:
        fetch_file(client, file, tmp_path, sleep=never)
    rows, problems = index_folder(tmp_path)
    assert {row.speaker for row in rows} == {"TESS-OAF", "TESS-YAF"}
    assert not problems


def test_repository_with_git_lfs_is_listed_and_checked_against_its_pointers(publisher, client, tmp_path) -> None:
    content = noise(0)
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(content).hexdigest()}\n"
        f"size {len(content)}\n"
    ).encode()
    name = hashlib.sha1(b"blob " + str(len(pointer)).encode() + b"\0" + pointer).hexdigest()
    tree = "/repos/o/r/git/trees"
    publisher.files[f"{tree}/main"] = json.dumps(
        {"tree": [{"path": "AudioWAV", "type": "tree", "sha": "abc"}, {"path": "x", "type": "blob", "sha": "0"}]}
    ).encode()
    publisher.files[f"{tree}/abc"] = json.dumps(
        {"tree": [{"path": "1001_DFA_ANG_XX.wav", "type": "blob", "sha": name}], "truncated": False}
    ).encode()
    publisher.files["/media/o/r/main/AudioWAV/1001_DFA_ANG_XX.wav"] = content
    listed = list_github(
        client,
        repository="o/r",
        branch="main",
        folder="AudioWAV",
        api_host=publisher.url,
        media_host=f"{publisher.url}/media",
    )
    assert [file.name for file in listed] == ["AudioWAV/1001_DFA_ANG_XX.wav"]
    assert fetch_file(client, listed[0], tmp_path, sleep=never).read_bytes() == content


def test_listing_that_github_cut_off_is_told(publisher, client) -> None:
    tree = "/repos/o/r/git/trees"
    publisher.files[f"{tree}/main"] = b'{"tree": [{"path": "A", "type": "tree", "sha": "abc"}]}'
    publisher.files[f"{tree}/abc"] = b'{"tree": [], "truncated": true}'
    with pytest.raises(DownloadError, match="cut off"):
        list_github(client, repository="o/r", branch="main", folder="A", api_host=publisher.url)


def test_damaged_archive_is_told(tmp_path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(DownloadError, match="archive is damaged"):
        extract_archive(tmp_path / "a.zip", tmp_path)


def test_archive_that_leads_outside_the_folder_is_refused(tmp_path) -> None:
    (tmp_path / "a.zip").write_bytes(make_archive(["../escaped.wav"]))
    with pytest.raises(DownloadError, match="leads outside"):
        extract_archive(tmp_path / "a.zip", tmp_path / "inside")
    assert not (tmp_path / "escaped.wav").exists()


# -- SAVEE, and every publisher


def test_savee_says_that_a_registration_is_needed_and_how_to_go_on(tmp_path) -> None:
    with pytest.raises(RegistrationNeededError, match=r"Register\.html.*--folder"):
        fetch_corpus(PUBLISHERS["savee"], tmp_path, is_accepted=lambda _: True)


def test_folder_received_by_registration_is_taken_over(tmp_path) -> None:
    received = tmp_path / "received"
    for seed, name in enumerate(["AudioData/DC/a01.wav", "AudioData/KL/su15.wav", "AudioData/DC/notes.wav"]):
        (received / name).parent.mkdir(parents=True, exist_ok=True)
        (received / name).write_bytes(noise(seed))
    target, problems = adopt_folder(PUBLISHERS["savee"], received, tmp_path / "out", is_accepted=lambda _: True)
    assert [problem.path for problem in problems] == ["AudioData/DC/notes.wav"]
    rows, _ = index_folder(target)
    assert [row.speaker for row in rows] == ["SAVEE-DC", "SAVEE-KL"]


def test_folder_of_one_speaker_is_taken_over_too(tmp_path) -> None:
    (tmp_path / "DC").mkdir()
    (tmp_path / "DC" / "a01.wav").write_bytes(noise(0))
    target, problems = adopt_folder(PUBLISHERS["savee"], tmp_path / "DC", tmp_path / "out", is_accepted=lambda _: True)
    assert not problems
    assert (target / "DC" / "a01.wav").exists()


def test_folder_without_the_corpus_is_refused(tmp_path) -> None:
    with pytest.raises(DownloadError, match="holds none of its recordings"):
        adopt_folder(PUBLISHERS["savee"], tmp_path, tmp_path / "out", is_accepted=lambda _: True)


def test_folder_is_not_taken_over_before_the_licence_is_accepted(tmp_path) -> None:
    with pytest.raises(LicenceDeclinedError):
        adopt_folder(PUBLISHERS["savee"], tmp_path, tmp_path / "out", is_accepted=lambda _: False)


@pytest.mark.parametrize("name", PUBLISHERS)
def test_every_publisher_states_its_terms(name) -> None:
    publisher = PUBLISHERS[name]
    assert publisher.corpus.lower() == name
    assert publisher.terms
    assert publisher.page.startswith("http")
    assert publisher.citation
