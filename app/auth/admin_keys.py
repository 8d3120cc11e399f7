"""Admin keys: `rg_admin_<kid>_<secret><check>`, which operators present to the admin API.

They are a class of their own: of no tenant, in a table of their own, and of no use on any other route, as no
other key is of use there. What is stored is a digest under the server's pepper, as of API keys. Nothing is
remembered between two calls, so that a revocation acts at once on every replica.
"""

import re
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from sqlalchemy import Connection, Row, insert, select, update

from app.auth.keys import KID_LENGTH, SECRET_LENGTH, generate, state_of
from app.db.engines.engine import Database
from app.db.schema.tables import admin_keys
from app.db.statements.upsert import insert_of
from app.errors import (
    ADMIN_KEY_NOT_ACTIVE,
    ADMIN_KEY_NOT_FOUND,
    INVALID_ADMIN_KEY,
    TOO_MANY_ATTEMPTS,
    Problem,
)
from app.kit.clock import Clock
from app.kit.json import from_column, to_column
from app.kit.log import get_logger
from app.kit.redaction import redactor
from app.kit.secrets import CHECK_LENGTH, checksum, keyed_digest, pepper_id, same
from app.kit.tasks import Tasks
from app.kit.text import is_storable, quoted

AdminScope = Literal["read", "operate", "money", "root"]
ADMIN_SCOPES: Final[Sequence[AdminScope]] = get_args(AdminScope)
_IMPLIED: Final[Mapping[str, frozenset[str]]] = {
    "read": frozenset({"read"}),
    "operate": frozenset({"read", "operate"}),
    "money": frozenset({"read", "money"}),
    "root": frozenset(ADMIN_SCOPES),
}
_SHAPE: Final = re.compile(
    rf"rg_admin_([0-9A-Za-z]{{{KID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CHECK_LENGTH}}})\Z"
)
PERSON: Final = "oidc"
"""What the record of a person has in place of a pepper's id: there is no key to it."""
_USED_EVERY_MS: Final = 60_000  # "last used" is this coarse: one write a minute for each key
_MAX_FAILED: Final = 20
_FAILED_WITHIN_MS: Final = 60_000
_MAX_REMEMBERED: Final = 1000
_log = get_logger("auth")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminKey:
    """An admin key's record, without the secret. `scopes` are as they were given, without the implied."""

    kid: str
    name: str
    scopes: frozenset[str]
    digest: str = field(repr=False)
    pepper_id: str
    last_four: str
    created_at_ms: int
    expires_at_ms: int | None
    revoked_at_ms: int | None
    rotated_to: str | None
    last_used_at_ms: int | None

    def state(self, now_ms: int) -> str:
        """Returns `active`, `revoked` or `expired`."""
        return state_of(self.revoked_at_ms, self.expires_at_ms, None, now_ms=now_ms)

    @property
    def is_person(self) -> bool:
        """Whether it is the record of a person who signs in by OpenID Connect, and of no key."""
        return self.pepper_id == PERSON

    def may(self, scope: AdminScope) -> bool:
        """Returns whether the key has the scope, or one that implies it."""
        return any(scope in _IMPLIED[one] for one in self.scopes)


def kid_in(text: str) -> str | None:
    """Returns the kid of a well-formed admin key with a right check; None for other texts."""
    match = _SHAPE.match(text)
    return match[1] if match is not None and checksum(text[:-CHECK_LENGTH]) == match[3] else None


def create(
    connection: Connection,
    *,
    name: str,
    scopes: Sequence[str],
    pepper: str,
    now_ms: int,
    expires_at_ms: int | None = None,
) -> tuple[str, str]:
    """Creates an admin key; returns its kid, and the key itself, which is stored nowhere."""
    kid, key = generate("admin")
    connection.execute(
        insert(admin_keys).values(
            kid=kid,
            name=name,
            scopes=to_column(sorted(scopes)),
            digest=keyed_digest(pepper, key),
            pepper_id=pepper_id(pepper),
            last_four=key[-4:],
            created_at_ms=now_ms,
            expires_at_ms=expires_at_ms,
        )
    )
    return kid, key


