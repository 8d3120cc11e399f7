"""Accounts in the database: reading limits and usage for a decision, and writing what was decided.

Whoever changes an account must hold the lock on the tenant's row until the commit. That makes limits exact on
any number of replicas, and two transactions that change the same dozen rows of usage cannot deadlock.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from functools import lru_cache
from itertools import zip_longest
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    literal,
    literal_column,
    select,
    tuple_,
    union_all,
    update,
)

from app.db.schema.tables import limit_overrides, quota_limits, quota_usage, tenants
from app.db.statements.deferral import kept, write_deferred, write_later
from app.db.statements.prepared import Prepared, inserting
from app.db.tenant_locks import LockedTenant
from app.kit.log import get_logger
from app.kit.text import quoted
from app.quotas import many_accounts
from app.quotas.amounts import NAMES, NOTHING, Amounts
from app.quotas.limits import EVERY_END_USER, Limit, LimitError, Payer, Scope
from app.quotas.metrics import Metric
from app.quotas.periods import TOTAL, periods_at, periods_of_day
from app.quotas.standing import Account, Usage
from app.quotas.sums import rollups

_OF_A_MACHINE = frozenset({"localtime", "Factory", "posixrules"})  # listed by Python, but no IANA names
_PLACES = {metric: place for place, metric in enumerate(Metric)}
_MODES: Final = ("live", "test")
_log = get_logger("quotas")

_OF_TENANT = select(tenants.c.time_zone).where(tenants.c.id == bindparam("tenant"))
_ZONE = Prepared(_OF_TENANT)
_LOCK = Prepared(_OF_TENANT.with_for_update(key_share=True))


def _in_either(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """Returns the condition that a column is empty, which stands for all, or is the parameter of this name.

    It is an IN, for which both databases use the index.
    """
    return column.in_([literal(""), bindparam(name)])


_NO_END: ColumnElement[Any] = literal_column("NULL").label("until_ms")  # of a limit that is no override


def _limits_where(*conditions: Callable[[Table], ColumnElement[bool]]) -> CompoundSelect[Any]:
    """Returns the query of a tenant's limits that meet these conditions, with the overrides that last."""

    def of(table: Table, until: ColumnElement[Any]) -> Select[Any]:
        columns = (table.c[name] for name in ("kid", "model_id", "end_user", "metric", "amount", "burst"))
        return select(*columns, until).where(
            table.c.tenant_id == bindparam("tenant"),
            table.c.mode == bindparam("of_mode"),
            *(one(table) for one in conditions),
        )

    lasting = of(limit_overrides, limit_overrides.c.until_ms)
    return union_all(
        of(quota_limits, _NO_END), lasting.where(limit_overrides.c.until_ms > bindparam("now_ms"))
    )


def _of_payer(table: Table) -> ColumnElement[bool]:
    end_users = [literal(""), literal(EVERY_END_USER), bindparam("of_end_user")]
    return and_(_in_either(table.c.kid, "of_kid"), table.c.end_user.in_(end_users))


def _of_model(table: Table) -> ColumnElement[bool]:
    return _in_either(table.c.model_id, "of_model_id")


def _of_flight(table: Table) -> ColumnElement[bool]:
    return and_(table.c.metric == str(Metric.IN_FLIGHT), table.c.end_user == literal(""))


