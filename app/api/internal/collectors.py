"""What yields the metrics: of the process, of rows that are read for it, and of the money."""

import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self, get_args

from prometheus_client.core import Exemplar, Metric
from sqlalchemy import Connection
from starlette.datastructures import State

from app.admin.audit_log import head_of
from app.admin.chain import Head
from app.api.internal import families, mirror_metrics, webhook_metrics
from app.api.internal.families import Family
from app.api.internal.webhook_metrics import WebhookNumbers
from app.auth.keys import Mode
from app.db.revision import HEAD
from app.gateway import Gateway
from app.generations import store
from app.generations.queue import backlog
from app.generations.queue.backlog import Backlog
from app.kit.log import buffered_bytes, dropped_lines
from app.kit.meters import SECONDS, Labels, Tally, Times, top
from app.mirror.backlog import Waiting, waiting
from app.quotas.balances.money import Money
from app.upstream.breaker import Condition

_MODES: Final[tuple[Mode, ...]] = get_args(Mode)
_BOUNDS: Final = (*(f"{one:g}" for one in SECONDS), "+Inf")
_REFUSALS: Final = frozenset({"http_400", "http_401", "http_402", "http_403"})
_VERSION: Final = version("reelgate")


@dataclass(frozen=True, slots=True)
class Rows:
    """What the database knows, of all servers."""

    backlogs: list[Backlog]
    paused: dict[Mode, int]
    unknown: dict[Mode, tuple[int, int]]
    audit_head: Head | None
    webhooks: WebhookNumbers
    assets: Waiting

    @classmethod
    def read(cls, connection: Connection) -> Self:
        """Returns the present numbers."""
        return cls(
            backlog.backlogs(connection),
            backlog.paused(connection),
            store.unknown_by_mode(connection),
            head_of(connection),
            WebhookNumbers.read(connection),
            waiting(connection),
        )


class OfProcess:
    """What this process knows of itself. `state` is that of the application that it serves."""

    def __init__(self, gateway: Gateway, state: State, *, database_is_up: bool) -> None:
        self._gateway = gateway
        self._state = state
        self._database_is_up = database_is_up
        self._now_ms = gateway.clock.now_ms()

    def collect(self) -> Iterator[Metric]:
        """Yields every metric with its present values."""
        yield from self._of_calls()
        yield from self._of_requests()
        yield from self._of_credentials()
        yield from webhook_metrics.of_process(self._gateway.webhooks)
        yield from mirror_metrics.of_process(self._gateway.mirror)
        yield from self._of_database()
        yield from self._of_loops()
        yield from self._of_machine()

    def _of_calls(self) -> Iterator[Metric]:
        gateway, calls = self._gateway, self._state.calls
        yield _counted(families.CALLS, calls.totals().items())
        yield _timed(families.CALL_TIMES, calls.by_route())
        yield _counted(families.REFUSALS, (((code,), count) for code, count in self._state.refusals.items()))
        if shown := gateway.settings.metrics_tenants:
            by_tenant = top(gateway.access.refusals.totals, 1, shown)
            yield _counted(families.TENANT_REFUSALS, by_tenant)
        crossed = gateway.submitter.thresholds_crossed
        yield _counted(families.THRESHOLDS, (((str(one),), count) for one, count in crossed.items()))
        yield families.WATCHERS.of(gateway.following.watch.watchers)
        yield families.LARGE_BODIES.of(gateway.large_bodies.held)
        yield families.RECENT_ROWS.of(gateway.following.recent.bytes)

    def _of_requests(self) -> Iterator[Metric]:
        gateway = self._gateway
        yield _counted(families.SUBMITS, gateway.submitter.dispatcher.verdicts.items())
        yield _counted(families.STATES, gateway.db.entered.items())
        yield families.UNDER_WAY.of(len(gateway.tasks))
        yield families.DISPATCHES.of(gateway.dispatch_loop.under_way)
        under_way, lag = families.POLLS.new(), families.POLL_LAG.new()
        for poller in gateway.following.pollers:
            under_way.add_metric([poller.credential.name], poller.under_way)
            lag.add_metric([poller.credential.name], poller.lag_ms / 1000)
        yield under_way
        yield lag

    def _of_credentials(self) -> Iterator[Metric]:
        condition, failures = families.CONDITION.new(), families.FAILURES.new()
        refused = families.REFUSED.new()
        capacity, skew = families.CAPACITY.new(), families.CLOCK_SKEW.new()
        statuses: Tally = Tally()
        times: dict[Labels, Times] = {}
        for name, credential in self._gateway.pool.all.items():
            for one in Condition:
                is_it = credential.health.condition(self._now_ms) is one
                condition.add_metric([name, one], float(is_it))
            failures.add_metric([name], credential.health.failures)
            is_refused = not credential.health.may_submit and credential.health.reason in _REFUSALS
            refused.add_metric([name], float(is_refused))
            if (room := credential.room(self._now_ms)) is not None:
                capacity.add_metric([name], room)
            upstream = credential.upstream
            if upstream.skew_s is not None:
                skew.add_metric([name], upstream.skew_s)
            statuses.update({(name, *labels): count for labels, count in upstream.statuses.items()})
            times |= {(name, *labels): one for labels, one in upstream.times.all.items()}
        yield from (condition, refused, failures, capacity, skew)
        yield _counted(families.UPSTREAM_CALLS, statuses.items())
        yield _timed(families.UPSTREAM_TIMES, times)

    def _of_database(self) -> Iterator[Metric]:
        yield families.DATABASE_UP.of(float(self._database_is_up))
        yield _timed(families.DATABASE_TIMES, self._gateway.db.times.all)
        yield _counted(families.DATABASE_FAILURES, self._gateway.db.failures.items())

    def _of_loops(self) -> Iterator[Metric]:
        failures, age = families.LOOP_FAILURES.new(), families.LOOP_AGE.new()
        for loop in getattr(self._state, "loops", ()):
            failures.add_metric([loop.name], loop.failures)
            age.add_metric([loop.name], max(0, self._now_ms - loop.went_well_ms) / 1000)
        yield failures
        yield age

    def _of_machine(self) -> Iterator[Metric]:
        yield families.LOG_DROPPED.of(dropped_lines())
        yield families.LOG_BUFFERED.of(buffered_bytes())
        folder = self._gateway.settings.data_dir
        with suppress(OSError):
            disk = os.statvfs(next(one for one in (folder, *folder.absolute().parents) if one.exists()))
            yield families.DISK_FREE.of(disk.f_bavail * disk.f_frsize)
            yield families.DISK_SIZE.of(disk.f_blocks * disk.f_frsize)
        yield families.SPOOLED.of(_size(self._gateway.submitter.dispatcher.spool.path))
        build = families.BUILD.new()
        build.add_metric([_VERSION, platform.python_version(), self._gateway.db.dialect, HEAD], 1)
        yield build


