"""Attacks that no other test tries. docs/security.md lists all of them, and where the others are tried."""

from __future__ import annotations

import asyncio
import csv
import dataclasses
import io
import itertools
import re
import struct
import tempfile
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import httpx2
import numpy as np
import pytest
import soundfile
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.testclient import TestClient

from api.application import create_api, is_of_the_api
from api.gate import Gate
from api.uploads import BoundedRoute
from core.access.cookies import REFRESH_COOKIE, SESSION_COOKIE
from core.access.roles import ROLE_SCOPES, ROUTES, WEBSOCKET
from core.accounts import write_account_export
from core.config import REPOSITORY, Settings
from core.domain import PROCESS, Role, Source
from core.identifiers import new_id
from core.reports.predictions_csv import predictions_csv
from core.reports.usage_csv import usage_csv
from core.store.predictions import insert_predictions
from core.store.recordings import insert_recording
from core.store.usage import insert_usage_events
from tests.callers import ANY_KEY, key_header, make_user
from tests.factories import make_prediction, make_recording, make_usage_event
from tests.integration.api.fakes import FakeWorkbench
from tests.integration.api.test_auth import ELSEWHERE
from tests.problems import refused

HERE = {"origin": "http://testserver"}
SOME_ID = "01939b2e-7c11-7d6a-9d0c-5a5f1f0f3c2e"
SCRIPT = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


# Paths


CLIMBING = [
    "..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fREADME.md",
    "..%5c..%5cREADME.md",
    "..%252f..%252fREADME.md",
    "....%2f%2fREADME.md",
    "%2fetc%2fpasswd",
    "%00",
    "style.css%00.svg",
    "~root",
]


def test_no_id_or_name_in_an_address_climbs_out_of_its_folder(client):
    with_a_name = [key for key in ROUTES if "{" in key[1]]
    for (method, path), climbing in itertools.product(with_a_name, CLIMBING):
        address = re.sub(r"\{\w+\}", climbing, path)
        answer = client.request(method, address, follow_redirects=False)
        assert answer.status_code in {303, 307, 403, 404, 405, 422}, address
        assert "root:" not in answer.text
        assert "make run" not in answer.text


def test_names_of_files_name_nothing_on_the_disk(client, wav, workbench, settings):
    before = set(settings.data_dir.parent.iterdir())
    for name in ("../../climbed.wav", "/tmp/climbed.wav", "..\\climbed.wav", "C:\\climbed.wav", "~/climbed.wav"):
        assert client.post("/api/v1/predict", files={"file": (name, wav)}).status_code == 200
    assert set(settings.data_dir.parent.iterdir()) == before
    assert not [path for path in settings.data_dir.rglob("*") if "climbed" in path.name]
    assert not Path("/tmp/climbed.wav").exists()


def test_archive_of_ones_own_data_unpacks_where_it_is_told(workbench, wav):
    user = make_user(workbench)
    for name in ("../../climbed.wav", "/climbed.wav"):
        workbench.analyse(wav, name=name, source=Source.API, owner=user.id)
    with tempfile.TemporaryFile() as file:
        write_account_export(workbench, user.id, file)
        names = zipfile.ZipFile(file).namelist()
    assert any(name.startswith("recordings/") for name in names)
    assert all(re.fullmatch(r"[a-zA-Z-]+\.(txt|json|csv)|recordings/[0-9a-f-]{36}\.\w+", name) for name in names), names


# Headers


SPLITTING = 'a\r\nSet-Cookie: evil=1\r\n\r\n<script>"; filename="b.exe'


def test_name_of_a_recording_adds_no_header_to_its_sound(client, workbench, wav):
    """Pages take names too, and those that came before there was a rule are in the store."""
    analysis = workbench.analyse(wav, name=SPLITTING, source=Source.UPLOAD, owner=make_user(workbench).id)
    answer = client.get(f"/api/v1/recordings/{analysis.recording.id}/audio")
    assert answer.status_code == 200
    [disposition] = answer.headers.get_list("content-disposition")
    assert re.fullmatch(r"inline; filename\*=UTF-8''[A-Za-z0-9%._~-]+", disposition)
    assert "set-cookie" not in answer.headers


def test_search_adds_no_header_to_the_page_of_predictions(client, predict):
    predict(name="a.wav")
    predict(name="a.wav")
    predict(name='a">,<evil.example>; rel="next.wav')
    for name in ("a", 'a">,<evil.example>; rel="next'):
        answer = client.get("/api/v1/predictions", params={"recording_name": name, "limit": 1, "order": "newest"})
        assert all("evil.example" not in each["url"] for each in answer.links.values())
    answer = client.get("/api/v1/predictions?limit=1&order=newest&recording_name=&order=newest%0d%0aSet-Cookie:%20a=b")
    assert "set-cookie" not in answer.headers