def put_person(
    connection: Connection, kid: str, *, name: str, scopes: Sequence[str], digest: str, now_ms: int
) -> AdminKey:
    """Makes the record of a person, or brings it up to date, and returns it."""
    told = {"name": name, "scopes": to_column(scopes), "last_used_at_ms": now_ms}
    made = {"digest": digest, "pepper_id": PERSON, "last_four": "", "created_at_ms": now_ms}
    connection.execute(
        insert_of(connection, admin_keys)
        .values(kid=kid, **told, **made)
        .on_conflict_do_update(index_elements=[admin_keys.c.kid], set_=told)
    )
    return to_change(connection, kid)


def rotate(
    connection: Connection, kid: str, *, overlap_ms: int, pepper: str, now_ms: int
) -> tuple[str, str, int]:
    """Creates a second admin key like the first, which stays valid for `overlap_ms` more.

    Returns the new kid, the new key, and when the old one ends (milliseconds since 1970).

    Raises:
        Problem: ADMIN_KEY_NOT_FOUND, ADMIN_KEY_NOT_ACTIVE.

    """
    old = to_change(connection, kid)
    if old.is_person:
        raise Problem(ADMIN_KEY_NOT_ACTIVE, f"{kid!r} is a person, to whom there is no key.")
    state = "rotated" if old.rotated_to else old.state(now_ms)
    if state != "active":
        raise Problem(ADMIN_KEY_NOT_ACTIVE, f"admin key {kid!r} is {state} already.")
    ends_at_ms = min(now_ms + overlap_ms, old.expires_at_ms or now_ms + overlap_ms)
    new_kid, key = create(
        connection,
        name=old.name,
        scopes=sorted(old.scopes),
        pepper=pepper,
        now_ms=now_ms,
        expires_at_ms=old.expires_at_ms,
    )
    connection.execute(
        update(admin_keys).where(admin_keys.c.kid == kid).values(expires_at_ms=ends_at_ms, rotated_to=new_kid)
    )
    return new_kid, key, ends_at_ms


def revoke(connection: Connection, kid: str, *, now_ms: int) -> None:
    """Ends an admin key now. Revoking it again changes nothing."""
    connection.execute(
        update(admin_keys)
        .where(admin_keys.c.kid == kid, admin_keys.c.revoked_at_ms.is_(None))
        .values(revoked_at_ms=now_ms)
    )


def find(connection: Connection, kid: str, *, to_change: bool = False) -> AdminKey | None:
    """Returns an admin key's record by its kid, or None; `to_change` locks its row until the commit."""
    if not is_storable(kid):
        return None
    query = select(admin_keys).where(admin_keys.c.kid == kid)
    if to_change:
        query = query.with_for_update(key_share=True)
    row = connection.execute(query).one_or_none()
    return None if row is None else _admin_key(row)


def find_all(connection: Connection, kids: Collection[str]) -> dict[str, AdminKey]:
    """Returns the records of several admin keys, by their kids; a kid without a record is left out."""
    rows = connection.execute(select(admin_keys).where(admin_keys.c.kid.in_(kids)))
    return {key.kid: key for key in map(_admin_key, rows)}


def check(key: AdminKey | None, now_ms: int) -> None:
    """Refuses an admin key that was accepted before and has ended since, or is none.

    Raises:
        Problem: INVALID_ADMIN_KEY.

    """
    state = "unknown" if key is None else key.state(now_ms)
    if state != "active":
        raise Problem(INVALID_ADMIN_KEY, f"This admin key is {state}.")


def to_change(connection: Connection, kid: str) -> AdminKey:
    """Returns an admin key's record and locks its row until the commit.

    Raises:
        Problem: ADMIN_KEY_NOT_FOUND.

    """
    key = find(connection, kid, to_change=True)
    if key is None:
        shown = quoted(redactor.hide_keys(kid))
        detail = f"there is no admin key {shown}; `reelgate admin-keys list` shows them."
        raise Problem(ADMIN_KEY_NOT_FOUND, detail)
    return key


