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


INVALID_JSON = Fault(
    "invalid_json",
    400,
    "The body is not acceptable JSON.",
    retryable=False,
    remedy="Send one JSON object, UTF-8, without duplicate keys, NUL characters, NaN or infinities.",
)
INVALID_PARAMETER = Fault(
    "invalid_parameter",
    400,
    "A query parameter is not acceptable.",
    retryable=False,
    remedy="Correct the parameter that `errors` points at.",
)
INVALID_IDEMPOTENCY_KEY = Fault(
    "invalid_idempotency_key",
    400,
    "The Idempotency-Key is not acceptable.",
    retryable=False,
    remedy="Send one key of 1 to 255 printable ASCII characters, quoted or bare; a UUID will do.",
)
MALFORMED_REQUEST = Fault(
    "malformed_request",
    400,
    "This is not acceptable HTTP.",
    retryable=False,
    remedy="Send HTTP/1.1 with one Host, one Content-Length or chunks, and nothing twice that counts once.",
)
MISSING_API_KEY = Fault(
    "missing_api_key",
    401,
    "No API key was sent.",
    retryable=False,
    remedy="Send `Authorization: Bearer rg_live_…` (or rg_test_…, or from a page rg_client_…).",
)
INVALID_API_KEY = Fault(
    "invalid_api_key",
    401,
    "The API key is not valid.",
    retryable=False,
    remedy="Check the key for typing errors; it may have been revoked, rotated or expired.",
)
INVALID_CLIENT_TOKEN = Fault(
    "invalid_client_token",
    401,
    "The client token is not valid.",
    retryable=False,
    remedy="Get a new one from your backend; this one, or the API key that made it, may have been revoked.",
)
EXPIRED_CLIENT_TOKEN = Fault(
    "expired_client_token",
    401,
    "The client token has expired.",
    retryable=False,
    remedy="Get a new one from your backend and go on: jobs are not affected.",
)
INSUFFICIENT_SCOPE = Fault(
    "insufficient_scope",
    403,
    "The API key or client token may not do this.",
    retryable=False,
    remedy="Use a key that has the scope named in `detail`.",
)
OUT_OF_BOUNDS = Fault(
    "out_of_bounds",
    403,
    "The client token does not allow this input.",
    retryable=False,
    remedy="Keep to what `errors` says, or get a token with wider bounds from your backend.",
)
ORIGIN_NOT_ALLOWED = Fault(
    "origin_not_allowed",
    403,
    "Pages of this origin may not call.",
    retryable=False,
    remedy="Have the operator add the page's exact origin to the tenant (`reelgate tenants set-origins`),"
    " and the backend mint its tokens for it.",
)
MODEL_NOT_ALLOWED = Fault(
    "model_not_allowed",
    403,
    "The API key or client token may not use this model.",
    retryable=False,
    remedy="Use a key or a token whose list of models includes it.",
)
ROUTE_NOT_FOUND = Fault(
    "route_not_found",
    404,
    "There is nothing at this address.",
    retryable=False,
    remedy="See /openapi.json for the routes.",
)
MODEL_NOT_FOUND = Fault(
    "model_not_found",
    404,
    "The catalogue has no such model.",
    retryable=False,
    remedy="GET /v1/models lists the models that are served here.",
)
REQUEST_NOT_FOUND = Fault(
    "request_not_found",
    404,
    "There is no such request.",
    retryable=False,
    remedy="Check the request id; a request is visible only to the tenant that made it, and to those client"
    " tokens that may see it.",
)
CLIENT_TOKEN_NOT_FOUND = Fault(
    "client_token_not_found",
    404,
    "There is no such client token.",
    retryable=False,
    remedy="Check the token_id (not the token): GET /v1/client-tokens lists them.",
)
METHOD_NOT_ALLOWED = Fault(
    "method_not_allowed",
    405,
    "This address does not take this method.",
    retryable=False,
    remedy="Use a method named in the `Allow` header.",
)
REQUEST_TIMEOUT = Fault(
    "request_timeout",
    408,
    "The request did not arrive in time.",
    retryable=True,
    remedy="Send it again, faster; nothing of it was carried out.",
)
IDEMPOTENCY_IN_PROGRESS = Fault(
    "idempotency_in_progress",
    409,
    "The first submit with this Idempotency-Key is still under way.",
    retryable=True,
    remedy="Send the same again after `Retry-After`; it will be answered with the first one's job.",
)
NOT_CANCELLABLE = Fault(
    "not_cancellable",
    409,
    "This request cannot be cancelled any more.",
    retryable=False,
    remedy="It runs, is over, or its fate is unknown; see its status. Without `Prefer` this is a 202.",
)
RESULT_ERASED = Fault(
    "result_erased",
    410,
    "The result was kept for as long as the gateway keeps results.",
    retryable=False,
    remedy="Fetch results sooner; the record of the request is still there.",
)
BODY_TOO_LARGE = Fault(
    "body_too_large",
    413,
    "The body is too large.",
    retryable=False,
    remedy="Send pictures by https URL instead of by value; the limit is in `detail`.",
)
ADDRESS_TOO_LONG = Fault(
    "address_too_long",
    414,
    "The address is too long.",
    retryable=False,
    remedy="Shorten the path or the query; nothing here needs a long one.",
)
UNSUPPORTED_MEDIA_TYPE = Fault(
    "unsupported_media_type",
    415,
    "The body must be JSON.",
    retryable=False,
    remedy="Send `Content-Type: application/json`, without a content coding.",
)
INVALID_INPUT = Fault(
    "invalid_input",
    422,
    "The input does not fit the model's schema.",
    retryable=False,
    remedy="Correct every violation in `errors`; nothing was sent and nothing was charged.",
)
INVALID_TOKEN_TERMS = Fault(
    "invalid_token_terms",
    422,
    "A client token cannot be made on these terms.",
    retryable=False,
    remedy="Correct every violation in `errors`; no token was made.",
)
MEDIA_UNREACHABLE = Fault(
    "media_unreachable",
    422,
    "A file of the input could not be fetched.",
    retryable=True,
    remedy="Check that every address in `errors` is public and answers within seconds, then send it again.",
)
IDEMPOTENCY_MISMATCH = Fault(
    "idempotency_mismatch",
    422,
    "This Idempotency-Key belongs to another request.",
    retryable=False,
    remedy="Use a new key for a new job; a repetition must repeat model and input.",
)
UPSTREAM_REJECTED = Fault(
    "upstream_rejected",
    422,
    "RunComfy refused this input.",
    retryable=False,
    remedy="See `upstream` for RunComfy's own words; no job was made.",
)
_QUOTA_TYPE = "https://iana.org/assignments/http-problem-types#quota-exceeded"
QUOTA_EXCEEDED = Fault(
    "quota_exceeded",
    429,
    "A quota does not allow this now.",
    retryable=True,
    remedy="Send it again after `Retry-After`; `limits` names what refuses, GET /v1/quota has everything.",
    registered=_QUOTA_TYPE,
)
QUOTA_EXHAUSTED = Fault(
    "quota_exhausted",
    429,
    "A quota does not allow this, and waiting alone will not change that.",
    retryable=False,
    remedy="Ask the operator to raise what `limits` names, or to top up a balance; GET /v1/quota shows all.",
    registered=_QUOTA_TYPE,
)
TOO_MANY_STREAMS = Fault(
    "too_many_streams",
    429,
    "There are too many event streams open.",
    retryable=True,
    remedy="Close one, or watch all of your requests with one stream: GET /v1/events.",
)
HEADERS_TOO_LARGE = Fault(
    "headers_too_large",
    431,
    "The headers are too large.",
    retryable=False,
    remedy="Send fewer or shorter headers; cookies are not used here.",
)
HTTP_ERROR = Fault(
    "http_error",
    400,
    "The request was refused by the server.",
    retryable=False,
    remedy="See `detail`.",
)
INTERNAL_ERROR = Fault(
    "internal_error",
    500,
    "Something went wrong in the gateway.",
    retryable=False,
    remedy="Look at GET /v1/requests before you send a submit again; quote `trace_id` to the operator.",
)
UPSTREAM_UNSERVED = Fault(
    "upstream_unserved",
    502,
    "RunComfy does not serve this call.",
    retryable=False,
    remedy="The catalogue and RunComfy disagree about this model; tell the operator.",
)
UPSTREAM_UNUSABLE = Fault(
    "upstream_unusable",
    502,
    "RunComfy's answer could not be used.",
    retryable=True,
    remedy="Ask again in a while; nothing was changed.",
)
UPSTREAM_NOT_CONFIGURED = Fault(
    "upstream_not_configured",
    503,
    "Live requests are not configured here.",
    retryable=False,
    remedy="The operator has to set REELGATE_UPSTREAM_TOKEN; rg_test_ keys work without it.",
)
UPSTREAM_CREDENTIAL_REFUSED = Fault(
    "upstream_credential_refused",
    503,
    "RunComfy refuses the gateway's own credential.",
    retryable=True,
    remedy="Your key is fine: the operator has to mend the credential or its balance. No job was made.",
)
UPSTREAM_BUSY = Fault(
    "upstream_busy",
    503,
    "RunComfy takes no more jobs for now.",
    retryable=True,
    remedy="Send it again after `Retry-After`; no job was made.",
)
QUEUE_FULL = Fault(
    "queue_full",
    429,
    "As many requests of your tenant wait to be sent as may.",
    retryable=True,
    remedy="Send it again after `Retry-After`, once some of them went or were cancelled; nothing was made.",
)
GATEWAY_QUEUE_FULL = Fault(
    "gateway_queue_full",
    503,
    "As many requests wait to be sent as the gateway keeps.",
    retryable=True,
    remedy="Send it again after `Retry-After`; nothing was made.",
)
DISPATCH_PAUSED = Fault(
    "dispatch_paused",
    503,
    "The operator has nothing sent to RunComfy for now.",
    retryable=True,
    remedy="Send it again after `Retry-After`; no job was made. Requests that may wait are accepted.",
)
UPSTREAM_UNREACHABLE = Fault(
    "upstream_unreachable",
    503,
    "RunComfy could not be reached.",
    retryable=True,
    remedy="Send it again after `Retry-After`; nothing left the gateway.",
)
DATABASE_UNAVAILABLE = Fault(
    "database_unavailable",
    503,
    "The gateway's database is not available.",
    retryable=True,
    remedy="Ask again after `Retry-After`. Nothing is sent without its record.",
)
TOO_MANY_CONNECTIONS = Fault(
    "too_many_connections",
    503,
    "This server has as many connections as it may.",
    retryable=True,
    remedy="Ask again after `Retry-After`; keep connections open rather than making new ones.",
)
SHUTTING_DOWN = Fault(
    "shutting_down",
    503,
    "This server is stopping.",
    retryable=True,
    remedy="Ask again after `Retry-After`; another server, or the next one, will answer.",
)
OUTCOME_UNKNOWN = Fault(
    "outcome_unknown",
    504,
    "The job was sent and its fate is not known yet.",
    retryable=False,
    remedy="Do not send it again: a job may exist. Follow `request_id` of this problem.",
)
UPSTREAM_TIMEOUT = Fault(
    "upstream_timeout",
    504,
    "RunComfy did not answer in time.",
    retryable=True,
    remedy="Ask again in a while; a cancel that timed out may still have been carried out.",
)

