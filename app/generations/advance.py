"""The state of a generation: its first state, the one function that changes it, and what observations do."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Integer, bindparam, update

from app.db.schema.tables import ERROR_CODE_LENGTH, generations
from app.db.statements.deferral import is_deferred, kept, write_deferred, write_later
from app.db.statements.many import Many
from app.db.statements.prepared import Prepared
from app.generations import events, leases, messages, store
from app.generations.leases import PollRecord
from app.generations.lifecycle import FOLLOWABLE, SOURCES, TERMINAL, State
from app.generations.queue import rows as queue
from app.generations.store import Generation, SubmitIntent
from app.kit.json import to_column
from app.kit.text import is_storable
from app.mirror import rows as mirror
from app.quotas import account
from app.quotas.account import Ending, Owner
from app.quotas.balances import ledger
from app.quotas.sums.rollups import microusd
from app.upstream.outcomes import INCONCLUSIVE, Observation, Seen

_SET_CHARGE = Prepared(
    update(generations).where(generations.c.id == bindparam("of_id")).values(charge=bindparam("now_charge"))
)
FIRST_POLL_MS = 1000  # after RunComfy accepted the job: none ends sooner
_SENDING_IS_OVER = frozenset({State.IN_QUEUE, State.REJECTED, State.UNKNOWN, State.CANCELLED, State.EXPIRED})
_ANY_VERSION = 2**31 - 1
_JSON = frozenset({"output", "error", "evidence"})


def begin(
    connection: Connection,
    intent: SubmitIntent,
    *,
    state: State,
    credential: str,
    quota_day: str,
    ticket: int | None = None,
    now_ms: int,
    lease_until_ms: int | None,
    together: bool = False,
) -> Generation:
    """Inserts a generation in its first state, with its first event and the hold on its price in the ledger.

    The caller must count it in the usage, in the same transaction. `together` is as of `store.insert`.
    """
    generation = store.insert(
        connection,
        intent,
        state=state,
        credential=credential,
        quota_day=quota_day,
        ticket=ticket,
        now_ms=now_ms,
        lease_until_ms=lease_until_ms,
        together=together,
    )
    events.append(connection, generation, at_ms=now_ms, reason="submitted")
    owner, price = Owner(intent.tenant_id, intent.mode), intent.amounts.microcredits
    ledger.hold(connection, owner, generation.id, price, now_ms=now_ms)
    return generation


def advance(
    connection: Connection,
    generation_id: str,
    to: State,
    /,
    *,
    reason: str,
    now_ms: int,
    only_from: Collection[State] | None = None,
    up_to_version: int | None = None,
    spent: bool | None = None,
    known: Generation | None = None,
    **changes: Any,
) -> Generation | None:
    """Moves a generation to a state, if the lifecycle allows it from the present one. A compare-and-swap.

    Returns the generation after the move. None means that another caller moved it first, or that no such
    generation is in a state to move from; callers must expect both.

    In the same transaction the version grows by one, the event is appended, the tenant's queue length is
    adjusted where the generation enters or leaves the queue, a hold that this state ends is settled or
    refunded, as the generation's `settles_in` says, or as `spent` says where it is not None; where the
    outputs of its tenant or key are mirrored, its assets are written; and where the tenant has webhook
    endpoints, the message is.

    `only_from` narrows the states to move from. `up_to_version` is the highest version the row may have.
    `changes` are further columns to set. `known` is the generation as the caller has committed it: functions
    that share what they know swap such rows with one statement. Where one of these is another by then, all of
    it is rolled back, and the functions run again, one by one.
    """
    allowed = SOURCES[to] if only_from is None else SOURCES[to] & frozenset(only_from)
    values = _columns(to, changes, now_ms)
    if known is not None and _may_wait(connection, known, to, allowed):
        generation: Generation | None = _swap_later(connection, known, to, values)
    else:
        generation = _swap_now(connection, generation_id, allowed, up_to_version, values)
    if generation is None:
        return None
    appended = events.append(connection, generation, at_ms=now_ms, reason=reason)
    if to in _SENDING_IS_OVER:
        store.forget_unsent_input(connection, generation)
    if to is State.ACCEPTED:
        queue.count_return(connection, generation)
    elif to is State.DISPATCHING or not generation.credential:  # an empty credential: it was queued
        queue.count_leaving(connection, generation)
    generation = _end_hold(connection, generation, spent=spent, now_ms=now_ms)
    if to is State.COMPLETED:
        generation = _begin_mirror(connection, generation, now_ms=now_ms)
    if appended.webhooks:
        messages.tell(connection, generation, appended, reason=reason, at_ms=now_ms)
    return generation


def _columns(to: State, changes: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    """Returns what is set in a row that moves to a state, with these changes."""
    values = {name: to_column(value) if name in _JSON else value for name, value in changes.items()}
    if (error := changes.get("error")) is not None:
        values["error_code"] = _code_of(error)
    if to in FOLLOWABLE:
        values.setdefault("next_poll_at_ms", now_ms + FIRST_POLL_MS)
    if to in TERMINAL:
        values |= {"finished_at_ms": now_ms, "queue_position": None}
    values.setdefault("lease_until_ms", None)
    return values | {"state": to.value, "changed_at_ms": now_ms, "stale_reason": None}


def _may_wait(connection: Connection, known: Generation, to: State, allowed: Collection[State]) -> bool:
    """Returns whether a swap may be deferred: nothing is done with it that another move may have done."""
    return kept(connection) is not None and known.state in allowed and not _ends_hold(known, to)


def _swap_now(
    connection: Connection,
    generation_id: str,
    allowed: Collection[State],
    up_to_version: int | None,
    values: Mapping[str, Any],
) -> Generation | None:
    if is_deferred(connection, _write_swaps, lambda swap: swap.row[0] == generation_id):
        write_deferred(connection)
    which = {
        "of_id": generation_id,
        "max_version": _ANY_VERSION if up_to_version is None else up_to_version,
    }
    row = _swap(frozenset(allowed), frozenset(values)).one_or_none(connection, {**which, **values})
    return None if row is None else store.generation_of(row)


class _Swap(NamedTuple):
    """A swap that is deferred: a row's id, state and version as they are now, and then what is set."""

    columns: tuple[str, ...]
    row: tuple[Any, ...]


