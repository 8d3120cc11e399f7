"""What a tenant may use, what it used, and what a submit would cost. Nothing here spends anything."""

from fastapi import Request
from starlette.responses import Response

from app.api import schemas
from app.api.deps import CanAsk, CanRead, Open
from app.api.request_body import read_object
from app.api.responses import json_response
from app.catalog.pricing import NoPriceError
from app.generations.queue import rows as queue
from app.quotas.limits import Scope


async def get_quota(gateway: Open, principal: CanRead) -> Response:
    """Every limit of this key and its tenant, and what is held and spent in each running window."""
    submitter = gateway.submitter
    account = await submitter.account(principal, None)
    waiting = await gateway.db.read(queue.tenant_queue, principal.tenant_id, principal.mode, submitter.terms)
    reads = gateway.reads.standing(Scope(principal.root_kid))
    if principal.token is not None:
        reads = gateway.calls.standing(Scope(token_id=principal.token.token_id))
    queueable = submitter.queueable(principal)
    return json_response(schemas.quota(principal, account, reads, waiting, queueable=queueable))


async def quote(request: Request, gateway: Open, principal: CanAsk, model_id: str) -> Response:
    """What a submit of this body would cost, what is wrong with it, and which limits would refuse it."""
    body = await read_object(request, cap_bytes=gateway.settings.max_body_bytes)
    model = gateway.submitter.model(principal, model_id.strip("/"))
    gateway.submitter.check_configured(principal)
    inspection = await gateway.inspector.inspect(principal, model, body)
    try:
        price = model.price(body)
    except NoPriceError:  # the body violates the schema in an input that is priced
        price = None
    account = await gateway.submitter.account(principal, model.model_id)
    standings = account.standings(price)
    queueable = gateway.submitter.queueable(principal)
    would_queue = queueable and (
        not gateway.pool.usable(principal.mode)
        or not all(one.fits for one in standings)
        or (await gateway.db.read(queue.gate, principal.tenant_id, principal.mode)).shut
    )
    document = schemas.quote(
        model,
        price,
        inspection,
        standings,
        queueable=queueable,
        would_queue=would_queue,
        to_client=principal.token is not None,
    )
    return json_response(document)
