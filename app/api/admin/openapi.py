"""The contract of the admin API, made of the table of operations."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from pydantic import BaseModel

from app.admin.operation import Operation, Upload
from app.admin.operations.every import OPERATIONS
from app.api import openapi_webhooks
from app.api.admin import events
from app.api.headers.request import IDEMPOTENCY_KEY, MAX_KEY_LENGTH
from app.api.openapi import body_of, header, refusals, stream_of
from app.documents.admin import published
from app.errors import (
    BODY_TOO_LARGE,
    DATABASE_UNAVAILABLE,
    IDEMPOTENCY_MISMATCH,
    INSUFFICIENT_ADMIN_SCOPE,
    INTERNAL_ERROR,
    INVALID_ADMIN_KEY,
    INVALID_CHANGE,
    INVALID_IDEMPOTENCY_KEY,
    INVALID_JSON,
    INVALID_PARAMETER,
    INVALID_REASON,
    MISSING_ADMIN_KEY,
    MISSING_IDEMPOTENCY_KEY,
    PRECONDITION_FAILED,
    PRECONDITION_REQUIRED,
    SHUTTING_DOWN,
    TOO_MANY_ATTEMPTS,
    TOO_MANY_STREAMS,
    UNSUPPORTED_MEDIA_TYPE,
    Fault,
)
from app.generations.following.changes import KINDS

_KEY: Final = (
    MISSING_ADMIN_KEY,
    INVALID_ADMIN_KEY,
    INSUFFICIENT_ADMIN_SCOPE,
    INVALID_PARAMETER,
    TOO_MANY_ATTEMPTS,
    DATABASE_UNAVAILABLE,
    INTERNAL_ERROR,
)
_CHANGE: Final = (
    MISSING_IDEMPOTENCY_KEY,
    INVALID_IDEMPOTENCY_KEY,
    IDEMPOTENCY_MISMATCH,
    INVALID_JSON,
    INVALID_CHANGE,
    INVALID_REASON,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
)
_TAGS: Final = {
    "tenants": "The customers, whose data and limits are separate.",
    "API keys": "The keys of tenants.",
    "portal": "Links that open the portal for people of a tenant.",
    "client tokens": "Short-lived tokens that web pages hold in place of an API key.",
    "limits": "What tenants, keys, end users and models may use.",
    "requests": "Requests of all tenants.",
    "ledger": "Balances, and every change of them.",
    "usage": "Sums of what was held, spent, refunded and refused, and crossed thresholds.",
    "statements": "The closed months of tenants.",
    "webhooks": "Addresses of tenants that are told of events, and what was sent to them.",
    "dispatch": "The queues of requests that are to be sent to RunComfy.",
    "system": "What the gateway consists of, and whether it is well.",
    "admin keys": "The keys of this API.",
    "refusals": "Calls that were refused.",
    "audit log": "What operators have changed, and the proof that the record of it is whole.",
}
PARAMETERS: Final = {
    "action": "Only this action, such as `tenant.disable`.",
    "actor": "Only what this actor did.",
    "address": "An address or a network of callers, as it was kept: `203.0.113.7`, `203.0.113.0/24`.",
    "after": "`last` of the call before.",
    "amount": "Credits, such as `12.5`, with up to six decimals.",
    "by": "How long each period is.",
    "bill": "RunComfy's bill, which is the body.",
    "cause": "Only what was made for this reason.",
    "charged": "Whether RunComfy charged for it: its price is spent (true) or given back (false).",
    "code": "Only this error of the catalogue, such as `quota_exceeded`.",
    "cost_column": "The name of the column with the cost in US dollars.",
    "created_after": "Only from this moment on.",
    "created_before": "Only before this moment.",
    "cursor": "The `next_cursor` of the page before.",
    "delivery_id": "The id of a delivery.",
    "description": "A note for the tenant.",
    "dry_run": "Whether to return what would be corrected, and change nothing.",
    "end_user": "An end user; in limits, `*` is each without a limit of its own.",
    "ended": "Whether to list those that are over, too.",
    "endpoint_id": "The id of a webhook endpoint.",
    "error_code": "Only requests that ended with this error.",
    "events": "The types of events; null: all.",
    "first_day": "The first day; without it, the first of the month.",
    "force": "Whether to end the grace of the rotation before, if that is open.",
    "grace_s": "For how many seconds messages are signed with the old secret too.",
    "group_by": "Sums for each of these; repeat it for several.",
    "head": "A head that was kept, as a checkpoint or in one line.",
    "kid": "The key's public identifier, which is not the key.",
    "last_day": "The last day, which is included; without it, today.",
    "lifetime_ms": "In how many milliseconds the key expires; null: never.",
    "keep_s": "For how many seconds copies are kept, 0 for ever; null: as the settings say.",
    "deep": "Whether all bytes are read and hashed.",
    "id_column": "The name of the column with RunComfy's request id.",
    "limit": "The maximum number of entries on a page.",
    "outcome": "Only `submitted`, the state that ended it, or `refused`.",
    "override": "Such as `credits-day=50` (in credits), `submits-minute=60/10` or `in-flight=none`.",
    "override_id": "The id of an override.",
    "until": "The moment at which it ends; of a replay, null is now.",
    "limits": "Such as `credits-day=12.5` (in credits), `submits-minute=60/10` or `in-flight=none`.",
    "max_queued": "How many requests may be queued.",
    "media_checks": "What happens to files that break a rule; null: what the gateway's settings say.",
    "message_id": "Only deliveries of the event with this `webhook-id`.",
    "metrics": "The metrics whose limits are removed.",
    "mirror": "Whether outputs are copied to the gateway's store: `off`, `beside` or `instead`.",
    "mode": "`live` is for RunComfy, `test` for the sandbox.",
    "model_id": "Only this model.",
    "models": "The only models that the key may use; null: all.",
    "modes": "Whose requests: of live keys, of test keys; null: of both.",
    "month": "A month, such as `2026-11`.",
    "name": "Its name.",
    "new_name": "The new name.",
    "note": "A note for the record, which the tenant sees.",
    "only_failed": "Whether to send again only what was not delivered.",
    "origins": "The web origins whose pages may call, such as `https://app.example`.",
    "overlap_ms": "For how many milliseconds more the old key is valid.",
    "prefix": "The beginning of the key or of its kid.",
    "price": "What each request should have cost, in credits, such as `12.5`.",
    "price_version": "Only requests with a price of this version.",
    "queueing": "Whether requests that cannot be sent yet are queued; null: the usual.",
    "reason": "Why, for the audit log: 1 to 200 printable characters.",
    "reference": "A number of the payment or adjustment: it is entered once for each account.",
    "replay_id": "The id of a replay.",
    "request_id": "The id of a request.",
    "scopes": "What the key may do.",
    "signature": "How messages are signed: `v1` is HMAC-SHA256, `v1a` Ed25519.",
    "since": "The moment from which on deliveries were made.",
    "state": "Only what is in this state.",
    "subject": "Only what was done to this key, request or other thing, by its id.",
    "tenant": "The tenant's name.",
    "test": "Whether it is the account of the tenant's test keys, not of its live keys.",
    "time_zone": "An IANA time zone, such as `Europe/Berlin`.",
    "token_id": "The `token_id` of a client token, which is not the token.",
    "type": "Only events of this type, such as `request.completed`.",
    "upstream_request_id": "RunComfy's id of the job.",
    "url": "Where events are sent to, by POST: an https:// URL.",
    "used_after": "Only keys that were used at this moment or later.",
    "used_before": "Only keys that were not used since this moment.",
    "vendor_links": "Whether events name RunComfy's own links to outputs.",
    "version": "The version of the model's prices that was wrong.",
    "weight": "Its share of dispatches among the tenants that have a queue.",
}
"""Descriptions of the operations' parameters, by their names."""
_IDEMPOTENCY: Final = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "required": True,
    "description": "Makes it safe to repeat the change: a repetition with the same key is answered with the"
    " answer of the first, with `Idempotent-Replayed: true`, and nothing is changed a second time.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH + 2},
}
_FILE: Final = {"type": "string", "format": "binary"}
_DESCRIPTION: Final = (
    "What an operator can do and ask over HTTP, with an admin key. Every change names a `reason`, leaves one"
    " row in the audit log, and is made once for its `Idempotency-Key`. Every edit (`PUT`) names the `ETag`"
    " of what it changes in `If-Match`. `HEAD` answers as `GET` does, without a body. Every error is a"
    " problem document (RFC 9457)."
)


