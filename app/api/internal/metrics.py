"""`/metrics`, in the format of Prometheus: the numbers of this process, read when asked for."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Self, get_args

from fastapi import Request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import Connection
from starlette.responses import Response

from app.admin.audit_log import head_of
from app.admin.chain import Head
from app.api.deps import Open
from app.api.internal import webhook_metrics
from app.api.internal.webhook_metrics import WebhookNumbers
from app.auth.keys import Mode
from app.errors import INVALID_API_KEY, MISSING_API_KEY, ROUTE_NOT_FOUND, Problem
from app.gateway import Gateway
from app.generations import store
from app.generations.queue import backlog
from app.generations.queue.backlog import Backlog
from app.kit.log import buffered_bytes, dropped_lines
from app.kit.secrets import same
from app.quotas import usage
from app.upstream.breaker import Condition

_MODES: Final[tuple[Mode, ...]] = get_args(Mode)
_PRICES_MS: Final = 300_000
_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


async def get_metrics(request: Request, gateway: Open) -> Response:
    """Answers with metrics for Prometheus.

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
    shared = None
    with suppress(Problem):  # without the database, this process's own numbers are still worth having
        shared = await gateway.db.read(_Shared.read)
    registry.register(_Collector(gateway, request.app.state.refusals, shared))
    registry.register(await _Prices.read(request, gateway))
    return Response(generate_latest(registry), media_type=_TYPE)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the database knows, of all servers."""

    backlogs: list[Backlog]
    paused: dict[Mode, int]
    unknown: dict[Mode, tuple[int, int]]
    audit_head: Head | None
    webhooks: WebhookNumbers

    @classmethod
    def read(cls, connection: Connection) -> Self:
        """Returns the present numbers."""
        return cls(
            backlog.backlogs(connection),
            backlog.paused(connection),
            store.unknown_by_mode(connection),
            head_of(connection),
            WebhookNumbers.read(connection),
        )


class _Prices:
    """The metric of models whose price is too low: read every few minutes, since it sums roll-ups."""

    def __init__(self, models: int | None, at_ms: int) -> None:
        self._models = models
        self._at_ms = at_ms

    @classmethod
    async def read(cls, request: Request, gateway: Gateway) -> Self:
        """Returns the number that was read last, or reads it anew."""
        now_ms = gateway.clock.now_ms()
        kept: Self | None = getattr(request.app.state, "prices", None)
        if kept is None or kept._models is None or now_ms - kept._at_ms >= _PRICES_MS:  # noqa: SLF001 - its own
            models = None
            with suppress(Problem):  # without the database there is none
                models = len(await gateway.db.read(usage.below_cost, now_ms=now_ms))
            request.app.state.prices = kept = cls(models, now_ms)
        return kept

    def collect(self) -> Iterator[Metric]:
        """Yields the metric, if the number is known."""
        if self._models is not None:
            yield GaugeMetricFamily(
                "reelgate_models_below_cost",
                f"Models that were charged less than RunComfy's cost in the last {usage.COST_DAYS} days.",
                value=self._models,
            )


class _Collector:
    """Collects the numbers of one gateway; `shared` is None without a database."""

    def __init__(self, gateway: Gateway, refusals: Mapping[str, int], shared: _Shared | None) -> None:
        self._gateway = gateway
        self._refusals = refusals
        self._shared = shared

    def collect(self) -> Iterator[Metric]:
        """Yields every metric with its present values."""
        gateway = self._gateway
        now_ms = gateway.clock.now_ms()
        condition = _gauge(
            "credential_condition",
            "1 for the present condition: closed (in use), open (not used) or half_open (being tried).",
            "condition",
        )
        failures = _gauge("credential_failures", "Consecutive calls without an answer.")
        for name, credential in gateway.pool.all.items():
            for one in Condition:
                is_it = credential.health.condition(now_ms) is one
                condition.add_metric([name, one], float(is_it))
            failures.add_metric([name], credential.health.failures)
        yield condition
        yield failures
        lag = _gauge("poll_lag_seconds", "Delay of the most overdue poll that the last tick found.")
        under_way = _gauge("polls_under_way", "Background polls in progress.")
        for poller in gateway.following.pollers:
            lag.add_metric([poller.credential.name], poller.lag_ms / 1000)
            under_way.add_metric([poller.credential.name], poller.under_way)
        yield lag
        yield under_way
        yield GaugeMetricFamily(
            "reelgate_watchers", "Open event streams and long polls.", value=gateway.following.watch.watchers
        )
        yield GaugeMetricFamily(
            "reelgate_tasks", "Tasks in progress: submits, polls and others.", value=len(gateway.tasks)
        )
        yield GaugeMetricFamily(
            "reelgate_large_bodies_bytes",
            "Size of the bodies with pictures by value that are being worked on.",
            value=gateway.large_bodies.held,
        )
        yield GaugeMetricFamily(
            "reelgate_recent_rows_bytes",
            "Size of the requests that were read in the last second.",
            value=gateway.following.recent.bytes,
        )
        capacity = _gauge("credential_capacity", "Maximum number of jobs in flight, as configured or learnt.")
        for name, credential in gateway.pool.all.items():
            if (room := credential.room(now_ms)) is not None:
                capacity.add_metric([name], room)
        yield capacity
        yield GaugeMetricFamily(
            "reelgate_dispatches_under_way",
            "Queued requests that are being sent.",
            value=gateway.dispatch_loop.under_way,
        )
        refusals = CounterMetricFamily(
            "reelgate_refusals", "Calls that were answered with an error, by its code.", labels=["code"]
        )
        for code, count in sorted(self._refusals.items()):
            refusals.add_metric([code], count)
        yield refusals
        of_tenants = CounterMetricFamily(
            "reelgate_tenant_refusals",
            "Calls with a tenant's keys that were answered with an error, by its code.",
            labels=["mode", "tenant", "code"],
        )
        for total, count in sorted(gateway.access.refusals.totals.items()):
            of_tenants.add_metric(list(total), count)
        yield of_tenants
        yield _of_thresholds(gateway.submitter.thresholds_crossed)
        yield from webhook_metrics.of_process(gateway.webhooks)
        yield CounterMetricFamily(
            "reelgate_log_lines_dropped",
            "Lines of the log that were lost: it could not be written, or not as fast.",
            value=dropped_lines(),
        )
        yield GaugeMetricFamily(
            "reelgate_log_buffered_bytes",
            "Size of the lines that are not written yet.",
            value=buffered_bytes(),
        )
        if self._shared is not None:
            yield from _of_unknown(self._shared.unknown, now_ms)
            if (head := self._shared.audit_head) is not None:
                yield GaugeMetricFamily(
                    "reelgate_audit_entries",
                    "Number of the last entry of the audit log. It never falls.",
                    value=head.size,
                )
            yield from _of_queues(self._shared.backlogs, self._shared.paused, now_ms)
            yield from self._shared.webhooks.collect(now_ms)


def _of_thresholds(crossed: Mapping[int, int]) -> Metric:
    """Returns the metric of crossed thresholds."""
    family = CounterMetricFamily(
        "reelgate_thresholds_crossed", "Thresholds of limits that submits crossed.", labels=["percent"]
    )
    for percent, count in sorted(crossed.items()):
        family.add_metric([str(percent)], count)
    return family


def _of_unknown(unknown: Mapping[Mode, tuple[int, int]], now_ms: int) -> Iterator[Metric]:
    """Yields the metrics of unknown requests, read from the database."""
    count = GaugeMetricFamily("reelgate_unknown", "Unknown requests of all tenants.", labels=["mode"])
    oldest = GaugeMetricFamily(
        "reelgate_unknown_oldest_seconds", "Time since the first of them became unknown.", labels=["mode"]
    )
    for mode in _MODES:
        found, first_ms = unknown.get(mode, (0, now_ms))
        count.add_metric([mode], found)
        oldest.add_metric([mode], max(0, now_ms - first_ms) / 1000)
    yield count
    yield oldest


def _of_queues(backlogs: list[Backlog], paused: dict[Mode, int], now_ms: int) -> Iterator[Metric]:
    """Yields the metrics of the queues of all servers, read from the database."""
    depth = GaugeMetricFamily("reelgate_queued", "Queued requests of all tenants.", labels=["mode"])
    oldest = GaugeMetricFamily(
        "reelgate_queued_oldest_seconds", "Age of the oldest queued request.", labels=["mode"]
    )
    stopped = GaugeMetricFamily(
        "reelgate_dispatch_paused", "1 while the operator has paused dispatch.", labels=["mode"]
    )
    for mode in _MODES:
        own = [one for one in backlogs if one.mode == mode]
        depth.add_metric([mode], sum(one.queued for one in own))
        ages = [max(0, now_ms - one.oldest_at_ms) for one in own if one.oldest_at_ms is not None]
        oldest.add_metric([mode], max(ages, default=0) / 1000)
        stopped.add_metric([mode], float(mode in paused))
    yield depth
    yield oldest
    yield stopped
    whose = ["mode", "tenant"]
    of_tenant = GaugeMetricFamily("reelgate_tenant_queued", "Queued requests of a tenant.", labels=whose)
    share = GaugeMetricFamily(
        "reelgate_tenant_share",
        "A tenant's share of what is sent while the present queues last, from 0 to 1.",
        labels=whose,
    )
    sent = CounterMetricFamily(
        "reelgate_tenant_dispatched", "Queued requests of a tenant that were sent.", labels=whose
    )
    for one in backlogs:
        of_tenant.add_metric([one.mode, one.tenant], one.queued)
        share.add_metric([one.mode, one.tenant], backlog.share(one, backlogs))
        sent.add_metric([one.mode, one.tenant], one.served)
    yield of_tenant
    yield share
    yield sent


def _gauge(name: str, text: str, *more: str) -> Any:
    return GaugeMetricFamily(f"reelgate_{name}", text, labels=["credential", *more])