class OfRows:
    """What the database knows, which is the same on every server."""

    def __init__(self, rows: Rows, gateway: Gateway) -> None:
        self._rows = rows
        self._now_ms = gateway.clock.now_ms()
        self._tenants = gateway.settings.metrics_tenants

    def collect(self) -> Iterator[Metric]:
        """Yields every metric with its present values."""
        yield from self._of_unknown()
        if (head := self._rows.audit_head) is not None:
            yield families.AUDIT.of(head.size)
        yield from self._of_queues()
        yield from self._rows.webhooks.collect(self._now_ms)
        yield from mirror_metrics.of_rows(self._rows.assets, self._now_ms)
        if self._tenants:
            yield from self._of_tenants()

    def _of_unknown(self) -> Iterator[Metric]:
        count, oldest = families.UNKNOWN.new(), families.UNKNOWN_OLDEST.new()
        for mode in _MODES:
            found, first_ms = self._rows.unknown.get(mode, (0, self._now_ms))
            count.add_metric([mode], found)
            oldest.add_metric([mode], max(0, self._now_ms - first_ms) / 1000)
        yield count
        yield oldest

    def _of_queues(self) -> Iterator[Metric]:
        depth, oldest, paused = families.QUEUED.new(), families.QUEUED_OLDEST.new(), families.PAUSED.new()
        for mode in _MODES:
            own = [one for one in self._rows.backlogs if one.mode == mode]
            depth.add_metric([mode], sum(one.queued for one in own))
            since = [one.oldest_at_ms for one in own if one.oldest_at_ms is not None]
            oldest.add_metric([mode], max(0, self._now_ms - min(since, default=self._now_ms)) / 1000)
            paused.add_metric([mode], float(mode in self._rows.paused))
        yield from (depth, oldest, paused)

    def _of_tenants(self) -> Iterator[Metric]:
        """Yields the metrics of the tenants with the longest queues."""
        queued, share = families.TENANT_QUEUED.new(), families.TENANT_SHARE.new()
        sent = families.TENANT_DISPATCHED.new()
        every = self._rows.backlogs
        for one in sorted(every, key=lambda one: (-one.queued, -one.served, one.tenant))[: self._tenants]:
            whose = [one.mode, one.tenant]
            queued.add_metric(whose, one.queued)
            share.add_metric(whose, backlog.share(one, every))
            sent.add_metric(whose, one.served)
        yield from (queued, share, sent)


class OfMoney:
    """The money of all tenants; nothing where it could not be read."""

    def __init__(self, found: Money | None) -> None:
        self._money = found

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics."""
        found = self._money
        if found is None:
            return
        held, spent, week = families.HELD.new(), families.SPENT.new(), families.WEEK.new()
        cost, margin = families.WEEK_COST.new(), families.WEEK_MARGIN.new()
        for mode in _MODES:
            held.add_metric([mode], found.held.get(mode, 0))
            spent.add_metric([mode], found.spent.get(mode, 0))
            if (recent := found.recent.get(mode)) is not None:
                for entry in ("held", "spent", "refunded", "adjusted"):
                    week.add_metric([mode, entry], getattr(recent, entry))
                cost.add_metric([mode], recent.cost_usd)
                margin.add_metric([mode], recent.margin_usd)
        yield from (held, spent, week, cost, margin)
        yield families.BELOW_COST.of(found.below_cost)


def _counted(family: Family, counts: Iterable[tuple[Labels, int]]) -> Metric:
    """Returns a metric with these counts, in the order of their labels."""
    metric: Any = family.new()
    for labels, count in sorted(counts):
        metric.add_metric(list(labels), count)
    return metric  # type: ignore[no-any-return]  # the library has a type for each kind


def _timed(family: Family, times: Mapping[Labels, Times]) -> Metric:
    """Returns a histogram with these times; each bucket has the trace of its last one as an exemplar."""
    metric: Any = family.new()
    for labels, one in sorted(times.items()):
        buckets, sum_so_far = [], 0
        for bound, count, trace in zip(_BOUNDS, one.counts, one.traces, strict=True):
            sum_so_far += count
            exemplar = None if trace is None else Exemplar({"trace_id": trace[0]}, trace[1])
            buckets.append((bound, sum_so_far, exemplar))
        metric.add_metric(list(labels), buckets, one.sum_s)
    return metric  # type: ignore[no-any-return]  # as above


def _size(path: Path) -> int:
    """Returns the size of a file in bytes; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
