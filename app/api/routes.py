"""The table of all routes in the contract: path, handler, schema of the response, and possible errors."""

from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import Response
from starlette.routing import BaseRoute

from app.api.internal import health, llms
from app.api.query import strict
from app.api.v1 import (
    account,
    assets,
    client_tokens,
    events,
    files,
    ledger,
    models,
    quota,
    refusals,
    requests,
    statements,
    usage,
    webhook_log,
    webhooks,
)
from app.errors import (
    API_KEY_NOT_ACTIVE,
    API_KEY_NOT_FOUND,
    ASSET_GONE,
    ASSET_NOT_FOUND,
    ASSET_NOT_STORED,
    BODY_TOO_LARGE,
    CLIENT_TOKEN_NOT_FOUND,
    DATABASE_UNAVAILABLE,
    DIRECT_UPLOADS_UNAVAILABLE,
    DISPATCH_PAUSED,
    EXPIRED_CLIENT_TOKEN,
    FILE_GONE,
    FILE_NOT_FOUND,
    GATEWAY_QUEUE_FULL,
    IDEMPOTENCY_IN_PROGRESS,
    IDEMPOTENCY_MISMATCH,
    INSUFFICIENT_SCOPE,
    INTERNAL_ERROR,
    INVALID_ACCOUNT_CHANGE,
    INVALID_API_KEY,
    INVALID_CLIENT_TOKEN,
    INVALID_FILE,
    INVALID_FORM,
    INVALID_IDEMPOTENCY_KEY,
    INVALID_INPUT,
    INVALID_JSON,
    INVALID_PARAMETER,
    INVALID_TOKEN_TERMS,
    INVALID_WEBHOOK_ENDPOINT,
    LARGE_BODIES_BUSY,
    LINK_EXPIRED,
    MEDIA_UNAVAILABLE,
    MEDIA_UNREACHABLE,
    MISSING_API_KEY,
    MODEL_NOT_ALLOWED,
    MODEL_NOT_FOUND,
    NOT_CANCELLABLE,
    ORIGIN_NOT_ALLOWED,
    OUT_OF_BOUNDS,
    OUTCOME_UNKNOWN,
    PORTAL_DISABLED,
    PRECONDITION_FAILED,
    PRECONDITION_REQUIRED,
    QUEUE_FULL,
    QUOTA_EXCEEDED,
    QUOTA_EXHAUSTED,
    RANGE_NOT_SATISFIABLE,
    REPLAY_RUNNING,
    REQUEST_ARCHIVED,
    REQUEST_NOT_FOUND,
    RESULT_ERASED,
    ROTATION_OPEN,
    ROUTE_NOT_FOUND,
    SHUTTING_DOWN,
    STATEMENT_NOT_FOUND,
    STORAGE_UNAVAILABLE,
    TOO_MANY_STREAMS,
    TOO_MANY_WEBHOOK_ENDPOINTS,
    UNSUPPORTED_MEDIA_TYPE,
    UPLOAD_INCOMPLETE,
    UPLOADS_BUSY,
    UPSTREAM_BUSY,
    UPSTREAM_CREDENTIAL_REFUSED,
    UPSTREAM_NOT_CONFIGURED,
    UPSTREAM_REJECTED,
    UPSTREAM_TIMEOUT,
    UPSTREAM_UNREACHABLE,
    UPSTREAM_UNSERVED,
    UPSTREAM_UNUSABLE,
    WEBHOOK_DELIVERY_NOT_FOUND,
    WEBHOOK_ENDPOINT_NOT_FOUND,
    WEBHOOK_ENDPOINT_STOPPED,
    WEBHOOK_REPLAY_NOT_FOUND,
    WEBHOOKS_NOT_CONFIGURED,
    Fault,
)