@cache
def build(version: str, base_url: str) -> dict[str, Any]:
    """Returns the OpenAPI document of the admin API. It is made once: nobody may change it."""
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    paths[events.PATH] = {"get": _stream()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Reelgate administration",
            "version": version,
            "description": _DESCRIPTION,
            "contact": {"name": "The operator of this gateway"},
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base_url, "description": "The gateway that serves this document."}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "webhooks": openapi_webhooks.webhooks(openapi_webhooks.OF_OPERATOR),
        "components": {
            "schemas": dict(published.SCHEMAS),
            "securitySchemes": {
                "AdminKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An admin key, `rg_admin_…`. Scopes: `read` reads everything but admin"
                    " keys; `operate` also changes tenants, keys and limits; `money` also changes balances"
                    " and prices; `root` may do all of it, and manages admin keys.",
                }
            },
        },
    }


def faults_of(operation: Operation[Any]) -> tuple[Fault, ...]:
    """Returns every error that the operation can be answered with."""
    faults = _KEY + (_CHANGE if operation.changes else ()) + operation.faults
    if operation.upload is not None:
        faults += (BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE)
    if operation.compares:
        faults += (PRECONDITION_FAILED,)
    return faults + ((PRECONDITION_REQUIRED,) if operation.edits else ())


def _operation(one: Operation[Any]) -> dict[str, Any]:
    success: dict[str, Any] = {
        "description": "Created." if one.status == 201 else "Success.",  # noqa: PLR2004 - a status
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{one.shape.__name__}"}}}
        | {form.media_type.partition(";")[0]: {"schema": _FILE} for form in one.forms.values()},
    }
    described: dict[str, Any] = {
        "tags": [one.tag],
        "summary": one.summary,
        "description": f"{one.text} Scope: `{one.scope}`.",
        "operationId": one.name,
    }
    parameters = _parameters(one)
    if parameters:
        described["parameters"] = parameters
    if one.changes:
        described["requestBody"] = body_of(_schema(one.model))
    elif one.upload is not None:
        described["requestBody"] = _file_body(one.upload)
    described["responses"] = {str(one.status): success} | refusals(tuple(dict.fromkeys(faults_of(one))))
    if one.tagged:
        tag = {
            "ETag": {"description": "A strong entity tag.", "required": True, "schema": {"type": "string"}}
        }
        success["headers"] = tag
        if not one.changes:
            described["responses"]["304"] = {
                "description": "The caller has this version already (`If-None-Match`).",
                "headers": tag,
            }
    described["security"] = [{"AdminKey": []}]
    return described


