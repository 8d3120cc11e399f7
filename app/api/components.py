"""The schemas of the published contract. They describe what `schemas` writes; tests hold the two together."""

from typing import Any

from app.auth.client_tokens import DEFAULT_S, END_USER, MAX_S, MIN_S
from app.errors import CATALOGUE
from app.generations.lifecycle import RESULT_NAMES, STATUS_NAMES, State
from app.quotas.ledger import Charge
from app.quotas.limits import MICROCREDITS, MOST, Metric

Schema = dict[str, Any]


def _object(properties: dict[str, Schema], *, optional: tuple[str, ...] = (), text: str = "") -> Schema:
    schema: Schema = {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }
    return schema | ({"description": text} if text else {})


def _text(description: str = "", **more: Any) -> Schema:
    return {"type": "string", **more} | ({"description": description} if description else {})


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_ID = _text("Ours, a UUIDv7.", format="uuid")
_URL = _text(format="uri")
_MOMENT = _text(format="date-time")
_INTEGER: Schema = {"type": "integer"}
_STATUS_WORD = _text(
    "`completed` means finished; success or failure is only in the result.",
    enum=sorted(set(STATUS_NAMES.values())),
)
_OUTPUT: Schema = {
    "type": ["object", "null"],
    "description": "RunComfy's output, with RunComfy's own URLs: any of `image`, `video`, `audio` (a URL) and"
    " `images`, `videos` (lists of URLs).",
}
_ERROR: Schema = {
    "description": "Why it failed, in RunComfy's own form: a string, an object or a list. Where Reelgate"
    " itself ended it, an object with `code` and `message`.",
}
_ADDRESSES: dict[str, Schema] = {
    "request_id": _ID,
    "status_url": _URL,
    "result_url": _URL,
    "cancel_url": _URL,
}
_SUMMARY: dict[str, Schema] = {
    **_ADDRESSES,
    "status": _STATUS_WORD,
    "state": _ref("State"),
    "model_id": _text(),
    "mode": _text("Which kind of key made it.", enum=["live", "test"]),
    "kid": _text("Which key made it."),
    "token_id": _or_null(_text("Which client token of that key made it.")),
    "end_user": _or_null(_text("Whom that token was for.")),
    "price_microcredits": _or_null(_INTEGER),
    "charge": {
        "type": ["string", "null"],
        "enum": [*Charge, None],
        "description": "Where its price is: held while it is under way, then spent or given back.",
    },
    "created_at": _MOMENT,
    "changed_at": _MOMENT,
    "finished_at": _or_null(_MOMENT),
}
_EVENT = _object(
    {
        "version": _INTEGER,
        "number": _INTEGER | {"description": "Its place among all of the tenant's: 1, 2, 3 …"},
        "state": _ref("State"),
        "at": _MOMENT,
        "reason": _text(),
    }
)
_KIND: dict[str, Schema] = {
    "type": _URL,
    "title": _text(),
    "status": _INTEGER,
    "code": _text("Stable.", enum=[fault.code for fault in CATALOGUE]),
    "retryable": {"type": "boolean", "description": "Whether sending the same request again can help."},
    "remedy": _text("What to do."),
}

_HOLDERS = ["tenant", "key", "end-user", "token"]
_LIMIT = _object(
    {
        "policy": _text("As in `RateLimit-Policy` and `violated-policies`."),
        "holder": _text("Whose it is.", enum=_HOLDERS),
        "model_id": _or_null(_text("The only model that it is about; null: all.")),
        "metric": _text(enum=list(Metric)),
        "unit": _text(
            enum=["calls", "generations", "microcredits", "reads", "requests", "submits", "tokens"]
        ),
        "limit": _INTEGER,
        "burst": _or_null(
            _INTEGER | {"description": "Of a rate: how many may come at once, where that is not `limit`."}
        ),
        "held": _INTEGER | {"description": "For requests under way; it may come back."},
        "spent": _INTEGER,
        "remaining": _INTEGER | {"minimum": 0},
        "period": _or_null(_text("A day, a month, or `total`.")),
        "resets_at": _or_null(_MOMENT),
        "wanted": _INTEGER | {"description": "In a refusal: what the refused request needs."},
    },
    optional=("wanted",),
)
_VIOLATION = _object({"pointer": _text("RFC 6901, in fragment form."), "code": _text(), "detail": _text()})
_FILE = _object(
    {
        "pointer": _text("Where it stands in the input."),
        "type": _or_null(_text("Its media type, by its first bytes; null: it could not be told.")),
        "size_bytes": _or_null(_INTEGER),
        "width": _or_null(_INTEGER | {"description": "In pixels, as stored."}),
        "height": _or_null(_INTEGER),
        "errors": _array(_object({"code": _text(), "detail": _text()})),
    },
    text="What was seen of a file of the input.",
)
_FILES: Schema = {
    "type": ["array", "null"],
    "items": _ref("File"),
    "description": "What was seen of the input's files; null where nobody looked.",
}
_POLICIES = _array(_text()) | {"description": "The names of the limits that refuse."}