class _MovedError(Exception):
    """A row is not as it was known to be."""


def _swap_later(
    connection: Connection, known: Generation, to: State, values: Mapping[str, Any]
) -> Generation:
    row = (known.id, known.state.value, known.version, *values.values())
    write_later(connection, _write_swaps, _Swap(tuple(values), row))
    store.note_key(connection, known.tenant_id, known.idempotency_key)
    return store.with_changes(known, {**values, "state": to, "version": known.version + 1})


def _write_swaps(connection: Connection, swaps: Sequence[_Swap]) -> None:
    by_columns: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for columns, row in swaps:
        by_columns.setdefault(columns, []).append(row)
    for columns, rows in by_columns.items():
        if _swapping(columns).change(connection, rows) != len(rows):
            raise _MovedError


@lru_cache(maxsize=32)
def _swapping(columns: tuple[str, ...]) -> Many:
    """Returns the statement that sets these columns of many rows, each where it is as it is known to be."""
    names = ("of_id", "from_state", "from_version", *columns)
    given = ", ".join(f"column{number} AS {name}" for number, name in enumerate(names, 1))
    sets = ", ".join(f"{name} = given.{name}" for name in columns)
    whole = {name for name in columns if isinstance(generations.c[name].type, Integer)}
    return Many(
        f"UPDATE generations SET {sets}, version = generations.version + 1"  # noqa: S608 - our names
        f" FROM (SELECT {given} FROM (VALUES {{rows}}) AS each) AS given"
        " WHERE generations.id = given.of_id AND generations.state = given.from_state"
        " AND generations.version = given.from_version",
        *names,
        whole={"from_version", *whole},
    )


def _begin_mirror(connection: Connection, generation: Generation, *, now_ms: int) -> Generation:
    """Has the output of a generation copied, where its tenant or key wants that."""
    mirrored = mirror.begin(
        connection,
        generation.id,
        generation.output,
        tenant_id=generation.tenant_id,
        mode=generation.mode,
        kid=generation.kid,
        payer=generation.payer,
        keep_s=generation.mirror_keep_s,
        now_ms=now_ms,
    )
    return generation if mirrored is None else replace(generation, mirror=mirrored)


def _code_of(error: Any) -> str | None:
    """Returns the code in an error, which has any form where it is RunComfy's; None where there is none."""
    code = error.get("code", error.get("error_code")) if isinstance(error, dict) else None
    if isinstance(code, bool) or not isinstance(code, str | int):
        return None
    text = str(code)[:ERROR_CODE_LENGTH]
    return text if is_storable(text) else None


@lru_cache(maxsize=256)
def _swap(allowed: frozenset[State], columns: frozenset[str]) -> Prepared:
    """Returns the statement that sets these columns of a row, where its state is one of those allowed."""
    return Prepared(
        update(generations)
        .where(
            generations.c.id == bindparam("of_id"),
            store.is_in(sorted(allowed)),
            generations.c.version <= bindparam("max_version"),
        )
        .values({name: bindparam(name) for name in sorted(columns)} | {"version": generations.c.version + 1})
        .returning(generations)
    )


def _settles(generation: Generation, to: State) -> bool:
    return to in (generation.settles_in or "").split(",")


def _ends_hold(generation: Generation, to: State) -> bool:
    return to in TERMINAL or _settles(generation, to)


