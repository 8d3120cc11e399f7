"""Client tokens: `rg_client_<token_id>_<secret><check>`, for web pages, which must not hold an API key.

A token is the child of an API key: it may do what the key may, minus what its terms leave out, for an hour at
most, and it ends with the key. It is stored as a key is, as an HMAC under the server's pepper, and shown
once.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, Row, bindparam, delete, exists, insert, select, tuple_, update

from app.auth import keys
from app.auth.keys import APIKey, Mode, state_of
from app.db.schema.tables import api_keys, client_token_refusals, client_tokens, generations, tenants
from app.kit.json import from_column, to_column
from app.kit.secrets import keyed_digest, pepper_id
from app.kit.text import is_storable

Visibility = Literal["token", "end_user", "request"]
MIN_S, DEFAULT_S, MAX_S = 10, 600, 3600
END_USER = r"[A-Za-z0-9._~@:+=|-]{1,64}"
"""The pattern of an end user: the caller's own id of whoever a token is for, opaque to the gateway."""
MAX_REFUSALS_KEPT = 50


def key_space_of(end_user: str | None, root_kid: str) -> str:
    """Returns the namespace of Idempotency-Keys of tokens with this end user, made by this API key."""
    return f"key:{root_kid}" if end_user is None else f"user:{end_user}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTerms:
    """What a token allows.

    `models` are the ids of the models that it may use, and `origins` those of the pages that may hold it;
    None: the same as its key and its tenant. `bounds` restrict inputs, by name (see `catalog.bounds`).
    `max_generations` and `max_microcredits` are all that it may use in its life; None: no limit of its own.
    `max_upload_bytes` is how many bytes of files it may upload in its life; None: as the settings say.
    `visibility` says which requests it can read: those that it made itself (`token`), those that any token of
    its `end_user` made, or only the one of `request_id`, which it watches (`request`).
    """

    lifetime_s: int = DEFAULT_S
    models: Sequence[str] | None = None
    bounds: Mapping[str, Mapping[str, Any]] | None = None
    origins: Sequence[str] | None = None
    max_generations: int | None = None
    max_microcredits: int | None = None
    end_user: str | None = None
    visibility: Visibility = "token"
    request_id: str | None = None
    max_upload_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ClientToken:
    """A token's record, with the state of its key and its tenant; the secret is not in it.

    `refusals` counts all of the token's refused calls.
    """

    token_id: str
    tenant_id: str
    kid: str
    mode: Mode
    digest: str = field(repr=False)
    pepper_id: str
    created_at_ms: int
    expires_at_ms: int
    revoked_at_ms: int | None
    models: frozenset[str] | None
    bounds: Mapping[str, Mapping[str, Any]] | None
    origins: frozenset[str] | None
    max_generations: int | None
    max_microcredits: int | None
    end_user: str | None
    visibility: Visibility
    request_id: str | None
    last_used_at_ms: int | None
    refusals: int
    key_expires_at_ms: int | None
    key_revoked_at_ms: int | None
    tenant_disabled_at_ms: int | None
    max_upload_bytes: int | None = None
    uploaded_bytes: int = 0

    def key_space(self, root_kid: str) -> str:
        """Returns the namespace in which an Idempotency-Key sent with this token is unique.

        It is the token's end user or, where it names none, its API key: a page that continues with a new
        token of the same key then makes no second job, but is told that the first one was not its own.
        """
        return key_space_of(self.end_user, root_kid)

    def state(self, now_ms: int) -> str:
        """Returns `active`, `revoked`, `expired` (the token or its key is) or `disabled` (its tenant is)."""
        own = self.own_state(now_ms)
        return own if own != "active" else self.state_of_key(now_ms)

    def own_state(self, now_ms: int) -> str:
        """Returns the state of the token alone: `active`, `revoked` or `expired`."""
        if self.revoked_at_ms is not None:
            return "revoked"
        return "expired" if self.expires_at_ms <= now_ms else "active"

    def state_of_key(self, now_ms: int) -> str:
        """Returns the state of its key: `active`, `revoked`, `expired`, or `disabled` (the tenant is)."""
        return state_of(
            self.key_revoked_at_ms, self.key_expires_at_ms, self.tenant_disabled_at_ms, now_ms=now_ms
        )

    @property
    def ends_at_ms(self) -> int:
        """When the token ends by itself: a key that was rotated may end before the token would."""
        return min(self.expires_at_ms, self.key_expires_at_ms or self.expires_at_ms)

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes of the token, if its key has them; a token that watches a request only reads."""
        return frozenset({"read"} if self.visibility == "request" else {"read", "submit"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One refused call of a client token.

    `code` and `detail` are the problem's, `call` is the method and path, `origin` the page's, None where
    unknown.
    """

    at_ms: int
    code: str
    detail: str
    call: str
    origin: str | None
    trace_id: str