# What an operator's command, or the admin API, is refused.
TENANT_NOT_FOUND = Fault(
    "tenant_not_found",
    404,
    "There is no such tenant.",
    retryable=False,
    remedy="Check the tenant's name: `reelgate tenants list` shows all.",
)
TENANT_EXISTS = Fault(
    "tenant_exists",
    409,
    "There is a tenant of this name already.",
    retryable=False,
    remedy="Use that tenant, or choose another name.",
)
INVALID_TENANT = Fault(
    "invalid_tenant",
    422,
    "A tenant cannot be set up like this.",
    retryable=False,
    remedy="Correct every violation in `errors`; nothing was changed.",
)
API_KEY_NOT_FOUND = Fault(
    "api_key_not_found",
    404,
    "There is no such API key.",
    retryable=False,
    remedy="Check the kid (not the key): `reelgate keys list` shows all.",
)
API_KEY_NOT_ACTIVE = Fault(
    "api_key_not_active",
    409,
    "This API key is not active any more.",
    retryable=False,
    remedy="Make a new key; a key that was revoked, rotated or has expired cannot be rotated.",
)
INVALID_API_KEY_TERMS = Fault(
    "invalid_api_key_terms",
    422,
    "An API key cannot be made on these terms.",
    retryable=False,
    remedy="Correct every violation in `errors`; no key was made.",
)
INVALID_ACCOUNT = Fault(
    "invalid_account",
    422,
    "This names no account.",
    retryable=False,
    remedy="Name a tenant and, to narrow it, a model and either a key or an end user, as `errors` says.",
)
INVALID_LIMIT = Fault(
    "invalid_limit",
    422,
    "This is not a limit.",
    retryable=False,
    remedy="Correct every violation in `errors`; no limit was changed.",
)
LIMIT_NOT_FOUND = Fault(
    "limit_not_found",
    404,
    "There is no such limit.",
    retryable=False,
    remedy="`reelgate limits list` shows all; nothing was removed. Defaults are in REELGATE_DEFAULT_LIMITS.",
)
INVALID_LEDGER_ENTRY = Fault(
    "invalid_ledger_entry",
    422,
    "The ledger does not take this entry.",
    retryable=False,
    remedy="Correct every violation in `errors`; nothing was entered.",
)
REFERENCE_CONFLICT = Fault(
    "reference_conflict",
    409,
    "This reference belongs to another entry of the ledger.",
    retryable=False,
    remedy="A repetition must have the same account and amount; another payment needs its own reference.",
)
NOT_UNKNOWN = Fault(
    "not_unknown",
    409,
    "The fate of this request is not unknown.",
    retryable=False,
    remedy="Nothing has to be decided: `reelgate requests show` says what became of it.",
)
NOT_ATTACHABLE = Fault(
    "not_attachable",
    422,
    "This job of RunComfy's cannot be attached to the request.",
    retryable=False,
    remedy="Check RunComfy's id of the job; `detail` says why it does not fit. Nothing was changed.",
)
INVALID_BILL = Fault(
    "invalid_bill",
    422,
    "The bill cannot be compared with the books.",
    retryable=False,
    remedy="Give a CSV file in UTF-8 with a header, ids and plain costs, and the days that it covers.",
)
INVALID_REASON = Fault(
    "invalid_reason",
    422,
    "This reason cannot be recorded.",
    retryable=False,
    remedy="Give at most 200 printable characters; nothing was changed.",
)

CATALOGUE: tuple[Fault, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Fault))
