"""What is happening now, for the operator at a glance, and what needs a decision. It changes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from app.admin import accounts
from app.admin.running import credentials
from app.admin.running.credentials import CredentialStatus
from app.admin.session import AdminGateway
from app.auth import refusals
from app.auth.keys import Mode
from app.auth.refusals import Filters, Refused
from app.documents.admin.running.overview import DecisionKind
from app.generations import events, store
from app.generations.queue import backlog
from app.generations.queue.backlog import Backlog
from app.quotas.sums import usage
from app.quotas.sums.rollups import COUNTS
from app.quotas.sums.usage import BelowCost, Question, Row, Step
from app.upstream.breaker import Condition
from app.webhooks.deliveries import backlog as webhooks
from app.webhooks.deliveries.backlog import Failing, Waiting

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_LATE_MS: Final = 60_000
"""Since when a poll has been due, that the operator should look."""
_WAITS_MS: Final = 600_000
"""How old a queue's oldest request is, that the operator should look."""
_FLOOD: Final = 60
"""How many refusals of a key within one minute are a flood."""
_MAX_LISTED: Final = 10
_WHOLE: Final = 100


@dataclass(frozen=True, slots=True)
class Decision:
    """Something that needs a decision, or a look: of what kind, whose, how many, and since when."""

    kind: DecisionKind
    subject: str
    mode: Mode | None
    count: int
    since_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """How everything stands at `now_ms`, for one mode.

    `hours` are sums of the last day by hour, from the first hour of yesterday (UTC) on, `today` those of
    today (UTC). `refused` are the keys that were refused most often in the last hour, `webhooks` the
    deliveries that wait for endpoints in use.
    """

    mode: Mode
    now_ms: int
    decisions: Sequence[Decision]
    unknown: int
    unknown_since_ms: int | None
    queues: Sequence[Backlog]
    paused_since_ms: int | None
    credentials: Sequence[CredentialStatus]
    hours: Sequence[Row]
    refused: Sequence[Refused]
    webhooks: Waiting
    tenants: Mapping[str, str]

    @property
    def today(self) -> Mapping[str, int]:
        """The sums of today's hours (UTC)."""
        begin_ms = self.now_ms - self.now_ms % _DAY_MS
        sums = dict.fromkeys(COUNTS, 0)
        for row in self.hours:
            if int(row.key[0]) >= begin_ms:
                for name, amount in row.counts.items():
                    sums[name] += amount
        return sums


@dataclass(frozen=True, slots=True)
class _Read:
    queues: Sequence[Backlog]
    paused: Mapping[Mode, int]
    unknown: Mapping[Mode, tuple[int, int]]
    hours: Sequence[Row]
    below_cost: Sequence[BelowCost]
    reached: Sequence[tuple[str, int]]
    refused: Sequence[Refused]
    webhooks: Waiting
    failing: Sequence[Failing]


async def show(gateway: AdminGateway, *, mode: Mode = "live") -> Overview:
    """Returns what is happening now, and what needs a decision, the most urgent first."""
    now_ms = gateway.clock.now_ms()
    found = await gateway.db.snapshot(lambda connection: _read(connection, mode, now_ms))
    statuses = [one for one in await credentials.listed(gateway) if one.mode == mode]
    names = await accounts.tenant_names(gateway)
    unknown, since_ms = found.unknown.get(mode, (0, None))
    return Overview(
        mode=mode,
        now_ms=now_ms,
        decisions=list(_decisions(found, statuses, names, mode, now_ms)),
        unknown=unknown,
        unknown_since_ms=since_ms,
        queues=[one for one in found.queues if one.mode == mode],
        paused_since_ms=found.paused.get(mode),
        credentials=statuses,
        hours=found.hours,
        refused=found.refused,
        webhooks=found.webhooks,
        tenants=names,
    )