def ask_raw(app, **scope: object) -> dict[str, list[str]]:
    """The headers of an answer, asked with bytes that no client would send."""
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        sent.append(message)

    whole = {"type": "http", "method": "GET", "query_string": b"", "headers": [], "client": ("203.0.113.7", 1)}
    asyncio.run(app(whole | {"scheme": "http", "server": ("testserver", 80), "root_path": ""} | scope, receive, send))
    found: dict[str, list[str]] = {}
    for name, value in sent[0]["headers"]:
        assert not re.search(rb"[\r\n\x00]", name + value), (name, value)
        found.setdefault(name.decode().lower(), []).append(value.decode("latin-1"))
    return found


def test_request_id_adds_no_header(api):
    headers = ask_raw(api, path="/healthz", headers=[(b"x-request-id", b"a\r\nSet-Cookie: evil=1")])
    assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"][0])
    assert "set-cookie" not in headers


def test_address_adds_no_header_to_the_way_to_the_sign_in_page(workbench):
    gate = Gate(
        lambda *_: pytest.fail("a stranger got in"), get_workbench=lambda: workbench, is_of_the_api=is_of_the_api
    )
    for path, query in (
        ("/a\r\nSet-Cookie: evil=1", b""),
        ("/a", b"b\r\nSet-Cookie: evil=1"),
        ("/a\x00", b"\xff\x00"),
    ):
        headers = ask_raw(gate, path=path, query_string=query)
        assert headers["location"][0].startswith("/sign-in?next=/a")
        assert "set-cookie" not in headers


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/provider", "/sign-in/vouched"])
def test_where_to_go_next_adds_no_header(api, path):
    target = b"next=/a%0d%0aSet-Cookie:%20evil=1"
    cookie = [(b"cookie", b"telepathy_next=/a%0d%0aSet-Cookie:%20evil=1")]
    headers = ask_raw(api, path=path, query_string=target, headers=cookie)
    assert not [each for each in headers.get("set-cookie", []) if each.startswith("evil")]
    assert headers.get("location", ["/"])[0] in {"/", "/sign-in"}


# Spreadsheets


FORMULAS = ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\uff1d1+1", "a;=1+1", 'a";=1+1', "a;@SUM(1)", "a\t=1", "a\n=1"]


def cells_of(text: str) -> list[str]:
    """The cells that spreadsheets make of a CSV, where commas separate and where semicolons and tabs do."""
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    cells = [cell for row in rows for cell in row]
    return cells + [cell for line in text.splitlines() for cell in re.split("[;\t]", line)]


def runs(cell: str) -> bool:
    """Whether a spreadsheet takes `cell` for a formula. A number is one to nobody."""
    return cell.startswith(
        ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
    ) and not re.fullmatch(r"-?[0-9.e-]+", cell)


def test_no_cell_of_predictions_runs_in_a_spreadsheet(workbench):
    for name in FORMULAS:
        recording = insert_recording(workbench.store, recording=make_recording(name=name))
        insert_predictions(workbench.store, predictions=[make_prediction(recording, model_version=name)])
    text = "".join(predictions_csv(workbench.store, reader=PROCESS))
    assert len(list(csv.reader(io.StringIO(text, newline="")))) == 1 + len(FORMULAS)
    assert [cell for cell in cells_of(text) if runs(cell)] == []


def test_no_cell_of_the_usage_runs_in_a_spreadsheet(workbench):
    users = {new_id(): formula for formula in FORMULAS}
    insert_usage_events(workbench.store, events=[make_usage_event(user_id=user_id) for user_id in users])
    text = "".join(usage_csv(workbench.store, reader=PROCESS, user_names=users))
    assert len(list(csv.reader(io.StringIO(text, newline="")))) == 1 + len(FORMULAS)
    assert [cell for cell in cells_of(text) if runs(cell)] == []


def test_tables_of_pages_offer_no_export_of_their_own():
    """Streamlit's disarms nothing."""
    config = tomllib.loads((REPOSITORY / ".streamlit" / "config.toml").read_text())
    assert config["client"]["disableDataExport"] is True


# Stored script


def test_what_somebody_is_called_is_data_in_every_answer(client, workbench, wav):
    user = make_user(workbench, Role.ANALYST)
    asking = key_header(workbench, user=user, scopes=ROLE_SCOPES[Role.ANALYST])
    made = client.post("/api/v1/predict", files={"file": (f"{SCRIPT}.wav", wav)}, headers=asking).json()
    for path in (
        "/api/v1/predictions",
        f"/api/v1/predictions/{made['id']}",
        f"/api/v1/predictions?recording_name={SCRIPT}",
    ):
        answer = client.get(path, headers=asking)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    answer = client.get(f"/api/v1/{SCRIPT}")
    assert answer.headers["content-type"] == "application/problem+json"