def _stream() -> dict[str, Any]:
    kinds = {"type": "array", "items": {"type": "string", "enum": [*KINDS]}}
    changed = {"type": "object", "required": ["kinds"], "properties": {"kinds": kinds}}
    schema = stream_of({"anyOf": [changed, {"$ref": "#/components/schemas/Problem"}]})
    success = {"description": "Success.", "content": {"text/event-stream": {"schema": schema}}}
    return {
        "tags": [events.TAG],
        "summary": events.SUMMARY,
        "description": f"{events.TEXT} Scope: `{events.SCOPE}`.",
        "operationId": "stream_changes",
        "responses": {"200": success} | refusals((*_KEY, TOO_MANY_STREAMS, SHUTTING_DOWN)),
        "security": [{"AdminKey": []}],
    }


def _file_body(upload: Upload) -> dict[str, Any]:
    text = f"A file in UTF-8, of at most {upload.max_bytes:,} bytes."
    return {"required": True, "description": text, "content": {upload.media_type: {"schema": _FILE}}}


def _parameters(one: Operation[Any]) -> list[dict[str, Any]]:
    schema = _schema(one.model)["properties"] if not one.changes else {}
    parameters: list[dict[str, Any]] = [
        {
            "name": each.name,
            "in": each.place,
            "required": each.default is ...,
            "description": PARAMETERS[each.name],
            "schema": {"type": "string"} if each.place == "path" else _without_null(schema[each.name]),
        }
        for each in one.parameters
        if each.place in {"path", "query"}
    ]
    if one.forms:
        text = "The media type of the answer; without it, `Accept` decides."
        schema_of = {"type": "string", "enum": ["json", *one.forms]}
        parameters.append(
            {"name": "format", "in": "query", "required": False, "description": text, "schema": schema_of}
        )
    if one.changes:
        parameters.append(_IDEMPOTENCY)
    if one.compares:
        text = "The `ETag` of what you read, or `*` for whatever is there now."
        parameters.append(header("If-Match", text) | {"required": one.edits})
    if one.tagged and not one.changes:
        parameters.append(header("If-None-Match", "Entity tags that the caller has."))
    return parameters


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """Returns pydantic's schema of a body or query, without titles, and with a description of each member."""
    whole = model.model_json_schema()
    schema: dict[str, Any] = _untitled(_inlined(whole, whole.pop("$defs", {})))
    for name, member in schema.get("properties", {}).items():
        member.setdefault("description", PARAMETERS[name])
    return schema


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Returns a schema with what it refers to in its place: the contract has other names for it."""
    if isinstance(schema, list):
        return [_inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: _inlined(value, definitions) for name, value in schema.items()}


def _untitled(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_untitled(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: (
            {member: _untitled(one) for member, one in value.items()}
            if name == "properties"
            else _untitled(value)
        )
        for name, value in schema.items()
        if name != "title" or not isinstance(value, str)
    }


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of a query's parameter: no address can express null."""
    own = {name: value for name, value in schema.items() if name not in {"description", "default"}}
    if "anyOf" in own:
        (own,) = (one for one in own["anyOf"] if one != {"type": "null"})
    if schema.get("default") is not None:
        own["default"] = schema["default"]
    return own
