"""The headers `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers).

They have one member for each limit of the caller, named as in problem documents and in `GET /v1/quota`.
Amounts of credits are in micro-credits.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import assert_never

from app.auth.principal import Principal
from app.documents.limits import visible_to
from app.errors import Problem
from app.gateway import Gateway
from app.quotas.metrics import Unit
from app.quotas.problem import refused
from app.quotas.standing import Standing

_MAX_S = 0.5


def rate_headers(principal: Principal | None, standings: Sequence[Standing]) -> dict[str, str]:
    """Both headers, of the limits that the caller may be told of; none where there are no such limits."""
    visible = visible_to(principal, standings)
    if not visible:
        return {}
    return {
        "RateLimit-Policy": ", ".join(map(_policy, visible)),
        "RateLimit": ", ".join(map(_state, visible)),
    }


def retry_header(standings: Sequence[Standing]) -> dict[str, str]:
    """Returns `Retry-After` for a success after which another submit like it would be refused for now."""
    problem = refused(standings)
    if problem is None or problem.retry_after_s is None:
        return {}
    return {"Retry-After": str(problem.retry_after_s)}


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


def _policy(standing: Standing) -> str:
    unit = _quota_unit(standing.limit.metric.unit)
    window = f";w={standing.window_s}" if standing.window_s is not None else ""
    return f'"{standing.limit.policy}";q={_integer(standing.amount)}{window}' + (
        f';qu="{unit}"' if unit else ""
    )


def _quota_unit(unit: Unit) -> str | None:
    """The draft's quota unit; None for its default, which is requests."""
    match unit:
        case Unit.MICROCREDITS | Unit.OUTPUT_SECONDS:
            return unit
        case Unit.REQUESTS:
            return "concurrent-requests"
        case Unit.GENERATIONS | Unit.SUBMITS | Unit.READS | Unit.CALLS | Unit.TOKENS:
            return None
        case _:
            assert_never(unit)


def _state(standing: Standing) -> str:
    until = f";t={standing.resets_in_s}" if standing.resets_in_s is not None else ""
    return f'"{standing.limit.policy}";r={_integer(standing.remaining)}{until}'


def _integer(value: int) -> int:
    """Returns the value within what a structured field can hold: 0 up to 15 digits (RFC 9651)."""
    return min(max(0, value), 10**15 - 1)
