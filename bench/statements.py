"""The SQL statements of every request and every tick, each with the index that has to find its rows.

`tests/db/test_plans.py` checks the plans of both databases; `python -m bench plans` also measures them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from typing import Any, Final
from unittest.mock import patch

from sqlalchemy import Connection, event, text

from app.auth import client_tokens, keys, refusals
from app.db import tenant_locks
from app.db.schema.webhook_states import DeliveryState
from app.db.statements import prepared
from app.generations import events, leases, store, token_limits
from app.generations.leases import PollRecord
from app.generations.lifecycle import State
from app.generations.search import Filters, search
from app.generations.store import Generation
from app.quotas import account, many_accounts
from app.quotas.account import Owner
from app.quotas.balances import entries, ledger, statements
from app.quotas.balances.entries import Span
from app.quotas.balances.ledger import Kind
from app.quotas.sums import usage
from app.quotas.sums.usage import Group, Question, Step, Zone
from app.webhooks.deliveries import backlog, claims
from app.webhooks.history import log
from app.webhooks.messages import fan_out

HOUR_MS: Final = 3_600_000
_UTC: Final = Zone("UTC", UTC)
_LISTED = "ix_generations_listed"
_BY_EITHER = "ix_generations_listed_by_state or ix_generations_listed_by_model"
_PARAMETER: Final = re.compile(r"%\((\w+)\)s")
_PLACE: Final = re.compile(r"\$(\d+)")
_SEQUENCES: Final = ("Seq Scan on ", "SCAN ")
_SMALL: Final = (
    "due",
    "lease",
    "seen",
    "CONSTANT",
    "walked",
    "ANY_subquery",
    "step",
    "of_kind",
    "of_kinds",
    "source",
    "usage_days",
    "usage_months",
    "webhook_endpoints",
    "wanted",
    "counted",
    # Rows that are parameters, subqueries, and tables with few rows for each day, month or tenant.
)
_SORT_KEY: Final = re.compile(r"Sort Key: (.*)")


@dataclass(frozen=True, slots=True)
class Draw:
    """The keys of some rows to query; `live` is a generation that is followed, `generation` any one."""

    generation: str
    live: str
    tenant: str
    kid: str
    model: str
    credential: str
    number: int
    created_at_ms: int
    now_ms: int
    token: str
    end_user: str
    day: str
    today: str
    address: str

    @property
    def owner(self) -> Owner:
        """The owner of the account: tenant and mode."""
        return Owner(self.tenant, "live")

    @property
    def account(self) -> tuple[str, ...]:
        """The account that a submit takes from, as `app.quotas.many_accounts` has it."""
        return self.tenant, "live", self.kid, self.end_user, self.model

    @property
    def periods(self) -> tuple[str, str]:
        """The month and the day in which a submit counts."""
        return self.day[:7], self.day

    @property
    def scope(self) -> dict[str, str]:
        """The scopes in which a submit counts, as parameters of a statement."""
        return {
            "tenant": self.tenant,
            "of_mode": "live",
            "of_kid": self.kid,
            "of_model_id": self.model,
            "of_end_user": self.end_user,
            "of_month": self.day[:7],
            "of_day": self.day,
        }


@dataclass(frozen=True, slots=True)
class Statement:
    """A function of `app` that runs one statement, or the `which`-th of several."""

    run: Callable[[Connection, Draw], Any]
    index: str
    which: int = 0
    sorts: bool = False
    """Whether it may sort its rows, instead of reading them in the order of an index: there are few."""
    avoids: str = ""
    """What its plan may not have: a sign that it reads too many rows."""


def _claim_due(connection: Connection, draw: Draw) -> list[Generation]:
    return leases.claim_due(
        connection, draw.credential, now_ms=draw.now_ms, lease_until_ms=draw.now_ms + 15_000, limit=32
    )


def _claim(connection: Connection, draw: Draw) -> Generation | None:
    return leases.claim(
        connection,
        draw.live,
        now_ms=draw.now_ms,
        lease_until_ms=draw.now_ms + 15_000,
        polled_before_ms=draw.now_ms - 1000,
        max_lease_ms=15_000,
    )


def _note(draw: Draw) -> PollRecord:
    return PollRecord(draw.live, version=2, polled_at_ms=draw.now_ms, next_poll_at_ms=draw.now_ms + 1000)


def _search(index: str, wanted: Callable[[Draw], dict[str, Any]]) -> Statement:
    """A search's first statement, which finds the ids; of the others each reads by one of these indexes."""
    # What is left of a step that the other filters fit is sorted, and so is what is unknown.
    return Statement(lambda c, d: search(c, Filters(**wanted(d)), limit=20), index, sorts=True)