def _end_hold(
    connection: Connection, generation: Generation, *, spent: bool | None, now_ms: int
) -> Generation:
    """Settles or refunds a generation's hold, if its new state ends the hold."""
    if not _ends_hold(generation, generation.state) or generation.charge is None:
        return generation
    settles = _settles(generation, generation.state)
    ending = Ending(
        outcome=generation.state,
        at_ms=now_ms,
        is_final=generation.terminal,
        cost_microusd=microusd(generation.upstream_cost_usd) if generation.terminal else 0,
    )
    if (hold := generation.hold) is None:
        if generation.terminal:
            owner = Owner(generation.tenant_id, generation.mode)
            payer, model_id = generation.payer, generation.model_id
            account.count_ending(connection, owner, payer=payer, model_id=model_id, ending=ending)
        return generation
    charge = ledger.end(connection, hold, spent=settles if spent is None else spent, ending=ending)
    _SET_CHARGE.run(connection, {"of_id": generation.id, "now_charge": charge})
    return replace(generation, charge=charge)


@dataclass(frozen=True, slots=True)
class Patience:
    """When a job is given up, in milliseconds.

    `missing_ms` limits how long it may be missing at RunComfy, `follow_ms` how long it is followed in all.
    """

    missing_ms: int
    follow_ms: int


def apply_observation(
    connection: Connection,
    generation_id: str,
    observation: Observation,
    *,
    now_ms: int,
    next_poll_at_ms: int,
    patience: Patience,
) -> Generation | None:
    """Records one observation of a job, and ends the lease: it advances the state, or records only the poll.

    A state never goes back. Returns the generation as its row is afterwards; None where there is no such row.
    """
    generation = store.find(connection, generation_id, None)
    if generation is None or not generation.followable:
        return generation
    move = _move(generation, observation, now_ms, patience)
    if move is None:
        record = _poll_record(generation, observation, now_ms, next_poll_at_ms)
        return leases.record_poll(connection, record) or store.find(connection, generation_id, None)
    to, changes = move
    if to in FOLLOWABLE:
        changes["next_poll_at_ms"] = next_poll_at_ms
    changed = advance(
        connection,
        generation_id,
        to,
        reason=f"upstream_{observation.seen}",
        now_ms=now_ms,
        polled_at_ms=now_ms,
        **changes,
    )
    return changed or store.find(connection, generation_id, None)


def _move(
    generation: Generation, observation: Observation, now_ms: int, patience: Patience
) -> tuple[State, dict[str, Any]] | None:
    """Returns the state that an observation leads to, and the columns to set; None where the state stays."""
    cost = {} if observation.cost_usd is None else {"upstream_cost_usd": str(observation.cost_usd)}
    match observation.seen:
        case Seen.IN_PROGRESS if generation.state is State.IN_QUEUE:
            return State.IN_PROGRESS, {
                "queue_position": None,
                "started_at_ms": now_ms,
                "missing_since_ms": None,
            }
        case Seen.SUCCEEDED:
            return State.COMPLETED, {"output": observation.output, **cost}
        case Seen.FAILED:
            return State.FAILED, {"error": observation.error, **cost}
        case Seen.CANCELLED:
            return State.CANCELLED, {}
        case _:
            return _given_up(generation, observation, now_ms, patience)


def _given_up(
    generation: Generation, observation: Observation, now_ms: int, patience: Patience
) -> tuple[State, dict[str, Any]] | None:
    """Returns the move to LOST of a job that RunComfy has forgotten, or that was followed for too long.

    None where it is not given up yet.
    """
    missing_ms = now_ms - (generation.missing_since_ms or now_ms)
    if observation.seen is Seen.GONE and missing_ms >= patience.missing_ms:
        return _lost("RunComfy no longer knows this job, so its result cannot be fetched.")
    if now_ms - generation.begun_at_ms >= patience.follow_ms:
        return _lost("The job did not end within the time for which the gateway follows a request.")
    return None


def _lost(message: str) -> tuple[State, dict[str, Any]]:
    return State.LOST, {"error": {"code": "lost", "message": message}}


def poll_record_of(
    generation: Generation,
    observation: Observation,
    *,
    now_ms: int,
    next_poll_at_ms: int,
    patience: Patience,
) -> PollRecord | None:
    """Returns the record of a poll that changes no state of the generation; None where it changes one.

    The generation is judged as it was read, without asking the database.
    """
    if _move(generation, observation, now_ms, patience) is not None:
        return None
    return _poll_record(generation, observation, now_ms, next_poll_at_ms)


def _poll_record(
    generation: Generation, observation: Observation, now_ms: int, next_poll_at_ms: int
) -> PollRecord:
    gone = observation.seen is Seen.GONE
    if observation.seen is Seen.IN_QUEUE and generation.state is State.IN_QUEUE:
        queue_position = observation.queue_position
    else:
        queue_position = generation.queue_position
    seen_again = observation.seen in {Seen.IN_QUEUE, Seen.IN_PROGRESS, Seen.FINISHED}
    return PollRecord(
        generation.id,
        generation.version,
        polled_at_ms=now_ms,
        next_poll_at_ms=next_poll_at_ms,
        queue_position=queue_position,
        missing_since_ms=(generation.missing_since_ms or now_ms)
        if gone
        else (None if seen_again else generation.missing_since_ms),
        stale_reason=f"upstream_{observation.seen}" if observation.seen in INCONCLUSIVE else None,
    )
