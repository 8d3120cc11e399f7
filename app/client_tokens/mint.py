"""Minting client tokens: their terms are checked against what the API key that mints them may do itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from app.auth import client_tokens, keys
from app.auth.client_tokens import ClientToken, TokenTerms
from app.auth.keys import APIKey
from app.auth.principal import Principal
from app.auth.tenants import OriginError, origin_of
from app.catalog.bounds import faults_of_bounds
from app.catalog.catalog import Catalog
from app.catalog.validate import MAX_VIOLATIONS, MORE
from app.db.engines.engine import Database
from app.errors import INSUFFICIENT_SCOPE, INVALID_TOKEN_TERMS, FieldError, Problem
from app.generations import store
from app.kit.clock import Clock
from app.kit.ids import is_id
from app.quotas.calls import CallLimiter
from app.quotas.limits import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Minter:
    """Makes client tokens, with digests under the current pepper.

    `limiter` limits how many a minute are made with an API key.
    """

    db: Database
    clock: Clock
    catalog: Catalog
    pepper: str = field(repr=False)
    limiter: CallLimiter

    async def mint(
        self, principal: Principal, terms: TokenTerms, *, own_origins: Sequence[str] = ()
    ) -> tuple[ClientToken, str]:
        """Makes a token of the principal's API key, and returns its record and the token itself.

        The token is known only now: its digest alone is stored. `own_origins` are the origins of the
        gateway's own pages, which every token may name.

        Raises:
            Problem: INSUFFICIENT_SCOPE, INVALID_TOKEN_TERMS; QUOTA_EXCEEDED, too many a minute.

        """
        needed = {"read"} if terms.request_id is not None else {"read", "submit"}
        if missing := sorted(needed - principal.scopes):
            raise Problem(
                INSUFFICIENT_SCOPE,
                f"This API key lacks the scope `{missing[0]}`, which its client tokens would need.",
            )
        self.limiter.check(Scope(principal.root_kid))
        errors, origins = [], []
        for number, text in enumerate(terms.origins or ()):
            try:
                origins.append(origin_of(text))
            except OriginError as error:
                errors.append(FieldError(f"#/origins/{number}", "origin", str(error)))
                continue
            if origins[-1] not in principal.origins and origins[-1] not in own_origins:
                detail = f"{origins[-1]} is not an origin of this tenant; ask the operator to add it"
                errors.append(FieldError(f"#/origins/{number}", "origin", detail))
        errors += self._faults_of_models(principal, terms)
        if terms.request_id is not None and not await self._is_own(principal, terms.request_id):
            errors.append(FieldError("#/request_id", "request_id", "is not a request of this tenant"))
        if errors:
            raise invalid(errors)
        if terms.origins is not None:
            terms = replace(terms, origins=origins)
        return await self.db.write(_make, principal.kid, terms, self.pepper, self.clock.now_ms())

    async def mint_of(self, parent: APIKey, terms: TokenTerms) -> tuple[ClientToken, str]:
        """Makes a token of an API key for the playground; returns its record and the token.

        The terms are the gateway's own and are not checked.

        Raises:
            Problem: QUOTA_EXCEEDED, too many a minute; counted apart from the tokens that the key itself
                mints.

        """
        self.limiter.check(Scope(parent.root_kid, "playground"))
        return await self.db.write(_make, parent.kid, terms, self.pepper, self.clock.now_ms())

    def _faults_of_models(self, principal: Principal, terms: TokenTerms) -> Iterator[FieldError]:
        known = []
        for number, model_id in enumerate(terms.models or ()):
            model = self.catalog.models.get(model_id)
            if model_id in (terms.models or ())[:number]:
                yield FieldError(f"#/models/{number}", "model", "is given twice")
            elif model is None:
                detail = f"the catalogue has no model {model_id[:200]!r}"
                yield FieldError(f"#/models/{number}", "model", detail)
            elif not principal.may_use(model_id):
                detail = f"this API key itself may not use {model_id}"
                yield FieldError(f"#/models/{number}", "model", detail)
            else:
                known.append(model)
        if terms.bounds is not None and not terms.models:
            yield FieldError("#/bounds", "models", "requires `models`: bounds limit the inputs of models")
        if terms.bounds is not None:
            found = {one: None for model in known for one in faults_of_bounds(model, terms.bounds)}
            for one in found:
                yield FieldError(one.pointer, one.code, one.detail)

    async def _is_own(self, principal: Principal, request_id: str) -> bool:
        if not is_id(request_id):
            return False
        found = await self.db.read(store.find, request_id, principal.tenant_id)
        return found is not None and found.mode == principal.mode


def invalid(errors: Sequence[FieldError]) -> Problem:
    """Returns the problem for invalid terms, with everything that is wrong with them.

    Of more than `MAX_VIOLATIONS` the last one says that there are more.
    """
    if len(errors) > MAX_VIOLATIONS:
        listed = MAX_VIOLATIONS - 1
        more = FieldError("#", MORE, f"has more violations; {listed} are listed")
        return Problem(
            INVALID_TOKEN_TERMS,
            f"{MAX_VIOLATIONS} violations or more; see `errors`.",
            errors=[*errors[:listed], more],
        )
    count = "1 violation" if len(errors) == 1 else f"{len(errors)} violations"
    return Problem(INVALID_TOKEN_TERMS, f"{count}; see `errors`.", errors=errors)


def _make(
    connection: Connection, kid: str, terms: TokenTerms, pepper: str, now_ms: int
) -> tuple[ClientToken, str]:
    parent = keys.find(connection, kid)
    if parent is None:
        raise LookupError(kid)  # the key has just been authenticated, and keys are never removed
    return client_tokens.create(connection, parent, terms, pepper=pepper, now_ms=now_ms)