def test_page_inside_a_recording_is_served_as_sound_that_runs_nothing(client, wav):
    comment = SCRIPT.encode() + b" " * (len(SCRIPT) % 2)
    chunk = b"LIST" + struct.pack("<I", 12 + len(comment)) + b"INFOICMT" + struct.pack("<I", len(comment)) + comment
    data = wav + chunk
    data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    made = client.post("/api/v1/predict", files={"file": ("page.html", data)})
    assert made.status_code == 200, made.text
    answer = client.get(f"/api/v1/recordings/{made.json()['recording_id']}/audio")
    assert b"<script" in answer.content
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_forms_show_again_what_was_typed_as_text(api, workbench):
    workbench.settings = workbench.access.settings = dataclasses.replace(workbench.settings, registration="open")
    browser = TestClient(api, follow_redirects=False)
    reset = workbench.access.reset_link(make_user(workbench).id)
    for path, form in (
        ("/register", {"name": SCRIPT, "email": SCRIPT, "password": "short"}),
        ("/forgot", {"email": SCRIPT}),
        ("/link", {"token": reset, "name": SCRIPT, "password": "short"}),
        ("/link", {"token": SCRIPT, "name": SCRIPT, "password": "short"}),
    ):
        page = browser.post(path, data=form, headers=HERE)
        assert "<h1>" in page.text
        assert not re.search("<script|<img src=x|onerror=[^&]*>", page.text), path


def test_no_page_draws_markup_that_somebody_typed():
    """`st.html` is given what `core` and `pages` escape themselves; markdown is never told to let HTML through."""
    for path in (REPOSITORY / "pages").rglob("*.py"):
        assert "unsafe_allow" not in path.read_text(), path


# Too much, for too long


class Endless:
    """A body that would go on; counts what was asked for."""

    n_bytes = 0

    async def __aiter__(self):
        for _ in range(10_000):
            self.n_bytes += 64 * 1024
            yield b"a" * 64 * 1024


def routes_with_a_schema() -> dict[tuple[str, str], APIRoute]:
    """By method and path, those whose JSON body FastAPI reads."""
    contexts = iter_route_contexts(create_api(lambda: FakeWorkbench(Settings())).routes)
    bodies = [each for each in contexts if getattr(each, "body_field", None) is not None]
    return {(method, each.path): each.original_route for each in bodies for method in each.methods}


def test_every_body_that_a_schema_describes_is_bounded():
    routes = routes_with_a_schema()
    assert ("POST", "/api/v1/reports") in routes
    assert [key for key, route in routes.items() if not isinstance(route, BoundedRoute)] == []


@pytest.mark.parametrize("says_so", [True, False])
@pytest.mark.parametrize(("method", "path"), routes_with_a_schema())
def test_json_beyond_a_megabyte_is_refused_and_not_read(method, path, says_so):
    workbench = FakeWorkbench(Settings())
    body = Endless()
    headers = HERE | ANY_KEY | {"content-type": "application/json"} | ({"content-length": "1000001"} if says_so else {})
    address = re.sub(r"\{\w+\}", SOME_ID, path)

    async def send() -> httpx2.Response:
        transport = httpx2.ASGITransport(create_api(lambda: workbench))
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver", headers=headers) as client:
            return await client.request(method, address, content=body)

    answer = asyncio.run(send())
    assert "1,000,000 bytes" in refused(answer, 413, "body_too_large")["detail"]
    assert answer.headers["connection"] == "close"
    assert body.n_bytes < (1 if says_so else 1_200_000)


