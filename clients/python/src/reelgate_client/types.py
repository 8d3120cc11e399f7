"""The documents of Reelgate's API, as plain dictionaries with known members.

Made from openapi.json by `python -m tools.client_types`; a test compares them.
"""

from __future__ import annotations

import sys
from typing import Any, Literal

if sys.version_info >= (3, 11):
    from typing import NotRequired, TypedDict
else:
    from typing_extensions import NotRequired, TypedDict


ErrorCode = Literal[
    "invalid_json",
    "invalid_form",
    "invalid_parameter",
    "invalid_idempotency_key",
    "malformed_request",
    "missing_api_key",
    "invalid_api_key",
    "invalid_client_token",
    "expired_client_token",
    "insufficient_scope",
    "out_of_bounds",
    "origin_not_allowed",
    "model_not_allowed",
    "route_not_found",
    "model_not_found",
    "request_not_found",
    "request_archived",
    "client_token_not_found",
    "method_not_allowed",
    "request_timeout",
    "idempotency_in_progress",
    "not_cancellable",
    "asset_not_found",
    "asset_not_stored",
    "asset_gone",
    "result_erased",
    "link_expired",
    "body_too_large",
    "address_too_long",
    "unsupported_media_type",
    "invalid_input",
    "invalid_token_terms",
    "media_unreachable",
    "direct_uploads_unavailable",
    "upload_incomplete",
    "range_not_satisfiable",
    "invalid_file",
    "media_unavailable",
    "idempotency_mismatch",
    "file_gone",
    "upstream_rejected",
    "quota_exceeded",
    "quota_exhausted",
    "too_many_streams",
    "headers_too_large",
    "http_error",
    "internal_error",
    "upstream_unserved",
    "upstream_unusable",
    "upstream_not_configured",
    "upstream_credential_refused",
    "upstream_busy",
    "queue_full",
    "gateway_queue_full",
    "dispatch_paused",
    "upstream_unreachable",
    "large_bodies_busy",
    "uploads_busy",
    "storage_unavailable",
    "database_unavailable",
    "too_many_connections",
    "shutting_down",
    "outcome_unknown",
    "upstream_timeout",
    "invalid_webhook_endpoint",
    "file_not_found",
    "webhook_endpoint_not_found",
    "webhook_delivery_not_found",
    "webhook_replay_not_found",
    "too_many_webhook_endpoints",
    "webhook_endpoint_stopped",
    "rotation_open",
    "replay_running",
    "webhooks_not_configured",
    "tenant_not_found",
    "tenant_exists",
    "invalid_tenant",
    "api_key_not_found",
    "api_key_not_active",
    "invalid_account_change",
    "invalid_api_key_terms",
    "invalid_account",
    "invalid_limit",
    "limit_not_found",
    "override_exists",
    "override_not_found",
    "invalid_repricing",
    "statement_not_found",
    "invalid_ledger_entry",
    "reference_conflict",
    "not_unknown",
    "not_attachable",
    "invalid_bill",
    "invalid_reason",
    "missing_admin_key",
    "session_ended",
    "sign_in_ended",
    "sign_in_refused",
    "no_operator_role",
    "oidc_unavailable",
    "invalid_portal_link",
    "portal_disabled",
    "foreign_page",
    "invalid_admin_key",
    "insufficient_admin_scope",
    "too_many_attempts",
    "missing_idempotency_key",
    "precondition_failed",
    "precondition_required",
    "invalid_change",
    "admin_key_not_found",
    "admin_key_not_active",
    "invalid_admin_key_terms",
]
"""The code of every problem."""

State = Literal[
    "accepted",
    "dispatching",
    "in_queue",
    "in_progress",
    "completed",
    "failed",
    "cancelled",
    "rejected",
    "expired",
    "unknown",
    "lost",
]
"""The state of a request, in more detail than RunComfy's status."""


class APIKey(TypedDict):
    """The document `APIKey` of the contract."""

    kid: str
    """The key's public identifier, which is not the key."""
    tenant: str
    """Its tenant's name."""
    mode: Literal["live", "test"]
    name: str
    state: Literal["active", "revoked", "expired", "disabled"]
    last_four: str
    scopes: list[
        Literal[
            "submit",
            "read",
            "tokens:create",
            "usage:read",
            "webhooks:read",
            "webhooks:write",
            "account:manage",
        ]
    ]
    models: list[str] | None
    """The only models that it may use; null: all."""
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    rotated_to: str | None
    """The kid of the key that replaces it."""
    last_used_at: str | None
    """When it was last used, to the hour."""
    queueing: bool | None
    """Whether its requests may be queued; null: as its tenant's."""
    mirror: Literal["off", "beside", "instead"] | None
    """Whether its outputs are mirrored; null: as its tenant's."""


class APIKeyPage(TypedDict):
    """The document `APIKeyPage` of the contract."""

    keys: list[APIKey]
    next_cursor: str | None


class Asset(TypedDict):
    """The document `Asset` of the contract."""

    asset_id: str
    """The asset's id."""
    request_id: str
    """The gateway's id of the request, a UUIDv7."""
    pointer: str
    """The file's place in `output`, as a JSON pointer such as `/videos/0`."""
    state: Literal["pending", "copying", "stored", "failed", "gone", "expired"]
    """`pending` and `copying` end as `stored`, as `failed` (it is no picture or video, or too large) or
    as `gone` (RunComfy's link ended before); a stored copy ends as `expired`.
    """
    error: str | None
    """Why the last attempt to copy it failed, as a class such as `status_404`."""
    attempts: int
    """How many attempts to copy it have begun."""
    next_attempt_at: str | None
    """When it is copied again, while it is `pending`."""
    media_type: str | None
    """By its bytes, whatever RunComfy called it."""
    size_bytes: int | None
    sha256: str | None
    """Of its bytes, in hexadecimal; null: there is no copy yet."""
    stored_at: str | None
    expires_at: str | None
    """When the copy is removed; null: never, or there is none."""
    url: str | None
    """Where the copy is served to whoever may read the request; null: it is not served."""


class AssetData(TypedDict):
    """The document `AssetData` of the contract."""

    asset_id: str
    request_id: str
    """The gateway's id of the request, a UUIDv7."""
    event_number: int
    """The event's number among all of the tenant's in this mode: 1, 2, 3 …"""
    pointer: str
    """The file's place in the output, as a JSON pointer."""
    state: Literal["stored", "failed", "gone", "expired"]
    reason: str
    """`copied`; of `failed` and `gone`, the class of the error; of `expired`, `retention` or `deleted`."""
    mode: Literal["live", "test"]
    media_type: str | None
    size_bytes: int | None
    sha256: str | None
    expires_at: str | None
    """When the copy is removed; null: never, or there is none."""
    links: AssetLinks


class AssetLinks(TypedDict):
    """The document `AssetLinks` of the contract."""

    request: str
    """Relative to the gateway's address."""
    assets: str
    """Relative to the gateway's address."""
    asset: str
    """Relative to the gateway's address."""


class AssetList(TypedDict):
    """The document `AssetList` of the contract."""

    assets: list[Asset]


class AssetMessage(TypedDict):
    """The document `AssetMessage` of the contract."""

    type: Literal["asset.stored", "asset.failed", "asset.expired"]
    timestamp: str
    version: int
    """The version of the message's shape. Members may be added to a version, never removed."""
    data: AssetData


class Bound(TypedDict):
    """The document `Bound` of the contract."""

    enum: NotRequired[list[Any]]
    """The only values that are allowed."""
    minimum: NotRequired[float]
    maximum: NotRequired[float]
    max_length: NotRequired[int]
    """Of a text or a list: its maximum length."""


