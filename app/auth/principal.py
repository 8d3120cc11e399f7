"""The principal (the authenticated caller), and how an API key or a client token becomes one."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

from app.auth import client_tokens, keys
from app.auth.client_tokens import ClientToken
from app.auth.keys import APIKey, Mode, PresentedKey
from app.auth.refusals import KnownKey
from app.auth.tenants import MediaChecks
from app.db.engines.engine import Database
from app.errors import (
    EXPIRED_CLIENT_TOKEN,
    INVALID_API_KEY,
    INVALID_CLIENT_TOKEN,
    Fault,
    Problem,
)
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.kit.secrets import keyed_digest, pepper_id, same
from app.kit.tasks import Tasks

_log = get_logger("auth")

CACHE_MS = 1000  # within which a revocation takes effect on every replica; 5 s are promised
_MAX_REMEMBERED = 10_000
_USED_EVERY_MS = 3_600_000  # "last used" is this coarse: one write an hour for each key
_TOKEN_USED_EVERY_MS = 60_000  # the same for a token, which lives an hour at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The caller, and what their API key or client token allows.

    `root_kid` is the key whose limits this one shares. `media_checks` says how strictly the tenant's files
    are checked, None leaves it to the settings; `origins` are the web origins whose pages may call with the
    key; `queueing` says whether its requests may be queued, None leaves it to the settings. For a client
    token, `token` is its record, and all other fields are its key's, narrowed by the token's terms.
    `session_id` is of somebody in the portal, who acts as the key (`auth.sessions`).
    """

    tenant_id: str
    tenant_name: str
    kid: str
    root_kid: str
    mode: Mode
    scopes: frozenset[str]
    models: frozenset[str] | None
    media_checks: MediaChecks | None
    origins: frozenset[str]
    queueing: bool | None = None
    token: ClientToken | None = None
    session_id: str | None = None

    @property
    def known(self) -> KnownKey:
        """The key, as refusals are counted for it."""
        return KnownKey(self.tenant_id, self.tenant_name, self.kid, self.mode)

    @property
    def noun(self) -> str:
        """What the caller presented: `API key` or `client token`."""
        return "API key" if self.token is None else "client token"

    @property
    def end_user(self) -> str | None:
        """The end user that the client token was made for; None for a key, or where the token names none."""
        return None if self.token is None else self.token.end_user

    @property
    def key_space(self) -> str:
        """The namespace in which the caller's Idempotency-Keys are unique; "" is the tenant's."""
        return "" if self.token is None else self.token.key_space(self.root_kid)

    def may_use(self, model_id: str) -> bool:
        """Returns whether the key or token allows this model; without a list of models, it allows all."""
        return self.models is None or model_id in self.models


class KeyProblem(Problem):
    """A refusal of an API key that exists here, but has ended: the refusal is counted for it."""

    known: KnownKey | None = None


class TokenProblem(KeyProblem):
    """A refusal of a client token that exists here, so that the refusal is recorded with it."""

    def __init__(self, fault: Fault, detail: str, token_id: str) -> None:
        super().__init__(fault, detail)
        self.token_id = token_id


