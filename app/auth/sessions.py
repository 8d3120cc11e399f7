"""Sessions of people in the console and the portal, and the links that open the portal.

A session acts as the key that it was opened with: as an admin key in the console, as a tenant's API key in
the portal. A person who signs in by OpenID Connect has a record among the admin keys (`auth.oidc.person`). It
ends with that key, after it was idle, at its end, or when its owner signs out. What the browser holds is a
random text; what is stored is its digest under the server's pepper. Nothing is remembered between two calls,
so that the end of a session acts at once on every replica.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, cast

from sqlalchemy import Connection, Row, and_, delete, insert, or_, select, update

from app.auth import admin_keys, keys
from app.auth.admin_keys import PERSON, AdminKey
from app.auth.keys import APIKey
from app.auth.principal import Principal, check_key, principal_of
from app.db.engines.engine import Database
from app.db.schema.tables import portal_links, sessions
from app.db.statements.upsert import insert_of
from app.errors import INVALID_PORTAL_LINK, SESSION_ENDED, Problem
from app.kit.clock import Clock
from app.kit.json import from_column, to_column
from app.kit.log import get_logger
from app.kit.secrets import keyed_digest, pepper_id, random_text
from app.kit.tasks import Tasks

Kind = Literal["console", "portal"]
LINK_LIFETIME_MS: Final = 60_000
_ID_LENGTH: Final = 12
_SECRET_LENGTH: Final = 43  # 43 * log2(62) = 256 bits
_MAX_TEXT: Final = 200
_SEEN_EVERY_MS: Final = 60_000  # "last seen" is this coarse: one write a minute for each session
_log = get_logger("auth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session's record, without the secret.

    `kid` is the key that it acts as. `scopes` are those that it was narrowed to, None: all of the key's. It
    ends at `expires_at_ms`, or earlier where nothing was asked for a while after `seen_at_ms`.
    """

    session_id: str
    kind: Kind
    kid: str
    scopes: frozenset[str] | None
    created_at_ms: int
    seen_at_ms: int
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that was opened, and the text that the browser is given. It is stored nowhere."""

    session: Session
    text: str


def open_session(
    connection: Connection,
    kind: Kind,
    kid: str,
    *,
    scopes: frozenset[str] | None,
    pepper: str,
    now_ms: int,
    lifetime_ms: int,
) -> Opened:
    """Opens a session with a new text, whatever text the browser had before."""
    text = random_text(_SECRET_LENGTH)
    session = Session(
        session_id=random_text(_ID_LENGTH),
        kind=kind,
        kid=kid,
        scopes=scopes,
        created_at_ms=now_ms,
        seen_at_ms=now_ms,
        expires_at_ms=now_ms + lifetime_ms,
    )
    connection.execute(
        insert(sessions).values(
            session_id=session.session_id,
            digest=keyed_digest(pepper, text),
            pepper_id=pepper_id(pepper),
            kind=kind,
            kid=kid,
            scopes=to_column(None if scopes is None else sorted(scopes)),
            created_at_ms=now_ms,
            seen_at_ms=now_ms,
            expires_at_ms=session.expires_at_ms,
        )
    )
    return Opened(session, text)


def find(connection: Connection, digests: Mapping[str, str]) -> Session | None:
    """Returns the session with one of these digests; they are by the ids of their peppers."""
    rows = select(sessions).where(
        or_(*(and_(sessions.c.digest == one, sessions.c.pepper_id == of) for of, one in digests.items()))
    )
    row = connection.execute(rows).one_or_none()
    return None if row is None else _session(row)


def find_all(connection: Connection, session_ids: Collection[str]) -> dict[str, Session]:
    """Returns the sessions with these ids, by id."""
    rows = connection.execute(select(sessions).where(sessions.c.session_id.in_(session_ids)))
    return {row.session_id: _session(row) for row in rows}


def note_used(connection: Connection, digest: str, *, expires_at_ms: int) -> bool:
    """Notes that a sign-in was used, until it could not be used anyway; returns whether it was not yet.

    The note is the row of a session of nobody's, which no text opens.
    """
    noted = connection.execute(
        insert_of(connection, sessions)
        .values(
            session_id=random_text(_ID_LENGTH),
            digest=digest,
            pepper_id=PERSON,
            kind="console",
            kid="",
            created_at_ms=expires_at_ms,
            seen_at_ms=expires_at_ms,
            expires_at_ms=expires_at_ms,
        )
        .on_conflict_do_nothing(index_elements=[sessions.c.digest])
        .returning(sessions.c.session_id)
    )
    return noted.first() is not None


def end(connection: Connection, session_id: str) -> None:
    """Ends a session: its row is removed."""
    connection.execute(delete(sessions).where(sessions.c.session_id == session_id))


def forget(connection: Connection, *, now_ms: int, limit: int) -> int:
    """Removes sessions and links whose end is past, at most so many of each; returns their number."""
    removed = 0
    for table, name in ((sessions, sessions.c.session_id), (portal_links, portal_links.c.digest)):
        past = select(name).where(table.c.expires_at_ms <= now_ms).limit(limit)
        removed += connection.execute(delete(table).where(name.in_(past.scalar_subquery()))).rowcount
    return removed


def add_link(
    connection: Connection, kid: str, *, scopes: frozenset[str] | None, pepper: str, now_ms: int
) -> tuple[str, int]:
    """Adds a link to the portal; returns its text, which is stored nowhere, and when it expires."""
    text, expires_at_ms = random_text(_SECRET_LENGTH), now_ms + LINK_LIFETIME_MS
    connection.execute(
        insert(portal_links).values(
            digest=keyed_digest(pepper, text),
            kid=kid,
            scopes=to_column(None if scopes is None else sorted(scopes)),
            created_at_ms=now_ms,
            expires_at_ms=expires_at_ms,
        )
    )
    return text, expires_at_ms


def kid_of_link(connection: Connection, text: str, *, pepper: str) -> str:
    """Returns the kid of a link's API key.

    Raises:
        Problem: INVALID_PORTAL_LINK.

    """
    rows = select(portal_links.c.kid).where(portal_links.c.digest == keyed_digest(pepper, text))
    kid: str | None = connection.execute(rows).scalar_one_or_none()
    if kid is None:
        raise _no_link()
    return kid


def use_link(
    connection: Connection, text: str, *, pepper: str, now_ms: int
) -> tuple[APIKey, frozenset[str] | None]:
    """Uses up a link, and returns its API key and the scopes that it was narrowed to.

    Raises:
        Problem: INVALID_PORTAL_LINK, in the same words for one that was used, has expired or never was;
            INVALID_API_KEY where its key has ended.

    """
    used = connection.execute(
        delete(portal_links)
        .where(portal_links.c.digest == keyed_digest(pepper, text))
        .returning(portal_links.c.kid, portal_links.c.scopes, portal_links.c.expires_at_ms)
    ).one_or_none()
    if used is None or used.expires_at_ms <= now_ms:
        raise _no_link()
    key = check_key(keys.find(connection, used.kid), now_ms)
    return key, _scopes(used.scopes)


def _no_link() -> Problem:
    return Problem(INVALID_PORTAL_LINK, "This link was used already, or it is older than a minute.")


class Sessions:
    """Turns what a browser presents into who it is. `peppers` maps a pepper's id to the pepper."""

    def __init__(
        self, db: Database, clock: Clock, tasks: Tasks, peppers: Mapping[str, str], *, idle_ms: int
    ) -> None:
        self._db = db
        self._clock = clock
        self._tasks = tasks
        self._peppers = peppers
        self._idle_ms = idle_ms

    async def of_console(self, text: str) -> tuple[Session, AdminKey]:
        """Returns a session of the console, and the record of its admin key.

        Raises:
            Problem: SESSION_ENDED, DATABASE_UNAVAILABLE.

        """
        now_ms = self._clock.now_ms()
        digests = self._digests(text)

        def read(connection: Connection) -> tuple[Session, AdminKey]:
            session = self._checked(find(connection, digests), "console", now_ms)
            key = admin_keys.find(connection, session.kid)
            if key is None or key.state(now_ms) != "active":
                raise Problem(SESSION_ENDED, "The admin key of this session has ended.")
            return session, key if session.scopes is None else replace(key, scopes=session.scopes)

        session, key = await self._db.read(read)
        self._note_seen(session, now_ms)
        return session, key

    async def of_portal(self, text: str) -> tuple[Session, Principal]:
        """Returns a session of the portal, and its principal.

        Raises:
            Problem: SESSION_ENDED, DATABASE_UNAVAILABLE.

        """
        now_ms = self._clock.now_ms()
        digests = self._digests(text)

        def read(connection: Connection) -> tuple[Session, APIKey]:
            session = self._checked(find(connection, digests), "portal", now_ms)
            try:
                return session, check_key(keys.find(connection, session.kid), now_ms)
            except Problem as problem:
                raise Problem(SESSION_ENDED, f"The key of this session has ended: {problem.detail}") from None

        session, key = await self._db.read(read)
        self._note_seen(session, now_ms)
        principal = principal_of(key)
        scopes = principal.scopes if session.scopes is None else principal.scopes & session.scopes
        return session, replace(principal, scopes=scopes, session_id=session.session_id)

    def check(self, session: Session | None, now_ms: int) -> None:
        """Refuses a session that has ended, or is none.

        Raises:
            Problem: SESSION_ENDED.

        """
        self._checked(session, None, now_ms)

    def _checked(self, session: Session | None, kind: Kind | None, now_ms: int) -> Session:
        if session is None or session.kind != (kind or session.kind):
            raise Problem(SESSION_ENDED, "There is no such session, or its owner has signed out.")
        if session.expires_at_ms <= now_ms:
            raise Problem(SESSION_ENDED, "The session has reached its end.")
        if session.seen_at_ms + self._idle_ms <= now_ms:
            raise Problem(SESSION_ENDED, "The session was idle for too long.")
        return session

    def _digests(self, text: str) -> dict[str, str]:
        return {of: keyed_digest(pepper, text[:_MAX_TEXT]) for of, pepper in self._peppers.items()}

    def _note_seen(self, session: Session, now_ms: int) -> None:
        if now_ms - session.seen_at_ms >= _SEEN_EVERY_MS:
            self._tasks.start(
                self._write_seen(session.session_id, now_ms), name="note-use", cancel_on_drain=True
            )

    async def _write_seen(self, session_id: str, now_ms: int) -> None:
        try:
            await self._db.write(_mark_seen, session_id, now_ms)
        except Exception:  # noqa: BLE001 - the next call is noted again
            _log.warning("The last use of a session could not be recorded.", session=session_id)


def _mark_seen(connection: Connection, session_id: str, now_ms: int) -> None:
    connection.execute(update(sessions).where(sessions.c.session_id == session_id).values(seen_at_ms=now_ms))


def _session(row: Row[tuple[object, ...]]) -> Session:
    return Session(
        session_id=row.session_id,
        kind=cast("Kind", row.kind),
        kid=row.kid,
        scopes=_scopes(row.scopes),
        created_at_ms=row.created_at_ms,
        seen_at_ms=row.seen_at_ms,
        expires_at_ms=row.expires_at_ms,
    )


def _scopes(column: str | None) -> frozenset[str] | None:
    found = from_column(column)
    return None if found is None else frozenset(found)