_LIMITS = Prepared(_limits_where(_of_payer))
_IN_FLIGHT_LIMITS = Prepared(_limits_where(_of_flight))
_OF_A_KEY = (
    quota_usage.c.tenant_id == bindparam("tenant"),
    quota_usage.c.mode == bindparam("of_mode"),
    _in_either(quota_usage.c.kid, "of_kid"),
    _in_either(quota_usage.c.end_user, "of_end_user"),
    quota_usage.c.period.in_([literal(TOTAL), bindparam("of_month"), bindparam("of_day")]),
)
# The rows that a generation counts in: four scopes, or six with an end user, in three periods each.
_OF_A_GENERATION = (*_OF_A_KEY, _in_either(quota_usage.c.model_id, "of_model_id"))
_HELD = tuple(quota_usage.c[f"held_{name}"] for name in NAMES)
_SPENT = tuple(quota_usage.c[f"spent_{name}"] for name in NAMES)
_COLUMNS = (
    quota_usage.c.kid,
    quota_usage.c.model_id,
    quota_usage.c.end_user,
    quota_usage.c.period,
    quota_usage.c.added_microcredits,
    quota_usage.c.tat_us,
    *_HELD,
    *_SPENT,
)
_USAGE = Prepared(select(*_COLUMNS).where(*_OF_A_KEY))
_INSERT_USAGE = inserting(quota_usage, *quota_usage.c.keys())
_MOVE = Prepared(
    update(quota_usage)
    .where(*_OF_A_GENERATION)
    .values({column: column + bindparam(f"more_{column.name}") for column in (*_HELD, *_SPENT)})
)
_THE_TOTAL = (
    quota_usage.c.tenant_id == bindparam("tenant"),
    quota_usage.c.mode == bindparam("of_mode"),
    quota_usage.c.kid == bindparam("of_kid"),
    quota_usage.c.model_id == bindparam("of_model_id"),
    quota_usage.c.end_user == bindparam("of_end_user"),
    quota_usage.c.period == TOTAL,
)
_ADD = (
    update(quota_usage)
    .where(*_THE_TOTAL)
    .values(added_microcredits=quota_usage.c.added_microcredits + bindparam("more"))
)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose account it is: a tenant's, in one mode. Test keys never use up what live keys may use."""

    tenant_id: str
    mode: str

    @property
    def place(self) -> tuple[str, str]:
        """The first part of the place of a limit in the table of limits."""
        return self.tenant_id, self.mode