def test_json_that_is_none_is_refused_in_the_same_words_by_every_route(client):
    for path in ("/api/v1/reports", "/api/v1/auth/token"):
        answer = client.post(path, content=b'{"title": ', headers={"content-type": "application/json"})
        assert refused(answer, 400, "bad_request")["detail"] == "The body is no JSON."


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        *(
            (path, "application/x-www-form-urlencoded")
            for path in ("/sign-in", "/register", "/forgot", "/link", "/sign-out")
        ),
        ("/api/v1/auth/token", "application/json"),
        ("/api/v1/auth/refresh", "application/json"),
        ("/api/v1/keys", "application/json"),
        ("/api/v1/account/consent", "application/json"),
        ("/api/v1/explain", "multipart/form-data; boundary=x"),
        ("/api/v1/batch-predict", "multipart/form-data; boundary=x"),
    ],
)
@pytest.mark.parametrize("length", [None, "100"])
def test_body_without_end_is_read_to_its_limit_and_no_further(path, content_type, length):
    workbench = FakeWorkbench(Settings(max_upload_mb=1.0, max_batch_mb=1.0))
    workbench.access.is_key = "keys" not in path
    body = Endless()
    headers = HERE | {"content-type": content_type} | ({"content-length": length} if length else {})
    headers |= ANY_KEY if path.startswith("/api/v1") and "auth" not in path else {}

    async def post() -> int:
        transport = httpx2.ASGITransport(create_api(lambda: workbench), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver", headers=headers) as client:
            return (await client.post(path, content=body)).status_code

    status = asyncio.run(post())
    assert status < 500
    assert body.n_bytes < 1_500_000, status


def silence(hours: float, *, says_so: bool) -> bytes:
    """Hours of silence that FLAC packs into some kilobytes; unless it `says_so`, its header leaves the length open."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8_000, 1, format="FLAC", subtype="PCM_16") as flac:
        for _ in range(int(hours * 60)):
            flac.write(np.zeros(60 * 8_000, np.int16))
    data = file.getvalue()
    if says_so:
        return data
    packed = struct.unpack(">Q", data[18:26])[0]
    return data[:18] + struct.pack(">Q", packed >> 36 << 36) + data[26:]


def own_peak_mb() -> float:
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of memory is read from /proc, which this system lacks")
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1000


@pytest.mark.timeout(120)
def test_hours_of_silence_cost_neither_hours_nor_their_memory(client, wav):
    """Five hours as samples of 16 kHz and 4 bytes would be 1,152 MB."""
    bombs = [silence(5, says_so=True), silence(5, says_so=False)]
    assert max(map(len, bombs)) < 1_000_000
    before = own_peak_mb()
    for bomb in bombs:
        answer = client.post("/api/v1/predict", files={"file": ("silence.flac", bomb)})
        refused(answer, 422, "recording_too_long")
    files = [("files", (f"{number}.flac", data)) for number, data in enumerate([*bombs, wav])]
    body = client.post("/api/v1/batch-predict", files=files).json()
    assert [each["position"] for each in body["results"]] == [2], "a bomb does not lose the others"
    assert {each["problem"]["code"] for each in body["problems"]} == {"recording_too_long"}
    assert own_peak_mb() - before < 150


# What every answer says to browsers


def is_safe(answer: httpx2.Response) -> bool:
    headers = answer.headers
    return (
        headers["x-content-type-options"] == "nosniff"
        and headers["x-frame-options"] == "DENY"
        and headers["referrer-policy"] in {"no-referrer", "same-origin"}
        and "default-src 'none'" in headers["content-security-policy"]
        and "frame-ancestors 'none'" in headers["content-security-policy"]
        and headers["cross-origin-resource-policy"] == "same-origin"
        and ("no-store" in headers["cache-control"] or "/assets/" in str(answer.url))
    )


def test_every_route_tells_browsers_to_be_careful(client, api):
    for method, path in ROUTES:
        if method == WEBSOCKET:
            continue
        address = path.replace("{name}", "style.css" if path.startswith("/sign-in") else "start.js")
        address = re.sub(r"\{\w+\}", SOME_ID, address)
        for each in (client, TestClient(api)):
            assert is_safe(each.request(method, address, follow_redirects=False)), (method, path)
            assert is_safe(each.request("PATCH", address)), path
        assert is_safe(client.request(method, f"{address}/nothing")), path


@pytest.mark.parametrize(("url", "is_secure"), [("", False), ("https://telepathy.example.org", True)])
def test_cookie_that_keeps_where_to_go_is_as_careful_as_the_session(api, workbench, url, is_secure):
    workbench.settings = dataclasses.replace(workbench.settings, public_url=url, single_sign_on=True)
    api.state.single_sign_on = SimpleNamespace(address=lambda: "https://provider.example/", cookie="_streamlit_user")
    answer = TestClient(api, follow_redirects=False).get("/sign-in/provider?next=/explore")
    [cookie] = answer.headers.get_list("set-cookie")
    assert all(each in cookie.lower() for each in ("httponly", "samesite=lax", "path=/sign-in"))
    assert ("secure" in cookie.lower()) is is_secure


def test_no_route_that_changes_something_takes_cookies_from_another_site(api, workbench):
    user = make_user(workbench, Role.ADMIN)
    signed_in = workbench.access.start_session(user, address="", user_agent="")
    cookies = {"Cookie": f"{SESSION_COOKIE}={signed_in.access_token}; {REFRESH_COOKIE}={signed_in.refresh_token}"}
    changing = [key for key, rule in ROUTES.items() if not rule.is_public and key[0] not in {"GET", WEBSOCKET}]
    for (method, path), told in itertools.product(changing, ELSEWHERE):
        address = re.sub(r"\{\w+\}", SOME_ID, path)
        answer = TestClient(api).request(method, address, headers=cookies | told)
        refused(answer, 403, "cross_site_request")
    assert workbench.access.user(user.id).is_active