class Authenticator:
    """Turns a presented key or client token into a principal, and remembers it for `REMEMBERED_MS`.

    `peppers` maps a pepper's id to the pepper: the current one, and those that are being rotated out.
    """

    def __init__(self, db: Database, clock: Clock, tasks: Tasks, peppers: Mapping[str, str]) -> None:
        self._db = db
        self._tasks = tasks
        self._clock = clock
        self._peppers = peppers
        self._dummy_pepper = next(iter(peppers.values()))
        self._remembered: dict[bytes, tuple[int, Principal]] = {}
        self._lookups: dict[bytes, tuple[int, asyncio.Future[Principal]]] = {}
        self._noted_ms: dict[str, int] = {}

    @classmethod
    def with_peppers(
        cls, db: Database, clock: Clock, tasks: Tasks, current: str, previous: list[str]
    ) -> Self:
        """Returns an authenticator that accepts keys made under any of these peppers."""
        return cls(db, clock, tasks, {pepper_id(pepper): pepper for pepper in (current, *previous)})

    async def authenticate(self, text: str) -> Principal:
        """Returns the principal of a key or client token.

        Raises:
            Problem: INVALID_API_KEY or INVALID_CLIENT_TOKEN, in the same words for an unknown one and a wrong
                secret; EXPIRED_CLIENT_TOKEN; DATABASE_UNAVAILABLE.

        """
        handle = handle_of(text)
        if (recalled := self.recall(handle)) is not None:
            return recalled
        now_ms = self._clock.now_ms()
        # When a busy key is forgotten, all its requests in flight come here at once: they share one look-up.
        began_ms, looking = self._lookups.get(handle, (0, None))
        if looking is None or now_ms - began_ms >= CACHE_MS:
            looking = asyncio.ensure_future(self._look_up(text, now_ms))
            self._lookups[handle] = (now_ms, looking)
            looking.add_done_callback(partial(self._store_lookup, handle, now_ms))
        return await asyncio.shield(looking)

    def recall(self, handle: bytes) -> Principal | None:
        """Returns the principal of the key or token with this handle, if it was looked up a moment ago."""
        remembered = self._remembered.get(handle)
        if remembered is not None and 0 <= self._clock.now_ms() - remembered[0] < CACHE_MS:
            return remembered[1]
        return None

    def _store_lookup(self, handle: bytes, began_ms: int, looking: asyncio.Future[Principal]) -> None:
        """Remembers the result as of the look-up's start: the key may have been revoked since then."""
        if self._lookups.get(handle, (0, None))[1] is looking:
            del self._lookups[handle]
        if looking.cancelled() or looking.exception() is not None:
            return
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[handle] = (began_ms, looking.result())

    async def _look_up(self, text: str, now_ms: int) -> Principal:
        presented = keys.parse(text)
        if presented is None:
            raise Problem(INVALID_API_KEY, "This is not an API key of this gateway, or it was mistyped.")
        if presented.kind == "client":
            return await self._of_token(presented, now_ms)
        key = await self._db.read(keys.find, presented.kid)
        key = check_key(key if self._is_right(presented, key) else None, now_ms)
        self._record_use(keys.mark_used, key.kid, key.last_used_at_ms, _USED_EVERY_MS, now_ms)
        return principal_of(key)

    async def _of_token(self, presented: PresentedKey, now_ms: int) -> Principal:
        found = await self._db.read(client_tokens.find, presented.kid)
        if not self._is_right(presented, found[0] if found else None) or found is None:
            raise Problem(INVALID_CLIENT_TOKEN, "This gateway does not know this client token.")
        token, parent = found
        try:
            check_token(token, now_ms)
        except TokenProblem as problem:
            problem.known = _known(parent)
            raise
        self._record_use(
            client_tokens.mark_used, token.token_id, token.last_used_at_ms, _TOKEN_USED_EVERY_MS, now_ms
        )
        return _narrowed(principal_of(parent), token)

    def _is_right(self, presented: PresentedKey, row: APIKey | ClientToken | None) -> bool:
        """Returns whether the secret is the row's; for an unknown kid it takes as long as for a known one."""
        pepper = self._peppers.get(row.pepper_id, self._dummy_pepper) if row else self._dummy_pepper
        return same(keyed_digest(pepper, presented.text), row.digest if row else "0" * 64)

    def _record_use(
        self, mark: Callable[..., None], kid: str, last_ms: int | None, every_ms: int, now_ms: int
    ) -> None:
        """Records the use, at most every `every_ms`, in the background: a request does not depend on it."""
        noted_ms = max(last_ms or 0, self._noted_ms.get(kid, 0))
        if now_ms - noted_ms < every_ms:
            return
        if len(self._noted_ms) >= _MAX_REMEMBERED:
            self._noted_ms.clear()
        self._noted_ms[kid] = now_ms
        self._tasks.start(self._write_use(mark, kid, now_ms), name="note-use", cancel_on_drain=True)

    async def _write_use(self, mark: Callable[..., None], kid: str, now_ms: int) -> None:
        try:
            await self._db.write(mark, kid, now_ms=now_ms)
        except Exception:  # noqa: BLE001 - the next use is recorded again
            self._noted_ms.pop(kid, None)
            _log.warning("The last use of a key could not be recorded.", kid=kid)


def bearer_of(header: str) -> str:
    """Returns the key or token in an `Authorization` header; an empty text where there is none."""
    scheme, _, text = header.partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


def handle_of(text: str) -> bytes:
    """Returns the handle under which a key or token is remembered, from which nobody can learn it."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def check_token(token: ClientToken, now_ms: int) -> None:
    """Refuses a token that has ended, or whose key has.

    Raises:
        Problem: INVALID_CLIENT_TOKEN, EXPIRED_CLIENT_TOKEN.

    """
    state, of_key = token.own_state(now_ms), token.state_of_key(now_ms)
    if state == "expired":
        raise TokenProblem(EXPIRED_CLIENT_TOKEN, "This client token has expired.", token.token_id)
    if state != "active":
        raise TokenProblem(INVALID_CLIENT_TOKEN, f"This client token is {state}.", token.token_id)
    if of_key != "active":
        detail = f"The API key that made this client token is {of_key}."
        raise TokenProblem(INVALID_CLIENT_TOKEN, detail, token.token_id)


def check_key(key: APIKey | None, now_ms: int) -> APIKey:
    """Returns the key, if it is valid.

    Raises:
        Problem: INVALID_API_KEY.

    """
    if key is None:
        raise Problem(INVALID_API_KEY, "This gateway does not know this API key.")
    state = key.state(now_ms)
    if state != "active":
        problem = KeyProblem(INVALID_API_KEY, f"This API key is {state}.")
        problem.known = _known(key)
        raise problem
    return key


def _known(key: APIKey) -> KnownKey:
    return KnownKey(key.tenant_id, key.tenant_name, key.kid, key.mode)


def principal_of(key: APIKey) -> Principal:
    """Returns the principal of a key that is valid."""
    return Principal(
        tenant_id=key.tenant_id,
        tenant_name=key.tenant_name,
        kid=key.kid,
        root_kid=key.root_kid,
        mode=key.mode,
        scopes=key.scopes,
        models=key.models,
        media_checks=key.tenant_media_checks,
        origins=key.tenant_origins,
        queueing=key.tenant_queueing if key.queueing is None else key.queueing,
    )


def _narrowed(principal: Principal, token: ClientToken) -> Principal:
    """Returns the principal of a client token: that of its key, minus what the token's terms leave out."""
    models = principal.models
    if token.models is not None:
        models = token.models if models is None else models & token.models
    return replace(
        principal,
        scopes=principal.scopes & token.scopes,
        models=models,
        origins=principal.origins if token.origins is None else token.origins & principal.origins,
        token=token,
    )
