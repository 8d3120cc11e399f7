"""The committed OpenAPI document is valid, and keeps the rules that linters and generators ask for.

Redocly's `recommended` and Spectral's `spectral:oas` were run by hand; what they ask for stands here.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.api.openapi import _told
from app.api.routes import ROUTES

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parents[2] / "openapi.json").read_text("utf-8"))
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
OPERATIONS: list[tuple[str, str, dict[str, Any]]] = [
    (method, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method in METHODS
]
each_operation = pytest.mark.parametrize(
    ("method", "path", "operation"), OPERATIONS, ids=[f"{method} {path}" for method, path, _ in OPERATIONS]
)
VALUES = {
    "default",
    "enum",
    "const",
    "example",
    "examples",
    "x-validations",
}  # what stands there is no document


def nodes(value: Any, at: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the document with its pointer, but for those in example values."""
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from nodes(one, f"{at}/{index}")
    elif isinstance(value, dict):
        yield at, value
        for name, one in value.items():
            if name not in VALUES:
                yield from nodes(one, f"{at}/{name.replace('~', '~0').replace('/', '~1')}")


def resolve(pointer: str) -> Any:
    value: Any = DOCUMENT
    for part in pointer.removeprefix("#/").split("/"):
        value = value[part.replace("~1", "/").replace("~0", "~")]
    return value