class Cancelled(TypedDict):
    """The document `Cancelled` of the contract."""

    request_id: str
    """The gateway's id of the request, a UUIDv7."""
    status: Literal["cancelled", "completed", "in_progress", "in_queue"]
    """`completed` means finished: the result says whether it succeeded."""
    outcome: Literal["cancelled", "not_cancellable"]


class ClientToken(TypedDict):
    """The document `ClientToken` of the contract."""

    token_id: str
    """The token's public identifier, not the token itself."""
    state: Literal["active", "expired", "revoked", "disabled"]
    """Its own state, or its API key's where that is not active."""
    kid: str
    """The API key that created it."""
    mode: Literal["live", "test"]
    scopes: list[Literal["read", "submit"]]
    models: list[str] | None
    bounds: dict[str, Bound] | None
    max_generations: int | None
    max_microcredits: int | None
    max_upload_bytes: int | None
    origins: list[str] | None
    end_user: str | None
    visibility: Literal["token", "end_user", "request"]
    request_id: str | None
    """The gateway's id of the request, a UUIDv7."""
    created_at: str
    expires_at: str
    revoked_at: str | None
    last_used_at: str | None
    """When it was last used, to the minute."""
    refusals: int
    """How many of its calls were refused."""


class ClientTokenInFull(TypedDict):
    """The document `ClientTokenInFull` of the contract."""

    token_id: str
    """The token's public identifier, not the token itself."""
    state: Literal["active", "expired", "revoked", "disabled"]
    """Its own state, or its API key's where that is not active."""
    kid: str
    """The API key that created it."""
    mode: Literal["live", "test"]
    scopes: list[Literal["read", "submit"]]
    models: list[str] | None
    bounds: dict[str, Bound] | None
    max_generations: int | None
    max_microcredits: int | None
    max_upload_bytes: int | None
    origins: list[str] | None
    end_user: str | None
    visibility: Literal["token", "end_user", "request"]
    request_id: str | None
    """The gateway's id of the request, a UUIDv7."""
    created_at: str
    expires_at: str
    revoked_at: str | None
    last_used_at: str | None
    """When it was last used, to the minute."""
    refusals: int
    """How many of its calls were refused."""
    usage: Sums
    """What it has used; refunded amounts are not counted."""
    newest_requests: list[str]
    """Its newest requests, the newest first."""
    newest_refusals: list[TokenRefusal]


class ClientTokenPage(TypedDict):
    """The document `ClientTokenPage` of the contract."""

    client_tokens: list[ClientToken]
    next_cursor: str | None
    """The `cursor` of the next page; null on the last page."""


class ClientTokenTerms(TypedDict):
    """The document `ClientTokenTerms` of the contract."""

    lifetime_s: NotRequired[int]
    """Seconds until the token expires. It never outlives its API key."""
    models: NotRequired[list[str]]
    """The only models that the token may use."""
    bounds: NotRequired[dict[str, Bound]]
    """Bounds of the inputs of `models`."""
    max_generations: NotRequired[int]
    """The maximum number of its requests."""
    max_microcredits: NotRequired[int]
    """The maximum cost of its requests, in micro-credits."""
    max_upload_bytes: NotRequired[int]
    """How many bytes of files it may upload in its life. If it is left out, the operator's setting."""
    origins: NotRequired[list[str]]
    """The web origins that may use it; each must be one of the tenant's."""
    end_user: NotRequired[str]
    """The person for whom it is made: a label of yours. Each has limits of its own."""
    visibility: NotRequired[Literal["token", "end_user"]]
    """Which requests it may read: those that it made (`token`), or those of all tokens of its end user
    (`end_user`). Default: `end_user` if it has an end user, else `token`.
    """
    request_id: NotRequired[str]
    """The only request that it may read; it may do nothing else."""


class CreatedAPIKey(TypedDict):
    """The document `CreatedAPIKey` of the contract."""

    kid: str
    """The key's public identifier, which is not the key."""
    tenant: str
    """Its tenant's name."""
    mode: Literal["live", "test"]
    name: str
    state: Literal["active", "revoked", "expired", "disabled"]
    last_four: str
    scopes: list[
        Literal[
            "submit",
            "read",
            "tokens:create",
            "usage:read",
            "webhooks:read",
            "webhooks:write",
            "account:manage",
        ]
    ]
    models: list[str] | None
    """The only models that it may use; null: all."""
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    rotated_to: str | None
    """The kid of the key that replaces it."""
    last_used_at: str | None
    """When it was last used, to the hour."""
    queueing: bool | None
    """Whether its requests may be queued; null: as its tenant's."""
    mirror: Literal["off", "beside", "instead"] | None
    """Whether its outputs are mirrored; null: as its tenant's."""
    key: str | None
    """The key itself. It is shown once: null where this repeats the answer of an earlier call."""


class DeletedWebhookEndpoint(TypedDict):
    """The document `DeletedWebhookEndpoint` of the contract."""

    endpoint_id: str
    """The id of a webhook endpoint, which begins with `ep_`."""


class DirectUpload(TypedDict):
    """The document `DirectUpload` of the contract."""

    file_id: str
    """The id of an uploaded file, a UUIDv7."""
    url: str
    """Where the form is sent, by POST, as `multipart/form-data`."""
    fields: dict[str, str]
    """Its fields, which stand before the field `file`."""
    expires_at: str


class EndedAsset(TypedDict):
    """The document `EndedAsset` of the contract."""

    number: int
    """The event's number among all of the tenant's in this mode: 1, 2, 3 …"""
    at: str
    asset_id: str
    request_id: str
    """The gateway's id of the request, a UUIDv7."""
    state: Literal["stored", "failed", "gone", "expired"]
    reason: str
    """`copied`; of `failed` and `gone`, the class of the error; of `expired`, `retention` or `deleted`."""


class EndpointData(TypedDict):
    """The document `EndpointData` of the contract."""

    endpoint_id: str
    mode: Literal["live", "test"]
    url: str
    state: Literal["disabled", "gone"]
    reason: Literal["failing", "gone", "secret_unreadable"]
    links: EndpointLinks


class EndpointLinks(TypedDict):
    """The document `EndpointLinks` of the contract."""

    endpoint: str
    """Relative to the gateway's address."""


class EndpointMessage(TypedDict):
    """The document `EndpointMessage` of the contract."""

    type: Literal["endpoint.disabled"]
    timestamp: str
    version: int
    """The version of the message's shape. Members may be added to a version, never removed."""
    data: EndpointData


class Event(TypedDict):
    """The document `Event` of the contract."""

    request_id: str
    """The gateway's id of the request, a UUIDv7."""
    number: int
    """The event's number among all of the tenant's in this mode: 1, 2, 3 …"""
    version: int
    """The request's version since this event: 1, 2, 3 …"""
    state: State
    status: Literal["cancelled", "completed", "in_progress", "in_queue"]
    """The status as RunComfy names it."""
    at: str
    reason: str
    final: bool
    """Whether it is the request's last event."""


class File(TypedDict):
    """What the gateway knows of a file of the input."""

    pointer: str
    """The file's place in the input."""
    type: str | None
    """Its media type, by its first bytes; null: unknown."""
    size_bytes: int | None
    width: int | None
    """In pixels, as stored in the file."""
    height: int | None
    errors: list[FileError]


class FileError(TypedDict):
    """The document `FileError` of the contract."""

    code: str
    detail: str


class FileLink(TypedDict):
    """The document `FileLink` of the contract."""

    url: str
    expires_at: str


class Health(TypedDict):
    """The document `Health` of the contract."""

    status: str