def _day(draw: Draw, **wanted: Any) -> refusals.Filters:
    return refusals.Filters(from_ms=draw.created_at_ms - 24 * HOUR_MS, before_ms=draw.created_at_ms, **wanted)


def _usage(
    connection: Connection,
    draw: Draw,
    *groups: Group,
    of_all: bool = False,
    by: Step = Step.DAY,
    running: bool = False,
    **only: str,
) -> Any:
    """Answers a question about the month of the drawn day, or about the one that is not over."""
    last = date.fromisoformat(draw.today if running else draw.day)
    question = Question(
        tenant_id=None if of_all else draw.tenant,
        mode="live",
        first=last.replace(day=1),
        last=last if running else (last.replace(day=1) + timedelta(days=31)).replace(day=1) - timedelta(1),
        by=by,
        groups=groups,
        only={Group(name): value for name, value in only.items()},
    )
    return usage.answer(connection, question, _UTC, after=None, limit=1000)


def _month(draw: Draw) -> Span:
    """Returns the entries of a statement of the month before the drawn generation."""
    return Span(
        from_ms=draw.created_at_ms - 30 * 24 * HOUR_MS,
        until_ms=draw.created_at_ms,
        earlier_id=2**50,
        last_id=2**50,
    )


def _number(connection: Connection, draw: Draw) -> Any:
    return events._NEXT_NUMBER["live"].one(connection, {"of_tenant": draw.tenant})  # noqa: SLF001


