"""Models over HTTP: what there is, deployed and rolled back by admins, in the shadow."""

from __future__ import annotations

import pytest

from core.access.roles import ROLE_SCOPES
from core.domain import Role
from tests.callers import key_header
from tests.challengers import PARENT, challenger


@pytest.fixture
def version(workbench):
    workbench.settings.installed_models_dir.mkdir()
    challenger(workbench.settings.installed_models_dir)
    return workbench.models.version("tiny-2").card.version


def states(client):
    return {model["name"]: model["state"] for model in client.get("/api/v1/models").json()["items"]}


def test_a_retrained_model_is_listed_with_its_parent_and_gate(client, version):
    found = {model["name"]: model for model in client.get("/api/v1/models").json()["items"]}
    assert found["tiny"]["retrained"] is found["tiny"]["trained"] is found["tiny-2"]["trained"] is None
    made = found["tiny-2"]["retrained"]
    assert (made["parent"], made["n_corrections"], made["is_gate_passed"]) == (PARENT, 40, True)
    assert made["gate"] == "Not worse on the test set and better on the corrections."
    assert made["corrections"]["difference"] == {"value": 0.2, "low": 0.05, "high": 0.35}
    assert made["curve"] == [
        {"round": 1, "loss_nats": 1.5, "validation_recall": 0.6, "corrections_accuracy": 0.4},
        {"round": 2, "loss_nats": 1.2, "validation_recall": 0.62, "corrections_accuracy": 0.5},
    ]
    assert found["tiny-2"]["version"] == version
    assert found["tiny-2"]["settings"] == {"n_epochs": "2", "learning_rate": "0.0003", "correction_share": "0.3"}
    assert (found["tiny"]["corpora"], found["tiny"]["settings"]) == ([], {})


def test_the_card_of_a_model_is_read_whole(client, workbench, version):
    card = client.get(f"/api/v1/models/{version}/card")
    assert card.headers["content-type"] == "application/json"
    assert card.text == (workbench.models.folder("tiny-2") / "card.json").read_text()
    unknown = client.get("/api/v1/models/gone/card")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "model_not_found")


def test_an_admin_deploys_and_rolls_back_and_predictions_follow(client, version, wav):
    def answered(**fields):
        sent = client.post("/api/v1/predict", files={"file": ("a.wav", wav)}, data=fields)
        return sent.json()["model_version"]

    assert answered() == PARENT
    assert answered(model=version) == version
    deployed = client.post("/api/v1/models/tiny-2/deploy")
    assert deployed.json() == {"deployed": "tiny-2", "before": ["tiny"], "shadow": None}
    assert answered() == version
    assert states(client) == {"tiny": "available", "tiny-2": "deployed"}
    assert client.post("/api/v1/models/rollback").json()["deployed"] == "tiny"
    assert answered() == PARENT
    refused = client.post("/api/v1/models/rollback")
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_to_roll_back")


def test_the_gate_answers_409_until_a_reason_is_given(client, workbench):
    workbench.settings.installed_models_dir.mkdir()
    challenger(workbench.settings.installed_models_dir, passes=False)
    refused = client.post("/api/v1/models/tiny-2/deploy")
    assert (refused.status_code, refused.json()["code"]) == (409, "gate_not_passed")
    allowed = client.post("/api/v1/models/tiny-2/deploy", json={"reason": "A demonstration"})
    assert allowed.json()["deployed"] == "tiny-2"


def test_a_shadow_is_begun_and_ended(client, version):
    assert client.post("/api/v1/models/tiny-2/shadow").json()["shadow"] == "tiny-2"
    assert states(client) == {"tiny": "deployed", "tiny-2": "shadow"}
    assert client.delete("/api/v1/models/shadow").json()["shadow"] is None


def test_an_unknown_model_is_404_and_an_analyst_may_not(client, workbench, version):
    assert client.post("/api/v1/models/gone/deploy").status_code == 404
    analyst = key_header(workbench, role=Role.ANALYST, scopes=ROLE_SCOPES[Role.ANALYST])
    assert client.post("/api/v1/models/tiny-2/deploy", headers=analyst).status_code == 403
    assert states(client)["tiny"] == "deployed"
