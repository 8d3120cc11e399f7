"""Client tokens: `rg_client_<token_id>_<secret><check>`, for pages, which must not hold a key.

A token is the child of an API key: it may do what the key may, less what its terms leave out, for an hour at
most, and ends with the key. It is kept as a key is: an HMAC under the server's pepper, shown once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, Row, bindparam, delete, exists, insert, select, tuple_, update

from app.auth import keys
from app.auth.keys import APIKey, Mode
from app.db.tables import client_token_refusals, client_tokens, generations
from app.kit.secrets import keyed_digest, pepper_id
from app.kit.strict_json import from_column, to_column

Sees = Literal["token", "end_user", "request"]
SHORTEST_S, USUAL_S, LONGEST_S = 10, 600, 3600
END_USER = r"[A-Za-z0-9._~@:+=|-]{1,64}"
"""A label of whom a token is for: an id of the caller's own, of which nothing is understood here."""
MOST_REFUSALS_KEPT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a token allows.

    `models` are the ids that it may use and `origins` the pages that may hold it, None: as its key and its
    tenant. `bounds` are those of inputs, by name (see `catalog.bounds`). `most_generations` and
    `most_microcredits` are all that it may use, None: no own limit. `sees` says which requests it can read:
    those that it made, those that any token of its `end_user` made, or `request_id` alone, which it watches.
    """

    lifetime_s: int = USUAL_S
    models: Sequence[str] | None = None
    bounds: Mapping[str, Mapping[str, Any]] | None = None
    origins: Sequence[str] | None = None
    most_generations: int | None = None
    most_microcredits: int | None = None
    end_user: str | None = None
    sees: Sees = "token"
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class ClientToken:
    """A token's record; the secret is not in it."""

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
    most_generations: int | None
    most_microcredits: int | None
    end_user: str | None
    sees: Sees
    request_id: str | None
    last_used_at_ms: int | None
    refusals: int

    def state(self, now_ms: int) -> str:
        """`active`, `revoked` or `expired`. Its key may have ended all the same."""
        if self.revoked_at_ms is not None:
            return "revoked"
        return "expired" if self.expires_at_ms <= now_ms else "active"

    @property
    def scopes(self) -> frozenset[str]:
        """What it may do at most; a token that watches a request reads."""
        return frozenset({"read"} if self.sees == "request" else {"read", "submit"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a token was refused: the problem's code and detail, the call, and the page's origin, if any."""

    at_ms: int
    code: str
    detail: str
    call: str
    origin: str | None
    trace_id: str


def create(
    connection: Connection, parent: APIKey, terms: Terms, *, pepper: str, now_ms: int
) -> tuple[ClientToken, str]:
    """Make a token: its record and, this once, the token. It ends with its key at the latest."""
    token_id, token = keys.forge("client")
    expires_at_ms = now_ms + terms.lifetime_s * 1000
    row = connection.execute(
        insert(client_tokens)
        .values(
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
            most_generations=terms.most_generations,
            most_microcredits=terms.most_microcredits,
            end_user=terms.end_user,
            sees=terms.sees,
            request_id=terms.request_id,
        )
        .returning(client_tokens)
    ).one()
    return _token_of(row), token


_BY_ID = select(client_tokens).where(client_tokens.c.token_id == bindparam("wanted"))


def find(connection: Connection, token_id: str) -> tuple[ClientToken, APIKey] | None:
    """A token's record by its id, and that of its key."""
    row = connection.execute(_BY_ID, {"wanted": token_id}).one_or_none()
    if row is None:
        return None
    token = _token_of(row)
    parent = keys.find(connection, token.kid)
    if parent is None:
        raise LookupError(token.kid)  # a key is never removed
    return token, parent


def of_tenant(connection: Connection, token_id: str, tenant_id: str, mode: Mode) -> ClientToken | None:
    """A token of this tenant's, and of this kind of key; None for anybody else's."""
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
    """A tenant's tokens, the newest first, older than the (created_at_ms, token_id) `before`."""
    table = client_tokens.c
    query = (
        select(client_tokens)
        .where(table.tenant_id == tenant_id)
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


def revoke(connection: Connection, token_id: str, *, now_ms: int) -> bool:
    """End a token now. Repeating it changes nothing. Whether there is one."""
    connection.execute(
        update(client_tokens)
        .where(client_tokens.c.token_id == token_id, client_tokens.c.revoked_at_ms.is_(None))
        .values(revoked_at_ms=now_ms)
    )
    return connection.execute(_BY_ID, {"wanted": token_id}).one_or_none() is not None


def mark_used(connection: Connection, token_id: str, *, now_ms: int) -> None:
    """Note that the token is in use."""
    connection.execute(
        update(client_tokens).where(client_tokens.c.token_id == token_id).values(last_used_at_ms=now_ms)
    )


def note_refusal(connection: Connection, token_id: str, refusal: Refusal, *, count: int = 1) -> None:
    """Count refusals, and keep the last of them; of each token the newest are kept."""
    number = connection.execute(
        update(client_tokens)
        .where(client_tokens.c.token_id == token_id)
        .values(refusals=client_tokens.c.refusals + count)
        .returning(client_tokens.c.refusals)
    ).scalar_one_or_none()
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
        .limit(MOST_REFUSALS_KEPT)
    )
    connection.execute(
        delete(client_token_refusals).where(
            client_token_refusals.c.token_id == token_id, client_token_refusals.c.number.not_in(kept)
        )
    )


def refusals_of(connection: Connection, token_id: str) -> list[Refusal]:
    """What a token was refused lately, the newest first."""
    rows = connection.execute(
        select(client_token_refusals)
        .where(client_token_refusals.c.token_id == token_id)
        .order_by(client_token_refusals.c.number.desc())
    )
    return [Refusal(row.at_ms, row.code, row.detail, row.call, row.origin, row.trace_id) for row in rows]


def remove_unused(connection: Connection, *, ended_before_ms: int, limit: int) -> int:
    """Remove tokens that ended before that moment and made no request; how many there were."""
    old = list(
        connection.scalars(
            select(client_tokens.c.token_id)
            .where(
                client_tokens.c.expires_at_ms < ended_before_ms,
                ~exists().where(
                    generations.c.tenant_id == client_tokens.c.tenant_id,
                    generations.c.mode == client_tokens.c.mode,
                    generations.c.token_id.is_not(None),
                    generations.c.token_id == client_tokens.c.token_id,
                ),
            )
            .order_by(client_tokens.c.expires_at_ms)
            .limit(limit)
        )
    )
    if old:
        for table in (client_token_refusals, client_tokens):
            connection.execute(delete(table).where(table.c.token_id.in_(old)))
    return len(old)


def _token_of(row: Row[tuple[object, ...]]) -> ClientToken:
    values: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented access to a row's names
    values["bounds"] = from_column(values["bounds"])
    for name in ("models", "origins"):
        listed = from_column(values[name])
        values[name] = None if listed is None else frozenset(listed)
    return ClientToken(**values)