STATEMENTS: Final[dict[str, Statement]] = {
    "store.find": Statement(lambda c, d: store.find(c, d.generation, None), "pk_generations"),
    "store.find_by_key": Statement(
        lambda c, d: store.find_by_key(c, d.tenant, "none"),
        "uq_generations_tenant_id_key_space_idempotency_key",
    ),
    "events.of_generation": Statement(
        lambda c, d: events.of_generation(c, d.generation), "pk_generation_events"
    ),
    "events.after": Statement(
        lambda c, d: events.after(c, d.tenant, "live", d.number, limit=500),
        "uq_generation_events_tenant_id_mode_number",
    ),
    "events.after the last": Statement(
        lambda c, d: events.after(c, d.tenant, "live", 10**9, limit=500),
        "uq_generation_events_tenant_id_mode_number",
        sorts=True,  # new events are few
    ),
    "events.last_number": Statement(lambda c, d: events.last_number(c, d.tenant, "live"), "pk_tenants"),
    "events.append: its number": Statement(_number, "pk_tenants"),
    "store.page": Statement(lambda c, d: store.page(c, d.tenant, limit=20, mode="live"), _LISTED),
    "store.page by cursor": Statement(
        lambda c, d: store.page(c, d.tenant, limit=20, mode="live", before=(d.created_at_ms, d.generation)),
        _LISTED,
    ),
    "store.page by state": Statement(
        lambda c, d: store.page(
            c, d.tenant, limit=20, mode="live", states=frozenset({State.COMPLETED}), model_id=d.model
        ),
        _BY_EITHER,
    ),
    "store.page by a state that is rare": Statement(
        lambda c, d: store.page(c, d.tenant, limit=20, mode="live", states=frozenset({State.LOST})),
        _BY_EITHER,
    ),
    "store.page of a client token": Statement(
        lambda c, d: store.page(c, d.tenant, limit=20, mode="live", token_id=d.token),
        "ix_generations_listed_by_token",
    ),
    "store.page of an end user": Statement(
        lambda c, d: store.page(c, d.tenant, limit=20, mode="live", end_user=d.end_user),
        "ix_generations_listed_by_end_user",
    ),
    "search by a key": _search("ix_generations_by_kid", lambda d: {"kid": d.kid}),
    "search by a key and a price version": _search(
        "ix_generations_by_kid", lambda d: {"kid": d.kid, "price_version": "none"}
    ),
    "search by a job": _search(
        "uq_generations_upstream_request_id", lambda _: {"upstream_request_id": "none", "mode": "live"}
    ),
    "search by an address": _search(
        "ix_generations_by_caller_address", lambda d: {"address": d.address, "state": State.LOST}
    ),
    "search by an error": _search("ix_generations_by_error_code", lambda _: {"error_code": "rare"}),
    "search by a tenant": _search(
        _LISTED, lambda d: {"tenant_id": d.tenant, "mode": "live", "before_ms": d.created_at_ms}
    ),
    "search by a tenant and a model": _search(
        _BY_EITHER, lambda d: {"tenant_id": d.tenant, "mode": "live", "model_id": d.model}
    ),
    "search by a tenant and an end user": _search(
        "ix_generations_listed_by_end_user",
        lambda d: {"tenant_id": d.tenant, "mode": "live", "end_user": d.end_user, "model_id": "none"},
    ),
    "search for what is unknown": _search(
        "ix_generations_by_state or ix_generations_unknown_changed_at_ms",
        lambda _: {"state": State.UNKNOWN},
    ),
    "search by a state": _search("ix_generations_by_state", lambda _: {"state": State.FAILED}),
    "search by a state and a model": _search(
        "ix_generations_by_state", lambda _: {"state": State.FAILED, "model_id": "none"}
    ),
    "search for what is completed": _search("pk_generations", lambda _: {"state": State.COMPLETED}),
    "search by a model": _search("ix_generations_by_model_id", lambda d: {"model_id": d.model}),
    "search by a model that is rare": _search("ix_generations_by_model_id", lambda _: {"model_id": "none"}),
    "search by a price version": _search("ix_generations_by_price_version", lambda _: {"price_version": "1"}),
    "search by a price version that was in use earlier": _search(
        "ix_generations_by_price_version", lambda _: {"price_version": "0"}
    ),
    "search by a price version that is rare": _search(
        "ix_generations_by_price_version", lambda _: {"price_version": "none"}
    ),
    "search by an end user": _search("ix_generations_by_end_user", lambda d: {"end_user": d.end_user}),
    "search by an address alone": _search(
        "ix_generations_by_caller_address", lambda d: {"address": d.address}
    ),
    "search by an error that is common": _search(
        "ix_generations_by_error_code", lambda _: {"error_code": "x"}
    ),
    "search by a request": _search("pk_generations", lambda d: {"request_id": d.generation}),
    "search without a filter": _search("pk_generations", lambda _: {}),
    "search in a time": _search(
        "pk_generations",
        lambda d: {"from_ms": d.created_at_ms, "before_ms": d.created_at_ms + HOUR_MS},
    ),
    "search by a rare state": _search("ix_generations_by_state", lambda _: {"state": State.LOST}),
    "refusals.ranked of a tenant": Statement(
        lambda c, d: refusals.ranked(c, _day(d, tenant_id=d.tenant), limit=20), "pk_refusals", sorts=True
    ),
    "refusals.ranked of all": Statement(
        lambda c, d: refusals.ranked(c, _day(d), limit=20),
        "ix_refusals_minute_ms or pk_refusals",  # the latter where a day is a large part of all
        sorts=True,
    ),
    "erase callers": Statement(
        lambda c, d: store.erase_callers(c, before_ms=d.created_at_ms, limit=1000), "pk_generations", which=1
    ),
    "clients.used": Statement(
        lambda c, d: token_limits.used(c, d.owner, d.token),
        "ix_generations_listed_by_token",
        sorts=True,  # three groups
    ),
    "clients.unfinished": Statement(
        lambda c, d: token_limits.unfinished(c, d.owner, d.end_user, unknown_since_ms=d.now_ms - HOUR_MS),
        "ix_generations_unfinished_end_user",
        sorts=True,  # only unfinished generations
    ),
    "clients.newest": Statement(
        lambda c, d: token_limits.newest(c, d.owner, d.token, limit=20), "ix_generations_listed_by_token"
    ),
    "tokens.find": Statement(
        lambda c, d: client_tokens.find(c, d.token),
        "pk_client_tokens",
        sorts=True,  # one row
    ),
    "tokens.page": Statement(
        lambda c, d: client_tokens.page(c, d.tenant, mode="live", limit=20), "ix_client_tokens_listed"
    ),
    "tokens.page of an end user": Statement(
        lambda c, d: client_tokens.page(c, d.tenant, mode="live", limit=20, end_user=d.end_user),
        "ix_client_tokens_listed_by_end_user",
        sorts=True,  # an end user has few tokens
    ),
    "tokens.ended": Statement(
        lambda c, d: client_tokens.ended(c, before_ms=d.now_ms, after=(d.created_at_ms, d.token), limit=200),
        "ix_client_tokens_ended",
    ),
    "store.stuck_since a lease": Statement(
        lambda c, d: store.stuck_since(c, State.DISPATCHING, before_ms=d.now_ms, limit=20),
        "ix_generations_dispatching_lease",
    ),
    "store.stuck_since it was unknown": Statement(
        lambda c, d: store.stuck_since(c, State.UNKNOWN, before_ms=d.now_ms, limit=20),
        "ix_generations_unknown_changed_at_ms",
    ),
    "store.in_flight": Statement(
        lambda c, d: store.in_flight(c, d.owner, unknown_since_ms=d.now_ms - HOUR_MS),
        "ix_generations_live",
        sorts=True,  # only live generations
    ),
    "store.live_of_credential": Statement(
        lambda c, d: store.live_of_credential(c, d.credential, unknown_since_ms=d.now_ms - HOUR_MS),
        "ix_generations_live_credential",
    ),
    "store.erase": Statement(
        lambda c, d: store.erase(c, finished_before_ms=d.created_at_ms, now_ms=d.now_ms, limit=200),
        "ix_generations_kept",
    ),
    "store.erase nothing": Statement(
        lambda c, d: store.erase(c, finished_before_ms=0, now_ms=d.now_ms, limit=200),
        "ix_generations_kept",
    ),
    "leases.span_of_polls: the first": Statement(
        lambda c, d: leases.span_of_polls(c, d.credential), "ix_generations_due"
    ),
    "leases.span_of_polls: the last": Statement(
        lambda c, d: leases.span_of_polls(c, d.credential), "ix_generations_due", which=1
    ),
    "leases.claim_due": Statement(_claim_due, "ix_generations_due"),
    "leases.claim_due: the leases": Statement(
        lambda c, d: leases._LEASE.match(c, [(d.live,)], d.now_ms),  # noqa: SLF001
        "pk_generations",
    ),
    "leases.claim": Statement(_claim, "pk_generations"),
    "leases.touch": Statement(lambda c, d: leases.record_poll(c, _note(d)), "pk_generations"),
    "leases.touch_all": Statement(lambda c, d: leases.record_polls(c, [_note(d)]), "pk_generations"),
    "leases.release": Statement(lambda c, d: leases.release(c, d.live, now_ms=d.now_ms), "pk_generations"),
    "many_accounts.LIMITS_OF_MODEL": Statement(
        lambda c, d: many_accounts.LIMITS_OF_MODEL.match(c, [(0, d.now_ms, *d.account)]),
        "pk_quota_limits",
    ),
    "many_accounts.USAGE_OF_MODEL": Statement(
        lambda c, d: many_accounts.USAGE_OF_MODEL.match(c, [(0, *d.account, *d.periods)]),
        "pk_quota_usage",
    ),
    "many_accounts.USAGE_OF_MODEL of many": Statement(
        lambda c, d: many_accounts.USAGE_OF_MODEL.match(
            c, [(number, *d.account, *d.periods) for number in range(32)]
        ),
        "pk_quota_usage",
    ),
    "many_accounts.HOLD": Statement(
        lambda c, d: many_accounts.HOLD.match(c, [(*d.account, *d.periods, 1, 1, 1)] * 16),
        "pk_quota_usage",
    ),
    "many_accounts.SET_TATS": Statement(
        lambda c, d: many_accounts.SET_TATS.match(c, [(*d.account, 1)] * 16),
        "pk_quota_usage",
    ),
    "tenant_locks.lock": Statement(
        lambda c, d: tenant_locks.lock(c, [d.tenant, *(f"{d.tenant}{n}" for n in range(20))], waits=False),
        "pk_tenants",
    ),
    "events._ADD_NUMBERS": Statement(
        lambda c, d: events._ADD_NUMBERS.match(c, [(d.tenant, 0, 1)] * 16),  # noqa: SLF001
        "pk_tenants",
    ),
    "account._USAGE": Statement(
        lambda c, d: account._USAGE.all(c, d.scope),  # noqa: SLF001
        "pk_quota_usage",
    ),
    "ledger.entries of a tenant": Statement(
        lambda c, d: ledger.entries(c, tenant_id=d.tenant, limit=5),
        "ix_ledger_entries_tenant_id_id or pk_ledger_entries",  # the latter for one with half of all rows
    ),
    "ledger.entries of a generation": Statement(
        lambda c, d: ledger.entries(c, generation_id=d.generation, limit=5),
        "uq_ledger_entries_",
        sorts=True,  # two rows
    ),
    "entries.page, newest first": Statement(
        lambda c, d: entries.page(c, d.owner, span=Span(), newest_first=True, limit=21),
        "ix_ledger_entries_listed",
        sorts=True,  # a page of each kind
    ),
    "entries.page of one kind before a place": Statement(
        lambda c, d: entries.page(
            c,
            d.owner,
            span=Span(),
            kinds={Kind.HOLD},
            after=(d.created_at_ms, 1),
            newest_first=True,
            limit=21,
        ),
        "ix_ledger_entries_listed",
        sorts=True,  # as above
    ),
    "entries.page of a statement": Statement(
        lambda c, d: entries.page(c, d.owner, span=_month(d), limit=101),
        "ix_ledger_entries_listed",
        avoids="(id <= ",  # as a bound of an index, which misleads PostgreSQL
        sorts=True,  # as above
    ),
    "entries.of_request": Statement(
        lambda c, d: entries.of_request(c, d.owner, d.generation),
        "uq_ledger_entries_",
        sorts=True,  # few rows
    ),
    "statements.find": Statement(lambda c, d: statements.find(c, d.owner, d.day[:7]), "pk_statements"),
    "statements.listed": Statement(lambda c, d: statements.listed(c, d.owner, limit=21), "pk_statements"),
    # The first statement of an answer is where sums end, the second its rows, the last their total.
    "usage of a tenant's month": Statement(
        lambda c, d: _usage(c, d, Group.MODEL),
        "pk_usage_counts",
        which=1,
        sorts=True,  # the rows of one month
    ),
    "usage of a tenant's month, its total": Statement(
        lambda c, d: _usage(c, d, Group.MODEL),
        "pk_usage_months",
        which=2,
        sorts=True,  # as above
    ),
    "usage of an end user's month": Statement(
        lambda c, d: _usage(c, d, end_user=d.end_user),
        "ix_usage_counts_subject",
        which=1,
        sorts=True,  # as above
    ),
    "usage of a tenant's month, by end user": Statement(
        lambda c, d: _usage(c, d, Group.END_USER, by=Step.MONTH),
        "pk_usage_counts",
        which=1,
        sorts=True,  # a row of each end user and day
    ),
    "usage of the month of all tenants": Statement(
        lambda c, d: _usage(c, d, Group.MODEL, of_all=True),
        "pk_usage_days or usage_days",
        which=1,
        sorts=True,  # the rows of one month
    ),
    "usage of the month of all tenants, by tenant": Statement(
        lambda c, d: _usage(c, d, Group.TENANT, of_all=True, by=Step.MONTH),
        "usage_months or pk_usage_months",
        which=1,
        sorts=True,  # a row of each tenant
    ),
    "usage of the running month, by tenant": Statement(
        lambda c, d: _usage(c, d, Group.TENANT, of_all=True, by=Step.MONTH, running=True),
        "usage_months or pk_usage_months",
        which=1,
        sorts=True,  # as above, and those of the days that are not summed yet
    ),
    "usage of the days of all tenants, by tenant": Statement(
        lambda c, d: _usage(c, d, Group.TENANT, of_all=True),
        "ix_usage_counts_period or pk_usage_counts or sqlite_autoindex_usage_counts_1",
        which=1,
        sorts=True,  # a row of each tenant and day
    ),
    "usage of the days of a tenant, by end user": Statement(
        lambda c, d: _usage(c, d, Group.END_USER),
        "pk_usage_counts",
        which=1,
        sorts=True,  # a row of each end user and day
    ),
    "usage.below_cost": Statement(
        lambda c, d: usage.below_cost(c, now_ms=d.now_ms),
        "ix_usage_counts_period",
        sorts=True,  # the rows of a week
    ),
    "events.thresholds": Statement(
        lambda c, _: events.thresholds(c, limit=101), "ix_threshold_events_at_ms", sorts=True
    ),
    "events.thresholds of a tenant": Statement(
        lambda c, d: events.thresholds(c, tenant_id=d.tenant, before=(d.now_ms, 1, "", ""), limit=101),
        "ix_threshold_events_of_tenant",
        sorts=True,  # those of one moment
    ),
    "webhooks.claims: what is under way": Statement(
        lambda c, _: claims._UNDER_WAY.all(c, {"slow_ms": 0}),  # noqa: SLF001
        "ix_webhook_deliveries_delivering",
        sorts=True,  # few
    ),
    "webhooks.claims: the first of each endpoint": Statement(
        lambda c, _: claims.heads(c), "ix_webhook_deliveries_pending", sorts=True
    ),
    "webhooks.claims: the first of an endpoint": Statement(
        lambda c, d: claims._FIRST.run(c, [("ep_0", d.now_ms, 4)] * 4),  # noqa: SLF001
        "ix_webhook_deliveries_pending",
    ),
    "webhooks.claims: a lease": Statement(
        lambda c, d: claims._LEASE.match(c, [("dlv_0",), ("dlv_1",)], d.now_ms),  # noqa: SLF001
        "pk_webhook_deliveries",
    ),
    "webhooks.claims: leases that ended": Statement(
        lambda c, d: claims.free(c, now_ms=d.now_ms), "ix_webhook_deliveries_delivering"
    ),
    "webhooks.fan_out: what waits": Statement(lambda c, _: fan_out.fan_out(c), "ix_webhook_messages_heard"),
    "webhooks.fan_out: since when": Statement(
        lambda c, _: fan_out.waiting_since(c), "ix_webhook_messages_heard"
    ),
    "webhooks.fan_out: a mark": Statement(
        lambda c, _: fan_out._MARK.match(c, [("msg_0",), ("msg_1",)]),  # noqa: SLF001
        "pk_webhook_messages or ix_webhook_messages_heard or sqlite_autoindex_webhook_messages_1",
    ),
    "webhooks.log: of a tenant": Statement(
        lambda c, d: log.page(c, log.Filters(owner=d.owner), before=None, limit=50),
        "ix_webhook_deliveries_listed",
        which=1,
    ),
    "webhooks.log: of an endpoint, by state": Statement(
        lambda c, d: log.page(
            c,
            log.Filters(endpoint_id="ep_7", states=[DeliveryState.FAILED], from_ms=d.created_at_ms),
            before=None,
            limit=50,
        ),
        "ix_webhook_deliveries_of_endpoint",
        sorts=True,  # those of its time, where they are few
    ),
    "webhooks.log: of all, by type": Statement(
        lambda c, _: log.page(c, log.Filters(types=["request.failed"]), before=None, limit=50),
        "pk_webhook_deliveries or ix_webhook_deliveries_unusual or sqlite_autoindex_webhook_deliveries_1",
        which=1,
        sorts=True,  # what is unusual, within a step
    ),
    "webhooks.log: of a message": Statement(
        lambda c, _: log.page(c, log.Filters(message_id="msg_7"), before=None, limit=50),
        "ix_webhook_deliveries_of_message",
        sorts=True,  # few
    ),
    "webhooks.backlog: since when": Statement(
        lambda c, _: backlog.waiting(c), "ix_webhook_deliveries_pending", sorts=True
    ),
    "webhooks.backlog: how many": Statement(
        lambda c, _: backlog.waiting(c), "ix_webhook_deliveries_pending", which=1, sorts=True
    ),
    "keys.find": Statement(lambda c, d: keys.find(c, d.kid), "pk_api_keys"),
    "keys.of_tenant": Statement(
        lambda c, d: keys.of_tenant(c, d.tenant), "ix_api_keys_tenant_id", sorts=True
    ),
}


