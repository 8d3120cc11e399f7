"""The published contract: OpenAPI 3.1, with every model's input schema on the model's own path."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api import openapi_webhooks
from app.api.headers.request import (
    IDEMPOTENCY_KEY,
    KEEP_OUTPUT,
    MAX_KEY_LENGTH,
    MAX_START_DEADLINE_S,
    START_DEADLINE,
)
from app.api.problems import PROBLEM_JSON
from app.api.routes import ROUTES, Route
from app.catalog.catalog import Catalog
from app.catalog.model import Model
from app.catalog.schema import standard_json_schema
from app.documents.published import SCHEMAS
from app.errors import Fault
from app.generations.problems import WEBHOOK
from app.quotas.sums.usage import Step

_BARE = f"[!#-~](?:[ -~]{{0,{MAX_KEY_LENGTH - 2}}}[!-~])?"
_QUOTED = rf'"(?:[ !#-\[\]-~]|\\["\\]){{1,{MAX_KEY_LENGTH}}}"'
_IDEMPOTENCY_KEY = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "required": False,
    "description": "Makes it safe to repeat a submit: a repetition with the same key is answered with the"
    " request that the first one made, with `Idempotent-Replayed: true`, and nothing is sent a second time."
    " Bare or quoted. The API keys of a tenant share one namespace; client tokens have one for each end user,"
    " or else for each API key.",
    "schema": {
        "type": "string",
        "pattern": f"^(?:{_BARE}|{_QUOTED})$",
    },
}
_START_DEADLINE = {
    "name": START_DEADLINE,
    "in": "header",
    "required": False,
    "description": "When the request is cancelled and refunded if it has not started:"
    f" seconds from now, at most {MAX_START_DEADLINE_S}, or a date as in HTTP or RFC 3339.",
    "schema": {"type": "string"},
    "examples": {"seconds": {"value": "600"}},
}
_WEBHOOK = {
    "name": WEBHOOK,
    "in": "header",
    "required": False,
    "description": "The id of a webhook endpoint of the tenant and mode. It hears of every end of this"
    " request, whatever events it chose; other endpoints hear what they chose. An address is refused:"
    " endpoints are registered, so that each has a secret. It is part of what an Idempotency-Key stands for."
    " Not for client tokens.",
    "schema": {"type": "string", "pattern": "^ep_[0-9a-f-]{36}$"},
}
_KEEP_OUTPUT = {
    "name": KEEP_OUTPUT,
    "in": "header",
    "required": False,
    "description": "The longest time in seconds for which copies of its output may be kept, where outputs are"
    " mirrored; 0: none is made. It can only shorten the time that the operator has set.",
    "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
}
_RATE_HEADERS = {
    "RateLimit-Policy": {
        "description": "Every limit by its name: `q` is its amount, `w` its window in seconds.",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "How each limit stands: `r` is what is left, `t` the seconds until it resets.",
        "schema": {"type": "string"},
    },
}
_CHALLENGE = {
    "WWW-Authenticate": {
        "description": '`Bearer`, with `error="invalid_token"` if the key that was sent is not valid.',
        "required": True,
        "schema": {"type": "string"},
    }
}
_EVENT_ID = {"type": "string", "pattern": "^[0-9]{1,15}$"}
_MOMENT = {"type": "string", "format": "date-time"}
_UPLOAD: dict[str, Any] = {
    "required": True,
    "content": {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "name": {"type": "string", "maxLength": 200},
                    "model_id": {"type": "string", "maxLength": 200},
                    "place": {"type": "string", "maxLength": 200},
                    "expires_in_s": {"type": "integer", "minimum": 60, "maximum": 315_360_000},
                    "file": {"type": "string", "format": "binary"},
                },
            }
        },
    },
}
_PARAMETERS: dict[str, tuple[str, dict[str, Any]]] = {
    "model_id": ("The model's id, with its slashes.", {}),
    "request_id": ("The `request_id` of a submit's answer.", {"type": "string", "format": "uuid"}),
    "asset_id": ("The id of an asset.", {"type": "string"}),
    "token_id": ("The `token_id` of a client token, which is not the token.", {"type": "string"}),
    "endpoint_id": ("The id of a webhook endpoint.", {"type": "string"}),
    "delivery_id": ("The id of a delivery.", {"type": "string"}),
    "replay_id": ("The id of a replay.", {"type": "string"}),
    "after_event": ("Only of events after this number; a negative one counts from the last back.", {}),
    "message_id": ("Only deliveries of the event with this `webhook-id`.", {}),
    "type": ("Only events of this type, such as `request.completed`; repeat it for several.", {}),
    "cause": ("Only what was made for this reason; repeat it for several.", {}),
    "end_user": ("Only entries of this end user.", {}),
    "ids": ("The `request_id`s of up to 50 requests, separated by commas.", {"type": "string"}),
    "file_id": ("The `file_id` of an uploaded file.", {"type": "string", "format": "uuid"}),
    "link": ("What stands behind `/f/` in a link to a file.", {"type": "string"}),
    "name": ("What the file is called.", {}),
    "place": (
        "The place in the model's input that the file is for, as in the model's document: `/image_urls/*`.",
        {},
    ),
    "expires_in_s": ("For how many seconds it lasts.", {}),
    "size_bytes": ("How many bytes the file may have; by default, as many as any.", {}),
    "slug": ("The last part of a problem's `type`.", {"type": "string"}),
    "limit": ("The maximum number of entries on a page.", {}),
    "offset": ("How many entries to skip.", {}),
    "search": ("Only models whose id, name or description has this text.", {}),
    "category": ("Only models of this category, such as `image-to-video`.", {}),
    "kind": ("Only what is of this kind.", {}),
    "include_schema": ("Whether the entries have `input_schema` and `output_schema`.", {}),
    "cursor": ("The `next_cursor` of the previous page.", {}),
    "state": ("Only what is in this state; repeat it for several.", {}),
    "kid": ("Only this API key, by its public identifier.", {}),
    "code": ("Only this error of the catalogue, such as `quota_exceeded`.", {}),
    "include_cost": ("Whether to include `cost` in the result, once it is final.", {}),
    "from": ("The first day, in the tenant's time zone; by default the first of this month.", {}),
    "to": ("The last day, which is included; by default today.", {}),
    "by": ("How long each period is.", {"type": "string", "enum": [*Step]}),
    "group_by": ("Sums for each of these; repeat it for several.", {}),
    "outcome": ("Only what ended so: a state, `submitted` or `refused`.", {}),
    "format": ("Overrides `Accept`.", {}),
    "month": ("Such as `2026-11`.", {"type": "string"}),
    "created_after": ("Only what was made at this moment or later.", _MOMENT),
    "created_before": ("Only what was made before this moment.", _MOMENT),
    "after": ("The same as `Last-Event-ID`, for clients that cannot send that header.", _EVENT_ID),
}
"""Descriptions of the handlers' parameters, with a schema where FastAPI's own says too little."""
_STREAM = "text/event-stream"
_VALUES = frozenset({"const", "default", "enum", "examples"})  # keywords whose values are not schemas
_TAGS = (
    {"name": "models", "description": "The catalogue, and submits to its models."},
    {"name": "files", "description": "Files that callers upload, and links to them."},
    {"name": "quota", "description": "What a tenant may use and has used, and what a submit would cost."},
    {"name": "usage", "description": "What was charged, in sums and entry by entry."},
    {"name": "events", "description": "Every change of a request's state as it happens."},
    {
        "name": "webhooks",
        "description": "Addresses that are told of events, and the log of what was sent to them.",
    },
    {
        "name": "client tokens",
        "description": "Short-lived tokens that web pages hold in place of an API key.",
    },
    {
        "name": "account",
        "description": "What a tenant's own people manage: keys, origins, links to the portal.",
    },
    {"name": "requests", "description": "What became of the requests that were submitted."},
    {"name": "assets", "description": "Copies of outputs in the gateway's own store."},
    {"name": "service", "description": "Health and the catalogue of errors; no key is needed."},
)
_DONE = {
    200: "Success.",
    201: "Created.",
    202: "See `outcome` for whether it was cancelled.",
    204: "Done; there is no body.",
}
_SUBMIT_PATH = "/v1/models/{model_id}"
_DESCRIPTION = (
    "RunComfy's Model API behind a gateway: the same routes and shapes, with an API key of the gateway's."
    " `HEAD` answers as `GET` does, without a body."
    " Every error is a problem document (RFC 9457); `GET /problems` lists them all. Every address may also"
    " answer 400 `malformed_request`, 405 `method_not_allowed`, 408 `request_timeout`, 414"
    " `address_too_long`, 431 `headers_too_large` and 503 `too_many_connections`."
)


def build(app: FastAPI, catalog: Catalog) -> dict[str, Any]:
    """Returns the OpenAPI document of this application serving this catalogue."""
    document = get_openapi(
        title="Reelgate",
        version=app.version,
        description=_DESCRIPTION,
        contact={"name": "The operator of this gateway"},
        license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
        servers=[{"url": app.state.base_url, "description": "The gateway that serves this document."}],
        tags=[dict(tag) for tag in _TAGS],
        routes=app.routes,
    )
    document["components"] = {
        "schemas": dict(SCHEMAS),
        "securitySchemes": {
            "APIKey": {
                "type": "http",
                "scheme": "bearer",
                "description": "An API key: `rg_live_…` reaches RunComfy, `rg_test_…` the sandbox. From a web"
                " page, a client token, `rg_client_…`, that was created with an API key.",
            }
        },
    }
    for route in ROUTES:
        _describe(document["paths"][route.path.replace(":path", "")][route.method.lower()], route)
    for path, operations in document["paths"].items():
        if "{model_id}" in path and "post" in operations:
            operations["post"]["requestBody"] = body_of(
                {
                    "type": "object",
                    "additionalProperties": True,
                    "description": "The model's input, without a wrapper.",
                }
            )
    generic = document["paths"][_SUBMIT_PATH]["post"]
    for status, answer in generic["responses"].items():
        if status != str(HTTPStatus.UNAUTHORIZED.value):
            answer["headers"] = {**answer.get("headers", {}), **_RATE_HEADERS}
    generic["parameters"] = [
        *generic["parameters"],
        _IDEMPOTENCY_KEY,
        _START_DEADLINE,
        _WEBHOOK,
        _KEEP_OUTPUT,
    ]
    for model in catalog.models.values():
        document["paths"][f"/v1/models/{model.model_id}"] = {
            "get": _of_model(model, document["paths"][_SUBMIT_PATH]["get"], "get", "Read"),
            "post": _submit_to(model, generic),
        }
    document["webhooks"] = openapi_webhooks.webhooks(openapi_webhooks.OF_TENANTS)
    return document


def _describe(operation: dict[str, Any], route: Route) -> None:
    operation["responses"] = {
        str(route.status): {
            "description": _DONE[route.status],
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{route.answer}"}}},
        }
    } | refusals(route.faults)
    operation["description"] = route.text
    if route.body:
        operation["requestBody"] = body_of({"$ref": f"#/components/schemas/{route.body}"})
    operation["security"] = [{"APIKey": []}] if route.needs_key else []
    operation["parameters"] = [
        *(_parameter(one) for one in operation.get("parameters", ())),
        *_parameters(route),
    ]
    if not operation["parameters"]:
        del operation["parameters"]
    success = operation["responses"][str(route.status)]
    if route.streams:
        success["description"] = (
            f"Server-sent events: `state`, whose data is the JSON of `{route.answer}`; `position`, which"
            " tells the place in the queue and has no id; in the stream of all of a tenant's events also"
            " `threshold`, whose data is the JSON of `Threshold`, `asset`, whose data is the JSON of"
            " `EndedAsset`, and `endpoint`, whose data is the JSON of `StoppedEndpoint`; and `problem`, with"
            " which a stream ends when its key or token does."
        )
        (of_event,) = (one["schema"] for one in success["content"].values())
        if "/{" not in route.path and route.resumes:  # of all of a tenant's events
            others = ("Threshold", "EndedAsset", "StoppedEndpoint")
            of_event = {"anyOf": [of_event, *({"$ref": f"#/components/schemas/{one}"} for one in others)]}
        success["content"] = {_STREAM: {"schema": stream_of(of_event)}}
        if "{request_id}" in route.path:  # the events of one request come to an end
            operation["responses"]["204"] = {"description": "The caller has seen the last event."}
    if route.uploads or route.repeats or route.binary or route.status == HTTPStatus.NO_CONTENT:
        _describe_bytes(route, operation, success)
    _describe_other_forms(route, success)
    if route.tagged:
        tag = {
            "ETag": {"description": "A strong entity tag.", "required": True, "schema": {"type": "string"}}
        }
        success["headers"] = tag
        operation["responses"]["304"] = {
            "description": "The caller has this version already (`If-None-Match`).",
            "headers": tag,
        }


def _describe_other_forms(route: Route, success: dict[str, Any]) -> None:
    if route.text_only:
        success["content"] = {"text/plain": {"schema": {"type": "string"}}}
    if route.csv:
        success["content"]["text/csv"] = {"schema": {"type": "string"}}
    if route.pdf:
        success["content"]["application/pdf"] = {"schema": {"type": "string", "format": "binary"}}


def _describe_bytes(route: Route, operation: dict[str, Any], success: dict[str, Any]) -> None:
    """Describes a body or an answer that is a file, or an answer that has no body."""
    if route.uploads:
        operation["requestBody"] = _UPLOAD
    if route.repeats:
        operation["responses"]["200"] = {**success, "description": "The caller had stored it already."}
    if route.status == HTTPStatus.NO_CONTENT:
        success.pop("content", None)
    if not route.binary:
        return
    binary = {"schema": {"type": "string", "format": "binary"}}
    # The first is for generators of clients, which know no ranges of types; a file has the type of its bytes.
    success["content"] = {"application/octet-stream": binary, "*/*": binary}
    operation["parameters"] = [
        *operation.get("parameters", ()),
        header("Range", "One range of bytes, such as `bytes=0-499`."),
        header("If-Range", "The `ETag` of the file of which the caller has a part."),
        header("If-None-Match", "Entity tags that the caller has."),
    ]
    operation["responses"] |= {
        "206": {"description": "The range that was asked for.", "content": success["content"]},
        "302": {"description": "The file is at the store, at this address for some minutes."},
        "304": {"description": "The caller has this version already (`If-None-Match`)."},
    }


def stream_of(event: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of a stream whose events have this data.

    In OpenAPI 3.1 a schema is of a body as a whole, and the body of a stream is a text. Given the schema of
    one event, generators would read the whole stream as one JSON document.
    """
    return {
        "type": "string",
        "contentMediaType": _STREAM,
        "contentSchema": {"type": "array", "items": event},
    }


