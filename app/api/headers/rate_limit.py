"""The limits of a caller as they stand, for the headers of a response to a submit that used nothing."""

import asyncio
from contextlib import suppress

from app.auth.principal import Principal
from app.documents.amounts.limits import rate_headers
from app.errors import Problem
from app.gateway import Gateway

_MAX_S = 0.5


async def rate_headers_of(gateway: Gateway, principal: Principal, model_id: str) -> dict[str, str]:
    """Returns the headers for a response to a submit that used nothing: the limits as they stand now.

    They are left out where they cannot be read within `_MAX_S` seconds.
    """
    model = gateway.catalog.models.get(model_id.strip("/"))
    # The response is known, and may have used nine of its ten seconds: the headers are not worth delaying it.
    with suppress(Problem, TimeoutError):
        async with asyncio.timeout(_MAX_S):
            account = await gateway.submitter.account(principal, model.model_id if model else "")
        return rate_headers(principal, account.standings())
    return {}
