"""The published contract: OpenAPI 3.1, with every model's own input schema on the model's own path."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api.components import SCHEMAS
from app.api.idempotency import HEADER, LONGEST
from app.api.problems import PROBLEM_JSON
from app.api.routes import ROUTES, Route
from app.catalog.catalog import Catalog
from app.catalog.model import Model
from app.catalog.schema import standard_json_schema
from app.errors import Fault

_IDEMPOTENCY_KEY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "A repetition with the same key is answered with the first one's job,"
    " with `Idempotent-Replayed: true`, and never sent a second time. Scoped to the tenant.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST},
}
_RATE_HEADERS = {
    "RateLimit-Policy": {
        "description": "Every limit by its name: `q` its amount, `w` its window in seconds.",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "Where each stands: `r` what is left, `t` seconds until it begins anew.",
        "schema": {"type": "string"},
    },
}
_SUBMIT_PATH = "/v1/models/{model_id}"
_DESCRIPTION = (
    "RunComfy's Model API behind a gateway: the same routes and shapes, with a key of Reelgate's."
    " Every error is a problem document (RFC 9457); `GET /problems` lists them all."
)


def build(app: FastAPI, catalog: Catalog) -> dict[str, Any]:
    """The OpenAPI document of this application serving this catalogue."""
    document = get_openapi(title="Reelgate", version=app.version, description=_DESCRIPTION, routes=app.routes)
    document["components"] = {
        "schemas": dict(SCHEMAS),
        "securitySchemes": {
            "APIKey": {
                "type": "http",
                "scheme": "bearer",
                "description": "`rg_live_…` reaches RunComfy, `rg_test_…` the sandbox.",
            }
        },
    }
    for route in ROUTES:
        _describe(document["paths"][route.path.replace(":path", "")][route.method.lower()], route)
    for path, operations in document["paths"].items():
        if "{model_id}" in path and "post" in operations:
            operations["post"]["requestBody"] = _body(
                {"type": "object", "description": "The model's input, flat."}
            )
    generic = document["paths"][_SUBMIT_PATH]["post"]
    for status, answer in generic["responses"].items():
        if status != str(HTTPStatus.UNAUTHORIZED.value):
            answer["headers"] = _RATE_HEADERS
    generic["parameters"] = [*generic["parameters"], _IDEMPOTENCY_KEY]
    for model in catalog.models.values():
        document["paths"][f"/v1/models/{model.model_id}"] = {"post": _submit_to(model, generic)}
    return document


def _describe(operation: dict[str, Any], route: Route) -> None:
    operation["responses"] = {
        str(route.status): {
            "description": "Done." if route.status == HTTPStatus.OK else "Answered; see `outcome`.",
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{route.answer}"}}},
        }
    } | _refusals(route.faults)
    operation.pop("description", None)  # FastAPI repeats the docstring that is the summary
    operation["parameters"] = [*operation.get("parameters", ()), *_parameters(route)]
    if not operation["parameters"]:
        del operation["parameters"]
    success = operation["responses"][str(route.status)]
    if route.streams:
        success["description"] = (
            "Server-sent events: `state` with the JSON below as its data, and `position` with the place in"
            " the queue, which has no id."
        )
        (schema,) = success["content"].values()
        success["content"] = {"text/event-stream": schema}
        if "{request_id}" in route.path:  # what is of one request comes to an end
            operation["responses"]["204"] = {"description": "Everything was seen, and nothing is to come."}
    if route.tagged:
        success["headers"] = {"ETag": {"description": "Strong.", "schema": {"type": "string"}}}
        operation["responses"]["304"] = {"description": "The caller has it already (`If-None-Match`)."}
    if route.needs_key:
        operation["security"] = [{"APIKey": []}]


def _parameters(route: Route) -> list[dict[str, Any]]:
    """What a route understands beside what its handler names."""
    parameters = []
    if route.tagged:
        parameters.append(_header("If-None-Match", "Entity tags that the caller has."))
    if route.waits:
        parameters += [
            {
                "name": "wait",
                "in": "query",
                "required": False,
                "description": "Seconds to hold the answer until it is another one, or the request is over.",
                "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
            },
            _header("Prefer", "`wait=N`, as the parameter."),
        ]
    if route.strict:
        parameters.append(_header("Prefer", "`handling=strict`: a 409 where nothing is cancelled."))
    if route.streams:
        parameters.append(_header("Last-Event-ID", "The id of the last event that the caller has seen."))
    return parameters


def _header(name: str, text: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": text,
        "schema": {"type": "string"},
    }


def _refusals(faults: tuple[Fault, ...]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for fault in faults:
        by_status.setdefault(fault.status, []).append(f"`{fault.code}`: {fault.title}")
    return {
        str(status): {
            "description": " ".join(lines),
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, lines in sorted(by_status.items())
    }


def _submit_to(model: Model, generic: dict[str, Any]) -> dict[str, Any]:
    own = [one for one in generic["parameters"] if one["in"] != "path"]
    operation = {**generic, "parameters": own}
    operation["operationId"] = "submit_" + "".join(
        character if character.isalnum() else "_" for character in model.model_id
    )
    operation["summary"] = f"Submit to {model.display_name}"
    operation["requestBody"] = _body(standard_json_schema(model.document["input_schema"]))
    return operation


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}
