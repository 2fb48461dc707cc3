"""Requests nobody thought of, drawn from the OpenAPI document: each answer is one that the document promises.

`HYPOTHESIS_PROFILE=thorough` asks thirty times as often, newly drawn each time.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from api.application import create_api
from core.access.roles import ROLE_SCOPES, rule_of
from core.config import Settings
from core.domain import Role
from core.workbench import open_workbench
from tests.callers import key_header, make_user
from tests.integration.api.conftest import TINY_MODELS
from tests.integration.api.fakes import NO_LIMIT, ROOMY_PLANS
from tests.sounds import voice_wav

with warnings.catch_warnings():  # what it imports is its own affair
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis import GenerationMode
    from schemathesis.checks import load_all_checks, not_a_server_error
    from schemathesis.specs.openapi import checks as promised

IS_THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
EXAMPLES = 300 if IS_THOROUGH else 10
PROMISED = [
    promised.status_code_conformance,
    promised.content_type_conformance,
    promised.response_headers_conformance,
    promised.response_schema_conformance,
]
DOCUMENT = create_api(lambda: pytest.fail("the document needs no workbench")).openapi()
OPERATIONS = [(method, path) for path, operations in DOCUMENT["paths"].items() for method in operations]
WAV = voice_wav(seconds=1.0)

load_all_checks()
schemathesis.openapi.format("binary", st.one_of(st.just(WAV), st.just(WAV[:1000]), st.binary(max_size=200)))


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    made = Settings(
        data_dir=tmp_path_factory.mktemp("fuzz"),
        models_dir=TINY_MODELS,
        model="tiny",
        max_upload_mb=2.0,
        max_batch_mb=3.0,
        address_limits=NO_LIMIT,
        plans=ROOMY_PLANS,
        sign_in_attempts_per_account=1_000_000,
        sign_in_attempts_per_address=1_000_000,
        report_recipient_domains="*",
    )
    opened = open_workbench(made)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def schema(workbench):
    config = schemathesis.Config.from_dict({"seed": 1, "generation": {"with-security-parameters": False}})
    app = create_api(lambda: workbench)
    return schemathesis.openapi.from_asgi("/api/openapi.json", app, config=config)


def person(workbench) -> dict[str, str]:
    """The header of somebody who signed in, which some routes ask for."""
    user = make_user(workbench, Role.ANALYST)
    return {"Authorization": f"Bearer {workbench.access.start_session(user, address='', user_agent='').access_token}"}


PERSON = "analyst"
CALLERS = {
    "admin's key": lambda workbench: key_header(workbench, role=Role.ADMIN),
    "analyst's key": lambda workbench: key_header(workbench, role=Role.ANALYST, scopes=ROLE_SCOPES[Role.ANALYST]),
    PERSON: person,
}
ENDING = {"/api/v1/account", "/api/v1/auth/sign-out"}
"""After these, who asked is refused."""
UPLOADS = {
    "/api/v1/predict": {"file": WAV},
    "/api/v1/batch-predict": {"files": [WAV]},
    "/api/v1/explain": {"file": WAV},
    "/api/v1/labelling/{project_id}/import": {"file": b"recording_name,label\n"},
}
BODIES = {
    ("post", "/api/v1/report-schedules"): {"title": "T", "every": "day", "recipients": ["ann@example.org"]},
}
"""What no drawn request is likely to hit upon: addresses, lines of cron."""
ASKED_ELSEWHERE = {
    ("post", "/api/v1/batches"),
    ("post", "/api/v1/models/{name}/shadow"),
    ("get", "/api/v1/models/{name}/card"),
}
"""The first fetches drawn addresses, for minutes; of the others no wrong request can be drawn, since any name fits."""
NEED_WHAT_NOBODY_DRAWS = {
    *("batch_id", "webhook_id", "delivery_id", "project_id", "name"),
    *("data_set_id", "training_id"),
}
"""Parameters of addresses for which nothing is made here first: all that is asked of those routes is a refusal that the
document promises. Their own tests, beside this one, see them answer."""
WITHOUT_A_CAUSE = {
    *("/api/v1/models/rollback", "/api/v1/models/shadow", "/api/v1/webhooks"),
    "/api/v1/recordings/{recording_id}/overview",
    *("/api/v1/data-sets", "/api/v1/trainings", "/api/v1/trainings/estimate"),
}
"""Nothing was deployed before, nothing listens, no drawn address of a webhook may be reached, hardly any drawn stretch
lies within a second of sound, and no drawn file says its label."""
NEED_A_SECRET = {"/api/v1/auth/token", "/api/v1/auth/refresh", "/metrics"}
"""No drawn request holds the right one."""


@pytest.fixture(scope="module", params=CALLERS)
def who(request, workbench):
    """One caller in turn."""
    return SimpleNamespace(headers=CALLERS[request.param](workbench), is_person=request.param == PERSON)


def ids_of_ones_own(workbench, who, path: str) -> dict[str, str]:
    """Of what there is for `path` to find, by the name it has there."""
    with TestClient(create_api(lambda: workbench), headers=who.headers) as client:
        if "{key_id}" in path:
            made = client.post("/api/v1/keys", json={"name": "k", "scopes": ["read"]}).json()
            return {"key_id": made["api_key"]["id"]}
        if "{schedule_id}" in path:
            address = "/api/v1/report-schedules"
            return {"schedule_id": client.post(address, json=BODIES["post", address]).json()["id"]}
        if "{" in path:
            made = client.post("/api/v1/predict", files={"file": ("a.wav", WAV)}).json()
            return {"prediction_id": made["id"], "recording_id": made["recording_id"]}
    return {}


@pytest.mark.timeout(7_200 if IS_THOROUGH else 120)
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda part: str(part))
def test_every_answer_is_one_that_the_document_promises(who, workbench, schema, method, path):
    if (method, path) in ASKED_ELSEWHERE:
        pytest.skip("tests/integration/api/test_batches.py and test_models.py ask it")
    if who.is_person != rule_of(method.upper(), path).needs_person:
        pytest.skip("others may ask this")
    headers = CALLERS[PERSON](workbench) if path in ENDING else who.headers
    operation = schema[path][method.upper()]
    known = ids_of_ones_own(workbench, who, path)
    has_parts = bool(operation.body or operation.query or operation.path_parameters)
    statuses = Counter()

    def ask(case: schemathesis.Case) -> None:
        answer = case.call(headers=headers)
        statuses[answer.status_code] += 1
        if answer.status_code == 503:
            assert answer.json()["code"] in {"busy", "shutting_down", "jobs_not_running"}, answer.text
        else:
            case.validate_response(answer, checks=[not_a_server_error])
        case.validate_response(answer, checks=PROMISED)

    if path in UPLOADS and "{" not in path:
        ask(operation.Case(body=UPLOADS[path], media_type="multipart/form-data"))
    if (method, path) in BODIES:
        ask(operation.Case(body=BODIES[method, path], media_type="application/json"))
    for mode in GenerationMode if has_parts else [GenerationMode.POSITIVE]:

        @settings(
            max_examples=EXAMPLES if has_parts else 1,
            deadline=None,
            derandomize=not IS_THOROUGH,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), is_known=st.booleans())
        def hold(case, is_known):
            if is_known and case.path_parameters:
                case.path_parameters |= {name: known[name] for name in case.path_parameters if name in known}
            ask(case)

        hold()
    is_answered = any(status < 300 for status in statuses)
    is_known = path in NEED_A_SECRET | WITHOUT_A_CAUSE or any(f"{{{name}}}" in path for name in NEED_WHAT_NOBODY_DRAWS)
    assert is_answered or is_known, f"only refusals try little: {statuses}"
