"""The catalogue of all errors that a caller can be answered with, and the exception that carries them.

Every refusal is a `Problem`: an entry of the catalogue (a `Fault`), with what is particular to this
occurrence. `api` turns it into an RFC 9457 document; nothing here depends on an HTTP framework.
`docs/errors.md` lists the same entries; a test compares the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict


@dataclass(frozen=True, slots=True)
class Fault:
    """An entry of the catalogue: one kind of error.

    `code` is stable, for programs; `status` is the HTTP status, and `title` a short sentence that never
    varies. `retryable` says whether sending the same request again can help, and `remedy` what to do about
    the error. `registered` is the address of the problem type where IANA has registered one; None is an
    address of the gateway's own.
    """

    code: str
    status: int
    title: str
    retryable: bool
    remedy: str
    registered: str | None = None
    error_code: int | None = None
    """RunComfy's number for an error of this meaning, which its own clients read; None where it has none."""

    @property
    def slug(self) -> str:
        """The last part of the problem type's address: the code, with dashes."""
        return self.code.replace("_", "-")


@dataclass(frozen=True, slots=True)
class FieldError:
    """One violation: an RFC 6901 pointer in fragment form, a stable code and a sentence."""

    pointer: str
    code: str
    detail: str


class ProblemExtra(TypedDict, total=False):
    """Members of a problem document that not every problem has.

    `request_id` is the request that it is about, `upstream` RunComfy's own words: its `error_code`, an
    integer or None, and its `error_message`.
    """

    request_id: str
    upstream: Any


@dataclass(eq=False)
class Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """A refusal on its way to the caller.

    `detail` and `errors` are texts that the caller reads. `retry_after_s` becomes the header `Retry-After`.
    The members of `extra` are added to the problem document, and `headers` to the response. `replayed` says
    that this problem answers a repeated submit, whose first one ended in it.
    """

    fault: Fault
    detail: str
    errors: Sequence[FieldError] = ()
    retry_after_s: int | None = None
    extra: ProblemExtra = field(default_factory=ProblemExtra)
    headers: dict[str, str] = field(default_factory=dict)
    replayed: bool = False

    def __str__(self) -> str:
        return f"{self.fault.code}: {self.detail}"


# RunComfy's numbers. Only what is the caller's has one: RunComfy refusing our own token is no BAD_TOKEN.
BAD_MODEL_ID = 400001
NO_BALANCE = 400002
BAD_TOKEN = 400004
NO_ACCESS = 403001
NO_REQUEST = 404001