def create(
    connection: Connection, parent: APIKey, terms: TokenTerms, *, pepper: str, now_ms: int
) -> tuple[ClientToken, str]:
    """Creates a token; returns its record, and the token itself, which is stored nowhere.

    It expires with its key at the latest.
    """
    token_id, token = keys.generate("client")
    expires_at_ms = now_ms + terms.lifetime_s * 1000
    connection.execute(
        insert(client_tokens).values(
            token_id=token_id,
            tenant_id=parent.tenant_id,
            kid=parent.kid,
            mode=parent.mode,
            digest=keyed_digest(pepper, token),
            pepper_id=pepper_id(pepper),
            created_at_ms=now_ms,
            expires_at_ms=min(expires_at_ms, parent.expires_at_ms or expires_at_ms),
            models=None if terms.models is None else to_column(sorted(terms.models)),
            bounds=None if terms.bounds is None else to_column(terms.bounds),
            origins=None if terms.origins is None else to_column(sorted(terms.origins)),
            max_generations=terms.max_generations,
            max_microcredits=terms.max_microcredits,
            end_user=terms.end_user,
            visibility=terms.visibility,
            request_id=terms.request_id,
            max_upload_bytes=terms.max_upload_bytes,
        )
    )
    return _token_of(connection.execute(_BY_ID, {"wanted": token_id}).one()), token


_SELECT = (
    select(
        client_tokens,
        api_keys.c.expires_at_ms.label("key_expires_at_ms"),
        api_keys.c.revoked_at_ms.label("key_revoked_at_ms"),
        tenants.c.disabled_at_ms.label("tenant_disabled_at_ms"),
    )
    .join(api_keys, api_keys.c.kid == client_tokens.c.kid)
    .join(tenants, tenants.c.id == client_tokens.c.tenant_id)
)
_BY_ID = _SELECT.where(client_tokens.c.token_id == bindparam("wanted"))


def find(
    connection: Connection, token_id: str, *, to_change: bool = False
) -> tuple[ClientToken, APIKey] | None:
    """Returns a token's record by its id, with its key's record; None if there is no such token.

    `to_change` also locks the token's row until the commit.
    """
    if not is_storable(token_id):
        return None
    if to_change:
        lock = select(client_tokens.c.token_id).where(client_tokens.c.token_id == token_id)
        connection.execute(lock.with_for_update(key_share=True))
    row = connection.execute(_BY_ID, {"wanted": token_id}).one_or_none()
    if row is None:
        return None
    token = _token_of(row)
    parent = keys.find(connection, token.kid)
    if parent is None:
        raise LookupError(token.kid)  # a key is never removed
    return token, parent


def find_all(connection: Connection, token_ids: Collection[str]) -> dict[str, ClientToken]:
    """Returns the records of several tokens, by their ids; an id without a token is left out."""
    rows = connection.execute(_SELECT.where(client_tokens.c.token_id.in_(token_ids)))
    return {token.token_id: token for token in map(_token_of, rows)}


def of_tenant(connection: Connection, token_id: str, tenant_id: str, mode: Mode) -> ClientToken | None:
    """Returns the record of a token of this tenant and mode; None for any other token."""
    row = connection.execute(
        _BY_ID.where(client_tokens.c.tenant_id == tenant_id, client_tokens.c.mode == mode),
        {"wanted": token_id},
    ).one_or_none()
    return None if row is None else _token_of(row)


def page(
    connection: Connection,
    tenant_id: str,
    *,
    mode: Mode | None,
    limit: int,
    before: tuple[int, str] | None = None,
    end_user: str | None = None,
) -> list[ClientToken]:
    """Returns up to `limit` of a tenant's tokens, newest first.

    `before` is the (created_at_ms, token_id) of a token: only older ones are returned. A `mode` or `end_user`
    of None does not filter.
    """
    table = client_tokens.c
    query = (
        _SELECT.where(table.tenant_id == tenant_id)
        .order_by(table.created_at_ms.desc(), table.token_id.desc())
        .limit(limit)
    )
    if mode is not None:
        query = query.where(table.mode == mode)
    if before is not None:
        query = query.where(tuple_(table.created_at_ms, table.token_id) < tuple_(*before))
    if end_user is not None:
        query = query.where(table.end_user == end_user)
    return [_token_of(row) for row in connection.execute(query)]


def revoke(connection: Connection, token_id: str, *, now_ms: int) -> None:
    """Ends a token now. Revoking it again changes nothing."""
    connection.execute(
        update(client_tokens)
        .where(client_tokens.c.token_id == token_id, client_tokens.c.revoked_at_ms.is_(None))
        .values(revoked_at_ms=now_ms)
    )