class LedgerEntry(TypedDict):
    """The document `LedgerEntry` of the contract."""

    entry: int
    """Its number."""
    at: str
    """When it was entered."""
    kind: Literal["hold", "settle", "refund", "top-up", "adjustment"]
    microcredits: int
    """The change of the balance: below 0 for a hold, 0 for a settle."""
    request_id: str | None
    """The request that it belongs to, or whose price it corrects."""
    model_id: str | None
    kid: str | None
    """The first key of its line of rotations."""
    end_user: str | None
    reference: str | None
    note: str | None
    """Why it was entered."""


class LedgerPage(TypedDict):
    """The document `LedgerPage` of the contract."""

    entries: list[LedgerEntry]
    next_cursor: str | None


class Limit(TypedDict):
    """The document `Limit` of the contract."""

    policy: str
    """The limit's name, as in `RateLimit-Policy` and `violated-policies`."""
    holder: Literal["tenant", "key", "end-user", "token"]
    """Whose limit it is."""
    model_id: str | None
    """The model that it applies to; null: all models."""
    metric: Literal[
        "submits-minute",
        "in-flight",
        "stored-bytes",
        "generations-day",
        "generations-month",
        "generations-total",
        "credits-day",
        "credits-month",
        "credits-total",
        "output-seconds-day",
        "output-seconds-month",
        "output-seconds-total",
        "reads-minute",
        "calls-minute",
        "tokens-minute",
    ]
    unit: Literal[
        "bytes",
        "calls",
        "generations",
        "microcredits",
        "output-seconds",
        "reads",
        "requests",
        "submits",
        "tokens",
    ]
    limit: int
    burst: int | None
    """Of a rate: how many may come at once, if not `limit`."""
    held: int
    """Set aside for requests under way; it may be refunded."""
    spent: int
    remaining: int
    period: str | None
    """The day, the month, or `total`."""
    resets_at: str | None
    override_until: str | None
    """Where `limit` is a temporary override's: when that ends."""
    wanted: NotRequired[int]
    """In a refusal: how much the refused request needs."""


class ListedModel(TypedDict):
    """One model in a list, as in RunComfy's."""

    model_id: str
    display_name: str
    kind: Literal["model", "workflow", "inference"]
    """How RunComfy runs it."""
    categories: list[str]
    """What it makes of what, such as `image-to-video`."""
    base_price_usd: float
    """The price that lists show. A quote has the price of an input."""
    price_unit: str
    """What `base_price_usd` buys, such as `second` or `output`."""
    model_url: str
    """RunComfy's page of the model."""
    inputs: list[str]
    """The names of all inputs."""
    required_inputs: list[str]
    input_schema: NotRequired[dict[str, Any]]
    """RunComfy's own schema, verbatim, where `include_schema` asks for it."""
    output_schema: NotRequired[dict[str, Any] | None]
    pricing: dict[str, Any]
    """The operator's price list, in micro-credits."""
    output_seconds: NotRequired[int | dict[str, Any]]
    """How many seconds of output an input orders. Absent: the model does not declare them, and limits
    on seconds of output refuse its requests.
    """
    warnings: list[ModelWarning]
    media_rules: list[MediaRuleNote]
    media_inputs: list[MediaInputNote]


class MediaInputNote(TypedDict):
    """The document `MediaInputNote` of the contract."""

    pointer: str
    """A JSON Pointer, in which `*` stands for every element."""
    kind: str
    types: list[str]
    """The accepted media types; empty: all of this kind."""


class MediaRuleNote(TypedDict):
    """The document `MediaRuleNote` of the contract."""

    pointer: str
    """A JSON Pointer, in which `*` stands for every element."""
    kind: str
    rule: str
    """The rule as RunComfy writes it."""
    value: float
    message: str
    enforced: bool
    note: str | None
    """Why the rule is not enforced."""


class MintedClientToken(TypedDict):
    """The document `MintedClientToken` of the contract."""

    token: str
    """The token itself, `rg_client_…`. It is shown only once."""
    token_id: str
    """The token's public identifier, not the token itself."""
    state: Literal["active", "expired", "revoked", "disabled"]
    """Its own state, or its API key's where that is not active."""
    kid: str
    """The API key that created it."""
    mode: Literal["live", "test"]
    scopes: list[Literal["read", "submit"]]
    models: list[str] | None
    bounds: dict[str, Bound] | None
    max_generations: int | None
    max_microcredits: int | None
    max_upload_bytes: int | None
    origins: list[str] | None
    end_user: str | None
    visibility: Literal["token", "end_user", "request"]
    request_id: str | None
    """The gateway's id of the request, a UUIDv7."""
    created_at: str
    expires_at: str
    revoked_at: str | None
    last_used_at: str | None
    """When it was last used, to the minute."""
    refusals: int
    """How many of its calls were refused."""


class Model(TypedDict):
    """One model of the catalogue, in RunComfy's shape with additions."""

    model_id: str
    display_name: str
    kind: Literal["model", "workflow", "inference"]
    """How RunComfy runs it."""
    categories: list[str]
    """What it makes of what, such as `image-to-video`."""
    base_price_usd: float
    """The price that lists show. A quote has the price of an input."""
    price_unit: str
    """What `base_price_usd` buys, such as `second` or `output`."""
    model_url: str
    """RunComfy's page of the model."""
    inputs: list[str]
    """The names of all inputs."""
    required_inputs: list[str]
    input_schema: dict[str, Any]
    """RunComfy's own schema, verbatim."""
    output_schema: dict[str, Any] | None
    pricing: dict[str, Any]
    """The operator's price list, in micro-credits."""
    output_seconds: NotRequired[int | dict[str, Any]]
    """How many seconds of output an input orders. Absent: the model does not declare them, and limits
    on seconds of output refuse its requests.
    """
    warnings: list[ModelWarning]
    media_rules: list[MediaRuleNote]
    media_inputs: list[MediaInputNote]


class ModelCategories(TypedDict):
    """The document `ModelCategories` of the contract."""

    categories: list[str]


class ModelPage(TypedDict):
    """The document `ModelPage` of the contract."""

    models: list[ListedModel]
    total: int
    """How many models match, on all pages."""
    limit: int
    offset: int


class ModelWarning(TypedDict):
    """The document `ModelWarning` of the contract."""

    pointer: str
    reason: str


class NarrowedAPIKey(TypedDict):
    """The document `NarrowedAPIKey` of the contract."""

    name: NotRequired[str | None]
    scopes: NotRequired[
        list[
            Literal[
                "submit",
                "read",
                "tokens:create",
                "usage:read",
                "webhooks:read",
                "webhooks:write",
                "account:manage",
            ]
        ]
        | None
    ]
    """Some of those that it has."""
    models: NotRequired[list[str] | None]
    """Some of those that it may use."""
    lifetime_s: NotRequired[int | None]
    """Seconds from now until it expires, earlier than before."""


class NewAPIKey(TypedDict):
    """The document `NewAPIKey` of the contract."""

    name: NotRequired[str]
    scopes: NotRequired[
        list[
            Literal[
                "submit",
                "read",
                "tokens:create",
                "usage:read",
                "webhooks:read",
                "webhooks:write",
                "account:manage",
            ]
        ]
    ]
    """None that this key lacks."""
    models: NotRequired[list[str] | None]
    """The only models that it may use; null: those of this key."""
    lifetime_s: NotRequired[int | None]
    """Seconds from now until the key expires; null: never."""