INVALID_JSON = Fault(
    "invalid_json",
    400,
    "The request body is not valid JSON.",
    retryable=False,
    remedy="Send one JSON object in UTF-8, without duplicate keys, NUL characters, NaN or infinities.",
)
INVALID_FORM = Fault(
    "invalid_form",
    400,
    "The form with the file cannot be read.",
    retryable=False,
    remedy="Send `multipart/form-data`, the fields first and the file last, as `file`; or the file itself.",
)
INVALID_PARAMETER = Fault(
    "invalid_parameter",
    400,
    "A query parameter or header is not valid.",
    retryable=False,
    remedy="Correct the parameter or header that `errors` names.",
)
INVALID_IDEMPOTENCY_KEY = Fault(
    "invalid_idempotency_key",
    400,
    "The Idempotency-Key is not valid.",
    retryable=False,
    remedy="Send one key of 1 to 255 printable ASCII characters, quoted or bare, such as a UUID.",
)
MALFORMED_REQUEST = Fault(
    "malformed_request",
    400,
    "The request is not valid HTTP.",
    retryable=False,
    remedy="Send HTTP/1.1 with one Host header and either Content-Length or chunked encoding; repeat no"
    " header that may occur only once.",
)
MISSING_API_KEY = Fault(
    "missing_api_key",
    401,
    "No API key was sent.",
    retryable=False,
    remedy="Send `Authorization: Bearer rg_live_…` (or `rg_test_…`; from a web page, `rg_client_…`).",
    error_code=BAD_TOKEN,
)
INVALID_API_KEY = Fault(
    "invalid_api_key",
    401,
    "The API key is not valid.",
    retryable=False,
    remedy="Check the key for typing errors; it may also have been revoked or rotated, or have expired.",
    error_code=BAD_TOKEN,
)
INVALID_CLIENT_TOKEN = Fault(
    "invalid_client_token",
    401,
    "The client token is not valid.",
    retryable=False,
    remedy="Get a new token from your backend. This one, or the API key that created it, may have been"
    " revoked.",
    error_code=BAD_TOKEN,
)
EXPIRED_CLIENT_TOKEN = Fault(
    "expired_client_token",
    401,
    "The client token has expired.",
    retryable=False,
    remedy="Get a new token from your backend and continue; requests that were already made are not"
    " affected.",
    error_code=BAD_TOKEN,
)
INSUFFICIENT_SCOPE = Fault(
    "insufficient_scope",
    403,
    "The API key or client token is not allowed to make this call.",
    retryable=False,
    remedy="Use an API key or client token that is allowed to; `detail` says what is missing.",
    error_code=NO_ACCESS,
)
OUT_OF_BOUNDS = Fault(
    "out_of_bounds",
    403,
    "The client token does not allow this input.",
    retryable=False,
    remedy="Change the inputs that `errors` names, or get a token with wider bounds from your backend.",
    error_code=NO_ACCESS,
)
ORIGIN_NOT_ALLOWED = Fault(
    "origin_not_allowed",
    403,
    "Web pages of this origin may not call the gateway.",
    retryable=False,
    remedy="Ask the operator to add the page's exact origin to the tenant (`reelgate tenants set-origins`),"
    " and have your backend create client tokens for that origin.",
    error_code=NO_ACCESS,
)
MODEL_NOT_ALLOWED = Fault(
    "model_not_allowed",
    403,
    "The API key or client token may not use this model.",
    retryable=False,
    remedy="Use an API key or client token whose list of models includes this model.",
    error_code=NO_ACCESS,
)
ROUTE_NOT_FOUND = Fault(
    "route_not_found",
    404,
    "There is nothing at this address.",
    retryable=False,
    remedy="See /openapi.json for all routes.",
)
MODEL_NOT_FOUND = Fault(
    "model_not_found",
    404,
    "The catalogue has no such model.",
    retryable=False,
    remedy="GET /v1/models lists the models that this gateway serves.",
    error_code=BAD_MODEL_ID,
)
REQUEST_NOT_FOUND = Fault(
    "request_not_found",
    404,
    "There is no such request.",
    retryable=False,
    remedy="Check the request id. A request is visible only to its own tenant, with a key of the mode"
    " (live or"
    " test) in which it was made, or with a client token that may read it.",
    error_code=NO_REQUEST,
)
REQUEST_ARCHIVED = Fault(
    "request_archived",
    410,
    "The request was archived.",
    retryable=False,
    remedy="Ask the operator for the file that `detail` names: the gateway itself has the request no more."
    " Its Idempotency-Key stays used; use another one to make another job.",
)
CLIENT_TOKEN_NOT_FOUND = Fault(
    "client_token_not_found",
    404,
    "There is no such client token.",
    retryable=False,
    remedy="Check the `token_id`, which is not the token itself: GET /v1/client-tokens lists them.",
)
METHOD_NOT_ALLOWED = Fault(
    "method_not_allowed",
    405,
    "This address does not support this method.",
    retryable=False,
    remedy="Use a method that the `Allow` header names.",
)
REQUEST_TIMEOUT = Fault(
    "request_timeout",
    408,
    "The request did not arrive in time.",
    retryable=True,
    remedy="Send it again, faster; none of it was carried out.",
)
IDEMPOTENCY_IN_PROGRESS = Fault(
    "idempotency_in_progress",
    409,
    "The first submit with this Idempotency-Key is still in progress.",
    retryable=True,
    remedy="Send the same submit again after `Retry-After`: it will be answered with the request that the"
    " first one made.",
)
NOT_CANCELLABLE = Fault(
    "not_cancellable",
    409,
    "This request can no longer be cancelled.",
    retryable=False,
    remedy="It is running, has ended, or its outcome is unknown: see its status. Without `Prefer:"
    " handling=strict` this is answered with a 202.",
)
ASSET_NOT_FOUND = Fault(
    "asset_not_found",
    404,
    "There is no such asset.",
    retryable=False,
    remedy="Check the asset's id: `GET /v1/requests/{request_id}/assets` has those of a request. An asset is"
    " visible to whoever may read its request.",
    error_code=NO_REQUEST,
)
ASSET_NOT_STORED = Fault(
    "asset_not_stored",
    409,
    "The output has not been copied yet.",
    retryable=True,
    remedy="Wait until the asset is `stored`: the event `asset` and the webhook `asset.stored` tell of it."
    " RunComfy's own link is in the result meanwhile.",
)
ASSET_GONE = Fault(
    "asset_gone",
    410,
    "There is no copy of this output any more, or there never will be one.",
    retryable=False,
    remedy="The asset's `state` and `error` say why. RunComfy's own link, in the request's record, may work.",
    error_code=NO_REQUEST,
)
RESULT_ERASED = Fault(
    "result_erased",
    410,
    "The output was erased at the end of its retention period.",
    retryable=False,
    remedy="Fetch results earlier; the record of the request is still there.",
    error_code=NO_REQUEST,
)
LINK_EXPIRED = Fault(
    "link_expired",
    410,
    "This link has expired.",
    retryable=False,
    remedy="Ask whoever gave it out for a new one: `POST /v1/files/{file_id}/links` makes it.",
)
BODY_TOO_LARGE = Fault(
    "body_too_large",
    413,
    "The request body is too large.",
    retryable=False,
    remedy="`detail` names the limits. Upload a smaller file; in an input, send the file's https URL in place"
    " of a data: URI.",
)
ADDRESS_TOO_LONG = Fault(
    "address_too_long",
    414,
    "The request's address is too long.",
    retryable=False,
    remedy="Shorten the path or the query; no call needs a long one.",
)
UNSUPPORTED_MEDIA_TYPE = Fault(
    "unsupported_media_type",
    415,
    "The request body must be JSON.",
    retryable=False,
    remedy="Send `Content-Type: application/json`, without a `Content-Encoding`.",
)
INVALID_INPUT = Fault(
    "invalid_input",
    422,
    "The input is not valid for this model.",
    retryable=False,
    remedy="Correct everything that `errors` lists; nothing was sent and nothing was charged.",
)
INVALID_TOKEN_TERMS = Fault(
    "invalid_token_terms",
    422,
    "The terms of the client token are not valid.",
    retryable=False,
    remedy="Correct everything that `errors` lists; no token was created.",
)
MEDIA_UNREACHABLE = Fault(
    "media_unreachable",
    422,
    "A file of the input could not be reached.",
    retryable=False,
    remedy="Check that every URL that `errors` points at opens in a browser that is logged in nowhere. Its"
    " host must have a public address; if its server was only down, send the request again later.",
)
DIRECT_UPLOADS_UNAVAILABLE = Fault(
    "direct_uploads_unavailable",
    409,
    "This gateway keeps files on its own disk, to which nothing can be sent directly.",
    retryable=False,
    remedy="Send the file to `POST /v1/files`.",
)
UPLOAD_INCOMPLETE = Fault(
    "upload_incomplete",
    409,
    "The file has not arrived in the bucket yet.",
    retryable=True,
    remedy="Send the form with the file to its address first; complete the upload when that was answered.",
)
RANGE_NOT_SATISFIABLE = Fault(
    "range_not_satisfiable",
    416,
    "The file has no byte in this range.",
    retryable=False,
    remedy="Ask for a range within the length that `Content-Range` says, or for the whole file.",
)
INVALID_FILE = Fault(
    "invalid_file",
    422,
    "The file was refused, and was not kept.",
    retryable=False,
    remedy="Send a file that `errors` does not complain about: a picture, video or sound that is whole and"
    " meets the rules of the model that was named.",
)
MEDIA_UNAVAILABLE = Fault(
    "media_unavailable",
    422,
    "A file of the input could not be fetched now.",
    retryable=True,
    remedy="Send the request again after `Retry-After`: the file's server was busy, slow or failing. Nothing"
    " was sent and nothing was charged.",
)
IDEMPOTENCY_MISMATCH = Fault(
    "idempotency_mismatch",
    422,
    "This Idempotency-Key was used for a different request.",
    retryable=False,
    remedy="Use a new key for a new request; a repetition must have the same model and input.",
)
FILE_GONE = Fault(
    "file_gone",
    422,
    "An uploaded file of the input was deleted or expired before the request was sent.",
    retryable=False,
    remedy="Upload the file again, and submit with the new reference. Nothing was sent or charged.",
)
UPSTREAM_REJECTED = Fault(
    "upstream_rejected",
    422,
    "RunComfy refused this input.",
    retryable=False,
    remedy="`upstream` has RunComfy's own message; no job was created.",
)
_QUOTA_TYPE = "https://iana.org/assignments/http-problem-types#quota-exceeded"
QUOTA_EXCEEDED = Fault(
    "quota_exceeded",
    429,
    "A limit does not allow this call at the moment.",
    retryable=True,
    remedy="Send it again after `Retry-After`. `violated-policies` names the limits; GET /v1/quota shows"
    " how they stand.",
    registered=_QUOTA_TYPE,
)
QUOTA_EXHAUSTED = Fault(
    "quota_exhausted",
    429,
    "A limit does not allow this request, and waiting alone will not help.",
    retryable=False,
    remedy="Ask the operator to raise the limits that `violated-policies` names, or to top up the balance;"
    " GET /v1/quota shows how they stand.",
    registered=_QUOTA_TYPE,
)
TOO_MANY_STREAMS = Fault(
    "too_many_streams",
    429,
    "Too many event streams are open.",
    retryable=True,
    remedy="Close one; an API key can follow all of its tenant's requests with one stream, GET /v1/events.",
)
HEADERS_TOO_LARGE = Fault(
    "headers_too_large",
    431,
    "The request's headers are too large.",
    retryable=False,
    remedy="Send fewer or shorter headers; the gateway uses no cookies.",
)
HTTP_ERROR = Fault(
    "http_error",
    400,
    "The server refused the request.",
    retryable=False,
    remedy="See `detail`.",
)
INTERNAL_ERROR = Fault(
    "internal_error",
    500,
    "An unexpected error occurred in the gateway.",
    retryable=False,
    remedy="Before you repeat a submit, check GET /v1/requests: it may have been accepted. Quote `trace_id`"
    " to the operator.",
)
UPSTREAM_UNSERVED = Fault(
    "upstream_unserved",
    502,
    "RunComfy does not serve this model.",
    retryable=False,
    remedy="The gateway's catalogue and RunComfy disagree about this model; tell the operator.",
)
UPSTREAM_UNUSABLE = Fault(
    "upstream_unusable",
    502,
    "The gateway cannot use RunComfy's response.",
    retryable=True,
    remedy="Try again later; nothing was changed.",
)
UPSTREAM_NOT_CONFIGURED = Fault(
    "upstream_not_configured",
    503,
    "This gateway has no credential for RunComfy.",
    retryable=False,
    remedy="The operator has to set REELGATE_UPSTREAM_TOKEN; `rg_test_` keys work without it.",
)
UPSTREAM_CREDENTIAL_REFUSED = Fault(
    "upstream_credential_refused",
    503,
    "RunComfy refuses the gateway's own credential.",
    retryable=True,
    remedy="Your API key is fine: the operator has to replace the credential or top up its balance. No job"
    " was created.",
)
UPSTREAM_BUSY = Fault(
    "upstream_busy",
    503,
    "RunComfy accepts no more jobs at the moment.",
    retryable=True,
    remedy="Send it again after `Retry-After`; no job was created.",
)
QUEUE_FULL = Fault(
    "queue_full",
    429,
    "Your tenant's queue is full.",
    retryable=True,
    remedy="Send it again after `Retry-After`, when some of the queued requests have been sent or"
    " cancelled; no request was created.",
)
GATEWAY_QUEUE_FULL = Fault(
    "gateway_queue_full",
    503,
    "The gateway's queue is full.",
    retryable=True,
    remedy="Send it again after `Retry-After`; no request was created.",
)
DISPATCH_PAUSED = Fault(
    "dispatch_paused",
    503,
    "The operator has paused sending to RunComfy.",
    retryable=True,
    remedy="Send it again after `Retry-After`; no job was created. Requests that may be queued are still"
    " accepted.",
)
UPSTREAM_UNREACHABLE = Fault(
    "upstream_unreachable",
    503,
    "RunComfy could not be reached.",
    retryable=True,
    remedy="Send it again after `Retry-After`; RunComfy received nothing.",
)
LARGE_BODIES_BUSY = Fault(
    "large_bodies_busy",
    503,
    "This server is receiving as many large bodies as it has memory for.",
    retryable=True,
    remedy="Send it again after `Retry-After`, or send pictures by their https URLs instead of data: URIs.",
)
UPLOADS_BUSY = Fault(
    "uploads_busy",
    503,
    "This server is receiving as many files as it may.",
    retryable=True,
    remedy="Send the file again after `Retry-After`.",
)
STORAGE_UNAVAILABLE = Fault(
    "storage_unavailable",
    503,
    "The store of files is not available.",
    retryable=True,
    remedy="Try again after `Retry-After`. What was being uploaded was not kept.",
)
DATABASE_UNAVAILABLE = Fault(
    "database_unavailable",
    503,
    "The gateway's database is not available.",
    retryable=True,
    remedy="Try again after `Retry-After`. Nothing is sent to RunComfy without a record of it.",
)
TOO_MANY_CONNECTIONS = Fault(
    "too_many_connections",
    503,
    "This server has reached its limit of connections.",
    retryable=True,
    remedy="Try again after `Retry-After`; reuse connections instead of opening new ones.",
)
SHUTTING_DOWN = Fault(
    "shutting_down",
    503,
    "This server is shutting down.",
    retryable=True,
    remedy="Try again after `Retry-After`: another server, or this one after its restart, will answer.",
)
OUTCOME_UNKNOWN = Fault(
    "outcome_unknown",
    504,
    "The job was sent, and it is not known yet whether RunComfy accepted it.",
    retryable=False,
    remedy="Do not send it again: a job may exist. Follow the request that `request_id` names.",
)
UPSTREAM_TIMEOUT = Fault(
    "upstream_timeout",
    504,
    "RunComfy did not answer in time.",
    retryable=True,
    remedy="Try again later; a cancel that timed out may still have been carried out.",
)

