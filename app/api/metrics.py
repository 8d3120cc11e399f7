"""`/metrics`, in the format of Prometheus: what this process knows of itself, read when it is asked for."""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import Request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from starlette.responses import Response

from app.api.deps import Open
from app.errors import INVALID_API_KEY, MISSING_API_KEY, ROUTE_NOT_FOUND, Problem
from app.gateway import Gateway
from app.kit.secrets import same
from app.upstream.breaker import Condition

_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


async def get_metrics(request: Request, gateway: Open) -> Response:
    """Metrics for Prometheus, with the bearer token of REELGATE_METRICS_TOKEN; 404 where none is set."""
    token = gateway.settings.metrics_token
    if token is None:
        raise Problem(ROUTE_NOT_FOUND, "There are no metrics here.")
    scheme, _, presented = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not presented.strip():
        raise Problem(MISSING_API_KEY, "There is no `Authorization: Bearer …` header.")
    if not same(presented.strip(), token.get_secret_value()):
        raise Problem(INVALID_API_KEY, "This is not the token of the metrics.")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(gateway))
    return Response(generate_latest(registry), media_type=_TYPE)


class _Collector:
    """The numbers of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Every metric with its present values."""
        gateway = self._gateway
        now_ms = gateway.clock.now_ms()
        condition = _gauge(
            "credential_condition", "1 for what it is: closed, half_open or open.", "condition"
        )
        failures = _gauge("credential_failures", "Calls in a row that got no answer.")
        for name, credential in gateway.pool.all.items():
            for one in Condition:
                is_it = credential.health.condition(now_ms) is one
                condition.add_metric([name, one], float(is_it))
            failures.add_metric([name], credential.health.failures)
        yield condition
        yield failures
        lag = _gauge("poll_lag_seconds", "How late the latest job was that the last tick found due.")
        under_way = _gauge("polls_under_way", "Looks in the background at this moment.")
        for poller in gateway.pollers:
            lag.add_metric([poller.credential.name], poller.lag_ms / 1000)
            under_way.add_metric([poller.credential.name], poller.under_way)
        yield lag
        yield under_way
        yield GaugeMetricFamily(
            "reelgate_watchers", "Event streams and held answers.", value=gateway.feed.watchers
        )
        yield GaugeMetricFamily("reelgate_tasks", "Submits, looks and the like.", value=len(gateway.tasks))


def _gauge(name: str, text: str, *more: str) -> Any:
    return GaugeMetricFamily(f"reelgate_{name}", text, labels=["credential", *more])
