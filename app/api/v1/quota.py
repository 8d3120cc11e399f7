"""Handlers of a tenant's limits and usage, and of quotes for submits. Nothing here spends anything."""

from functools import partial

from fastapi import Request
from starlette.responses import Response

from app.api.bodies import json_response, model_input
from app.api.connection import while_connected
from app.api.deps import CanAsk, CanRead, Open
from app.documents.amounts import quota as documents
from app.generations.queue import rows as queue
from app.generations.submit import quote as quotes
from app.quotas.limits import Scope


async def get_quota(gateway: Open, principal: CanRead) -> Response:
    """Every limit of this key and its tenant, and what is held and spent in each current period."""
    submitter = gateway.submitter
    account = await submitter.account(principal, None)
    waiting = await gateway.db.read(queue.tenant_queue, principal.tenant_id, principal.mode, gateway.policy)
    reads = gateway.access.reads.standing(Scope(principal.root_kid))
    if principal.token is not None:
        reads = gateway.access.calls.standing(Scope(token_id=principal.token.token_id))
    queueable = submitter.queueable(principal)
    return json_response(documents.quota(principal, account, reads, waiting, queueable=queueable))


async def quote(request: Request, gateway: Open, principal: CanAsk, model_id: str) -> Response:
    """What a submit of this body would cost, what is wrong with it, and which limits would refuse it."""
    there = partial(while_connected, request)
    async with model_input(request, gateway, principal, model_id.strip("/")) as body:
        found = await quotes.quote(gateway.submitter, principal, model_id.strip("/"), body, there=there)
    return json_response(documents.quote(principal, found))