_BOUNDS: Schema = {
    "type": "object",
    "description": "By the name of an input. What is left out counts as its default.",
    "additionalProperties": {
        "type": "object",
        "minProperties": 1,
        "properties": {
            "enum": {"type": "array", "minItems": 1, "description": "The only values that are allowed."},
            "minimum": {"type": "number"},
            "maximum": {"type": "number"},
            "max_length": {"type": "integer", "minimum": 0, "description": "Of a text or a list."},
        },
        "additionalProperties": False,
    },
}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TERMS_OF_TOKEN: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "lifetime_s": {
            "type": "integer",
            "minimum": MIN_S,
            "maximum": MAX_S,
            "default": DEFAULT_S,
            "description": "Seconds until it ends; its key's end is its end too.",
        },
        "models": _array(_text()) | {"minItems": 1, "description": "The only ones that it may use."},
        "bounds": _BOUNDS | {"minProperties": 1, "description": "Of the inputs of `models`."},
        "max_generations": _COUNT | {"maximum": MOST, "description": "How many jobs it may make in all."},
        "max_microcredits": _COUNT
        | {"maximum": MOST * MICROCREDITS, "description": "What they may cost in all."},
        "origins": _array(_text())
        | {"minItems": 1, "description": "The only pages that may use it; all of them the tenant's."},
        "end_user": _text(
            "Whom it is for: a label of yours. Has quotas of its own.", pattern=f"^{END_USER}$"
        ),
        "visibility": _text(
            "Whose requests it can read: its own, or all that tokens of its end user made, which is what a"
            " token with an end user does unless this says otherwise.",
            enum=["token", "end_user"],
        ),
        "request_id": _text("To watch: it reads this request, and does nothing else."),
    },
}
_CLIENT_TOKEN: dict[str, Schema] = {
    "token_id": _text("Names it; it is not the token."),
    "state": _text("Its own, or its key's.", enum=["active", "expired", "revoked", "disabled"]),
    "kid": _text("The key that made it."),
    "mode": _text(enum=["live", "test"]),
    "scopes": _array(_text(enum=["read", "submit"])),
    "models": {"type": ["array", "null"], "items": _text()},
    "bounds": _or_null(_BOUNDS),
    "max_generations": _or_null(_INTEGER),
    "max_microcredits": _or_null(_INTEGER),
    "origins": {"type": ["array", "null"], "items": _text()},
    "end_user": _or_null(_text()),
    "visibility": _text(enum=["token", "end_user", "request"]),
    "request_id": _or_null(_ID),
    "created_at": _MOMENT,
    "expires_at": _MOMENT,
    "revoked_at": _or_null(_MOMENT),
    "last_used_at": _or_null(_MOMENT | {"description": "To the minute."}),
    "refusals": _INTEGER | {"description": "How often it was refused."},
}