def uploaded(connection: Connection, token_id: str) -> int:
    """Returns how many bytes of files were uploaded with a token."""
    query = select(client_tokens.c.uploaded_bytes).where(client_tokens.c.token_id == token_id)
    size: int = connection.execute(query).scalar_one()
    return size


def count_upload(connection: Connection, token_id: str, size_bytes: int) -> None:
    """Counts bytes of a file that were uploaded with a token; they never come back."""
    connection.execute(
        update(client_tokens)
        .where(client_tokens.c.token_id == token_id)
        .values(uploaded_bytes=client_tokens.c.uploaded_bytes + size_bytes)
    )


def mark_used(connection: Connection, token_id: str, *, now_ms: int) -> None:
    """Records when the token was used last."""
    connection.execute(
        update(client_tokens).where(client_tokens.c.token_id == token_id).values(last_used_at_ms=now_ms)
    )


def record_refusal(connection: Connection, token_id: str, refusal: Refusal) -> None:
    """Counts a refusal and stores it; the newest `MAX_REFUSALS_KEPT` of each token are kept."""
    number = _count(connection, token_id, 1)
    if number is None:
        return
    connection.execute(
        insert(client_token_refusals).values(
            token_id=token_id,
            number=number,
            at_ms=refusal.at_ms,
            code=refusal.code,
            detail=refusal.detail,
            call=refusal.call,
            origin=refusal.origin,
            trace_id=refusal.trace_id,
        )
    )
    kept = (
        select(client_token_refusals.c.number)
        .where(client_token_refusals.c.token_id == token_id)
        .order_by(client_token_refusals.c.number.desc())
        .limit(MAX_REFUSALS_KEPT)
    )
    connection.execute(
        delete(client_token_refusals).where(
            client_token_refusals.c.token_id == token_id, client_token_refusals.c.number.not_in(kept)
        )
    )


def count_refusals(connection: Connection, counts: Mapping[str, int]) -> None:
    """Adds to the numbers of refusals of several tokens, without storing the refusals."""
    for token_id in sorted(counts):  # always in the same order, so that two servers cannot deadlock
        _count(connection, token_id, counts[token_id])


def _count(connection: Connection, token_id: str, more: int) -> int | None:
    return connection.execute(
        update(client_tokens)
        .where(client_tokens.c.token_id == token_id)
        .values(refusals=client_tokens.c.refusals + more)
        .returning(client_tokens.c.refusals)
    ).scalar_one_or_none()


def refusals_of(connection: Connection, token_id: str) -> list[Refusal]:
    """Returns the stored refusals of a token, newest first."""
    rows = connection.execute(
        select(client_token_refusals)
        .where(client_token_refusals.c.token_id == token_id)
        .order_by(client_token_refusals.c.number.desc())
    )
    return [
        Refusal(
            at_ms=row.at_ms,
            code=row.code,
            detail=row.detail,
            call=row.call,
            origin=row.origin,
            trace_id=row.trace_id,
        )
        for row in rows
    ]


def ended(
    connection: Connection, *, before_ms: int, after: tuple[int, str], limit: int
) -> list[tuple[int, str, bool]]:
    """Returns tokens that expired before `before_ms`, sorted by (expires_at_ms, token_id), after `after`.

    Each is (expires_at_ms, token_id, whether it made any generation); at most `limit` of them.
    """
    table = client_tokens.c
    made = exists().where(
        generations.c.tenant_id == table.tenant_id,
        generations.c.mode == table.mode,
        generations.c.token_id.is_not(None),
        generations.c.token_id == table.token_id,
    )
    rows = connection.execute(
        select(table.expires_at_ms, table.token_id, made.label("made"))
        .where(table.expires_at_ms < before_ms, tuple_(table.expires_at_ms, table.token_id) > tuple_(*after))
        .order_by(table.expires_at_ms, table.token_id)
        .limit(limit)
    )
    return [(at_ms, token_id, bool(has_made)) for at_ms, token_id, has_made in rows]


def remove(connection: Connection, token_ids: Sequence[str]) -> None:
    """Deletes tokens that ended long ago and made no generation, with their refusals.

    It locks the tokens' rows in the order of their ids.
    """
    lock = select(client_tokens.c.token_id).where(client_tokens.c.token_id.in_(token_ids))
    connection.execute(lock.order_by(client_tokens.c.token_id).with_for_update())
    for table in (client_token_refusals, client_tokens):
        connection.execute(delete(table).where(table.c.token_id.in_(token_ids)))


def _token_of(row: Row[tuple[object, ...]]) -> ClientToken:
    values: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented access to a row's names
    values["bounds"] = from_column(values["bounds"])
    for name in ("models", "origins"):
        listed = from_column(values[name])
        values[name] = None if listed is None else frozenset(listed)
    return ClientToken(**values)
