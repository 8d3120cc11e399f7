"""Correcting what was charged with a wrong version of prices: one act, with an entry for each request."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from app.admin import audit
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.session import AdminGateway
from app.admin.violations import refuse
from app.auth import tenants
from app.auth.keys import Mode
from app.errors import INVALID_REPRICING, MODEL_NOT_FOUND, FieldError, Problem
from app.kit.text import quoted
from app.quotas import account
from app.quotas.account import Owner
from app.quotas.amounts import credits_text
from app.quotas.balances import ledger
from app.quotas.balances.ledger import Charge
from app.quotas.limits import LimitError, parse_credits

if TYPE_CHECKING:  # a command that reprices nothing does not wait for it
    from app.generations.store import Generation

MAX_REQUESTS: Final = 5_000
"""The most requests that one act corrects; a further one goes on where it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Which requests: of a model, charged by a version of its prices, made on these days (UTC, inclusive).

    `price` is what each should have cost, in credits; None: what the model's present prices say of its input.
    """

    model_id: str
    version: str
    first_day: date
    last_day: date
    price: str | None = None
    test: bool = False

    @property
    def mode(self) -> Mode:
        """Whose requests: of test keys, or of live keys."""
        return "test" if self.test else "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What one request was charged, and what it should have been."""

    tenant: str
    request_id: str
    from_microcredits: int
    to_microcredits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Repriced:
    """The corrections, and whether there may be more: one act is limited to `MAX_REQUESTS`."""

    corrections: Sequence[Correction]
    has_more: bool
    dry_run: bool = False

    @property
    def change_microcredits(self) -> int:
        """What all balances together gain, below 0 where they lose."""
        return sum(one.from_microcredits - one.to_microcredits for one in self.corrections)


async def reprice(
    gateway: AdminGateway,
    actor: Actor,
    prices: Prices,
    *,
    dry_run: bool = False,
    reason: str | None = None,
) -> Repriced:
    """Corrects what requests were charged with a wrong version of a model's prices, an adjustment for each.

    A second run changes nothing. Requests that have not ended or were refunded are left as they are: they
    were charged nothing (yet). With `dry_run` nothing is changed, and no row is left in the audit log.

    Raises:
        Problem: INVALID_REPRICING, MODEL_NOT_FOUND, INVALID_REASON.

    """
    price, now_ms = _price_of(gateway, prices), gateway.clock.now_ms()
    if dry_run:
        found = await gateway.db.snapshot(lambda connection: list(_found(connection, prices, price)))
        return replace(_result(found), dry_run=True)
    return await audit.write(gateway, actor, reason, _reprice, prices, price, now_ms)


class _Price:
    """What a request should have cost."""

    def __init__(self, gateway: AdminGateway, prices: Prices, fixed: int | None) -> None:
        self._model = gateway.catalog.models.get(prices.model_id)
        self._fixed = fixed

    def of(self, generation: "Generation") -> int:
        if self._fixed is not None or self._model is None:
            return self._fixed or 0
        from app.catalog.model import NoPriceError  # noqa: PLC0415 - whoever has models has imported it

        try:
            return self._model.price(generation.input)
        except NoPriceError as error:
            detail = f"the present prices do not cover the input of {generation.id} ({error}): give a price."
            raise Problem(INVALID_REPRICING, detail) from error


def _price_of(gateway: AdminGateway, prices: Prices) -> _Price:
    errors = []
    fixed = None
    if prices.last_day < prices.first_day:
        errors.append(
            FieldError(
                "#/last_day",
                "range",
                f"the last day, {prices.last_day}, is before the first, {prices.first_day}.",
            )
        )
    if prices.price is not None:
        try:
            fixed = parse_credits(prices.price, minimum=0)
        except LimitError as error:
            errors.append(FieldError("#/price", "pattern", str(error)))
    model = gateway.catalog.models.get(prices.model_id)
    if fixed is None and not errors and model is not None and model.pricing.version == prices.version:
        detail = f"{quoted(prices.version)} is the version of the model's present prices: give a price."
        errors.append(FieldError("#/version", "conflict", detail))
    refuse(INVALID_REPRICING, errors)
    if fixed is None and model is None:
        detail = f"the catalogue has no model {quoted(prices.model_id)}: give a price."
        raise Problem(MODEL_NOT_FOUND, detail)
    return _Price(gateway, prices, fixed)


def _found(connection: Connection, prices: Prices, price: _Price) -> "Iterator[tuple[str, Generation, int]]":
    """Yields tenant, generation and right price of what was charged wrongly, at most one too many."""
    from app.generations import store  # noqa: PLC0415 - a list of entries needs nothing of requests

    from_ms, until_ms = _midnight_ms(prices.first_day), _midnight_ms(prices.last_day + timedelta(days=1))
    left = MAX_REQUESTS + 1
    for tenant in tenants.list_all(connection):
        owner = Owner(tenant.id, prices.mode)
        rows = store.settled_with_price(
            connection, owner, prices.model_id, prices.version, from_ms=from_ms, until_ms=until_ms
        )
        for generation in rows:
            right = price.of(generation)
            if right == generation.charged_microcredits:
                continue
            yield tenant.name, generation, right
            left -= 1
            if not left:
                return


def _reprice(connection: Connection, prices: Prices, price: _Price, now_ms: int) -> tuple[Repriced, Change]:
    from app.generations import store  # noqa: PLC0415 - a list of entries needs nothing of requests

    corrected: list[tuple[str, Generation, int]] = []
    for tenant, found, right in list(_found(connection, prices, price)):
        if len(corrected) == MAX_REQUESTS:
            corrected.append((tenant, found, right))
            break
        account.lock_tenant(connection, found.tenant_id)
        generation = store.find(connection, found.id, None)  # as it is under the lock
        if generation is None or generation.charge is not Charge.SETTLED:
            continue
        was = generation.charged_microcredits
        if was == right:
            continue
        ledger.correct(
            connection,
            generation.terms,
            from_microcredits=was,
            to_microcredits=right,
            outcome=generation.state,
            note=f"Price {prices.version[:64]} corrected: {credits_text(was)}, now {credits_text(right)}.",
            now_ms=now_ms,
        )
        store.set_repriced(connection, generation.id, right)
        corrected.append((tenant, generation, right))
    result = _result(corrected)
    fields = {
        "version": prices.version,
        "from": str(prices.first_day),
        "to": str(prices.last_day),
        "mode": prices.mode,
    }
    return result, Change(
        action="ledger.reprice",
        subject_kind="model",
        subject_id=prices.model_id,
        tenant_id=None,
        before=fields,
        after=fields
        | {
            "price": prices.price,
            "requests": len(result.corrections),
            "microcredits": result.change_microcredits,
        },
    )


def _result(found: "Sequence[tuple[str, Generation, int]]") -> Repriced:
    corrections = [
        Correction(
            tenant=tenant,
            request_id=generation.id,
            from_microcredits=generation.charged_microcredits,
            to_microcredits=right,
        )
        for tenant, generation, right in found[:MAX_REQUESTS]
    ]
    return Repriced(corrections=corrections, has_more=len(found) > MAX_REQUESTS)


def _midnight_ms(day: date) -> int:
    return int(datetime.combine(day, datetime.min.time(), UTC).timestamp() * 1000)