# Webhooks, for tenants and operators.
INVALID_WEBHOOK_ENDPOINT = Fault(
    "invalid_webhook_endpoint",
    422,
    "The webhook endpoint is not valid.",
    retryable=False,
    remedy="Correct everything that `errors` lists; nothing was changed.",
)
FILE_NOT_FOUND = Fault(
    "file_not_found",
    404,
    "There is no such file.",
    retryable=False,
    remedy="Check the `file_id`: the file may be deleted or expired, of another tenant or mode, or uploaded"
    " with another client token.",
)
WEBHOOK_ENDPOINT_NOT_FOUND = Fault(
    "webhook_endpoint_not_found",
    404,
    "There is no such webhook endpoint.",
    retryable=False,
    remedy="Check the `endpoint_id`, and that the API key is of the tenant and mode that made the endpoint.",
)
WEBHOOK_DELIVERY_NOT_FOUND = Fault(
    "webhook_delivery_not_found",
    404,
    "There is no such webhook delivery.",
    retryable=False,
    remedy="Check the `delivery_id`; deliveries are removed at the end of their retention period.",
)
WEBHOOK_REPLAY_NOT_FOUND = Fault(
    "webhook_replay_not_found",
    404,
    "There is no such replay of webhooks.",
    retryable=False,
    remedy="Check the `replay_id`: it is in the answer to the call that began the replay.",
)
TOO_MANY_WEBHOOK_ENDPOINTS = Fault(
    "too_many_webhook_endpoints",
    409,
    "The tenant has as many webhook endpoints as it may have.",
    retryable=False,
    remedy="Delete an endpoint that is no longer used, or let one take more kinds of event.",
)
WEBHOOK_ENDPOINT_STOPPED = Fault(
    "webhook_endpoint_stopped",
    409,
    "Nothing is sent to this webhook endpoint at present.",
    retryable=False,
    remedy="Enable the endpoint first; `detail` has its state.",
)
ROTATION_OPEN = Fault(
    "rotation_open",
    409,
    "The endpoint's previous secret is still accepted.",
    retryable=False,
    remedy="Wait until `previous_secret_ends_at`, revoke the previous secret, or send `force`: that ends it"
    " at once.",
)
REPLAY_RUNNING = Fault(
    "replay_running",
    409,
    "A replay to this endpoint is under way.",
    retryable=False,
    remedy="Wait until it has finished, or cancel it; `detail` names it.",
)
WEBHOOKS_NOT_CONFIGURED = Fault(
    "webhooks_not_configured",
    503,
    "This gateway has no key to seal the secrets of webhook endpoints with.",
    retryable=False,
    remedy="The operator has to set REELGATE_WEBHOOK_KEY, for example to what `openssl rand -base64 32`"
    " prints.",
)