class NewWebhookEndpoint(TypedDict):
    """The document `NewWebhookEndpoint` of the contract."""

    url: NotRequired[str]
    """Where events are sent to, by POST: an https:// URL."""
    description: NotRequired[str]
    """A note for its owner."""
    events: NotRequired[list[str] | None]
    """The types of events that are sent to it; null: all, also those that a later version adds. If
    empty, only events of requests whose submit names the endpoint (`Reelgate-Webhook`).
    """
    vendor_links: NotRequired[bool]
    """Whether events name RunComfy's own links to outputs."""
    signature: NotRequired[Literal["v1", "v1a"]]
    """How its messages are signed."""


class NewWebhookReplay(TypedDict):
    """The document `NewWebhookReplay` of the contract."""

    since: NotRequired[str]
    """Deliveries that were made at this moment or later."""
    until: NotRequired[str | None]
    """And before this moment; null: until now."""
    only_failed: NotRequired[bool]
    """Only events that were not delivered. False: all, also once more."""
    events: NotRequired[list[str] | None]
    """Only events of these types."""


class PeriodUsage(TypedDict):
    """The document `PeriodUsage` of the contract."""

    holder: Literal["tenant", "key", "end-user", "token"]
    model_id: str | None
    period: str
    """The day, the month, or `total`."""
    held_generations: int
    spent_generations: int
    held_microcredits: int
    spent_microcredits: int
    held_output_seconds: int
    spent_output_seconds: int
    added_microcredits: int
    """Top-ups and adjustments."""


class PortalLink(TypedDict):
    """The document `PortalLink` of the contract."""

    url: str | None
    """The link. It is shown once: null where this repeats the answer of an earlier call."""
    expires_at: str
    kid: str
    """The API key that whoever opens it acts as."""
    tenant: str
    scopes: list[str]


class PortalLinkTerms(TypedDict):
    """The document `PortalLinkTerms` of the contract."""

    scopes: NotRequired[
        list[
            Literal[
                "submit",
                "read",
                "tokens:create",
                "usage:read",
                "webhooks:read",
                "webhooks:write",
                "account:manage",
            ]
        ]
        | None
    ]
    """Fewer scopes than the key's; left out or null: all of them."""


Problem = TypedDict(
    "Problem",
    {
        "type": "str",
        "title": "str",
        "status": "int",
        "code": "Literal['invalid_json', 'invalid_form', 'invalid_parameter', 'invalid_idempotency_key', 'malformed_request', 'missing_api_key', 'invalid_api_key', 'invalid_client_token', 'expired_client_token', 'insufficient_scope', 'out_of_bounds', 'origin_not_allowed', 'model_not_allowed', 'route_not_found', 'model_not_found', 'request_not_found', 'request_archived', 'client_token_not_found', 'method_not_allowed', 'request_timeout', 'idempotency_in_progress', 'not_cancellable', 'asset_not_found', 'asset_not_stored', 'asset_gone', 'result_erased', 'link_expired', 'body_too_large', 'address_too_long', 'unsupported_media_type', 'invalid_input', 'invalid_token_terms', 'media_unreachable', 'direct_uploads_unavailable', 'upload_incomplete', 'range_not_satisfiable', 'invalid_file', 'media_unavailable', 'idempotency_mismatch', 'file_gone', 'upstream_rejected', 'quota_exceeded', 'quota_exhausted', 'too_many_streams', 'headers_too_large', 'http_error', 'internal_error', 'upstream_unserved', 'upstream_unusable', 'upstream_not_configured', 'upstream_credential_refused', 'upstream_busy', 'queue_full', 'gateway_queue_full', 'dispatch_paused', 'upstream_unreachable', 'large_bodies_busy', 'uploads_busy', 'storage_unavailable', 'database_unavailable', 'too_many_connections', 'shutting_down', 'outcome_unknown', 'upstream_timeout', 'invalid_webhook_endpoint', 'file_not_found', 'webhook_endpoint_not_found', 'webhook_delivery_not_found', 'webhook_replay_not_found', 'too_many_webhook_endpoints', 'webhook_endpoint_stopped', 'rotation_open', 'replay_running', 'webhooks_not_configured', 'tenant_not_found', 'tenant_exists', 'invalid_tenant', 'api_key_not_found', 'api_key_not_active', 'invalid_account_change', 'invalid_api_key_terms', 'invalid_account', 'invalid_limit', 'limit_not_found', 'override_exists', 'override_not_found', 'invalid_repricing', 'statement_not_found', 'invalid_ledger_entry', 'reference_conflict', 'not_unknown', 'not_attachable', 'invalid_bill', 'invalid_reason', 'missing_admin_key', 'session_ended', 'sign_in_ended', 'sign_in_refused', 'no_operator_role', 'oidc_unavailable', 'invalid_portal_link', 'portal_disabled', 'foreign_page', 'invalid_admin_key', 'insufficient_admin_scope', 'too_many_attempts', 'missing_idempotency_key', 'precondition_failed', 'precondition_required', 'invalid_change', 'admin_key_not_found', 'admin_key_not_active', 'invalid_admin_key_terms']",
        "retryable": "bool",
        "remedy": "str",
        "error_code": "NotRequired[int]",
        "detail": "str",
        "instance": "str",
        "trace_id": "str",
        "retry_after_s": "NotRequired[int]",
        "request_id": "NotRequired[str]",
        "errors": "NotRequired[list[Violation]]",
        "violated-policies": "NotRequired[list[str]]",
        "limits": "NotRequired[list[Limit]]",
        "upstream": "NotRequired[UpstreamWords]",
    },
)
"""A problem document (RFC 9457)."""


class ProblemKind(TypedDict):
    """The document `ProblemKind` of the contract."""

    type: str
    title: str
    status: int
    code: Literal[
        "invalid_json",
        "invalid_form",
        "invalid_parameter",
        "invalid_idempotency_key",
        "malformed_request",
        "missing_api_key",
        "invalid_api_key",
        "invalid_client_token",
        "expired_client_token",
        "insufficient_scope",
        "out_of_bounds",
        "origin_not_allowed",
        "model_not_allowed",
        "route_not_found",
        "model_not_found",
        "request_not_found",
        "request_archived",
        "client_token_not_found",
        "method_not_allowed",
        "request_timeout",
        "idempotency_in_progress",
        "not_cancellable",
        "asset_not_found",
        "asset_not_stored",
        "asset_gone",
        "result_erased",
        "link_expired",
        "body_too_large",
        "address_too_long",
        "unsupported_media_type",
        "invalid_input",
        "invalid_token_terms",
        "media_unreachable",
        "direct_uploads_unavailable",
        "upload_incomplete",
        "range_not_satisfiable",
        "invalid_file",
        "media_unavailable",
        "idempotency_mismatch",
        "file_gone",
        "upstream_rejected",
        "quota_exceeded",
        "quota_exhausted",
        "too_many_streams",
        "headers_too_large",
        "http_error",
        "internal_error",
        "upstream_unserved",
        "upstream_unusable",
        "upstream_not_configured",
        "upstream_credential_refused",
        "upstream_busy",
        "queue_full",
        "gateway_queue_full",
        "dispatch_paused",
        "upstream_unreachable",
        "large_bodies_busy",
        "uploads_busy",
        "storage_unavailable",
        "database_unavailable",
        "too_many_connections",
        "shutting_down",
        "outcome_unknown",
        "upstream_timeout",
        "invalid_webhook_endpoint",
        "file_not_found",
        "webhook_endpoint_not_found",
        "webhook_delivery_not_found",
        "webhook_replay_not_found",
        "too_many_webhook_endpoints",
        "webhook_endpoint_stopped",
        "rotation_open",
        "replay_running",
        "webhooks_not_configured",
        "tenant_not_found",
        "tenant_exists",
        "invalid_tenant",
        "api_key_not_found",
        "api_key_not_active",
        "invalid_account_change",
        "invalid_api_key_terms",
        "invalid_account",
        "invalid_limit",
        "limit_not_found",
        "override_exists",
        "override_not_found",
        "invalid_repricing",
        "statement_not_found",
        "invalid_ledger_entry",
        "reference_conflict",
        "not_unknown",
        "not_attachable",
        "invalid_bill",
        "invalid_reason",
        "missing_admin_key",
        "session_ended",
        "sign_in_ended",
        "sign_in_refused",
        "no_operator_role",
        "oidc_unavailable",
        "invalid_portal_link",
        "portal_disabled",
        "foreign_page",
        "invalid_admin_key",
        "insufficient_admin_scope",
        "too_many_attempts",
        "missing_idempotency_key",
        "precondition_failed",
        "precondition_required",
        "invalid_change",
        "admin_key_not_found",
        "admin_key_not_active",
        "invalid_admin_key_terms",
    ]
    """A stable code for programs."""
    retryable: bool
    """Whether sending the same request again can help."""
    remedy: str
    """What to do about it."""
    error_code: NotRequired[int]
    """RunComfy's number for an error of this meaning."""


