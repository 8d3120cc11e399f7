"""Client tokens: the terms on which one is made, and its record."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypedDict, cast

from app.auth import client_tokens
from app.auth.client_tokens import DEFAULT_S, END_USER, MAX_S, MIN_S, Visibility
from app.auth.keys import Mode
from app.documents.fields import Id, Moment, Sums, iso_or_none, sums
from app.documents.schema import keywords
from app.kit.clock import iso
from app.quotas.amounts import MICROCREDITS
from app.quotas.limits import MAX_AMOUNT, MAX_BYTES
from app.quotas.standing import Usage


class Bound(TypedDict, total=False):
    """What a client token allows of one input; `catalog.bounds` parses it."""

    enum: Annotated[list[Any], keywords("The only values that are allowed.", minItems=1)]
    minimum: float
    maximum: float
    max_length: Annotated[int, keywords("Of a text or a list: its maximum length.", minimum=0)]


Bounds = Annotated[
    Mapping[str, Bound],
    keywords("Bounds by the name of an input. An input that is left out is checked by its default."),
]


class ClientTokenTerms(TypedDict, total=False):
    """The body of a request for a client token; `api.v1.client_tokens` parses it."""

    lifetime_s: Annotated[
        int,
        keywords(
            "Seconds until the token expires. It never outlives its API key.",
            minimum=MIN_S,
            maximum=MAX_S,
            default=DEFAULT_S,
        ),
    ]
    models: Annotated[list[str], keywords("The only models that the token may use.", minItems=1)]
    bounds: Annotated[Bounds, keywords("Bounds of the inputs of `models`.", minProperties=1)]
    max_generations: Annotated[
        int, keywords("The maximum number of its requests.", minimum=0, maximum=MAX_AMOUNT)
    ]
    max_microcredits: Annotated[
        int,
        keywords(
            "The maximum cost of its requests, in micro-credits.",
            minimum=0,
            maximum=MAX_AMOUNT * MICROCREDITS,
        ),
    ]
    max_upload_bytes: Annotated[
        int,
        keywords(
            "How many bytes of files it may upload in its life. If it is left out, the operator's setting.",
            minimum=0,
            maximum=MAX_BYTES,
        ),
    ]
    origins: Annotated[
        list[str], keywords("The web origins that may use it; each must be one of the tenant's.", minItems=1)
    ]
    end_user: Annotated[
        str,
        keywords(
            "The person for whom it is made: a label of yours. Each has limits of its own.",
            pattern=f"^{END_USER}$",
        ),
    ]
    visibility: Annotated[
        Literal["token", "end_user"],
        keywords(
            "Which requests it may read: those that it made (`token`), or those of all tokens of its end user"
            " (`end_user`). Default: `end_user` if it has an end user, else `token`."
        ),
    ]
    request_id: Annotated[str, keywords("The only request that it may read; it may do nothing else.")]


class ClientToken(TypedDict):
    """A client token's record, without the token."""

    token_id: Annotated[str, keywords("The token's public identifier, not the token itself.")]
    state: Annotated[
        str,
        keywords(
            "Its own state, or its API key's where that is not active.",
            enum=["active", "expired", "revoked", "disabled"],
        ),
    ]
    kid: Annotated[str, keywords("The API key that created it.")]
    mode: Mode
    scopes: list[Annotated[str, keywords(enum=["read", "submit"])]]
    models: list[str] | None
    bounds: Bounds | None
    max_generations: int | None
    max_microcredits: int | None
    max_upload_bytes: int | None
    origins: list[str] | None
    end_user: str | None
    visibility: Visibility
    request_id: Id | None
    created_at: Moment
    expires_at: Moment
    revoked_at: Moment | None
    last_used_at: Annotated[Moment | None, keywords("When it was last used, to the minute.")]
    refusals: Annotated[int, keywords("How many of its calls were refused.")]


def client_token(token: client_tokens.ClientToken, now_ms: int) -> ClientToken:
    """Returns a client token's record; its state is that at `now_ms`."""
    return {
        "token_id": token.token_id,
        "state": token.state(now_ms),
        "kid": token.kid,
        "mode": token.mode,
        "scopes": sorted(token.scopes),
        "models": _sorted_or_none(token.models),
        "bounds": cast("Mapping[str, Bound] | None", token.bounds),
        "max_generations": token.max_generations,
        "max_microcredits": token.max_microcredits,
        "max_upload_bytes": token.max_upload_bytes,
        "origins": _sorted_or_none(token.origins),
        "end_user": token.end_user,
        "visibility": token.visibility,
        "request_id": token.request_id,
        "created_at": iso(token.created_at_ms),
        "expires_at": iso(token.ends_at_ms),
        "revoked_at": iso_or_none(token.revoked_at_ms),
        "last_used_at": iso_or_none(token.last_used_at_ms),
        "refusals": token.refusals,
    }


class _Secret(TypedDict):
    token: Annotated[str, keywords("The token itself, `rg_client_…`. It is shown only once.")]


class MintedClientToken(_Secret, ClientToken):
    """A new client token, with the token itself."""


def minted_client_token(token: client_tokens.ClientToken, text: str, now_ms: int) -> MintedClientToken:
    """Returns a new client token's record and, this once, the token, which is `text`."""
    return {"token": text, **client_token(token, now_ms)}


class ClientTokenPage(TypedDict):
    """A page of client tokens, newest first."""

    client_tokens: list[ClientToken]
    next_cursor: Annotated[str | None, keywords("The `cursor` of the next page; null on the last page.")]


def client_token_page(
    shown: Sequence[client_tokens.ClientToken], next_cursor: str | None, now_ms: int
) -> ClientTokenPage:
    """Returns one page of client tokens; `next_cursor` is None on the last one."""
    return {"client_tokens": [client_token(one, now_ms) for one in shown], "next_cursor": next_cursor}


class TokenRefusal(TypedDict):
    """One refused call of a client token."""

    at: Moment
    code: Annotated[str, keywords("The problem's code.")]
    detail: str
    call: Annotated[str, keywords("Method and path of the call.")]
    origin: Annotated[str | None, keywords("The web page's origin.")]
    trace_id: str


class ClientTokenInFull(ClientToken):
    """A client token's record with its usage, its newest requests and its newest refusals."""

    usage: Annotated[Sums, keywords("What it has used; refunded amounts are not counted.")]
    newest_requests: Annotated[list[Id], keywords("Its newest requests, the newest first.")]
    newest_refusals: list[TokenRefusal]


def client_token_in_full(
    token: client_tokens.ClientToken,
    usage: Usage,
    request_ids: Sequence[str],
    refusals: Sequence[client_tokens.Refusal],
    now_ms: int,
) -> ClientTokenInFull:
    """Returns a client token's full record; `request_ids` and `refusals` are newest first."""
    return {
        **client_token(token, now_ms),
        "usage": sums(usage),
        "newest_requests": list(request_ids),
        "newest_refusals": [
            {
                "at": iso(one.at_ms),
                "code": one.code,
                "detail": one.detail,
                "call": one.call,
                "origin": one.origin,
                "trace_id": one.trace_id,
            }
            for one in refusals
        ],
    }


def _sorted_or_none(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)