# What an operator's command, or the admin API, is refused.
TENANT_NOT_FOUND = Fault(
    "tenant_not_found",
    404,
    "There is no such tenant.",
    retryable=False,
    remedy="Check the tenant's name: `reelgate tenants list` shows all tenants.",
)
TENANT_EXISTS = Fault(
    "tenant_exists",
    409,
    "A tenant of this name exists already.",
    retryable=False,
    remedy="Use that tenant, or choose another name.",
)
INVALID_TENANT = Fault(
    "invalid_tenant",
    422,
    "The settings of the tenant are not valid.",
    retryable=False,
    remedy="Correct everything that `errors` lists; nothing was changed.",
)
API_KEY_NOT_FOUND = Fault(
    "api_key_not_found",
    404,
    "There is no such API key.",
    retryable=False,
    remedy="Check the kid, which is the key's public identifier: `reelgate keys list` shows"
    " all keys, GET /v1/keys those of one tenant.",
)
API_KEY_NOT_ACTIVE = Fault(
    "api_key_not_active",
    409,
    "This API key is no longer active.",
    retryable=False,
    remedy="Create a new key: a key that was revoked or rotated, or that has expired, cannot be rotated.",
)
INVALID_ACCOUNT_CHANGE = Fault(
    "invalid_account_change",
    422,
    "The account cannot be changed like this.",
    retryable=False,
    remedy="Correct everything that `errors` lists; nothing was changed.",
)
INVALID_API_KEY_TERMS = Fault(
    "invalid_api_key_terms",
    422,
    "The terms of the API key are not valid.",
    retryable=False,
    remedy="Correct everything that `errors` lists; no key was created.",
)
INVALID_ACCOUNT = Fault(
    "invalid_account",
    422,
    "There is no such account.",
    retryable=False,
    remedy="Name a tenant and, to narrow the account, a model and either a key or an end user, as `errors`"
    " says.",
)
INVALID_LIMIT = Fault(
    "invalid_limit",
    422,
    "The limit is not valid.",
    retryable=False,
    remedy="Correct everything that `errors` lists; no limit was changed.",
)
LIMIT_NOT_FOUND = Fault(
    "limit_not_found",
    404,
    "There is no such limit.",
    retryable=False,
    remedy="`reelgate limits list` shows all limits; nothing was removed. REELGATE_DEFAULT_LIMITS has the"
    " defaults.",
)
OVERRIDE_EXISTS = Fault(
    "override_exists",
    409,
    "This limit is overridden already.",
    retryable=False,
    remedy="End that override first (`reelgate limits end-override`), or let it end.",
)
OVERRIDE_NOT_FOUND = Fault(
    "override_not_found",
    404,
    "There is no such override.",
    retryable=False,
    remedy="`reelgate limits overrides` shows those that last, and with `--ended` all of them.",
)
INVALID_REPRICING = Fault(
    "invalid_repricing",
    422,
    "The correction of prices is not valid.",
    retryable=False,
    remedy="Correct everything that `errors` lists; nothing was corrected.",
)
STATEMENT_NOT_FOUND = Fault(
    "statement_not_found",
    404,
    "There is no such statement.",
    retryable=False,
    remedy="Use a month of `GET /v1/statements`: one is there once its end has passed in its tenant's time"
    " zone.",
)
INVALID_LEDGER_ENTRY = Fault(
    "invalid_ledger_entry",
    422,
    "The ledger entry is not valid.",
    retryable=False,
    remedy="Correct everything that `errors` lists; nothing was entered.",
)
REFERENCE_CONFLICT = Fault(
    "reference_conflict",
    409,
    "This reference belongs to a different ledger entry.",
    retryable=False,
    remedy="A repetition must name the same account and amount; another payment needs a reference of its"
    " own.",
)
NOT_UNKNOWN = Fault(
    "not_unknown",
    409,
    "The outcome of this request is not unknown.",
    retryable=False,
    remedy="There is nothing to decide: `reelgate requests show` shows what became of the request.",
)
NOT_ATTACHABLE = Fault(
    "not_attachable",
    422,
    "This RunComfy job cannot be attached to the request.",
    retryable=False,
    remedy="Check RunComfy's id of the job; `detail` says why it does not fit. Nothing was changed.",
)
INVALID_BILL = Fault(
    "invalid_bill",
    422,
    "The bill cannot be compared with the ledger.",
    retryable=False,
    remedy="Give a CSV file in UTF-8 with a header, RunComfy's request ids and plain costs in US dollars,"
    " and the days that it covers.",
)
INVALID_REASON = Fault(
    "invalid_reason",
    422,
    "The reason is not valid.",
    retryable=False,
    remedy="Give at most 200 printable characters; nothing was changed.",
)
MISSING_ADMIN_KEY = Fault(
    "missing_admin_key",
    401,
    "No admin key was sent.",
    retryable=False,
    remedy="Send `Authorization: Bearer rg_admin_…`. The first admin key is made on the server, by `reelgate"
    " admin-keys create`.",
)
SESSION_ENDED = Fault(
    "session_ended",
    401,
    "The session has ended.",
    retryable=False,
    remedy="Sign in again: the console takes an admin key or OpenID Connect, the portal a link or an API"
    " key.",
)
SIGN_IN_ENDED = Fault(
    "sign_in_ended",
    400,
    "This sign-in is not under way.",
    retryable=False,
    remedy="Begin again on the console's page: a sign-in is for one browser, one use and ten minutes.",
)
SIGN_IN_REFUSED = Fault(
    "sign_in_refused",
    403,
    "The sign-in was refused.",
    retryable=False,
    remedy="`detail` says what was wrong with the provider's answer. Sign in again; if that does not"
    " help, whoever operates the gateway compares its settings with the provider's.",
)
NO_OPERATOR_ROLE = Fault(
    "no_operator_role",
    403,
    "You are known, but have no role here.",
    retryable=False,
    remedy="Ask whoever manages roles at your provider for one that REELGATE_OIDC_ROLES maps to a scope.",
)
OIDC_UNAVAILABLE = Fault(
    "oidc_unavailable",
    503,
    "The OpenID provider is of no use at the moment.",
    retryable=True,
    remedy="Try again in a moment, or sign in with an admin key. The gateway's log has the cause.",
)
INVALID_PORTAL_LINK = Fault(
    "invalid_portal_link",
    401,
    "The link to the portal is not valid.",
    retryable=False,
    remedy="Ask for another one: a link works once, within a minute. Or sign in with an API key.",
)
PORTAL_DISABLED = Fault(
    "portal_disabled",
    409,
    "This gateway serves no portal.",
    retryable=False,
    remedy="Whoever operates the gateway turns it on with `REELGATE_PORTAL=true`.",
)
FOREIGN_PAGE = Fault(
    "foreign_page",
    403,
    "A session is only for the gateway's own pages.",
    retryable=False,
    remedy="Programs send a key in the `Authorization` header. A page's own calls need the headers that"
    " browsers send by themselves, and changes also `Reelgate-Page: 1`.",
)
INVALID_ADMIN_KEY = Fault(
    "invalid_admin_key",
    401,
    "The admin key is not valid.",
    retryable=False,
    remedy="Check the key for typing errors; it may also have been revoked or rotated, or have expired.",
)
INSUFFICIENT_ADMIN_SCOPE = Fault(
    "insufficient_admin_scope",
    403,
    "The admin key is not allowed to make this call.",
    retryable=False,
    remedy="Use an admin key with the scope that `detail` names.",
)
TOO_MANY_ATTEMPTS = Fault(
    "too_many_attempts",
    429,
    "Too many wrong admin keys were sent.",
    retryable=True,
    remedy="Correct the key. A valid one is accepted at once.",
)
MISSING_IDEMPOTENCY_KEY = Fault(
    "missing_idempotency_key",
    400,
    "The change has no Idempotency-Key.",
    retryable=False,
    remedy="Send the header `Idempotency-Key` with a new UUID for each change, and the same one when you"
    " repeat the call.",
)
PRECONDITION_FAILED = Fault(
    "precondition_failed",
    412,
    "What is to be changed is no longer as you read it.",
    retryable=False,
    remedy="Read it again, and repeat the change with its new `ETag` if you still want it.",
)
PRECONDITION_REQUIRED = Fault(
    "precondition_required",
    428,
    "The change does not say which version it is of.",
    retryable=False,
    remedy="Send the header `If-Match` with the `ETag` of what you read, or `*` for whatever is there now.",
)
INVALID_CHANGE = Fault(
    "invalid_change",
    422,
    "The body of the change is not valid.",
    retryable=False,
    remedy="Correct everything that `errors` lists; nothing was changed.",
)
ADMIN_KEY_NOT_FOUND = Fault(
    "admin_key_not_found",
    404,
    "There is no such admin key.",
    retryable=False,
    remedy="Check the kid, which is the key's public identifier: `reelgate admin-keys list` shows all of"
    " them.",
)
ADMIN_KEY_NOT_ACTIVE = Fault(
    "admin_key_not_active",
    409,
    "This admin key is no longer active.",
    retryable=False,
    remedy="Create a new key: a key that was revoked or rotated, or that has expired, cannot be rotated.",
)
INVALID_ADMIN_KEY_TERMS = Fault(
    "invalid_admin_key_terms",
    422,
    "The terms of the admin key are not valid.",
    retryable=False,
    remedy="Correct everything that `errors` lists; no key was created.",
)

CATALOGUE: tuple[Fault, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Fault))