class Wanted(NamedTuple):
    """An account to be read: a payer's with a model, at a moment. `defaults` as of `open_account`."""

    owner: Owner
    payer: Payer
    model_id: str
    defaults: Sequence[Limit]
    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a hold or a generation ends: in which state, whether that is final, and what RunComfy charges."""

    outcome: str
    at_ms: int
    is_final: bool
    cost_microusd: int


def open_account(
    connection: Connection,
    owner: Owner,
    payer: Payer,
    model_id: str | None,
    *,
    defaults: Sequence[Limit],
    now_ms: int,
    for_update: bool = False,
) -> Account:
    """Returns the account of a payer with a model, or with all models together (None).

    `defaults` are the limits of every tenant without a limit of its own for that metric. With `for_update`
    the tenant's row is locked until the commit, so that the account may be taken from. Functions that share
    what they know read it once, as long as it is the account of one payer and model.
    """
    known = kept(connection) if for_update else None
    if known is None:
        return _read_account(
            connection, owner, payer, model_id, defaults=defaults, now_ms=now_ms, for_update=for_update
        )
    there: Account | None = known.get(owner)
    if there is not None:
        if (again := _as_of(there, payer, model_id, now_ms)) is not None:
            return again
        write_deferred(connection)
    account = _read_account(
        connection, owner, payer, model_id, defaults=defaults, now_ms=now_ms, for_update=True
    )
    known[owner] = account
    return account


def _as_of(account: Account, payer: Payer, model_id: str | None, now_ms: int) -> Account | None:
    """Returns an account that is kept as it is at another moment; None where it has to be read again.

    It has to be for another payer or model, for another day, and where overrides may have ended.
    """
    if account.payer != payer or account.model_id != model_id or not account.periods.has(now_ms):
        return None
    if any(one.until_ms is not None for one in account.limits):
        return None
    return account if account.now_ms == now_ms else account._replace(now_ms=now_ms)


def _read_account(
    connection: Connection,
    owner: Owner,
    payer: Payer,
    model_id: str | None,
    *,
    defaults: Sequence[Limit],
    now_ms: int,
    for_update: bool,
) -> Account:
    query = _LOCK if for_update else _ZONE
    (zone_name,) = query.one(connection, {"tenant": owner.tenant_id})
    wanted = Wanted(owner, payer, model_id or "", defaults, now_ms)
    if model_id is not None:
        return _read_many(connection, [wanted], {owner.tenant_id: zone_name})[0]
    periods = periods_at(now_ms, zone_of(zone_name))
    of_payer = {
        "tenant": owner.tenant_id,
        "of_mode": owner.mode,
        "of_kid": payer.kid,
        "of_end_user": payer.end_user,
    }
    own = _LIMITS.all(connection, of_payer | {"now_ms": now_ms})
    rows = _USAGE.all(connection, of_payer | {"of_month": periods.month, "of_day": periods.day})
    return _account_of(wanted, zone_name, own, rows)


def keep_accounts(
    connection: Connection, wanted: Sequence[Wanted], locked: Mapping[str, LockedTenant]
) -> None:
    """Reads accounts for functions that share what they know: one of each owner, the first that is wanted."""
    known = kept(connection)
    if known is not None and wanted:
        first = {one.owner: one for one in reversed(wanted)}
        zones = {one.id: one.time_zone for one in locked.values()}
        accounts = _read_many(connection, list(first.values()), zones)
        known.update(zip(first, accounts, strict=True))


def _read_many(connection: Connection, wanted: Sequence[Wanted], zones: Mapping[str, str]) -> list[Account]:
    """Returns accounts, each by one statement for all limits and one for all usage."""
    limits_of, usage_of = [], []
    for number, (owner, payer, model_id, _, now_ms) in enumerate(wanted):
        who = (owner.tenant_id, owner.mode, payer.kid, payer.end_user, model_id)
        periods = periods_at(now_ms, zone_of(zones[owner.tenant_id]))
        limits_of.append((number, now_ms, *who))
        usage_of.append((number, *who, periods.month, periods.day))
    limits: list[list[Sequence[Any]]] = [[] for _ in wanted]
    for number, *row in many_accounts.LIMITS_OF_MODEL.match(connection, limits_of):
        limits[number].append(row)
    usage: list[list[Sequence[Any]]] = [[] for _ in wanted]
    for number, *row in many_accounts.USAGE_OF_MODEL.match(connection, usage_of):
        usage[number].append(row)
    return [
        _account_of(one, zones[one.owner.tenant_id], *rows)
        for one, *rows in zip(wanted, limits, usage, strict=True)
    ]


def _account_of(
    wanted: Wanted, zone_name: str, own: Sequence[Sequence[Any]], rows: Sequence[Sequence[Any]]
) -> Account:
    """Returns the account whose limits and usage are in these rows."""
    zone = zone_of(zone_name)
    limits = _with_defaults(_of_end_user(_in_force(own), wanted.payer.end_user), wanted.defaults)
    usage = {(Scope(*row[:3]), row[3]): _usage_of(row) for row in rows}
    periods = periods_at(wanted.now_ms, zone)
    return Account(wanted.payer, wanted.model_id, wanted.now_ms, zone.key, periods, limits, usage)


def in_flight_limits(
    connection: Connection, owner: Owner, defaults: Sequence[Limit], *, now_ms: int
) -> list[Limit]:
    """Returns a tenant's limits on generations in flight, with those of its keys and of models.

    Limits of end users are not among them.
    """
    rows = _IN_FLIGHT_LIMITS.all(
        connection, {"tenant": owner.tenant_id, "of_mode": owner.mode, "now_ms": now_ms}
    )
    limits = _with_defaults(_in_force(rows), defaults)
    return [one for one in limits if one.metric is Metric.IN_FLIGHT and one.amount is not None]


def _in_force(rows: Sequence[Sequence[Any]]) -> list[Limit]:
    """Returns the limits that apply: an override that lasts stands in place of its limit."""
    limits = []
    is_overridden = False
    for kid, model_id, end_user, metric, amount, burst, until_ms in rows:
        limits.append(Limit(Scope(kid, model_id, end_user), Metric(metric), amount, burst, until_ms))
        is_overridden = is_overridden or until_ms is not None
    if not is_overridden:
        return limits
    by_place = {one.place: one for one in sorted(limits, key=lambda one: one.until_ms is not None)}
    return list(by_place.values())


def _usage_of(row: Sequence[Any]) -> Usage:
    """Returns the usage in a row of `_COLUMNS`."""
    added_microcredits, tat_us, *sums = row[4:]
    held, spent = Amounts(*sums[: len(NAMES)]), Amounts(*sums[len(NAMES) :])
    return Usage(held, spent, added_microcredits, tat_us)


def _of_end_user(own: list[Limit], end_user: str) -> list[Limit]:
    """Returns the limits as they apply to an end user.

    A limit of each end user (`*`) becomes this one's, unless it has a limit of its own for the same scope and
    metric.
    """
    said = {(one.scope, one.metric) for one in own}
    found = []
    for one in own:
        if one.scope.end_user != EVERY_END_USER:
            found.append(one)
        elif end_user not in {"", EVERY_END_USER}:
            its = replace(one, scope=one.scope._replace(end_user=end_user))
            found += [] if (its.scope, its.metric) in said else [its]
        elif end_user:
            found.append(one)
    return found


def _with_defaults(own: list[Limit], defaults: Sequence[Limit]) -> tuple[Limit, ...]:
    said = {one.metric for one in own if one.scope == Scope()}
    limits = [*own, *(one for one in defaults if one.metric not in said)]
    return tuple(sorted(limits, key=lambda one: (one.scope, _PLACES[one.metric])))


def take(connection: Connection, owner: Owner, before: Account, after: Account, amounts: Amounts) -> None:
    """Writes that one more generation holds these amounts.

    `before` is the account as it was read under the lock on the tenant's row, which the caller must still
    hold; `after` is `before.with_one_more(amounts)`.
    """
    # Missing rows are inserted first, with sums of 0, so that one statement changes all rows.
    if before.taken is NOTHING:
        missing = [_row(owner, *place) for place in after.rows if place not in before.usage]
        _INSERT_USAGE.run_many(connection, missing)
    arrivals = before.arrivals_of_one_more()
    tats = {(owner, scope): usage.tat_us for (scope, _), usage in arrivals.items()}
    of_whom = (owner, after.payer.kid, after.payer.end_user, after.model_id, after.periods.day)
    taken = _Taken(of_whom, amounts, tats)
    known = kept(connection)
    if known is None or (there := known.get(owner)) is None:
        _write_taken(connection, [taken])
    else:
        known[owner] = there._replace(usage={**there.usage, **arrivals}, taken=there.taken + amounts)
        write_later(connection, _write_taken, taken)
    rollups.count(
        connection,
        owner.tenant_id,
        owner.mode,
        after.payer,
        after.model_id,
        outcome=rollups.SUBMITTED,
        zone=zone_of(after.time_zone),
        at_ms=after.now_ms,
        held_generations=amounts.generations,
        held_microcredits=amounts.microcredits,
    )


class _Taken(NamedTuple):
    """What a generation holds: of whom, how much, and the rates' arrival times after it."""

    of_whom: tuple[Owner, str, str, str, str]
    amounts: Amounts
    tats: dict[tuple[Owner, Scope], int | None]