_KEY = (
    MISSING_API_KEY,
    INVALID_API_KEY,
    INVALID_CLIENT_TOKEN,
    EXPIRED_CLIENT_TOKEN,
    INSUFFICIENT_SCOPE,
    ORIGIN_NOT_ALLOWED,
    INVALID_PARAMETER,
    QUOTA_EXCEEDED,
    DATABASE_UNAVAILABLE,
    INTERNAL_ERROR,
)
_JSON = (INVALID_JSON, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE)
_ACCOUNT = (INVALID_JSON, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_ACCOUNT_CHANGE)
_BODY = (INVALID_JSON, MODEL_NOT_ALLOWED, MODEL_NOT_FOUND, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE)


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `answer` is the schema of its successful response, `faults` are its possible errors."""

    method: str
    path: str
    handler: Callable[..., Any]
    tag: str
    answer: str
    faults: tuple[Fault, ...]
    text: str
    """The operation's description in the contract. Its summary is the handler's first line of docstring."""
    status: int = 200
    tagged: bool = False
    """Whether its response has an entity tag, and can be a 304."""
    waits: bool = False
    """Whether its response can be held (`wait`)."""
    strict: bool = False
    """Whether it accepts `Prefer: handling=strict`."""
    body: str = ""
    """The schema of its body, unless that is a model's input schema."""
    streams: bool = False
    """Whether its response is a stream of events, each of the schema `answer`."""
    text_only: bool = False
    """Whether its response is a plain text, and no document."""
    csv: bool = False
    """Whether its response can be had as CSV (`format=csv`, or by `Accept`)."""
    pdf: bool = False
    """Whether its response can be had as PDF."""
    edits: bool = False
    """Whether it replaces something that the caller must have read (`If-Match`)."""
    uploads: bool = False
    """Whether its body is a file."""
    repeats: bool = False
    """Whether its success may also be a 200, because what it makes is there already."""
    binary: bool = False
    """Whether its response is a file, of which a range can be asked for."""
    resumes: bool = True
    """Whether its stream can be resumed after an event, by `Last-Event-ID`."""

    @property
    def operation_id(self) -> str:
        """The stable name of the operation, from which client generators make method names."""
        return self.handler.__name__

    @property
    def needs_key(self) -> bool:
        """Whether an API key or client token has to be sent."""
        return MISSING_API_KEY in self.faults