SCHEMAS: dict[str, Schema] = {
    "State": _text("Where a request is, in Reelgate's finer words.", enum=[state.value for state in State]),
    "Submitted": _object(_ADDRESSES),
    "Status": _object(
        {
            "request_id": _ID,
            "status": _STATUS_WORD,
            "queue_position": _INTEGER | {"description": "Only in `in_queue`."},
            "status_url": _URL,
            "result_url": _URL,
        },
        optional=("queue_position",),
    ),
    "Result": _object(
        {
            "request_id": _ID,
            "status": _text(enum=sorted(set(RESULT_NAMES.values()))),
            "output": _OUTPUT,
            "error": _ERROR,
            "created_at": _MOMENT,
            "finished_at": _MOMENT,
            "cost": {
                "type": "number",
                "description": "What the tenant pays, in US dollars, once that is final.",
            },
        },
        optional=("output", "error", "finished_at", "cost"),
    ),
    "Cancelled": _object(
        {
            "request_id": _ID,
            "status": _STATUS_WORD,
            "outcome": _text(enum=["cancelled", "not_cancellable"]),
        }
    ),
    "RequestSummary": _object(_SUMMARY),
    "RequestPage": _object(
        {"requests": _array(_ref("RequestSummary")), "next_cursor": _or_null(_text("For `cursor`."))}
    ),
    "Request": _object(
        {
            **_SUMMARY,
            "version": _INTEGER | {"description": "Grows by one with every change of state."},
            "input": {"type": "object", "description": "What the caller sent."},
            "media": _FILES,
            "output": _OUTPUT,
            "error": _ERROR,
            "queue_position": _or_null(
                _INTEGER | {"description": "How many go before it, here and at RunComfy, as it stands."}
            ),
            "price_version": _or_null(_text()),
            "sent_at": _or_null(_MOMENT | {"description": "When it was given to RunComfy."}),
            "start_deadline": _or_null(_MOMENT | {"description": "When it is cancelled if not started."}),
            "estimated_start_at": _or_null(
                _MOMENT | {"description": "While it waits, by what jobs usually take; null: nothing tells."}
            ),
            "started_at": _or_null(_MOMENT),
            "output_expires_at": _or_null(_MOMENT | {"description": "When the output will be erased."}),
            "output_erased_at": _or_null(_MOMENT | {"description": "When it was."}),
            "checked_at": _or_null(_MOMENT | {"description": "When RunComfy was last asked."}),
            "idempotency_key": _or_null(_text()),
            "trace_id": _text(),
            "events": _array(_EVENT),
        }
    ),
    "Model": _object(
        {
            "model_id": _text(),
            "display_name": _text(),
            "kind": _or_null(_text()),
            "base_price_usd": {"type": "number"},
            "price_unit": _text(),
            "input_schema": {"type": "object", "description": "RunComfy's own, verbatim."},
            "output_schema": {"type": ["object", "null"]},
            "pricing": {
                "type": "object",
                "description": "The operator's price list, in micro-credits.",
            },
            "warnings": _array(_object({"pointer": _text(), "reason": _text()})),
            "media_rules": _array(
                _object(
                    {
                        "pointer": _text("`*` stands for every element."),
                        "kind": _text(),
                        "rule": _text("As RunComfy writes it."),
                        "value": {"type": "number"},
                        "message": _text(),
                        "enforced": {"type": "boolean"},
                        "note": _or_null(_text("Why it is not enforced.")),
                    }
                )
            ),
            "media_inputs": _array(
                _object(
                    {
                        "pointer": _text("`*` stands for every element."),
                        "kind": _text(),
                        "types": _array(_text()) | {"description": "None: whatever is of the kind."},
                    }
                )
            ),
        },
        text="One model of the catalogue, in RunComfy's shape with additions.",
    ),
    "ModelPage": _object(
        {"models": _array(_ref("Model")), "total": _INTEGER, "limit": _INTEGER, "offset": _INTEGER}
    ),
    "Limit": _LIMIT,
    "File": _FILE,
    "Quota": _object(
        {
            "tenant": _text(),
            "kid": _text("The key whose limits these are: the first of those that it was rotated from."),
            "token_id": _or_null(_text("Of a client token: which. It is shown its own limits alone.")),
            "end_user": _or_null(_text("Whom that token is for.")),
            "mode": _text(enum=["live", "test"]),
            "at": _MOMENT,
            "time_zone": _text("Whose midnight ends a day."),
            "limits": _array(_ref("Limit")),
            "queue": _object(
                {
                    "queueable": {
                        "type": "boolean",
                        "description": "Whether jobs that may not be sent yet are accepted, and wait.",
                    },
                    "queued": _INTEGER | {"description": "How many of the tenant's do."},
                    "max_queued": _INTEGER | {"description": "How many may."},
                    "weight": _INTEGER | {"description": "The tenant's share while others wait."},
                    "paused": {"type": "boolean", "description": "Whether nothing is sent for now."},
                },
                optional=("queued", "max_queued", "weight"),
                text="What waits. How much is told to API keys alone.",
            ),
            "usage": _array(
                _object(
                    {
                        "holder": _text(enum=_HOLDERS),
                        "model_id": _or_null(_text()),
                        "period": _text("A day, a month, or `total`."),
                        **{
                            f"{what}_{unit}": _INTEGER
                            for unit in ("generations", "microcredits")
                            for what in ("held", "spent")
                        },
                        "added_microcredits": _INTEGER | {"description": "Top-ups and adjustments."},
                    }
                )
            ),
        }
    ),
    "Quote": _object(
        {
            "model_id": _text(),
            "price_microcredits": _or_null(_INTEGER),
            "price_version": _text(),
            "admissible": {"type": "boolean", "description": "Whether a submit of it would be accepted."},
            "would_queue": {"type": "boolean", "description": "Whether it would wait before it is sent."},
            "errors": _array(_VIOLATION),
            "media": _FILES,
            "limits": _array(_ref("Limit")),
            "refusal": _or_null(
                _object(
                    {
                        "code": _text(),
                        "detail": _text(),
                        "retry_after_s": _or_null(_INTEGER),
                        "violated-policies": _POLICIES,
                    }
                )
            ),
        }
    ),
    "ClientTokenTerms": _TERMS_OF_TOKEN,
    "ClientToken": _object(_CLIENT_TOKEN),
    "MintedClientToken": _object({"token": _text("`rg_client_…`: shown this once."), **_CLIENT_TOKEN}),
    "ClientTokenPage": _object(
        {"client_tokens": _array(_ref("ClientToken")), "next_cursor": _or_null(_text("For `cursor`."))}
    ),
    "ClientTokenInFull": _object(
        {
            **_CLIENT_TOKEN,
            "usage": _object(
                {
                    f"{what}_{unit}": _INTEGER
                    for unit in ("generations", "microcredits")
                    for what in ("held", "spent")
                },
                text="All that it used; what was given back counts no more.",
            ),
            "newest_requests": _array(_ID) | {"description": "What it made, the newest first."},
            "newest_refusals": _array(
                _object(
                    {
                        "at": _MOMENT,
                        "code": _text("Of the problem."),
                        "detail": _text(),
                        "call": _text("Method and path."),
                        "origin": _or_null(_text("The page's.")),
                        "trace_id": _text(),
                    }
                )
            ),
        }
    ),
    "Event": _object(
        {
            "request_id": _ID,
            "number": _INTEGER | {"description": "Its place among all of the tenant's: 1, 2, 3 …"},
            "version": _INTEGER | {"description": "Its place among this request's."},
            "state": _ref("State"),
            "status": _text("RunComfy's word.", enum=sorted(set(STATUS_NAMES.values()))),
            "at": _MOMENT,
            "reason": _text(),
            "final": {"type": "boolean", "description": "Whether it is the last one."},
        }
    ),
    "Health": _object({"status": _text()}),
    "ProblemKind": _object(_KIND),
    "ProblemKinds": _object({"problems": _array(_ref("ProblemKind"))}),
    "Problem": _object(
        {
            **_KIND,
            "detail": _text(),
            "instance": _text(),
            "trace_id": _text("Quote it to the operator."),
            "retry_after_s": _INTEGER,
            "request_id": _ID,
            "errors": _array(_VIOLATION),
            "violated-policies": _POLICIES,
            "limits": _array(_ref("Limit")),
            "upstream": _object({"error_code": _or_null(_INTEGER), "error_message": _text()}),
        },
        optional=("retry_after_s", "request_id", "errors", "violated-policies", "limits", "upstream"),
        text="RFC 9457.",
    ),
}