class ProblemKinds(TypedDict):
    """The document `ProblemKinds` of the contract."""

    problems: list[ProblemKind]


class Queue(TypedDict):
    """The document `Queue` of the contract."""

    queueable: bool
    """Whether requests that cannot be sent yet are accepted and queued."""
    queued: NotRequired[int]
    """How many of the tenant's requests are queued."""
    max_queued: NotRequired[int]
    """How many may be queued."""
    weight: NotRequired[int]
    """The tenant's share of what is sent while other tenants have queued requests."""
    paused: bool
    """Whether the operator has paused sending."""


class Quota(TypedDict):
    """The document `Quota` of the contract."""

    tenant: str
    kid: str
    """The API key that the limits belong to; of a rotated key, the original one."""
    token_id: str | None
    """The client token that asks, if any. It is shown only its own limits."""
    end_user: str | None
    """The end user for whom that token was made."""
    mode: Literal["live", "test"]
    at: str
    time_zone: str
    """The time zone in which days and months are counted."""
    limits: list[Limit]
    queue: Queue
    """The tenant's queue. Only API keys are shown the numbers."""
    usage: list[PeriodUsage]


class QuotaLinks(TypedDict):
    """The document `QuotaLinks` of the contract."""

    quota: str
    """Relative to the gateway's address."""


class Quote(TypedDict):
    """The document `Quote` of the contract."""

    model_id: str
    price_microcredits: int | None
    output_seconds: int | None
    """Null: the model does not declare them, or the input is not valid."""
    price_version: str
    admissible: bool
    """Whether a submit of this input would be accepted."""
    would_queue: bool
    """Whether the request would be queued before it is sent."""
    errors: list[Violation]
    media: list[File] | None
    """What the gateway knows of the input's files; null: they were not inspected."""
    limits: list[Limit]
    refusal: QuoteRefusal | None


QuoteRefusal = TypedDict(
    "QuoteRefusal",
    {"code": "str", "detail": "str", "retry_after_s": "int | None", "violated-policies": "list[str]"},
)
"""The document `QuoteRefusal` of the contract."""


class RecordedEvent(TypedDict):
    """The document `RecordedEvent` of the contract."""

    version: int
    number: int
    """The event's number among all of the tenant's in this mode: 1, 2, 3 …"""
    state: State
    at: str
    reason: str


class RefusalCounts(TypedDict):
    """The document `RefusalCounts` of the contract."""

    since: str
    until: str
    refusals: list[RefusedCalls]


class RefusedCalls(TypedDict):
    """The document `RefusedCalls` of the contract."""

    kid: str
    """The API key, also of a client token; it is not the key itself."""
    code: str
    """The problem's `code`; `/problems` says what can be done."""
    count: int
    max_per_minute: int
    """The number in the worst minute."""
    first_at: str
    """The minute of the first."""
    last_at: str
    """The minute of the last."""


class Request(TypedDict):
    """The document `Request` of the contract."""

    request_id: str
    """The gateway's id of the request, a UUIDv7."""
    status_url: str
    result_url: str
    cancel_url: str
    status: Literal["cancelled", "completed", "in_progress", "in_queue"]
    """`completed` means finished: the result says whether it succeeded."""
    state: State
    model_id: str
    mode: Literal["live", "test"]
    """The mode of the key that made it."""
    kid: str
    """The API key that made it."""
    token_id: str | None
    """The client token that made it, if any."""
    end_user: str | None
    """The end user for whom that token was made."""
    price_microcredits: int | None
    repriced_microcredits: int | None
    """What it costs since its price was corrected; null: it was not corrected."""
    output_seconds: int
    """The seconds of output that it ordered, as limits count them."""
    charge: Literal["held", "settled", "refunded"] | None
    """What became of its price: held while the request is under way, then settled or refunded."""
    created_at: str
    changed_at: str
    finished_at: str | None
    version: int
    """Grows by one with every change of state."""
    input: dict[str, Any]
    """The input that the caller sent."""
    media: list[File] | None
    """What the gateway knows of the input's files; null: they were not inspected."""
    output: dict[str, Any] | None
    """RunComfy's output, with RunComfy's own URLs: any of `image`, `video`, `audio` (a URL) and
    `images`, `videos` (lists of URLs).
    """
    error: Any
    """Why the request failed, in RunComfy's own form: a string, an object or a list. Where Reelgate
    itself ended it, an object with `code` and `message`.
    """
    queue_position: int | None
    """How many requests are ahead of it, here and at RunComfy, as last known."""
    price_version: str | None
    sent_at: str | None
    """When it was sent to RunComfy."""
    start_deadline: str | None
    """When it is cancelled if it has not started."""
    estimated_start_at: str | None
    """While it is queued, by how long jobs usually take; null: unknown."""
    started_at: str | None
    output_expires_at: str | None
    """When the output will be erased."""
    output_erased_at: str | None
    """When the output was erased."""
    checked_at: str | None
    """When RunComfy was last polled."""
    idempotency_key: str | None
    webhook_endpoint_id: str | None
    """The webhook endpoint that its submit named."""
    trace_id: str
    events: list[RecordedEvent]
    assets: list[Asset]
    """The copies of its output in the gateway's store; empty: it is not mirrored."""


class RequestData(TypedDict):
    """The document `RequestData` of the contract."""

    request_id: str
    """The gateway's id of the request, a UUIDv7."""
    event_number: int
    """The event's number among all of the tenant's in this mode: 1, 2, 3 …"""
    request_version: int
    """The request's version since this event: 1, 2, 3 …"""
    state: State
    status: Literal["cancelled", "completed", "in_progress", "in_queue"]
    """The status as RunComfy names it."""
    reason: str
    error_code: str | None
    """The code of the error that it ended with, if it has one."""
    model_id: str
    mode: Literal["live", "test"]
    kid: str
    """The API key that made it."""
    token_id: str | None
    end_user: str | None
    idempotency_key: str | None
    charge: Literal["held", "settled", "refunded"] | None
    """What became of its price: held, settled or refunded."""
    price_microcredits: int | None
    output_seconds: int
    created_at: str
    finished_at: str | None
    links: RequestLinks
    output: NotRequired[dict[str, Any] | None]
    """RunComfy's output with RunComfy's own links, for endpoints that chose `vendor_links`; null: none,
    or too large for a message.
    """


class RequestLinks(TypedDict):
    """The document `RequestLinks` of the contract."""

    request: str
    """Relative to the gateway's address."""
    status: str
    """Relative to the gateway's address."""
    result: str
    """Relative to the gateway's address."""