def _write_taken(connection: Connection, taken: Sequence[_Taken]) -> None:
    """Writes what generations hold: all together that count in the same rows."""
    held: dict[tuple[Owner, str, str, str, str], Amounts] = {}
    tats: dict[tuple[Owner, Scope], int | None] = {}
    for one in taken:
        held[one.of_whom] = held.get(one.of_whom, NOTHING) + one.amounts
        tats |= one.tats
    rows: dict[Owner, list[tuple[Any, ...]]] = {}
    for (owner, kid, end_user, model_id, day), amounts in held.items():
        _, month, _ = periods_of_day(day)
        who = (owner.tenant_id, owner.mode, kid, end_user, model_id)
        rows.setdefault(owner, []).append((*who, month, day, *amounts))
    # A statement changes each row once, and two accounts of one owner have rows in common.
    for turn in zip_longest(*rows.values()):
        many_accounts.HOLD.match(connection, [row for row in turn if row is not None])
    arrived = [
        (owner.tenant_id, owner.mode, scope.kid, scope.end_user, scope.model_id, tat_us)
        for (owner, scope), tat_us in tats.items()
    ]
    many_accounts.SET_TATS.match(connection, arrived)


def end_hold(
    connection: Connection,
    owner: Owner,
    *,
    payer: Payer,
    model_id: str,
    day: str,
    amounts: Amounts,
    spent: bool,
    ending: Ending,
) -> None:
    """Ends a generation's hold in every row of usage that it counts in; locks the tenant's row.

    The amounts are no longer held; with `spent` they are spent from now on, else they are given back.
    """
    zone = lock_tenant(connection, owner.tenant_id)
    now_spent, refunded = (amounts, NOTHING) if spent else (NOTHING, amounts)
    _move(connection, owner, payer, model_id, day, held=NOTHING - amounts, spent=now_spent)
    rollups.count(
        connection,
        owner.tenant_id,
        owner.mode,
        payer,
        model_id,
        outcome=ending.outcome,
        zone=zone,
        at_ms=ending.at_ms,
        spent_generations=now_spent.generations,
        spent_microcredits=now_spent.microcredits,
        refunded_generations=refunded.generations,
        refunded_microcredits=refunded.microcredits,
        ended_generations=int(ending.is_final),
        cost_microusd=ending.cost_microusd,
    )