def _read(connection: Connection, mode: Mode, now_ms: int) -> _Read:
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    hours = Question(
        tenant_id=None,
        mode=mode,
        first=today - timedelta(days=1),
        last=today,
        by=Step.HOUR,
        groups=(),
        only={},
    )
    lately = Filters(mode=mode, from_ms=now_ms - _HOUR_MS, before_ms=now_ms + 1)
    crossed = events.thresholds(connection, tenant_id=None, before=None, limit=_WHOLE)
    return _Read(
        backlog.backlogs(connection),
        backlog.paused(connection),
        store.unknown_by_mode(connection),
        usage.rows(connection, hours, UTC, after=None, limit=_WHOLE),
        usage.below_cost(connection, now_ms=now_ms),
        [
            (owner.tenant_id, one.at_ms)
            for owner, one in crossed
            if owner.mode == mode and one.crossing.percent >= _WHOLE and one.at_ms > now_ms - _DAY_MS
        ],
        refusals.ranked(connection, lately, limit=_MAX_LISTED),
        webhooks.of_mode(connection, mode),
        webhooks.failing(connection, mode, ended_since_ms=now_ms - _DAY_MS, limit=_MAX_LISTED),
    )


def _decisions(
    found: _Read, statuses: Sequence[CredentialStatus], names: Mapping[str, str], mode: Mode, now_ms: int
) -> Iterator[Decision]:
    """Yields what needs a decision, the most urgent first."""
    count, since_ms = found.unknown.get(mode, (0, None))
    if count:
        yield Decision("unknown_requests", "", mode, count, since_ms)
    yield from _of_credentials(statuses, mode, now_ms)
    yield from _of_queues(found, mode, now_ms)
    yield from _of_floods(found, names, mode)
    yield from _of_webhooks(found, names, mode, now_ms)
    if mode == "live":
        for price in found.below_cost:
            loss = price.cost_microusd - price.charged_microcredits
            yield Decision("price_below_cost", price.model_id, mode, loss, None)
    yield from _of_limits(found, names, mode)


def _of_queues(found: _Read, mode: Mode, now_ms: int) -> Iterator[Decision]:
    queued = sum(one.queued for one in found.queues if one.mode == mode)
    if mode in found.paused:
        yield Decision("dispatch_paused", "", mode, queued, found.paused[mode])
    for one in found.queues:
        is_old = one.oldest_at_ms is not None and now_ms - one.oldest_at_ms >= _WAITS_MS
        if one.mode == mode and (is_old or (one.paused and one.queued)):
            yield Decision("queue_waits", one.tenant, mode, one.queued, one.oldest_at_ms)


def _of_floods(found: _Read, names: Mapping[str, str], mode: Mode) -> Iterator[Decision]:
    for refused in found.refused:
        if refused.max_per_minute >= _FLOOD:
            subject = names.get(refused.tenant_id, refused.network)
            yield Decision("flood_of_refusals", subject, mode, refused.count, refused.first_ms)


def _of_webhooks(found: _Read, names: Mapping[str, str], mode: Mode, now_ms: int) -> Iterator[Decision]:
    due_ms = found.webhooks.due_ms
    if due_ms is not None and now_ms - due_ms >= _LATE_MS:
        yield Decision("webhooks_late", "", mode, found.webhooks.deliveries, due_ms)
    for one in found.failing:
        yield Decision(
            "endpoints_failing", names.get(one.tenant_id, one.tenant_id), mode, one.endpoints, one.since_ms
        )


def _of_limits(found: _Read, names: Mapping[str, str], mode: Mode) -> Iterator[Decision]:
    reached: dict[str, list[int]] = {}
    for tenant_id, at_ms in found.reached:
        reached.setdefault(names[tenant_id], []).append(at_ms)
    for tenant, times in reached.items():
        yield Decision("limit_reached", tenant, mode, len(times), min(times))


def _of_credentials(statuses: Sequence[CredentialStatus], mode: Mode, now_ms: int) -> Iterator[Decision]:
    for one in statuses:
        if not one.configured:
            yield Decision("credential_removed", one.name, mode, one.live, None)
        elif one.health.condition(now_ms) is not Condition.CLOSED:
            yield Decision("credential_paused", one.name, mode, one.live, None)
        if one.next_poll_at_ms is not None and now_ms - one.next_poll_at_ms >= _LATE_MS:
            yield Decision("polls_late", one.name, mode, one.live, one.next_poll_at_ms)
