"""The routes by which ratings go out and come in."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from api.application import create_api
from api.schemas_labelling import MAX_PROBLEMS_TOLD
from core.config import Settings
from core.workbench import open_workbench
from tests.bundles import TINY
from tests.callers import key_header
from tests.prepared_stores import prepared


@pytest.fixture
def workbench(tmp_path, store_url):
    url = store_url if store_url.startswith("postgresql") else ""
    settings = Settings(
        data_dir=prepared(tmp_path), models_dir=TINY.parent, model="tiny", max_upload_mb=0.1, store_url=url
    )
    opened = open_workbench(settings)
    yield opened
    opened.close()


def test_owner_takes_ratings_away_and_brings_them_in_and_annotators_may_not(make_studio, workbench):
    studio = make_studio(n_clips=3)
    base = f"/api/v1/labelling/{studio.project.id}"
    studio.rate_next(studio.annotators[0], "sad")

    def client_of(caller):
        headers = key_header(workbench, user=caller.user, scopes=caller.scopes)
        return TestClient(create_api(lambda: workbench), headers=headers)

    with client_of(studio.owner) as client:
        out = client.get(f"{base}/export", params={"format": "jsonl"})
        assert (out.status_code, out.headers["content-type"]) == (200, "application/jsonl")
        assert "attachment" in out.headers["content-disposition"]
        same = client.post(f"{base}/import", files={"file": ("x.jsonl", out.content)}, data={"format": "jsonl"})
        assert same.json() == {"n_new": 0, "n_known": 1, "n_problems": 0, "problems": []}
        lines = [f"{studio.recordings[0].id},Cat,calm"] + ["nowhere,,sad"] * (MAX_PROBLEMS_TOLD + 5)
        text = "recording_id,annotator,label\n" + "\n".join(lines)
        some = client.post(f"{base}/import", files={"file": ("x.csv", text.encode())}).json()
        assert (some["n_new"], some["n_problems"], len(some["problems"])) == (1, len(lines) - 1, MAX_PROBLEMS_TOLD)
        assert "recording_id is 'nowhere'" in some["problems"][0]["sentence"]
        wrong = client.post(f"{base}/import", params={"format": "elan"}, files={"file": ("x.zip", b"PK\x03\x04")})
        assert (wrong.status_code, wrong.json()["code"]) == (422, "labels_file")
        large = client.post(f"{base}/import", files={"file": ("x.csv", b" " * 200_000)})
        assert (large.status_code, large.json()["code"]) == (413, "upload_too_large")
        assert client.get(f"{base}/export", params={"format": "doc"}).status_code == 422
    with client_of(studio.annotators[0]) as client:
        assert client.get(f"{base}/export").status_code == 403
        assert client.post(f"{base}/import", files={"file": ("x.csv", b"")}).status_code == 403