def plan_of(connection: Connection, name: str, draw: Draw, *, generic: bool = False) -> str:
    """Returns the plan of a statement; `generic`: the one that PostgreSQL makes without its parameters."""
    statement, parameters = captured(connection, name, draw)[STATEMENTS[name].which]
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    elif not generic:
        rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
    else:
        names = list(dict.fromkeys(_PARAMETER.findall(statement)))
        numbered = _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", statement)
        rows = connection.exec_driver_sql(f"EXPLAIN (GENERIC_PLAN) {numbered}")
    return "\n".join(" ".join(str(value) for value in row) for row in rows)


def captured(connection: Connection, name: str, draw: Draw) -> list[tuple[str, Any]]:
    """Returns what a statement's function runs: SQL and parameters of each statement."""
    statements: list[tuple[str, Any]] = []

    def keep(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any) -> None:
        statements.append((statement, parameters[0] if isinstance(parameters, list) else parameters))

    send = prepared._send  # noqa: SLF001

    def keep_prepared(driver: Any, own_sql: str, own_parameters: Any) -> Any:
        sql, parameters = own_sql, own_parameters
        if connection.dialect.name == "postgresql":  # by names, as psycopg takes them
            sql = _PLACE.sub(r"%(p\1)s", sql)
            parameters = {f"p{place}": value for place, value in enumerate(parameters, 1)}
        statements.append((sql, parameters))
        return send(driver, own_sql, own_parameters)

    connection.execute(text("SELECT 1"))  # begins the transaction, so that its BEGIN is not captured
    event.listen(connection, "before_cursor_execute", keep)
    try:
        with patch.object(prepared, "_send", keep_prepared):
            STATEMENTS[name].run(connection, draw)
    finally:
        event.remove(connection, "before_cursor_execute", keep)
    return statements


def faults_of(plan: str, name: str, dialect: str) -> list[str]:
    """Returns what is wrong with a plan."""
    wanted = STATEMENTS[name].index
    if dialect == "sqlite" and wanted.startswith("pk_"):  # SQLite names a primary key's index by its table
        wanted = f"sqlite_autoindex_{wanted.removeprefix('pk_')}_1"
    used = any(one in plan for one in wanted.split(" or "))
    faults = [] if used else [f"does not use {wanted}"]
    avoided = STATEMENTS[name].avoids
    faults += [f"has {avoided}"] if avoided and avoided in plan else []
    read_whole = {
        rest.split()[0]
        for word in _SEQUENCES
        for rest in plan.split(word)[1:]
        if "USING" not in rest.split("\n")[0] and "CONSTANT ROW" not in rest.split("\n")[0]
    }
    faults += [f"reads all of {table}" for table in sorted(read_whole - {*_SMALL})]
    in_order = [key for key in _SORT_KEY.findall(plan) if not any(small in key for small in _SMALL)]
    if not STATEMENTS[name].sorts and ("TEMP B-TREE" in plan or in_order):
        faults.append("sorts")
    return faults