def test_it_is_valid_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert [str(error.message) for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_it_says_what_it_is_where_it_is_served_and_whom_to_ask() -> None:
    assert {"title", "version", "description", "contact"} <= set(DOCUMENT["info"])
    assert DOCUMENT["servers"], "an empty list breaks generators"
    for server in DOCUMENT["servers"]:
        assert re.match("https?://.+[^/]$", server["url"]), "generators make clients without a host of `/`"
        assert server["description"]


def test_operation_ids_are_unique_and_names_in_any_language() -> None:
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert [one for one, count in Counter(ids).items() if count > 1] == []
    assert [one for one in ids if not re.fullmatch(r"[a-z][a-z0-9_]*", one)] == []


def test_tags_are_declared_described_and_used() -> None:
    declared = [tag["name"] for tag in DOCUMENT["tags"]]
    assert len(set(declared)) == len(declared)
    assert all(tag["description"] for tag in DOCUMENT["tags"])
    used = {tag for _, _, operation in OPERATIONS for tag in operation["tags"]}
    assert used == set(declared)


@each_operation
def test_every_operation_has_one_tag_a_summary_and_a_description(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    assert len(operation["tags"]) == 1
    assert operation["summary"]
    assert "\n" not in operation["summary"]
    assert operation["description"]
    assert operation["description"] != operation["summary"]


@each_operation
def test_every_operation_says_whether_it_takes_a_key(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    """An explicit `[]` where it takes none: what says nothing may be an oversight."""
    assert operation["security"] == ([{"APIKey": []}] if path.startswith("/v1/") else [])
    for one in operation["security"]:
        assert set(one) <= set(DOCUMENT["components"]["securitySchemes"])
    assert ("401" in operation["responses"]) == bool(operation["security"])
    assert ("403" in operation["responses"]) == bool(operation["security"])


@each_operation
def test_every_parameter_is_declared_once_described_and_typed(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    parameters = operation.get("parameters", [])
    places = [(one["in"], one["name"].lower()) for one in parameters]
    assert len(set(places)) == len(places)
    in_path = {one["name"] for one in parameters if one["in"] == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", path))
    for one in parameters:
        assert one["description"], one["name"]
        needed = one["in"] == "path" or one["name"] in {"ids", "If-Match"}
        assert one["required"] is needed, one["name"]
        assert isinstance(one["schema"].get("type", "" if "$ref" not in one["schema"] else "ref"), str)
        assert {"type", "$ref"} & set(one["schema"]), f"{one['name']}: nobody can send a null"
        assert one["name"].lower() not in {"authorization", "accept", "content-type"}


@each_operation
def test_every_operation_documents_its_success_and_what_it_refuses(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    responses = operation["responses"]
    assert [status for status in responses if status.startswith("2")]
    assert "400" in responses, "every address refuses query parameters that it does not take"
    for status in (one for one in responses if one[0] in "45"):
        assert set(responses[status]["content"]) == {"application/problem+json"}
        assert responses[status]["content"]["application/problem+json"]["schema"] == {
            "$ref": "#/components/schemas/Problem"
        }
    for status in ("204", "304"):
        assert "content" not in responses.get(status, {})


ACTS = {
    "cancel",
    "revoke",
    "pause",
    "enable",
    "delete",
    "revoke-previous",
    "test",
    "resend",
    "links",
    "direct-uploads",
    "complete",
}
"""The last words of addresses of acts to which there is nothing to say."""


@each_operation
def test_a_body_stands_where_one_is_read_and_nowhere_else(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    reads_body = method in {"post", "put"} and path.rpartition("/")[2] not in ACTS
    assert ("requestBody" in operation) == reads_body
    if reads_body:
        assert operation["requestBody"]["required"] is True
        of_files = {"application/octet-stream", "multipart/form-data"}
        wanted = of_files if path == "/v1/files" else {"application/json"}
        assert set(operation["requestBody"]["content"]) == wanted
    assert ("415" in operation["responses"]) == ("413" in operation["responses"]) == reads_body


def test_every_reference_leads_somewhere() -> None:
    pointers = {node["$ref"] for _, node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)}
    assert len(pointers) > 10
    for pointer in pointers:
        assert pointer.startswith("#/"), "everything is in the one file"
        assert isinstance(resolve(pointer), dict), pointer


def test_no_component_is_unused() -> None:
    used = {node["$ref"] for _, node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)}
    used |= {
        f"#/components/securitySchemes/{name}"
        for _, _, operation in OPERATIONS
        for one in operation["security"]
        for name in one
    }
    defined = {
        f"#/components/{kind}/{name}" for kind, all_ in DOCUMENT["components"].items() for name in all_
    }
    assert defined - used == set()


def test_no_text_is_empty() -> None:
    texts = ("title", "summary", "description")
    assert [
        f"{at}/{name}"
        for at, node in nodes(DOCUMENT)
        for name in texts
        if isinstance(node.get(name), str) and not node[name].strip()
    ] == []


def test_an_empty_text_of_a_model_is_left_out_and_a_value_or_a_field_of_that_name_is_not() -> None:
    schema = {
        "description": "",
        "default": {"description": ""},
        "properties": {"description": {"type": "string", "title": ""}, "a": {"enum": ["", {"title": ""}]}},
    }
    assert _told(schema) == {
        "default": {"description": ""},
        "properties": {"description": {"type": "string"}, "a": {"enum": ["", {"title": ""}]}},
    }


def test_whatever_is_required_of_an_object_is_one_of_its_properties() -> None:
    for at, node in nodes(DOCUMENT):
        if "properties" in node and isinstance(node.get("required"), list):
            assert set(node["required"]) <= set(node["properties"]), at


def test_every_array_says_what_is_in_it_and_every_enum_is_of_its_type() -> None:
    for at, node in nodes(DOCUMENT):
        types = node.get("type", [])
        if "array" in ([types] if isinstance(types, str) else types):
            assert "items" in node, at
        if types == "string" and "enum" in node:
            assert all(isinstance(one, str) for one in node["enum"]), at
            assert len(set(node["enum"])) == len(node["enum"]), at


def test_every_object_says_what_its_members_are() -> None:
    """Generators read a bare `type: object` as one that has none, and know no list of types with `object`."""
    for at, node in nodes(DOCUMENT):
        if node.get("type") == "object":
            described = {"properties", "additionalProperties"} & set(node)
            assert described or "/requestBody/" in at, at
        assert "object" not in node.get("type", "") or node["type"] == "object", at


def test_objects_have_names_of_their_own() -> None:
    """Otherwise each generator makes its own, such as `QuoteErrorsInner`."""
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for at, node in nodes(schema, name):
            assert at == name or "properties" not in node, at


def test_the_body_of_a_model_has_no_title_that_all_models_have() -> None:
    """Generators would name the class of each model's body `Input`."""
    bodies = [
        each["schema"]
        for _, _, one in OPERATIONS
        if "requestBody" in one
        for each in one["requestBody"]["content"].values()
    ]
    assert len(bodies) > 3
    assert [one for one in bodies if "title" in one] == []


def test_a_stream_is_a_text_with_a_schema_of_its_events() -> None:
    """Given the schema of one event, generators would read the whole stream as one JSON document."""
    streams = [
        node["text/event-stream"]["schema"] for _, node in nodes(DOCUMENT) if "text/event-stream" in node
    ]
    assert len(streams) == 3
    for one in streams:
        assert (one["type"], one["contentMediaType"]) == ("string", "text/event-stream")
        names = ("Event", "Threshold", "EndedAsset", "StoppedEndpoint")
        event, *others = ({"$ref": f"#/components/schemas/{name}"} for name in names)
        assert one["contentSchema"]["items"] in (event, {"anyOf": [event, *others]})


def test_no_path_ends_with_a_slash_or_differs_from_another_in_a_parameters_name_alone() -> None:
    shapes = [re.sub(r"{\w+}", "{}", path) for path in DOCUMENT["paths"]]
    assert len(set(shapes)) == len(shapes)
    assert [path for path in shapes if path.endswith("/") or "?" in path] == []


def test_there_is_an_operation_for_every_route_and_for_every_model_and_no_other() -> None:
    ids = {operation["operationId"] for _, _, operation in OPERATIONS}
    routes = {route.operation_id for route in ROUTES}
    assert routes <= ids
    assert {one.partition("_")[0] for one in ids - routes} == {"get", "submit"}