ROUTES = (
    Route(
        "GET",
        "/v1/models",
        models.list_models,
        "models",
        "ModelPage",
        _KEY,
        text="In pages, without their schemas unless `include_schema` is true. A key or client token may be"
        " limited to some models.",
    ),
    Route(
        "GET",
        "/v1/models/categories",
        models.list_model_categories,
        "models",
        "ModelCategories",
        _KEY,
        text="Each is a value for the parameter `category` of the list of models.",
    ),
    Route(
        "GET",
        "/v1/models/{model_id:path}",
        models.get_model,
        "models",
        "Model",
        (*_KEY, MODEL_NOT_FOUND),
        text="`media_rules` are RunComfy's rules for files; `enforced` says whether the gateway"
        " checks the rule.",
    ),
    Route(
        "POST",
        "/v1/models/{model_id:path}",
        models.submit,
        "models",
        "Submitted",
        (
            *_KEY,
            *_BODY,
            INVALID_IDEMPOTENCY_KEY,
            IDEMPOTENCY_IN_PROGRESS,
            IDEMPOTENCY_MISMATCH,
            REQUEST_ARCHIVED,
            INVALID_INPUT,
            OUT_OF_BOUNDS,
            MEDIA_UNREACHABLE,
            MEDIA_UNAVAILABLE,
            LARGE_BODIES_BUSY,
            QUOTA_EXHAUSTED,
            QUEUE_FULL,
            GATEWAY_QUEUE_FULL,
            DISPATCH_PAUSED,
            FILE_GONE,
            UPSTREAM_REJECTED,
            UPSTREAM_UNSERVED,
            UPSTREAM_NOT_CONFIGURED,
            UPSTREAM_CREDENTIAL_REFUSED,
            UPSTREAM_BUSY,
            UPSTREAM_UNREACHABLE,
            OUTCOME_UNKNOWN,
        ),
        waits=True,
        text="With a `wait` the answer is held until the request has ended or the time is over. Every answer"
        " to a valid key has the `RateLimit` headers. Where the operator allows queueing for this key, a"
        " request that cannot be sent yet is accepted all the same, and is `in_queue` until it is sent.",
    ),
    Route(
        "POST",
        "/v1/quotes/{model_id:path}",
        quota.quote,
        "quota",
        "Quote",
        (*_KEY, *_BODY, LARGE_BODIES_BUSY, UPSTREAM_NOT_CONFIGURED),
        text="Nothing is sent, held or spent. Files of the input are inspected as for a submit.",
    ),
    Route(
        "GET",
        "/v1/events",
        events.stream_events,
        "events",
        "Event",
        (*_KEY, TOO_MANY_STREAMS, SHUTTING_DOWN),
        streams=True,
        text="For API keys only; client tokens name the requests that they follow. An event's id is its"
        " number: 1, 2, 3 … without gaps. Without `Last-Event-ID` the stream begins with the next event. It"
        " does not end by itself.",
    ),
    Route(
        "POST",
        "/v1/client-tokens",
        client_tokens.create_client_token,
        "client tokens",
        "MintedClientToken",
        (*_KEY, INVALID_JSON, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_TOKEN_TERMS),
        status=201,
        body="ClientTokenTerms",
        text="For a web page, which must not hold an API key. A token is short-lived and may have bounds"
        " and a budget of its own. It can never do more than its API key, whose limits apply as well.",
    ),
    Route(
        "GET",
        "/v1/client-tokens",
        client_tokens.list_client_tokens,
        "client tokens",
        "ClientTokenPage",
        _KEY,
        text="The `Link` header has the address of the next page.",
    ),
    Route(
        "GET",
        "/v1/client-tokens/{token_id}",
        client_tokens.get_client_token,
        "client tokens",
        "ClientTokenInFull",
        (*_KEY, CLIENT_TOKEN_NOT_FOUND),
        text="Every request names the client token that made it.",
    ),
    Route(
        "POST",
        "/v1/client-tokens/{token_id}/revoke",
        client_tokens.revoke_client_token,
        "client tokens",
        "ClientTokenInFull",
        (*_KEY, CLIENT_TOKEN_NOT_FOUND),
        text="Requests that it made are not affected. Revoking its API key revokes it as well.",
    ),
    Route(
        "POST",
        "/v1/webhooks/endpoints",
        webhooks.create_webhook_endpoint,
        "webhooks",
        "WebhookEndpointWithSecret",
        (
            *_KEY,
            *_JSON,
            INVALID_WEBHOOK_ENDPOINT,
            TOO_MANY_WEBHOOK_ENDPOINTS,
            WEBHOOKS_NOT_CONFIGURED,
        ),
        status=201,
        body="NewWebhookEndpoint",
        text="It is told of events in the mode of this key from now on, in messages that are signed as"
        " Standard Webhooks have it. Whether its address is a public one is judged whenever something is"
        " sent. It needs the scope `webhooks:write`.",
    ),
    Route(
        "GET",
        "/v1/webhooks/endpoints",
        webhooks.list_webhook_endpoints,
        "webhooks",
        "WebhookEndpointPage",
        _KEY,
        text="It needs the scope `webhooks:read`. The `Link` header has the address of the next page.",
    ),
    Route(
        "GET",
        "/v1/webhooks/endpoints/{endpoint_id}",
        webhooks.get_webhook_endpoint,
        "webhooks",
        "WebhookEndpoint",
        (*_KEY, WEBHOOK_ENDPOINT_NOT_FOUND),
        tagged=True,
        text="`public_keys` are what messages are verified with where they are signed by Ed25519. It needs"
        " the scope `webhooks:read`.",
    ),
    Route(
        "PUT",
        "/v1/webhooks/endpoints/{endpoint_id}",
        webhooks.edit_webhook_endpoint,
        "webhooks",
        "WebhookEndpoint",
        (
            *_KEY,
            *_JSON,
            INVALID_WEBHOOK_ENDPOINT,
            WEBHOOK_ENDPOINT_NOT_FOUND,
            PRECONDITION_FAILED,
            PRECONDITION_REQUIRED,
        ),
        body="WebhookEndpointTerms",
        edits=True,
        text="All of it is replaced: a member that is left out has its default then. What waits is sent to"
        " the new URL. It needs the scope `webhooks:write`.",
    ),
    Route(
        "POST",
        "/v1/webhooks/endpoints/{endpoint_id}/pause",
        webhooks.pause_webhook_endpoint,
        "webhooks",
        "WebhookEndpoint",
        (*_KEY, WEBHOOK_ENDPOINT_NOT_FOUND, WEBHOOK_ENDPOINT_STOPPED),
        text="Repeating it is harmless. It needs the scope `webhooks:write`.",
    ),
    Route(
        "POST",
        "/v1/webhooks/endpoints/{endpoint_id}/enable",
        webhooks.enable_webhook_endpoint,
        "webhooks",
        "WebhookEndpoint",
        (*_KEY, WEBHOOK_ENDPOINT_NOT_FOUND),
        text="What waited while it was paused is sent. What it missed while it was disabled or gone is not"
        " sent by itself: a replay does that. It needs the scope `webhooks:write`.",
    ),
    Route(
        "POST",
        "/v1/webhooks/endpoints/{endpoint_id}/delete",
        webhooks.delete_webhook_endpoint,
        "webhooks",
        "DeletedWebhookEndpoint",
        (*_KEY, WEBHOOK_ENDPOINT_NOT_FOUND),
        text="Its deliveries stay in the log for their time. It needs the scope `webhooks:write`.",
    ),
    Route(
        "POST",
        "/v1/webhooks/endpoints/{endpoint_id}/rotate",
        webhooks.rotate_webhook_secret,
        "webhooks",
        "WebhookEndpointWithSecret",
        (
            *_KEY,
            *_JSON,
            INVALID_WEBHOOK_ENDPOINT,
            WEBHOOK_ENDPOINT_NOT_FOUND,
            ROTATION_OPEN,
            WEBHOOKS_NOT_CONFIGURED,
        ),
        body="WebhookRotation",
        text="The new secret is shown only once. It needs the scope `webhooks:write`.",
    ),
    Route(
        "POST",
        "/v1/webhooks/endpoints/{endpoint_id}/revoke-previous",
        webhooks.revoke_previous_webhook_secret,
        "webhooks",
        "WebhookEndpoint",
        (*_KEY, WEBHOOK_ENDPOINT_NOT_FOUND),
        text="Repeating it is harmless. It needs the scope `webhooks:write`.",
    ),
    Route(
        "POST",
        "/v1/webhooks/endpoints/{endpoint_id}/test",
        webhooks.test_webhook_endpoint,
        "webhooks",
        "WebhookDelivery",
        (*_KEY, WEBHOOK_ENDPOINT_NOT_FOUND, WEBHOOK_ENDPOINT_STOPPED),
        status=201,
        text="An event of the type `webhook.test`, which no other endpoint is told of. The record of its"
        " delivery says what became of it. It needs the scope `webhooks:write`.",
    ),
    Route(
        "POST",
        "/v1/webhooks/endpoints/{endpoint_id}/replays",
        webhook_log.replay_webhooks,
        "webhooks",
        "WebhookReplay",
        (
            *_KEY,
            *_JSON,
            INVALID_WEBHOOK_ENDPOINT,
            WEBHOOK_ENDPOINT_NOT_FOUND,
            WEBHOOK_ENDPOINT_STOPPED,
            REPLAY_RUNNING,
        ),
        status=201,
        body="NewWebhookReplay",
        text="Each event once, with the id and the bytes that it had. It needs the scope `webhooks:write`.",
    ),
    Route(
        "GET",
        "/v1/webhooks/messages",
        webhook_log.list_webhook_messages,
        "webhooks",
        "WebhookMessages",
        _KEY,
        text="The oldest first: of events after the number `after_event`; without it, of those that come"
        " after this call. A negative number counts from the last event back. `reelgate webhooks listen`"
        " forwards them to a program in development. It needs the scope `webhooks:read`.",
    ),
    Route(
        "GET",
        "/v1/webhooks/deliveries",
        webhook_log.list_webhook_deliveries,
        "webhooks",
        "WebhookDeliveryPage",
        _KEY,
        text="A page may have fewer entries than asked for, even none, while more follow: see `next_cursor`."
        " It needs the scope `webhooks:read`. The `Link` header has the address of the next page.",
    ),
    Route(
        "GET",
        "/v1/webhooks/deliveries/{delivery_id}",
        webhook_log.get_webhook_delivery,
        "webhooks",
        "WebhookDeliveryInFull",
        (*_KEY, WEBHOOK_DELIVERY_NOT_FOUND),
        text="It needs the scope `webhooks:read`.",
    ),
    Route(
        "POST",
        "/v1/webhooks/deliveries/{delivery_id}/resend",
        webhook_log.resend_webhook_delivery,
        "webhooks",
        "WebhookDelivery",
        (*_KEY, WEBHOOK_DELIVERY_NOT_FOUND, WEBHOOK_ENDPOINT_NOT_FOUND, WEBHOOK_ENDPOINT_STOPPED),
        status=201,
        text="The answer is a new delivery. It needs the scope `webhooks:write`.",
    ),
    Route(
        "GET",
        "/v1/webhooks/replays",
        webhook_log.list_webhook_replays,
        "webhooks",
        "WebhookReplayPage",
        _KEY,
        text="It needs the scope `webhooks:read`. The `Link` header has the address of the next page.",
    ),
    Route(
        "GET",
        "/v1/webhooks/replays/{replay_id}",
        webhook_log.get_webhook_replay,
        "webhooks",
        "WebhookReplay",
        (*_KEY, WEBHOOK_REPLAY_NOT_FOUND),
        text="It needs the scope `webhooks:read`.",
    ),
    Route(
        "POST",
        "/v1/webhooks/replays/{replay_id}/cancel",
        webhook_log.cancel_webhook_replay,
        "webhooks",
        "WebhookReplay",
        (*_KEY, WEBHOOK_REPLAY_NOT_FOUND),
        text="Repeating it is harmless. It needs the scope `webhooks:write`.",
    ),
    Route(
        "GET",
        "/v1/keys",
        account.list_keys,
        "account",
        "APIKeyPage",
        _KEY,
        text="Needs the scope `account:manage`. Those that have ended are listed too.",
    ),
    Route(
        "POST",
        "/v1/keys",
        account.create_key,
        "account",
        "CreatedAPIKey",
        (*_KEY, *_ACCOUNT),
        status=201,
        body="NewAPIKey",
        text="The answer has the key itself, which is stored nowhere: if it was lost, revoke the key and"
        " create another. The new key has no scope and no model that this one lacks.",
    ),
    Route(
        "POST",
        "/v1/keys/{kid}/narrow",
        account.narrow_key,
        "account",
        "APIKey",
        (*_KEY, *_ACCOUNT, API_KEY_NOT_FOUND),
        body="NarrowedAPIKey",
        text="Scopes and models can only be taken away, and the key can only expire earlier.",
    ),
    Route(
        "POST",
        "/v1/keys/{kid}/rotate",
        account.rotate_key,
        "account",
        "RotatedAPIKey",
        (*_KEY, *_ACCOUNT, API_KEY_NOT_FOUND, API_KEY_NOT_ACTIVE),
        status=201,
        body="RotationOfKey",
        text="The new key shares the limits of the old one. Only a key that can do no more than this one.",
    ),
    Route(
        "POST",
        "/v1/keys/{kid}/revoke",
        account.revoke_key,
        "account",
        "APIKey",
        (*_KEY, API_KEY_NOT_FOUND),
        text="Its client tokens and its sessions of the portal end with it; requests that it made go on.",
    ),
    Route(
        "GET",
        "/v1/origins",
        account.get_origins,
        "account",
        "WebOrigins",
        _KEY,
        text="They are the tenant's, for both modes.",
    ),
    Route(
        "POST",
        "/v1/origins",
        account.set_origins,
        "account",
        "WebOrigins",
        (*_KEY, *_ACCOUNT),
        body="WebOrigins",
        text="An empty list removes all.",
    ),
    Route(
        "POST",
        "/v1/portal-links",
        account.create_portal_link,
        "account",
        "PortalLink",
        (*_KEY, *_ACCOUNT, PORTAL_DISABLED),
        status=201,
        body="PortalLinkTerms",
        text="For a backend that sends people of the tenant on to the portal: redirect to `url` at once.",
    ),
    Route(
        "GET",
        "/v1/quota",
        quota.get_quota,
        "quota",
        "Quota",
        _KEY,
        text="Test keys and live keys have separate accounts.",
    ),
    Route(
        "GET",
        "/v1/refusals",
        refusals.list_refusals,
        "quota",
        "RefusalCounts",
        _KEY,
        text="Every call that was answered with a problem, counted by the minute and shown within seconds. Of"
        " keys of one mode, as everything else. For API keys only.",
    ),
    Route(
        "GET",
        "/v1/usage",
        usage.get_usage,
        "usage",
        "Usage",
        _KEY,
        text="Sums of the ledger by when it was entered, in the tenant's time zone, in the mode of this key."
        " It needs the scope `usage:read`. The `Link` header has the address of the next page.",
        csv=True,
    ),
    Route(
        "GET",
        "/v1/ledger",
        ledger.list_ledger,
        "usage",
        "LedgerPage",
        _KEY,
        text="Holds, settles and refunds of requests, top-ups, and adjustments with their reasons, in the"
        " mode of this key. It needs the scope `usage:read`. The `Link` header has the address of the next"
        " page.",
    ),
    Route(
        "GET",
        "/v1/statements",
        statements.list_statements,
        "usage",
        "StatementPage",
        _KEY,
        text="A month is closed once its end has passed in the tenant's time zone, and never changes. It"
        " needs the scope `usage:read`.",
    ),
    Route(
        "GET",
        "/v1/statements/{month}",
        statements.get_statement,
        "usage",
        "StatementInFull",
        (*_KEY, STATEMENT_NOT_FOUND, REQUEST_ARCHIVED),
        text="With its entries, the oldest first. An address that ends in `.csv` or `.pdf`, `format` or"
        " `Accept` asks for CSV or PDF. It needs the scope `usage:read`.",
        csv=True,
        pdf=True,
    ),
    Route(
        "GET",
        "/v1/requests",
        requests.list_requests,
        "requests",
        "RequestPage",
        _KEY,
        text="The `Link` header has the address of the next page.",
    ),
    Route(
        "GET",
        "/v1/requests/events",
        events.stream_events_of_requests,
        "events",
        "Event",
        (*_KEY, REQUEST_NOT_FOUND, REQUEST_ARCHIVED, TOO_MANY_STREAMS, SHUTTING_DOWN),
        streams=True,
        resumes=False,
        text="One stream, and so one connection, for up to 50 requests. It begins with all events of each of"
        " them; the events have no ids, but their versions say which are new. The stream ends when all the"
        " requests have ended.",
    ),
    Route(
        "GET",
        "/v1/requests/{request_id}",
        requests.get_request,
        "requests",
        "Request",
        (*_KEY, REQUEST_NOT_FOUND, REQUEST_ARCHIVED),
        tagged=True,
        text="Polls RunComfy if the record may be out of date; the header `Reelgate-Stale` says that this was"
        " not possible.",
    ),
    Route(
        "GET",
        "/v1/requests/{request_id}/assets",
        assets.list_assets,
        "assets",
        "AssetList",
        (*_KEY, REQUEST_NOT_FOUND, REQUEST_ARCHIVED),
        text="The list is empty where the outputs of this tenant or key are not mirrored. It begins when the"
        " request completes.",
    ),
    Route(
        "GET",
        "/v1/assets/{asset_id}/facts",
        assets.get_asset_facts,
        "assets",
        "Asset",
        (*_KEY, ASSET_NOT_FOUND),
        tagged=True,
        text="Whoever may read the request may read its assets.",
    ),
    Route(
        "GET",
        "/v1/assets/{asset_id}",
        assets.get_asset,
        "assets",
        "",
        (
            *_KEY,
            ASSET_NOT_FOUND,
            ASSET_NOT_STORED,
            ASSET_GONE,
            RANGE_NOT_SATISFIABLE,
            STORAGE_UNAVAILABLE,
        ),
        binary=True,
        text="As a file: one range is served, with `If-Range` and entity tags, and where the"
        " store is a bucket, the answer may be a 302 to a link of the bucket that lasts minutes.",
    ),
    Route(
        "DELETE",
        "/v1/assets/{asset_id}",
        assets.delete_asset,
        "assets",
        "",
        (*_KEY, ASSET_NOT_FOUND),
        status=204,
        text="From the answer on the copy is not served; its bytes are deleted at once or, where it is being"
        " copied or the store is away, afterwards. It needs the scope `submit`.",
    ),
    Route(
        "POST",
        "/v1/assets/{asset_id}/links",
        assets.create_asset_link,
        "assets",
        "FileLink",
        (*_KEY, ASSET_NOT_FOUND, ASSET_NOT_STORED, ASSET_GONE),
        status=201,
        text="Whoever has the link may read the copy until it expires, or the operator replaces the key of"
        " links. It needs the scope `submit`.",
    ),
    Route(
        "GET",
        "/a/{link}",
        assets.get_linked_asset,
        "assets",
        "",
        (
            INVALID_PARAMETER,
            ASSET_NOT_FOUND,
            ASSET_NOT_STORED,
            ASSET_GONE,
            LINK_EXPIRED,
            RANGE_NOT_SATISFIABLE,
            STORAGE_UNAVAILABLE,
            DATABASE_UNAVAILABLE,
        ),
        binary=True,
        text="As `/v1/assets/{asset_id}`. Pages of every origin may embed it.",
    ),
    Route(
        "GET",
        "/v1/requests/{request_id}/events",
        events.stream_request_events,
        "events",
        "Event",
        (*_KEY, REQUEST_NOT_FOUND, REQUEST_ARCHIVED, TOO_MANY_STREAMS, SHUTTING_DOWN),
        streams=True,
        text="An event's id is the request's `version`. The stream ends after the last event.",
    ),
    Route(
        "GET",
        "/v1/requests/{request_id}/status",
        requests.get_status,
        "requests",
        "Status",
        (*_KEY, REQUEST_NOT_FOUND, REQUEST_ARCHIVED),
        tagged=True,
        waits=True,
        text="With a `wait` the answer is held until it changes or the time is over.",
    ),
    Route(
        "GET",
        "/v1/requests/{request_id}/result",
        requests.get_result,
        "requests",
        "Result",
        (*_KEY, REQUEST_NOT_FOUND, REQUEST_ARCHIVED, RESULT_ERASED),
        tagged=True,
        waits=True,
        text="With a `wait` the answer is held until it changes or the time is over. Outputs are erased at"
        " the end of their retention period; from then on the answer is a 410.",
    ),
    Route(
        "POST",
        "/v1/requests/{request_id}/cancel",
        requests.cancel,
        "requests",
        "Cancelled",
        (
            *_KEY,
            REQUEST_NOT_FOUND,
            REQUEST_ARCHIVED,
            UPSTREAM_UNUSABLE,
            UPSTREAM_CREDENTIAL_REFUSED,
            UPSTREAM_UNREACHABLE,
            UPSTREAM_TIMEOUT,
            NOT_CANCELLABLE,
        ),
        status=202,
        strict=True,
        text="A request that is running, has ended or has an unknown outcome is `not_cancellable`."
        " Repeating the call is harmless.",
    ),
    Route(
        "POST",
        "/v1/files",
        files.upload_file,
        "files",
        "UploadedFile",
        (
            *_KEY,
            MODEL_NOT_FOUND,
            MODEL_NOT_ALLOWED,
            INVALID_FILE,
            INVALID_FORM,
            BODY_TOO_LARGE,
            UNSUPPORTED_MEDIA_TYPE,
            QUOTA_EXHAUSTED,
            UPLOADS_BUSY,
            STORAGE_UNAVAILABLE,
        ),
        status=201,
        uploads=True,
        repeats=True,
        text="The body is the file itself, or a form (`multipart/form-data`) with the file as its last part,"
        " `file`, and the parameters below as fields before it. With `model_id` the file is judged by the"
        " media rules of that model before it is kept; client tokens have to name one. If the caller has"
        " stored the same content already, that file is the answer, with the status 200. It needs the"
        " scope `submit`.",
    ),
    Route(
        "POST",
        "/v1/direct-uploads",
        files.begin_direct_upload,
        "files",
        "DirectUpload",
        (
            *_KEY,
            MODEL_NOT_FOUND,
            MODEL_NOT_ALLOWED,
            QUOTA_EXHAUSTED,
            DIRECT_UPLOADS_UNAVAILABLE,
        ),
        status=201,
        text="Only where files are kept in a bucket. The file counts with `size_bytes` until the upload is"
        " completed, and is given up if it is not, ten minutes after its form has expired. It needs the scope"
        " `submit`.",
    ),
    Route(
        "POST",
        "/v1/files/{file_id}/complete",
        files.complete_direct_upload,
        "files",
        "UploadedFile",
        (*_KEY, FILE_NOT_FOUND, UPLOAD_INCOMPLETE, INVALID_FILE, UPLOADS_BUSY, STORAGE_UNAVAILABLE),
        status=201,
        repeats=True,
        text="Repeating it is harmless. If the caller has stored the same content already, that file is the"
        " answer, with the status 200. It needs the scope `submit`.",
    ),
    Route(
        "GET",
        "/v1/files",
        files.list_files,
        "files",
        "UploadedFilePage",
        _KEY,
        text="With an API key, all files of the tenant in its mode; with a client token, those of its end"
        " user, or its own.",
    ),
    Route(
        "GET",
        "/v1/files/{file_id}/facts",
        files.get_file_facts,
        "files",
        "UploadedFile",
        (*_KEY, FILE_NOT_FOUND),
        tagged=True,
        text="A file of another tenant or mode is answered as one that is not there.",
    ),
    Route(
        "GET",
        "/v1/files/{file_id}",
        files.get_file,
        "files",
        "",
        (*_KEY, FILE_NOT_FOUND, RANGE_NOT_SATISFIABLE, STORAGE_UNAVAILABLE),
        binary=True,
        text="One range is served (`Range: bytes=0-499`), with `If-Range` and entity tags. Where files are in"
        " a bucket, the answer may be a 302 to a link of the bucket that lasts minutes.",
    ),
    Route(
        "DELETE",
        "/v1/files/{file_id}",
        files.delete_file,
        "files",
        "",
        (*_KEY, FILE_NOT_FOUND, STORAGE_UNAVAILABLE),
        status=204,
        text="Its bytes count no more as soon as they are gone. It needs the scope `submit`.",
    ),
    Route(
        "POST",
        "/v1/files/{file_id}/links",
        files.create_file_link,
        "files",
        "FileLink",
        (*_KEY, FILE_NOT_FOUND),
        status=201,
        text="Whoever has the link may read the file until it expires, or the operator replaces the key of"
        " links. It needs the scope `submit`.",
    ),
    Route(
        "GET",
        "/f/{link}",
        files.get_linked_file,
        "files",
        "",
        (
            INVALID_PARAMETER,
            FILE_NOT_FOUND,
            LINK_EXPIRED,
            RANGE_NOT_SATISFIABLE,
            STORAGE_UNAVAILABLE,
            DATABASE_UNAVAILABLE,
        ),
        binary=True,
        text="As `/v1/files/{file_id}`. Pages of every origin may embed it.",
    ),
    Route(
        "GET",
        "/llms.txt",
        llms.get_llms_txt,
        "service",
        "",
        (INVALID_PARAMETER,),
        text="A text in the form of llms.txt, made from the catalogue.",
        text_only=True,
    ),
    Route(
        "GET",
        "/llms/{model_id:path}",
        llms.get_llms_txt_of_model,
        "service",
        "",
        (INVALID_PARAMETER, MODEL_NOT_FOUND),
        text="The text of a model that `/llms.txt` leads to.",
        text_only=True,
    ),
    Route(
        "GET",
        "/livez",
        health.livez,
        "service",
        "Health",
        (INVALID_PARAMETER,),
        text="For probes; it does not use the database.",
    ),
    Route(
        "GET",
        "/readyz",
        health.readyz,
        "service",
        "Health",
        (INVALID_PARAMETER, DATABASE_UNAVAILABLE, SHUTTING_DOWN),
        text="For probes and for the load balancer.",
    ),
    Route(
        "GET",
        "/problems",
        health.list_problems,
        "service",
        "ProblemKinds",
        (INVALID_PARAMETER,),
        text="Each with its code, whether it is worth repeating the request, and a remedy.",
    ),
    Route(
        "GET",
        "/problems/{slug}",
        health.get_problem,
        "service",
        "ProblemKind",
        (INVALID_PARAMETER, ROUTE_NOT_FOUND),
        text="This address is the `type` of such a problem.",
    ),
)


PROBES = frozenset({"/livez", "/readyz"})
"""The paths of the routes that a worker answers too."""


def add_routes(app: FastAPI, paths: Container[str] | None = None) -> None:
    """Adds every route, or those with these paths, to the application itself.

    An included router would add cost to every request.
    """
    app.router.routes.extend(
        one for one in _built_routes() if paths is None or getattr(one, "path", "") in paths
    )


@cache
def _built_routes() -> tuple[BaseRoute, ...]:
    """FastAPI's own form of `ROUTES`, built once per process: it is most of the cost of an application.

    The result depends on no application, so any number of them can share it.
    """
    router = APIRouter()
    for route in ROUTES:
        router.add_api_route(
            route.path,
            strict(route.handler, *(("wait",) if route.waits else ()), path=route.path),
            methods=[route.method],
            operation_id=route.operation_id,
            tags=[route.tag],
            summary=(route.handler.__doc__ or "").partition("\n")[0],
            status_code=route.status,
            response_class=Response,
            response_model=None,
        )
    return tuple(router.routes)