class RequestMessage(TypedDict):
    """The document `RequestMessage` of the contract."""

    type: Literal[
        "request.completed", "request.failed", "request.cancelled", "request.unknown", "request.resolved"
    ]
    timestamp: str
    version: int
    """The version of the message's shape. Members may be added to a version, never removed."""
    data: RequestData


class RequestPage(TypedDict):
    """The document `RequestPage` of the contract."""

    requests: list[RequestSummary]
    next_cursor: str | None
    """The `cursor` of the next page; null on the last page."""


class RequestSummary(TypedDict):
    """The document `RequestSummary` of the contract."""

    request_id: str
    """The gateway's id of the request, a UUIDv7."""
    status_url: str
    result_url: str
    cancel_url: str
    status: Literal["cancelled", "completed", "in_progress", "in_queue"]
    """`completed` means finished: the result says whether it succeeded."""
    state: State
    model_id: str
    mode: Literal["live", "test"]
    """The mode of the key that made it."""
    kid: str
    """The API key that made it."""
    token_id: str | None
    """The client token that made it, if any."""
    end_user: str | None
    """The end user for whom that token was made."""
    price_microcredits: int | None
    repriced_microcredits: int | None
    """What it costs since its price was corrected; null: it was not corrected."""
    output_seconds: int
    """The seconds of output that it ordered, as limits count them."""
    charge: Literal["held", "settled", "refunded"] | None
    """What became of its price: held while the request is under way, then settled or refunded."""
    created_at: str
    changed_at: str
    finished_at: str | None


class Result(TypedDict):
    """The document `Result` of the contract."""

    request_id: str
    """The gateway's id of the request, a UUIDv7."""
    status: Literal["cancelled", "failed", "in_progress", "in_queue", "succeeded"]
    output: NotRequired[dict[str, Any] | None]
    """RunComfy's output, with RunComfy's own URLs: any of `image`, `video`, `audio` (a URL) and
    `images`, `videos` (lists of URLs).
    """
    error: NotRequired[Any]
    """Why the request failed, in RunComfy's own form: a string, an object or a list. Where Reelgate
    itself ended it, an object with `code` and `message`.
    """
    created_at: str
    finished_at: NotRequired[str]
    cost: NotRequired[float]
    """What the tenant pays, in US dollars, once that is final."""


class RotatedAPIKey(TypedDict):
    """The document `RotatedAPIKey` of the contract."""

    kid: str
    """The key's public identifier, which is not the key."""
    tenant: str
    """Its tenant's name."""
    mode: Literal["live", "test"]
    name: str
    state: Literal["active", "revoked", "expired", "disabled"]
    last_four: str
    scopes: list[
        Literal[
            "submit",
            "read",
            "tokens:create",
            "usage:read",
            "webhooks:read",
            "webhooks:write",
            "account:manage",
        ]
    ]
    models: list[str] | None
    """The only models that it may use; null: all."""
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    rotated_to: str | None
    """The kid of the key that replaces it."""
    last_used_at: str | None
    """When it was last used, to the hour."""
    queueing: bool | None
    """Whether its requests may be queued; null: as its tenant's."""
    mirror: Literal["off", "beside", "instead"] | None
    """Whether its outputs are mirrored; null: as its tenant's."""
    key: str | None
    """The key itself. It is shown once: null where this repeats the answer of an earlier call."""
    replaces: str
    """The kid of the key that it replaces."""
    old_key_ends_at: str


class RotationOfKey(TypedDict):
    """The document `RotationOfKey` of the contract."""

    overlap_s: NotRequired[int]
    """Seconds."""


class StatementData(TypedDict):
    """The document `StatementData` of the contract."""

    mode: Literal["live", "test"]
    month: str
    entries: int
    opening_microcredits: int
    closing_microcredits: int
    links: StatementLinks


class StatementInFull(TypedDict):
    """The document `StatementInFull` of the contract."""

    month: str
    """Such as `2026-11`."""
    time_zone: str
    """The time zone whose month it is."""
    begin: str
    """Its beginning, where the month before it ends."""
    until: str
    """Its end: later entries are of the next month."""
    opening_microcredits: int
    held_microcredits: int
    """The holds, which took credits from the balance."""
    refunded_microcredits: int
    added_microcredits: int
    """The top-ups."""
    adjusted_microcredits: int
    """The adjustments; below 0 where they took credits away."""
    closing_microcredits: int
    number_of_entries: int
    csv_sha256: str
    """SHA-256 of the statement as CSV, in hexadecimal digits."""
    closed_at: str
    entries: list[LedgerEntry]
    next_cursor: str | None


class StatementLinks(TypedDict):
    """The document `StatementLinks` of the contract."""

    statement: str
    """Relative to the gateway's address."""


class StatementMessage(TypedDict):
    """The document `StatementMessage` of the contract."""

    type: Literal["statement.closed"]
    timestamp: str
    version: int
    """The version of the message's shape. Members may be added to a version, never removed."""
    data: StatementData


class StatementPage(TypedDict):
    """The document `StatementPage` of the contract."""

    statements: list[StatementSummary]
    next_cursor: str | None


class StatementSummary(TypedDict):
    """The document `StatementSummary` of the contract."""

    month: str
    """Such as `2026-11`."""
    time_zone: str
    """The time zone whose month it is."""
    begin: str
    """Its beginning, where the month before it ends."""
    until: str
    """Its end: later entries are of the next month."""
    opening_microcredits: int
    held_microcredits: int
    """The holds, which took credits from the balance."""
    refunded_microcredits: int
    added_microcredits: int
    """The top-ups."""
    adjusted_microcredits: int
    """The adjustments; below 0 where they took credits away."""
    closing_microcredits: int
    number_of_entries: int
    csv_sha256: str
    """SHA-256 of the statement as CSV, in hexadecimal digits."""
    closed_at: str


class Status(TypedDict):
    """The document `Status` of the contract."""

    request_id: str
    """The gateway's id of the request, a UUIDv7."""
    status: Literal["cancelled", "completed", "in_progress", "in_queue"]
    """`completed` means finished: the result says whether it succeeded."""
    queue_position: NotRequired[int]
    """How many requests are ahead of it; only in `in_queue`."""
    status_url: str
    result_url: str


class StoppedEndpoint(TypedDict):
    """The document `StoppedEndpoint` of the contract."""

    number: int
    """The event's number among all of the tenant's in this mode: 1, 2, 3 …"""
    at: str
    endpoint_id: str
    state: Literal["disabled", "gone"]
    """What it is now."""
    reason: str
    """`failing`: for five days; `gone`: it answered 410 twice; `secret_unreadable`: by the gateway."""


class Submitted(TypedDict):
    """The document `Submitted` of the contract."""

    request_id: str
    """The gateway's id of the request, a UUIDv7."""
    status_url: str
    result_url: str
    cancel_url: str


class Sums(TypedDict):
    """The document `Sums` of the contract."""

    held_generations: int
    spent_generations: int
    held_microcredits: int
    spent_microcredits: int
    held_output_seconds: int
    spent_output_seconds: int


class TestData(TypedDict):
    """The document `TestData` of the contract."""

    endpoint_id: str
    mode: Literal["live", "test"]
    links: EndpointLinks


class TestMessage(TypedDict):
    """The document `TestMessage` of the contract."""

    type: Literal["webhook.test"]
    timestamp: str
    version: int
    """The version of the message's shape. Members may be added to a version, never removed."""
    data: TestData


class Threshold(TypedDict):
    """The document `Threshold` of the contract."""

    number: int
    """The event's number among all of the tenant's in this mode: 1, 2, 3 …"""
    at: str
    policy: str
    """The limit's name, such as `key-credits-day`."""
    kid: str | None
    model_id: str | None
    end_user: str | None
    period: str
    """The day, the month, or `total`."""
    percent: int
    """The threshold: this percentage of the amount is used, or more."""
    amount: int
    """Of credits: in micro-credits. Of a balance: with what was paid in."""
    used: int
    """What is held and spent."""


