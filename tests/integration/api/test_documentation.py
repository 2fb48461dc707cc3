"""The OpenAPI document is whole, its examples are true, and its page needs nothing from elsewhere."""

from __future__ import annotations

import re

import pytest

from api.application import ALIASES, PROBES, create_api
from api.routes_stream import ADDRESS as STREAM
from api.routes_stream import ALIAS as STREAM_ALIAS
from api.schemas import AttributionShape, PredictionShape, Problem
from core.config import REPOSITORY


@pytest.fixture(scope="module")
def document():
    return create_api(lambda: None).openapi()  # type: ignore[arg-type,return-value]


def references(part: object) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*(references(value) for value in part.values()))
    return set().union(*(references(each) for each in part)) if isinstance(part, list) else set()


def operations(document: dict) -> dict[str, dict]:
    return {f"{method} {path}": of for path, item in document["paths"].items() for method, of in item.items()}


def test_every_reference_leads_somewhere(document):
    schemas = document["components"]["schemas"]
    assert references(document) == {f"#/components/schemas/{name}" for name in schemas}


def test_refusals_are_documented_as_problems(document):
    for name, operation in operations(document).items():
        for status, answer in operation["responses"].items():
            if status[0] in "45" and status != "416":
                assert list(answer["content"]) == ["application/problem+json"], f"{name} {status}"


def test_every_operation_and_parameter_is_described(document):
    for name, operation in operations(document).items():
        assert operation["summary"], name
        assert operation["tags"], name
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description") or "enum" in schema, name


def test_upload_is_documented_as_a_form_with_a_file(document):
    form = document["paths"]["/api/v1/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file"]
    assert form["properties"]["file"]["format"] == "binary"
    assert form["properties"].keys() == {"file", "n_passes", "timeline", "model", "project", "consent"}


def test_example_of_an_answer_is_an_answer():
    example = PredictionShape.model_config["json_schema_extra"]["example"]
    shape = PredictionShape.model_validate(example)
    assert sum(shape.probabilities.values()) == pytest.approx(1)
    parts = shape.uncertainty
    assert parts.predictive_entropy == pytest.approx(parts.expected_entropy + parts.mutual_information)


def test_explanation_is_asked_for_with_the_same_form(document):
    form = document["paths"]["/api/v1/explain"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file"]
    assert form["properties"].keys() == {"file", "emotion", "contrast", "model", "seed", "start_s", "reference"}


def test_example_of_an_explanation_adds_up():
    shape = AttributionShape.model_validate(AttributionShape.model_config["json_schema_extra"]["example"])
    assert sum(sum(row) for row in shape.values) == pytest.approx(shape.output - shape.baseline)
    assert len(shape.time_edges_s) == len(shape.values) + 1
    assert all(len(row) + 1 == len(shape.band_edges_hz) for row in shape.values)


def test_example_of_a_problem_is_a_problem():
    fields = {name: field.examples[0] for name, field in Problem.model_fields.items() if field.examples}
    Problem.model_validate(fields)


def test_page_and_everything_it_loads_come_from_here(client):
    page = client.get("/api/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"(?:https?:)?//\w", page.text)
    policy = page.headers["content-security-policy"]
    assert not re.search(r"https?:|\*", policy)
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 4
    for name in loaded:
        answer = client.get(f"/api/{name}")
        assert answer.status_code == 200, name
        assert len(answer.content) > 100, name
    assert client.get("/api/openapi.json").json()["info"]["title"] == "Telepathy"


def test_api_itself_leads_to_its_page(client):
    assert client.get("/api").url.path == "/api/docs"


def test_only_files_of_the_page_are_served(client):
    for name in ("redoc.standalone.js", "..%2f__init__.py", "nothing.js"):
        assert client.get(f"/api/docs/assets/{name}").status_code == 404


def test_written_documentation_names_every_route(document):
    text = (REPOSITORY / "docs" / "api.md").read_text()
    for path in [*document["paths"], *ALIASES, *PROBES, "/api/docs", STREAM, STREAM_ALIAS]:
        assert path in text, f"docs/api.md lacks {path}"
