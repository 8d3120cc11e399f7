"""What a tenant may use, what it used, and what a submit would cost. Nothing here spends anything."""

from fastapi import Request
from starlette.responses import Response

from app.api import schemas
from app.api.answers import json_answer
from app.api.bodies import read_object
from app.api.deps import CanAsk, CanRead, Open
from app.catalog.pricing import NoPriceError


async def get_quota(gateway: Open, principal: CanRead) -> Response:
    """Every limit of this key and its tenant, and what is held and spent in each running window."""
    account = await gateway.submitter.account(principal, None)
    return json_answer(schemas.quota(principal, account, gateway.reads.standing(principal.root_kid)))


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
    return json_answer(schemas.quote(model, price, inspection, account.standings(price)))