def _parameter(given: dict[str, Any]) -> dict[str, Any]:
    """Returns FastAPI's description of a parameter with our text, and without null: no URL can express it."""
    description, schema = _PARAMETERS[given["name"]]
    if given["in"] == "query" and given["name"] == "model_id":
        description = "Only this model."
    if given["in"] == "query" and given["name"] == "token_id":
        description = "Only what this client token made."
    own = {name: value for name, value in given["schema"].items() if name != "title"}
    if "anyOf" in own:
        (own,) = (one for one in own["anyOf"] if one != {"type": "null"})
    return {**given, "description": description, "schema": schema or own}


def _parameters(route: Route) -> list[dict[str, Any]]:
    """Returns the parameters that a route accepts besides those in its handler's signature."""
    parameters = []
    if route.tagged:
        parameters.append(header("If-None-Match", "Entity tags that the caller has."))
    if route.edits:
        text = "The `ETag` of what you read, or `*` for whatever is there now."
        parameters.append(header("If-Match", text) | {"required": True})
    if route.waits:
        parameters += [
            {
                "name": "wait",
                "in": "query",
                "required": False,
                "description": "How many seconds to hold the answer until it changes or the request ends.",
                "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
            },
            header("Prefer", "`wait=N`: the same as the parameter `wait`."),
        ]
    if route.strict:
        parameters.append(header("Prefer", "`handling=strict`: a 409 if the request was not cancelled."))
    if route.streams and route.resumes:
        text = "The id of the last event that the caller has seen."
        parameters.append(header("Last-Event-ID", text) | {"schema": _EVENT_ID})
    return parameters