def count_ending(
    connection: Connection, owner: Owner, *, payer: Payer, model_id: str, ending: Ending
) -> None:
    """Counts the end of a generation whose hold had ended before; locks the tenant's row."""
    rollups.count(
        connection,
        owner.tenant_id,
        owner.mode,
        payer,
        model_id,
        outcome=ending.outcome,
        zone=lock_tenant(connection, owner.tenant_id),
        at_ms=ending.at_ms,
        ended_generations=int(ending.is_final),
        cost_microusd=ending.cost_microusd,
    )


def correct_price(
    connection: Connection,
    owner: Owner,
    *,
    payer: Payer,
    model_id: str,
    day: str,
    more_microcredits: int,
    outcome: str,
    zone: tzinfo,
    now_ms: int,
) -> None:
    """Corrects what was spent on a generation, in every row of usage that it counts in.

    `zone` is the tenant's time zone. The caller must hold the lock on the tenant's row.
    """
    more = NOTHING._replace(microcredits=more_microcredits)
    _move(connection, owner, payer, model_id, day, held=NOTHING, spent=more)
    rollups.count(
        connection,
        owner.tenant_id,
        owner.mode,
        payer,
        model_id,
        outcome=outcome,
        zone=zone,
        at_ms=now_ms,
        adjusted_microcredits=-more_microcredits,
    )


def _move(
    connection: Connection,
    owner: Owner,
    payer: Payer,
    model_id: str,
    day: str,
    *,
    held: Amounts,
    spent: Amounts,
) -> None:
    """Adds to what is held and what is spent, in every row of usage that a generation counts in."""
    _, of_month, _ = periods_of_day(day)
    change = {f"more_{name}": more for name, more in Usage(held, spent).sums.items()}
    of_payer = {"of_kid": payer.kid, "of_end_user": payer.end_user}
    of_generation = {**of_payer, "of_model_id": model_id, "of_day": day, "of_month": of_month}
    _MOVE.run(connection, {"tenant": owner.tenant_id, "of_mode": owner.mode, **of_generation, **change})


def add_credits(
    connection: Connection,
    owner: Owner,
    scope: Scope,
    microcredits: int,
    *,
    zone: tzinfo,
    now_ms: int,
    is_payment: bool,
) -> None:
    """Adds micro-credits, or takes them away where negative, to what was paid into a balance.

    In roll-ups a payment is added, and anything else an adjustment; `zone` is the tenant's time zone. The
    caller must hold the lock on the tenant's row.
    """
    moved = connection.execute(_ADD, _total_of(owner, scope) | {"more": microcredits})
    if moved.rowcount == 0:
        _INSERT_USAGE.run(connection, _row(owner, scope, TOTAL) | {"added_microcredits": microcredits})
    rollups.count(
        connection,
        owner.tenant_id,
        owner.mode,
        Payer(scope.kid),
        scope.model_id,
        outcome="",
        zone=zone,
        at_ms=now_ms,
        **{"added_microcredits" if is_payment else "adjusted_microcredits": microcredits},
    )


def lock_tenant(connection: Connection, tenant_id: str) -> ZoneInfo:
    """Locks the tenant's row until the commit: nobody else can change its accounts meanwhile.

    Returns the tenant's time zone. Whoever locks it may change its accounts, so none is kept any more.
    """
    if (known := kept(connection)) is not None:
        forgotten = [known.pop(Owner(tenant_id, mode), None) for mode in _MODES]
        if any(forgotten):
            write_deferred(connection)
    return zone_of(_LOCK.all(connection, {"tenant": tenant_id})[0][0])


def set_limit(connection: Connection, owner: Owner, limit: Limit, *, now_ms: int) -> None:
    """Sets one limit, in place of the one of that scope and metric; locks the tenant's row."""
    lock_tenant(connection, owner.tenant_id)
    put_limit(connection, owner, limit, now_ms=now_ms)