def list_all(connection: Connection) -> list[AdminKey]:
    """Returns all admin keys, oldest first."""
    rows = connection.execute(select(admin_keys).order_by(admin_keys.c.created_at_ms, admin_keys.c.kid))
    return [_admin_key(row) for row in rows]


def _mark_used(connection: Connection, kid: str, now_ms: int) -> None:
    connection.execute(update(admin_keys).where(admin_keys.c.kid == kid).values(last_used_at_ms=now_ms))


def _admin_key(row: Row[tuple[object, ...]]) -> AdminKey:
    values: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented access to the names
    return AdminKey(**(values | {"scopes": frozenset(from_column(values["scopes"]))}))


class AdminAuthenticator:
    """Turns a presented admin key into its record. `peppers` maps a pepper's id to the pepper."""

    def __init__(self, db: Database, clock: Clock, tasks: Tasks, peppers: Mapping[str, str]) -> None:
        self._db = db
        self._clock = clock
        self._tasks = tasks
        self._peppers = peppers
        self._dummy_pepper = next(iter(peppers.values()))
        self._failed: dict[str, deque[int]] = {}
        self._noted_ms: dict[str, int] = {}

    async def authenticate(self, text: str, address: str) -> AdminKey:
        """Returns the record of a valid admin key; `address` is the address or network that sent it.

        A valid key is accepted however many wrong ones came from its address: nobody can lock another out.

        Raises:
            Problem: INVALID_ADMIN_KEY, in the same words for an unknown one and a wrong secret;
                TOO_MANY_ATTEMPTS, in its place once an address has sent too many; DATABASE_UNAVAILABLE.

        """
        now_ms = self._clock.now_ms()
        kid = kid_in(text)
        key = None if kid is None else await self._db.read(find, kid)
        pepper = self._peppers.get(key.pepper_id, self._dummy_pepper) if key else self._dummy_pepper
        is_right = same(keyed_digest(pepper, text), key.digest if key else "0" * 64)
        if key is None or key.is_person or not is_right:
            raise self._failure(address, "This gateway does not know this admin key.", now_ms)
        if (state := key.state(now_ms)) != "active":
            raise self._failure(address, f"This admin key is {state}.", now_ms)
        if now_ms - max(key.last_used_at_ms or 0, self._noted_ms.get(key.kid, 0)) >= _USED_EVERY_MS:
            self._noted_ms[key.kid] = now_ms
            self._tasks.start(self._write_use(key.kid, now_ms), name="note-use", cancel_on_drain=True)
        return key

    def _failure(self, address: str, detail: str, now_ms: int) -> Problem:
        """Counts a failed attempt of an address, and returns its refusal."""
        if address not in self._failed and len(self._failed) >= _MAX_REMEMBERED:
            self._failed.clear()
        times = self._failed.setdefault(address, deque(maxlen=_MAX_FAILED))
        if len(times) == _MAX_FAILED and now_ms - times[0] < _FAILED_WITHIN_MS:
            wait_s = max(1, -(-(times[0] + _FAILED_WITHIN_MS - now_ms) // 1000))
            return Problem(
                TOO_MANY_ATTEMPTS, "This address has sent too many wrong admin keys.", retry_after_s=wait_s
            )
        times.append(now_ms)
        if len(times) == _MAX_FAILED:
            _log.warning("An address has sent many wrong admin keys.", address=address)
        return Problem(INVALID_ADMIN_KEY, detail)

    async def _write_use(self, kid: str, now_ms: int) -> None:
        try:
            await self._db.write(_mark_used, kid, now_ms)
        except Exception:  # noqa: BLE001 - the next use is recorded again
            self._noted_ms.pop(kid, None)
            _log.warning("The last use of an admin key could not be recorded.", kid=kid)
