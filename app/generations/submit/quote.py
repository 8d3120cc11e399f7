"""Quotes: what a submit would cost, and whether it would be accepted. Nothing is sent, held or spent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.auth.principal import Principal
from app.catalog.model import Model
from app.catalog.pricing import NoPriceError
from app.generations.queue import rows as queue
from app.generations.submit.inspection import Inspection
from app.generations.submit.submitter import Submitter
from app.quotas.limits import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a submit would meet.

    `price_microcredits` is None where the input violates the schema in a way that prevents pricing; the
    limits (`standings`) are then shown without being judged. `queueable` says whether the caller's requests
    are queued when they cannot be sent at once, `would_queue` whether this one would be.
    """

    model: Model
    price_microcredits: int | None
    inspection: Inspection
    standings: Sequence[Standing]
    queueable: bool
    would_queue: bool


async def quote(submitter: Submitter, principal: Principal, model_id: str, body: dict[str, Any]) -> Quote:
    """Inspects a body, prices it, and judges every limit as a submit would.

    Raises:
        Problem: MODEL_NOT_FOUND, MODEL_NOT_ALLOWED, UPSTREAM_NOT_CONFIGURED, DATABASE_UNAVAILABLE.

    """
    model = submitter.model(principal, model_id)
    submitter.check_configured(principal)
    inspection = await submitter.inspector.inspect(principal, model, body)
    try:
        price = model.price(body)
    except NoPriceError:
        price = None
    account = await submitter.account(principal, model.model_id)
    standings = account.standings(price)
    queueable = submitter.queueable(principal)
    would_queue = queueable and (
        not submitter.pool.usable(principal.mode)
        or not all(one.fits for one in standings)
        or (await submitter.db.read(queue.gate, principal.tenant_id, principal.mode)).shut
    )
    return Quote(
        model=model,
        price_microcredits=price,
        inspection=inspection,
        standings=standings,
        queueable=queueable,
        would_queue=would_queue,
    )