class ThresholdData(TypedDict):
    """The document `ThresholdData` of the contract."""

    event_number: int
    """The event's number among all of the tenant's in this mode: 1, 2, 3 …"""
    mode: Literal["live", "test"]
    policy: str
    """The limit's name, such as `key-credits-day`."""
    kid: str | None
    model_id: str | None
    end_user: str | None
    period: str
    """The day, the month, or `total`."""
    percent: int
    amount: int
    """Of credits: in micro-credits."""
    used: int
    """What is held and spent."""
    links: QuotaLinks


class ThresholdMessage(TypedDict):
    """The document `ThresholdMessage` of the contract."""

    type: Literal["quota.threshold"]
    timestamp: str
    version: int
    """The version of the message's shape. Members may be added to a version, never removed."""
    data: ThresholdData


class TokenRefusal(TypedDict):
    """The document `TokenRefusal` of the contract."""

    at: str
    code: str
    """The problem's code."""
    detail: str
    call: str
    """Method and path of the call."""
    origin: str | None
    """The web page's origin."""
    trace_id: str


class UploadedFile(TypedDict):
    """The document `UploadedFile` of the contract."""

    file_id: str
    """The id of an uploaded file, a UUIDv7."""
    reference: str
    """What an input has in place of the file's URL: `rg-file:` and the id."""
    mode: Literal["live", "test"]
    name: str | None
    """What its sender called it."""
    model_id: str | None
    """The model whose rules it was judged by; null: none."""
    type: str
    """Its media type, by its bytes."""
    bytes: int
    width: int | None
    """In pixels, of a picture; null where it is not known."""
    height: int | None
    """In pixels, as `width`."""
    sha256: str
    """The SHA-256 of its bytes, in hex; also its entity tag."""
    end_user: str | None
    """The end user whose client token uploaded it."""
    created_at: str
    expires_at: str | None
    """When it is deleted; null: never."""


class UploadedFilePage(TypedDict):
    """The document `UploadedFilePage` of the contract."""

    files: list[UploadedFile]
    next_cursor: str | None


class UpstreamWords(TypedDict):
    """The document `UpstreamWords` of the contract."""

    error_code: int | None
    error_message: str


class Usage(TypedDict):
    """The document `Usage` of the contract."""

    time_zone: str
    """The time zone whose days and months these are."""
    time_zone_since: str | None
    """When the time zone was last changed: earlier days are of the one before."""
    by: Literal["hour", "day", "month"]
    first_day: str
    last_day: str
    """It is included."""
    group_by: list[str]
    rows: list[UsageRow]
    total: UsageSums
    """The sums of all pages."""
    next_cursor: str | None


class UsageRow(TypedDict):
    """The document `UsageRow` of the contract."""

    held_generations: int
    """Generations that were submitted, whose price was held."""
    held_microcredits: int
    spent_generations: int
    """Generations whose price was settled."""
    spent_microcredits: int
    refunded_generations: int
    """Generations whose price was given back."""
    refunded_microcredits: int
    refused_calls: int
    """Calls that were answered with an error; of no model."""
    ended_generations: int
    """Generations that came to their final state."""
    added_microcredits: int
    """Top-ups."""
    adjusted_microcredits: int
    """Adjustments, corrections of prices among them."""
    period: str
    """The hour's start, the day or the month, as `by` says."""
    model_id: NotRequired[str | None]
    kid: NotRequired[str | None]
    """The first key of its line of rotations."""
    end_user: NotRequired[str | None]
    token_id: NotRequired[str | None]
    outcome: NotRequired[str | None]
    """`submitted`, the state that ended it, or `refused`."""


class UsageSums(TypedDict):
    """The document `UsageSums` of the contract."""

    held_generations: int
    """Generations that were submitted, whose price was held."""
    held_microcredits: int
    spent_generations: int
    """Generations whose price was settled."""
    spent_microcredits: int
    refunded_generations: int
    """Generations whose price was given back."""
    refunded_microcredits: int
    refused_calls: int
    """Calls that were answered with an error; of no model."""
    ended_generations: int
    """Generations that came to their final state."""
    added_microcredits: int
    """Top-ups."""
    adjusted_microcredits: int
    """Adjustments, corrections of prices among them."""


class Violation(TypedDict):
    """The document `Violation` of the contract."""

    pointer: str
    """Where it is wrong: a JSON Pointer (RFC 6901) in fragment form."""
    code: str
    detail: str


class WebOrigins(TypedDict):
    """The document `WebOrigins` of the contract."""

    origins: list[str]
    """Such as `https://app.example.com`."""


class WebhookAttempt(TypedDict):
    """The document `WebhookAttempt` of the contract."""

    number: int
    """1, 2, 3 …"""
    at: str
    took_ms: int
    status: int | None
    """The status of the answer; null: there was none."""
    error: str | None
    """Why it failed; null: it has succeeded."""
    answer: str | None
    """The first KiB of the answer's body."""


class WebhookDelivery(TypedDict):
    """The document `WebhookDelivery` of the contract."""

    delivery_id: str
    """The id of a delivery, which begins with `dlv_`."""
    message_id: str
    """The event's `webhook-id`: the same in every delivery of the event."""
    endpoint_id: str
    """The id of a webhook endpoint, which begins with `ep_`."""
    mode: Literal["live", "test"]
    type: str
    """The type of event, such as `request.completed`."""
    cause: Literal["event", "replay", "test"]
    """Why it was made."""
    replay_id: str | None
    """The replay that made it."""
    state: Literal["pending", "delivering", "delivered", "failed", "cancelled"]
    """`failed`: its last attempt failed, there are no more. `cancelled`: it was not sent."""
    attempts: int
    """How many attempts have begun."""
    last_status: int | None
    """The status of the answer; null: there was none."""
    last_error: str | None
    """Why it failed; null: it has succeeded."""
    last_attempt_at: str | None
    next_attempt_at: str | None
    """While it is `pending`: when it is tried at the earliest."""
    created_at: str
    finished_at: str | None


class WebhookDeliveryInFull(TypedDict):
    """The document `WebhookDeliveryInFull` of the contract."""

    delivery_id: str
    """The id of a delivery, which begins with `dlv_`."""
    message_id: str
    """The event's `webhook-id`: the same in every delivery of the event."""
    endpoint_id: str
    """The id of a webhook endpoint, which begins with `ep_`."""
    mode: Literal["live", "test"]
    type: str
    """The type of event, such as `request.completed`."""
    cause: Literal["event", "replay", "test"]
    """Why it was made."""
    replay_id: str | None
    """The replay that made it."""
    state: Literal["pending", "delivering", "delivered", "failed", "cancelled"]
    """`failed`: its last attempt failed, there are no more. `cancelled`: it was not sent."""
    attempts: int
    """How many attempts have begun."""
    last_status: int | None
    """The status of the answer; null: there was none."""
    last_error: str | None
    """Why it failed; null: it has succeeded."""
    last_attempt_at: str | None
    next_attempt_at: str | None
    """While it is `pending`: when it is tried at the earliest."""
    created_at: str
    finished_at: str | None
    request_id: str | None
    """The request that the event is about."""
    attempt_log: list[WebhookAttempt]
    payload: dict[str, Any] | None
    """The event; null: it has been erased."""


class WebhookDeliveryPage(TypedDict):
    """The document `WebhookDeliveryPage` of the contract."""

    deliveries: list[WebhookDelivery]
    next_cursor: str | None


