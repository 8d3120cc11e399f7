"""The one place that decides whether a generation may be sent now, and with which credential.

Submits and the dispatch loop both ask here.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, select

from app.auth.keys import Mode
from app.config import Settings
from app.db.schema.tables import tenants, turns
from app.db.statements.deferral import kept
from app.db.statements.prepared import Prepared
from app.db.tenant_locks import LockedTenant
from app.errors import INVALID_API_KEY, Problem
from app.generations import problems, store, token_limits
from app.generations.lifecycle import State
from app.generations.queue import rows as queue
from app.generations.queue.eligible import any_eligible
from app.generations.store import SubmitIntent
from app.quotas import account
from app.quotas.account import Owner
from app.quotas.limits import Limit, Payer, Scope, parse_limit
from app.quotas.metrics import Metric
from app.quotas.periods import TOTAL
from app.quotas.standing import Account, Standing
from app.quotas.sums import stored
from app.upstream import credentials
from app.upstream.credentials import Choice


@dataclass(slots=True, kw_only=True)
class SubmitPolicy:
    """The operator's settings for limits, charges and queues.

    A gateway has one of these, in which a reload sets `default_limits`.

    `default_limits` apply to every tenant without a limit of its own for that metric. `settles_in` lists,
    separated by commas, the states in which a hold is settled. An unknown generation counts as in flight for
    `unknown_slot_ms` milliseconds. `max_queued` is how many generations of all tenants may be queued in a
    mode, `max_queued_per_tenant` how many of a tenant that has no number of its own. `thresholds` are the
    percentages of a limit at which its tenant is told.
    """

    default_limits: tuple[Limit, ...] = ()
    settles_in: str = State.COMPLETED
    unknown_slot_ms: int = 900_000
    max_queued: int = 10_000
    max_queued_per_tenant: int = 1_000
    thresholds: tuple[int, ...] = ()


def policy_of(settings: Settings) -> SubmitPolicy:
    """Returns the settings for limits, charges and queues as a policy.

    Raises:
        LimitError: a default limit cannot be parsed.

    """
    limits = {one.metric: one for one in map(parse_limit, settings.default_limits)}
    settling = [State.COMPLETED, *map(State, settings.charge_for)]
    if settings.settle_on == "acceptance":
        settling.insert(0, State.IN_QUEUE)
    return SubmitPolicy(
        default_limits=tuple(limits.values()),
        settles_in=",".join(settling),
        unknown_slot_ms=int(settings.unknown_slot_s * 1000),
        max_queued=settings.max_queued,
        max_queued_per_tenant=settings.max_queued_per_tenant,
        thresholds=tuple(sorted({int(one) for one in settings.thresholds})),
    )


_IN_FLIGHT, _STORED = Metric.IN_FLIGHT, Metric.STORED_BYTES  # a member's look-up is slow
_GATE = Prepared(
    select(
        func.coalesce(turns.c.paused_at_ms, tenants.c.dispatch_paused_at_ms),
        queue.ANYBODY_OF.correlate(None).scalar_subquery(),
        tenants.c.disabled_at_ms,
    )
    .select_from(tenants.join(turns, turns.c.mode == bindparam("of_mode")))
    .where(tenants.c.id == bindparam("tenant"))
)

_GATE_OF_MODE = Prepared(
    select(turns.c.paused_at_ms, queue.ANYBODY_OF.correlate(None).scalar_subquery()).where(
        turns.c.mode == bindparam("of_mode")
    )
)


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a tenant's dispatch is paused, anybody is queued in its mode, and the tenant is disabled."""

    paused: bool
    anybody_queued: bool
    disabled: bool

    @property
    def shut(self) -> bool:
        """Whether a queueable generation has to be queued."""
        return self.paused or self.anybody_queued


def gate(connection: Connection, tenant_id: str, mode: Mode) -> Gate:
    """Returns the gate as a submit of this tenant and mode meets it."""
    known = kept(connection)
    if known is not None and (there := known.get(queue.GATES, {}).get((tenant_id, mode))) is not None:
        met: Gate = there
        return met
    row = _GATE.one(connection, {"of_mode": mode, "tenant": tenant_id})
    return Gate(*(value is not None for value in row))


def keep_gates(connection: Connection, modes: Iterable[str], of: Collection[LockedTenant]) -> None:
    """Keeps the gates of tenants, for functions that share what they know, until a queue changes."""
    if (known := kept(connection)) is None:
        return
    gates = known[queue.GATES] = {}
    for mode in modes:
        paused, anybody = (value is not None for value in _GATE_OF_MODE.one(connection, {"of_mode": mode}))
        for one in of:
            own_pause, disabled = one.dispatch_paused_at_ms is not None, one.disabled_at_ms is not None
            gates[one.id, mode] = Gate(paused or own_pause, anybody, disabled)


