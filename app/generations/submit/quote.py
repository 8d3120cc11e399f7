"""Quotes: what a submit would cost, and whether it would be accepted. Nothing is sent, held or spent."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from app.auth.principal import Principal
from app.catalog.model import Model, NoPriceError
from app.generations.queue import decide
from app.generations.submit.inspection import Inspection
from app.generations.submit.submitter import Submitter
from app.quotas.amounts import Amounts, ordered, undeclared
from app.quotas.standing import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a submit would meet.

    `amounts` is what it would take of every limit; None where an input that is priced violates the schema:
    the limits (`standings`) are shown then and not judged. `output_seconds` is None where the model's file
    does not say how many an input orders. `queueable` says whether the caller's requests may be queued,
    `would_queue` whether this one would have to be.
    """

    model: Model
    amounts: Amounts | None
    output_seconds: int | None
    inspection: Inspection
    standings: Sequence[Standing]
    queueable: bool
    would_queue: bool


async def quote(
    submitter: Submitter,
    principal: Principal,
    model_id: str,
    body: dict[str, Any],
    *,
    there: Callable[[Awaitable[Inspection]], Awaitable[Inspection]],
) -> Quote:
    """Inspects a body, prices it, and judges every limit as a submit would.

    The inspection, which may wait for files, is awaited by `there`, which ends it when the caller goes.

    Raises:
        Problem: MODEL_NOT_FOUND, MODEL_NOT_ALLOWED, UPSTREAM_NOT_CONFIGURED, DATABASE_UNAVAILABLE.

    """
    model = submitter.model(principal, model_id)
    submitter.check_configured(principal)
    inspection = await there(submitter.inspector.inspect(principal, model, body))
    amounts: Amounts | None = None
    seconds = model.seconds(body)
    with suppress(NoPriceError):
        amounts = ordered(model.price(body), seconds)
    account = await submitter.account(principal, model.model_id)
    standings = account.standings()
    if amounts is not None:
        standings = account.standings(amounts, undeclared=undeclared(seconds))
    queueable = submitter.queueable(principal)
    would_queue = queueable and (
        not submitter.pool.usable(principal.mode)
        or not all(one.fits for one in standings)
        or (await submitter.db.read(decide.gate, principal.tenant_id, principal.mode)).shut
    )
    return Quote(
        model=model,
        amounts=amounts,
        output_seconds=seconds,
        inspection=inspection,
        standings=standings,
        queueable=queueable,
        would_queue=would_queue,
    )