class WebhookEndpoint(TypedDict):
    """The document `WebhookEndpoint` of the contract."""

    endpoint_id: str
    """The id of a webhook endpoint, which begins with `ep_`."""
    mode: Literal["live", "test"]
    url: str
    description: str
    events: list[str] | None
    """The types of events that are sent to it; null: all, also those that a later version adds. If
    empty, only events of requests whose submit names the endpoint (`Reelgate-Webhook`).
    """
    vendor_links: bool
    """Whether it is told RunComfy's own links to outputs."""
    state: Literal["enabled", "paused", "disabled", "gone"]
    """`paused` by its owner, `disabled` after days of failures, `gone` after it answered 410 twice."""
    health: WebhookHealth
    signature: Literal["v1", "v1a"]
    """`v1`: HMAC-SHA256 with a shared secret; `v1a`: Ed25519."""
    public_keys: list[str]
    """Of `v1a`: `whpk_…`, the present one first, then the previous one while it counts."""
    previous_secret_ends_at: str | None
    """Until when messages are signed with the secret before the last rotation too; null: not."""
    created_at: str
    changed_at: str


class WebhookEndpointPage(TypedDict):
    """The document `WebhookEndpointPage` of the contract."""

    endpoints: list[WebhookEndpoint]
    next_cursor: str | None


class WebhookEndpointTerms(TypedDict):
    """The document `WebhookEndpointTerms` of the contract."""

    url: NotRequired[str]
    """Where events are sent to, by POST: an https:// URL."""
    description: NotRequired[str]
    """A note for its owner."""
    events: NotRequired[list[str] | None]
    """The types of events that are sent to it; null: all, also those that a later version adds. If
    empty, only events of requests whose submit names the endpoint (`Reelgate-Webhook`).
    """
    vendor_links: NotRequired[bool]
    """Whether events name RunComfy's own links to outputs."""


class WebhookEndpointWithSecret(TypedDict):
    """The document `WebhookEndpointWithSecret` of the contract."""

    endpoint_id: str
    """The id of a webhook endpoint, which begins with `ep_`."""
    mode: Literal["live", "test"]
    url: str
    description: str
    events: list[str] | None
    """The types of events that are sent to it; null: all, also those that a later version adds. If
    empty, only events of requests whose submit names the endpoint (`Reelgate-Webhook`).
    """
    vendor_links: bool
    """Whether it is told RunComfy's own links to outputs."""
    state: Literal["enabled", "paused", "disabled", "gone"]
    """`paused` by its owner, `disabled` after days of failures, `gone` after it answered 410 twice."""
    health: WebhookHealth
    signature: Literal["v1", "v1a"]
    """`v1`: HMAC-SHA256 with a shared secret; `v1a`: Ed25519."""
    public_keys: list[str]
    """Of `v1a`: `whpk_…`, the present one first, then the previous one while it counts."""
    previous_secret_ends_at: str | None
    """Until when messages are signed with the secret before the last rotation too; null: not."""
    created_at: str
    changed_at: str
    secret: str | None
    """What its receiver verifies with: `whsec_…` of `v1`. It is shown once: null where this repeats an
    earlier answer. With `v1a` there is no shared secret, and it is null: see `public_keys`.
    """


class WebhookHealth(TypedDict):
    """The document `WebhookHealth` of the contract."""

    failing_since: str | None
    """The first failure since the last success; null: the last one succeeded."""
    state_since: str
    state_reason: str | None
    """Why it is `disabled` or `gone`."""


class WebhookMessage(TypedDict):
    """The document `WebhookMessage` of the contract."""

    message_id: str
    """Its `webhook-id`."""
    type: str
    event_number: int
    """The event's number among all of the tenant's in this mode: 1, 2, 3 …"""
    payload: dict[str, Any]
    """The body that is sent."""


class WebhookMessages(TypedDict):
    """The document `WebhookMessages` of the contract."""

    messages: list[WebhookMessage]
    last_event_number: int
    """`after_event` of the next call: every event up to it was looked at."""


class WebhookReplay(TypedDict):
    """The document `WebhookReplay` of the contract."""

    replay_id: str
    """The id of a replay, which begins with `rpl_`."""
    endpoint_id: str
    """The id of a webhook endpoint, which begins with `ep_`."""
    mode: Literal["live", "test"]
    since: str
    until: str
    only_failed: bool
    """Whether it is of events alone that were not delivered."""
    events: list[str] | None
    """The types of events; null: all."""
    state: Literal["running", "finished", "cancelled"]
    deliveries_seen: int
    """How many deliveries of the time it has looked at."""
    deliveries_made: int
    """How many it has made; each has this `replay_id`."""
    created_at: str
    changed_at: str
    finished_at: str | None


class WebhookReplayPage(TypedDict):
    """The document `WebhookReplayPage` of the contract."""

    replays: list[WebhookReplay]
    next_cursor: str | None


class WebhookRotation(TypedDict):
    """The document `WebhookRotation` of the contract."""

    grace_s: NotRequired[int]
    """For how many seconds messages are signed with the old secret too, behind the new one."""
    force: NotRequired[bool]
    """Whether to end the grace of the rotation before, if that is open."""


__all__ = [
    "APIKey",
    "APIKeyPage",
    "Asset",
    "AssetData",
    "AssetLinks",
    "AssetList",
    "AssetMessage",
    "Bound",
    "Cancelled",
    "ClientToken",
    "ClientTokenInFull",
    "ClientTokenPage",
    "ClientTokenTerms",
    "CreatedAPIKey",
    "DeletedWebhookEndpoint",
    "DirectUpload",
    "EndedAsset",
    "EndpointData",
    "EndpointLinks",
    "EndpointMessage",
    "ErrorCode",
    "Event",
    "File",
    "FileError",
    "FileLink",
    "Health",
    "LedgerEntry",
    "LedgerPage",
    "Limit",
    "ListedModel",
    "MediaInputNote",
    "MediaRuleNote",
    "MintedClientToken",
    "Model",
    "ModelCategories",
    "ModelPage",
    "ModelWarning",
    "NarrowedAPIKey",
    "NewAPIKey",
    "NewWebhookEndpoint",
    "NewWebhookReplay",
    "PeriodUsage",
    "PortalLink",
    "PortalLinkTerms",
    "Problem",
    "ProblemKind",
    "ProblemKinds",
    "Queue",
    "Quota",
    "QuotaLinks",
    "Quote",
    "QuoteRefusal",
    "RecordedEvent",
    "RefusalCounts",
    "RefusedCalls",
    "Request",
    "RequestData",
    "RequestLinks",
    "RequestMessage",
    "RequestPage",
    "RequestSummary",
    "Result",
    "RotatedAPIKey",
    "RotationOfKey",
    "State",
    "StatementData",
    "StatementInFull",
    "StatementLinks",
    "StatementMessage",
    "StatementPage",
    "StatementSummary",
    "Status",
    "StoppedEndpoint",
    "Submitted",
    "Sums",
    "TestData",
    "TestMessage",
    "Threshold",
    "ThresholdData",
    "ThresholdMessage",
    "TokenRefusal",
    "UploadedFile",
    "UploadedFilePage",
    "UpstreamWords",
    "Usage",
    "UsageRow",
    "UsageSums",
    "Violation",
    "WebOrigins",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookDeliveryInFull",
    "WebhookDeliveryPage",
    "WebhookEndpoint",
    "WebhookEndpointPage",
    "WebhookEndpointTerms",
    "WebhookEndpointWithSecret",
    "WebhookHealth",
    "WebhookMessage",
    "WebhookMessages",
    "WebhookReplay",
    "WebhookReplayPage",
    "WebhookRotation",
]