def credential_for(
    connection: Connection,
    intent: SubmitIntent,
    policy: SubmitPolicy,
    standings: Sequence[Standing],
    *,
    now_ms: int,
) -> str:
    """Returns the name of the credential to send a new generation with now; "" where it is to be queued.

    It is queued where dispatch is paused, a limit is used up, no credential has room, or anybody is queued
    already: then the dispatch loop decides whose turn it is. Where the queue is empty, fairness is not in
    question, so it is sent at once and charged to no flow.

    Raises:
        Problem: DISPATCH_PAUSED, UPSTREAM_BUSY; it cannot be sent and is not queueable. INVALID_API_KEY; its
            tenant was disabled after the caller was authenticated.

    """
    met = gate(connection, intent.tenant_id, intent.mode)
    if met.disabled:
        raise Problem(INVALID_API_KEY, "This API key is disabled.")
    if not intent.queueable:
        if met.paused:
            raise problems.dispatch_paused()
        limited = all(one.concurrency is not None for one in intent.choices)
        since_ms = now_ms - policy.unknown_slot_ms
        # A slot that is free now is free only for a moment: queued generations have a prior claim to it.
        if (
            limited
            and met.anybody_queued
            and any_eligible(
                connection, intent.mode, policy.default_limits, now_ms=now_ms, unknown_since_ms=since_ms
            )
        ):
            raise problems.upstream_full()
        return pick(connection, intent.choices, policy, now_ms=now_ms)
    if met.shut or not intent.choices or not all(one.fits for one in standings):
        return ""
    try:
        return pick(connection, intent.choices, policy, now_ms=now_ms)
    except Problem:
        return ""


def pick(connection: Connection, choices: Sequence[Choice], policy: SubmitPolicy, *, now_ms: int) -> str:
    """Returns the name of the first of these credentials with room for one more job.

    The credentials' rows are locked where that is needed to keep the room free until the commit.

    Raises:
        Problem: UPSTREAM_BUSY, none has room.

    """
    limited = [one.name for one in choices if one.concurrency is not None]
    if limited and choices[0].concurrency is not None:
        credentials.lock(connection, limited)
    since_ms = now_ms - policy.unknown_slot_ms
    for choice in choices:
        if choice.concurrency is None:
            return choice.name
        live = store.live_of_credential(connection, choice.name, unknown_since_ms=since_ms)
        if live < choice.concurrency:
            return choice.name
    raise problems.upstream_full()


def account_of(
    connection: Connection,
    owner: Owner,
    payer: Payer,
    model_id: str | None,
    policy: SubmitPolicy,
    *,
    budget: Sequence[Limit] = (),
    now_ms: int,
    for_update: bool = False,
) -> Account:
    """Returns a payer's account, with the generations in flight counted.

    `budget` are a client token's own limits. With `for_update` the tenant's row is locked, so that the
    account may be taken from; without it the account is only to be read.
    """
    opened = account.open_account(
        connection,
        owner,
        payer,
        model_id,
        defaults=policy.default_limits,
        now_ms=now_ms,
        for_update=for_update,
    )
    if budget:
        used = token_limits.used(connection, owner, payer.token_id)
        usage = {**opened.usage, (Scope(token_id=payer.token_id), TOTAL): used}
        opened = opened._replace(limits=(*opened.limits, *budget), usage=usage)
    if any(one.metric is _STORED for one in opened.limits):
        opened = opened._replace(stored=stored.used(connection, owner, payer))
    limited = [one.scope for one in opened.limits if one.metric is _IN_FLIGHT]
    since_ms = now_ms - policy.unknown_slot_ms
    in_flight: dict[Scope, int] = {}
    if not limited:
        return opened
    if not all(scope.end_user for scope in limited):
        in_flight |= store.in_flight(connection, owner, unknown_since_ms=since_ms)
    if any(scope.end_user for scope in limited):
        in_flight |= token_limits.unfinished(connection, owner, payer.end_user, unknown_since_ms=since_ms)
    return opened._replace(in_flight=in_flight)


def has_room(connection: Connection, choices: Sequence[Choice], policy: SubmitPolicy, *, now_ms: int) -> bool:
    """Returns whether any of these credentials may have one more generation in flight."""
    since_ms = now_ms - policy.unknown_slot_ms
    return any(
        one.concurrency is None
        or store.live_of_credential(connection, one.name, unknown_since_ms=since_ms) < one.concurrency
        for one in choices
    )
