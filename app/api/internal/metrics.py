"""`/metrics`, in the formats of Prometheus: the numbers of this process, and those of the database.

What is dear to read is kept for some minutes. Without the database the numbers of the process are still told.
"""

from contextlib import suppress
from typing import Self

from fastapi import Request
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from app.api.deps import Open
from app.api.internal.collectors import OfMoney, OfProcess, OfRows, Rows
from app.errors import INVALID_API_KEY, MISSING_API_KEY, ROUTE_NOT_FOUND, Problem
from app.gateway import Gateway
from app.kit.secrets import same
from app.quotas.balances.money import Money, money

_MONEY_MS = 300_000


async def get_metrics(request: Request, gateway: Open) -> Response:
    """Answers with metrics for Prometheus; as OpenMetrics, with exemplars, where that is asked for.

    The caller needs the bearer token of REELGATE_METRICS_TOKEN; where none is set, the route is a 404.
    """
    token = gateway.settings.metrics_token
    if token is None:
        raise Problem(ROUTE_NOT_FOUND, "This gateway publishes no metrics.")
    scheme, _, presented = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not presented.strip():
        raise Problem(MISSING_API_KEY, "There is no `Authorization: Bearer …` header.")
    if not same(presented.strip(), token.get_secret_value()):
        raise Problem(INVALID_API_KEY, "This is not the metrics token.")
    registry = CollectorRegistry(auto_describe=False)
    rows = None
    with suppress(Problem):  # without the database, this process's own numbers are still worth having
        rows = await gateway.db.read(Rows.read)
    registry.register(OfProcess(gateway, request.app.state, database_is_up=rows is not None))
    if rows is not None:
        registry.register(OfRows(rows, gateway))
    registry.register(OfMoney((await _Kept.read(request, gateway)).money))
    ProcessCollector(registry=registry)
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), headers={"Content-Type": media_type})


class _Kept:
    """The sums of money, which are read every few minutes; None where they could not be read."""

    def __init__(self, found: Money | None, at_ms: int) -> None:
        self.money = found
        self._at_ms = at_ms

    @classmethod
    async def read(cls, request: Request, gateway: Gateway) -> Self:
        """Returns the sums that were read last, or reads them anew."""
        now_ms = gateway.clock.now_ms()
        kept: Self | None = getattr(request.app.state, "money", None)
        if kept is None or kept.money is None or now_ms - kept._at_ms >= _MONEY_MS:  # noqa: SLF001 - its own
            found = None
            with suppress(Problem):
                found = await gateway.db.read(money, now_ms=now_ms)
            request.app.state.money = kept = cls(found, now_ms)
        return kept