def put_limit(connection: Connection, owner: Owner, limit: Limit, *, now_ms: int) -> None:
    """Sets one limit. The caller must hold the lock on the tenant's row."""
    _remove(connection, owner, limit.scope, limit.metric)
    connection.execute(
        insert(quota_limits).values(
            tenant_id=owner.tenant_id,
            mode=owner.mode,
            kid=limit.scope.kid,
            model_id=limit.scope.model_id,
            end_user=limit.scope.end_user,
            metric=limit.metric,
            amount=limit.amount,
            burst=limit.burst,
            changed_at_ms=now_ms,
        )
    )


def unset_limit(connection: Connection, owner: Owner, scope: Scope, metric: Metric) -> bool:
    """Removes one limit, so that a default applies again, and returns whether there was one.

    Locks the tenant's row.
    """
    lock_tenant(connection, owner.tenant_id)
    return _remove(connection, owner, scope, metric)


def _remove(connection: Connection, owner: Owner, scope: Scope, metric: Metric) -> bool:
    removed = connection.execute(
        delete(quota_limits).where(
            quota_limits.c.tenant_id == owner.tenant_id,
            quota_limits.c.mode == owner.mode,
            quota_limits.c.kid == scope.kid,
            quota_limits.c.model_id == scope.model_id,
            quota_limits.c.end_user == scope.end_user,
            quota_limits.c.metric == metric,
        )
    )
    return removed.rowcount > 0


def limits_of(connection: Connection, tenant_id: str | None = None) -> list[tuple[Owner, Limit]]:
    """Returns every limit of one tenant, or of all tenants (None), each with whose account it limits."""
    query = select(quota_limits).order_by(*quota_limits.primary_key.columns)
    if tenant_id is not None:
        query = query.where(quota_limits.c.tenant_id == tenant_id)
    return [(Owner(row.tenant_id, row.mode), limit_of(row)) for row in connection.execute(query)]


def page_of_limits(
    connection: Connection, tenant_id: str | None, *, after: tuple[str, ...] | None, limit: int
) -> list[tuple[Owner, Limit]]:
    """Returns up to `limit` limits, sorted by their places; those after the place `after`, if given."""
    query = select(quota_limits).order_by(*quota_limits.primary_key.columns).limit(limit)
    if tenant_id is not None:
        query = query.where(quota_limits.c.tenant_id == tenant_id)
    if after is not None:
        query = query.where(tuple_(*quota_limits.primary_key.columns) > tuple_(*after))
    return [(Owner(row.tenant_id, row.mode), limit_of(row)) for row in connection.execute(query)]


def limit_of(row: Row[Any]) -> Limit:
    """Returns the limit in a row of the table."""
    return Limit(Scope(row.kid, row.model_id, row.end_user), Metric(row.metric), row.amount, row.burst)


@lru_cache(maxsize=700)
def zone_of(name: str) -> ZoneInfo:
    """Returns a tenant's time zone; UTC, with an error in the log, where this machine does not know the name.

    The zone may have been set on a machine with newer time zone data. Days that end at another hour are
    better than no submits.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        _log.error("A tenant's time zone is unknown on this machine; UTC is used instead.", time_zone=name)
        return ZoneInfo("UTC")


def check_zone(name: str) -> None:
    """Refuses a name that is not IANA's, or that may be another time zone on another machine.

    Raises:
        LimitError: a tenant may not have this time zone.

    """
    of_this_machine = name in _OF_A_MACHINE or name.startswith(("posix/", "right/"))
    if of_this_machine or name not in available_timezones():
        raise LimitError(f"there is no time zone {quoted(name)}; use an IANA name such as Europe/Berlin.")


def _row(owner: Owner, scope: Scope, period: str) -> dict[str, Any]:
    """Returns the columns of a row of usage in which every sum is 0."""
    named = {"tenant_id": owner.tenant_id, "mode": owner.mode, "kid": scope.kid, "model_id": scope.model_id}
    nothing = Usage()
    sums = {**nothing.sums, "added_microcredits": nothing.added_microcredits, "tat_us": nothing.tat_us}
    return {**named, "end_user": scope.end_user, "period": period, **sums}


def _total_of(owner: Owner, scope: Scope) -> dict[str, Any]:
    return {
        "tenant": owner.tenant_id,
        "of_mode": owner.mode,
        "of_kid": scope.kid,
        "of_model_id": scope.model_id,
        "of_end_user": scope.end_user,
    }