def header(name: str, text: str) -> dict[str, Any]:
    """Returns a header of a request, which may be left out."""
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": text,
        "schema": {"type": "string"},
    }


def refusals(faults: tuple[Fault, ...]) -> dict[str, Any]:
    """Returns the responses of an operation that can be answered with these errors."""
    by_status: dict[int, list[str]] = {}
    for fault in faults:
        by_status.setdefault(fault.status, []).append(f"`{fault.code}`: {fault.title}")
    return {
        str(status): {
            "description": " ".join(lines),
            **({"headers": _CHALLENGE} if status == HTTPStatus.UNAUTHORIZED else {}),
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, lines in sorted(by_status.items())
    }


def _of_model(model: Model, generic: dict[str, Any], verb: str, summary: str) -> dict[str, Any]:
    """Returns an operation of the generic path as it is on the model's own path."""
    name = "".join(character if character.isalnum() else "_" for character in model.model_id)
    operation = {
        **generic,
        "operationId": f"{verb}_{name}",
        "summary": f"{summary} {model.display_name}",
        "parameters": [one for one in generic["parameters"] if one["in"] != "path"],
    }
    if not operation["parameters"]:
        del operation["parameters"]
    return operation


def _submit_to(model: Model, generic: dict[str, Any]) -> dict[str, Any]:
    operation = _of_model(model, generic, "submit", "Submit to")
    schema = _told(standard_json_schema(model.file["input_schema"]))
    schema.pop("title", None)  # every model's is "Input", which generators make the name of a class
    operation["requestBody"] = body_of(schema)
    return operation


def _told(schema: Any) -> Any:
    """Returns the schema without empty titles and descriptions, of which RunComfy's schemas have many."""
    if isinstance(schema, list):
        return [_told(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: value if name in _VALUES else _told(value)
        for name, value in schema.items()
        if not (name in {"title", "description"} and value == "")
    }


def body_of(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a request body of this schema."""
    return {"required": True, "content": {"application/json": {"schema": schema}}}
