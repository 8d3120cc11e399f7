"""The generations table: inserting, finding and listing rows. Only `advance` may change a row's state."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy import insert as insert_into

from app.auth.callers import NOBODY, Caller
from app.auth.client_tokens import ClientToken
from app.auth.keys import Mode
from app.db.schema.asset_states import MirrorMode
from app.db.schema.states import state_in, state_is
from app.db.schema.tables import generations, unsent_inputs, upkeep_positions
from app.db.statements.deferral import is_deferred, kept, write_deferred, write_first
from app.db.statements.many import inserting_many
from app.db.statements.prepared import Prepared, inserting
from app.generations.lifecycle import FOLLOWABLE, IN_FLIGHT, TERMINAL, State
from app.kit.ids import first_of
from app.kit.json import from_column, to_column
from app.kit.text import is_storable
from app.media.data_uri import abridged, is_abridged
from app.quotas.account import Owner
from app.quotas.amounts import NAMES, Amounts
from app.quotas.balances.ledger import Charge, Hold
from app.quotas.limits import Payer, Scope, scopes_of
from app.quotas.metrics import Unit
from app.upstream.credentials import Choice


class SubmitIntent(NamedTuple):
    """A submit that is validated and priced: the generation to be made of it does not exist yet.

    `amounts` is what it takes of every limit, its price in micro-credits among it. The model's file does not
    say how much of the units in `undeclared` it takes, so limits on these units refuse it.
    `payer` is whose limits it counts against, besides its tenant's. `input_json` is its input as it is stored
    and sent. `choices` are the credentials that it may be sent with, the preferred one first. `media` is what
    inspection found out about its files, None where they were not inspected. `settles_in` lists, separated by
    commas, the states in which its hold is settled; in any other final state it is refunded. These values are
    stored with the generation and do not change afterwards.

    `queueable` says whether it is queued when it cannot be sent at once. Where it has not started by
    `start_deadline_ms`, it ends as `expired`, or is cancelled at RunComfy; None is no deadline.

    `token` is the client token that the submit was made with, None where it was an API key. `key_space` is
    the namespace in which its Idempotency-Key is unique. `caller` is what is kept of who submitted it.
    `webhook_endpoint_id` is the webhook endpoint that it named, which hears of every end of it, and
    `mirror_keep_s` the longest time in seconds for which copies of its output may be kept.
    """

    generation_id: str
    tenant_id: str
    kid: str
    payer: Payer
    mode: Mode
    model_id: str
    input_json: bytes
    amounts: Amounts
    price_version: str
    settles_in: str
    trace_id: str
    choices: tuple[Choice, ...]
    idempotency_key: str | None = None
    fingerprint: str | None = None
    media: Sequence[Mapping[str, Any]] | None = None
    queueable: bool = False
    start_deadline_ms: int | None = None
    token: ClientToken | None = None
    key_space: str = ""
    undeclared: frozenset[Unit] = frozenset()
    caller: Caller = NOBODY
    webhook_endpoint_id: str | None = None
    mirror_keep_s: int | None = None


@dataclass(frozen=True, kw_only=True)  # without slots, for the sake of `generation_of`
class Generation:
    """A row of the table as it was read. JSON columns stay text until one of the properties decodes them."""

    id: str
    tenant_id: str
    kid: str
    mode: Mode
    model_id: str
    input_text: str
    media_text: str | None
    price_microcredits: int | None
    price_version: str | None
    output_seconds: int
    repriced_microcredits: int | None
    state: State
    version: int
    credential: str
    upstream_request_id: str | None
    queue_position: int | None
    output_text: str | None
    error_text: str | None
    evidence_text: str | None
    upstream_cost_usd: str | None
    idempotency_key: str | None
    fingerprint: str | None
    trace_id: str
    created_at_ms: int
    changed_at_ms: int
    polled_at_ms: int | None
    stale_reason: str | None
    missing_since_ms: int | None
    started_at_ms: int | None
    finished_at_ms: int | None
    lease_until_ms: int | None
    next_poll_at_ms: int | None
    erased_at_ms: int | None
    root_kid: str | None
    quota_day: str | None
    settles_in: str | None
    charge: Charge | None
    ticket: int | None
    returns: int
    sent_at_ms: int | None
    start_deadline_ms: int | None
    token_id: str | None
    end_user: str | None
    error_code: str | None
    caller_address: str | None
    user_agent: str | None
    webhook_endpoint_id: str | None
    mirror: MirrorMode | None
    mirror_keep_s: int | None
    starts_at_ms: int | None = None
    """When a queued generation is likely to be sent. It is estimated for the answer and stored in no row."""

    @property
    def queueable(self) -> bool:
        """Whether it is queued when it cannot be sent at once."""
        return self.ticket is not None

    @property
    def is_being_submitted(self) -> bool:
        """Whether its submit is not answered yet: it is being sent for the first time, and was never queued.

        A submit that was queued has been answered with its acceptance.
        """
        return self.state is State.DISPATCHING and self.version == 1

    @property
    def submit_failed(self) -> bool:
        """Whether its submit was refused upstream or has no known outcome, now or yet."""
        return self.is_being_submitted or self.state in {State.REJECTED, State.UNKNOWN}

    @property
    def begun_at_ms(self) -> int:
        """When it was last sent to RunComfy; where that is unknown or has not happened, when it was made."""
        return self.sent_at_ms or self.created_at_ms

    @property
    def payer(self) -> Payer:
        """Whose limits it counts against, besides its tenant's."""
        return Payer(self.root_kid or self.kid, self.end_user or "", self.token_id or "")

    @property
    def hold(self) -> Hold | None:
        """The hold on its price; None once the hold has ended, and for rows older than the ledger."""
        return self.terms if self.charge is Charge.HELD else None

    @property
    def terms(self) -> Hold:
        """What its price counts against, as its hold has it or had it."""
        return Hold(
            self.id,
            Owner(self.tenant_id, self.mode),
            self.payer,
            self.model_id,
            self.quota_day or "",
            self.amounts,
        )

    @property
    def amounts(self) -> Amounts:
        """What it takes of every limit, its price with it."""
        return Amounts(
            generations=1,
            microcredits=self.price_microcredits or 0,
            output_seconds=self.output_seconds,
        )

    @property
    def charged_microcredits(self) -> int:
        """Its price, as it was corrected last."""
        corrected = self.repriced_microcredits
        return (self.price_microcredits or 0) if corrected is None else corrected

    @property
    def terminal(self) -> bool:
        """Whether its state is final."""
        return self.state in TERMINAL

    @property
    def followable(self) -> bool:
        """Whether RunComfy can be polled about it."""
        return self.state in FOLLOWABLE and self.upstream_request_id is not None

    @property
    def input(self) -> Any:
        """The input that the caller sent, the data of files by value left out; see `with_unsent_input`."""
        return from_column(self.input_text)

    @property
    def media(self) -> Any:
        """What inspection found out about its files; None where they were not inspected."""
        return from_column(self.media_text)

    @property
    def output(self) -> Any:
        """RunComfy's output object; None until it has completed, and after it was erased."""
        return from_column(self.output_text)

    @property
    def error(self) -> Any:
        """Why it ended without an output, as any JSON value."""
        return from_column(self.error_text)


# Built once: SQLAlchemy spends more time building a statement than SQLite spends running it.
_ONE = select(generations).where(generations.c.id == bindparam("id"))
_BY_ID = Prepared(_ONE)
_BY_ID_AND_TENANT = Prepared(_ONE.where(generations.c.tenant_id == bindparam("tenant")))
_BY_KEY = Prepared(
    select(generations).where(
        generations.c.tenant_id == bindparam("tenant"),
        generations.c.key_space == bindparam("space"),
        generations.c.idempotency_key == bindparam("key"),
    )
)
_KEEP_UNSENT = insert_into(unsent_inputs)
_UNSENT = select(unsent_inputs.c.input).where(unsent_inputs.c.generation_id == bindparam("of_id"))
_FORGET_UNSENT = delete(unsent_inputs).where(unsent_inputs.c.generation_id == bindparam("of_id"))


def is_in(states: Collection[State]) -> ColumnElement[Any]:
    """Returns the condition that a row's state is one of these, with the states spelled out in the SQL.

    The partial indexes are defined with the same text: a query planner cannot match an index to a parameter
    whose value it does not know.
    """
    return literal_column(state_in(states))


_COSTS = func.coalesce(generations.c.repriced_microcredits, generations.c.price_microcredits)
_SUM_OF: dict[str, ColumnElement[int]] = {
    "generations": func.count(),
    "microcredits": func.coalesce(func.sum(_COSTS), 0),
    "output_seconds": func.coalesce(func.sum(generations.c.output_seconds), 0),
}
AMOUNT_SUMS = tuple(_SUM_OF[name] for name in NAMES)
"""The columns that add up the amounts of generations, in the order of `Amounts`; see `amounts_of`."""
_IS_LIVE = is_in(IN_FLIGHT)
COUNTS_AS_LIVE = or_(
    generations.c.state != State.UNKNOWN, generations.c.changed_at_ms >= bindparam("since_ms")
)
_IN_FLIGHT = Prepared(
    select(generations.c.root_kid, generations.c.model_id, func.count())
    .where(
        generations.c.tenant_id == bindparam("tenant"),
        generations.c.mode == bindparam("of_mode"),
        _IS_LIVE,
        COUNTS_AS_LIVE,
    )
    .group_by(generations.c.root_kid, generations.c.model_id)
)

_LIVE_OF_CREDENTIAL = Prepared(
    select(func.count())
    .select_from(generations)
    .where(generations.c.credential == bindparam("of_credential"), _IS_LIVE, COUNTS_AS_LIVE)
)

_MAX_DURATIONS = 200
_ADDRESS, _PROGRAM = generations.c.caller_address, generations.c.user_agent
_POSITION = (
    select(upkeep_positions.c.position)
    .where(upkeep_positions.c.name == bindparam("of_name"))
    .with_for_update()
)
_TEXTS = {name: f"{name}_text" for name in ("input", "media", "output", "error", "evidence")}


def amounts_of(sums: Iterable[Any]) -> Amounts:
    """The amounts in the columns of `AMOUNT_SUMS`; PostgreSQL's sums are decimals."""
    return Amounts(*map(int, sums))


def insert(
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
    """Inserts the row of a generation in its first state, and returns the generation.

    With `together`, functions that share what they know insert their rows with one statement. Call it through
    `advance.begin`, which appends the first event and enters the hold too.
    """
    whole = intent.input_json.decode()
    input_text = abridged(whole)
    values = {
        "id": intent.generation_id,
        "tenant_id": intent.tenant_id,
        "kid": intent.kid,
        "mode": intent.mode,
        "model_id": intent.model_id,
        "credential": credential,
        "input": input_text,
        "media": to_column(intent.media),
        "price_microcredits": intent.amounts.microcredits,
        "output_seconds": intent.amounts.output_seconds,
        "price_version": intent.price_version,
        "state": state.value,
        "version": 1,
        "idempotency_key": intent.idempotency_key,
        "fingerprint": intent.fingerprint,
        "trace_id": intent.trace_id,
        "root_kid": intent.payer.kid,
        "quota_day": quota_day,
        "settles_in": intent.settles_in,
        "charge": _HELD,
        "created_at_ms": now_ms,
        "changed_at_ms": now_ms,
        "lease_until_ms": lease_until_ms,
        "ticket": ticket,
        "sent_at_ms": None if state is State.ACCEPTED else now_ms,
        "start_deadline_ms": intent.start_deadline_ms,
        "token_id": intent.payer.token_id or None,
        "end_user": intent.payer.end_user or None,
        "key_space": intent.key_space,
        "caller_address": intent.caller.address,
        "user_agent": intent.caller.user_agent,
        "webhook_endpoint_id": intent.webhook_endpoint_id,
        "mirror_keep_s": intent.mirror_keep_s,
    }
    if together and ticket is None:
        write_first(connection, _write_rows, tuple(values.values()))
        note_key(connection, intent.tenant_id, intent.idempotency_key)
    else:
        inserting(generations, *values).run(connection, values)
    if ticket is not None and input_text != whole:
        connection.execute(_KEEP_UNSENT, {"generation_id": intent.generation_id, "input": whole})
    made = _UNSET | values
    made["input_text"], made["media_text"] = made.pop("input"), made.pop("media")
    made["state"], made["charge"] = state, Charge.HELD
    del made["key_space"]
    return _made_of(made)


_INSERTED: Final = (
    *("id", "tenant_id", "kid", "mode", "model_id", "credential", "input", "media", "price_microcredits"),
    *("output_seconds", "price_version", "state", "version", "idempotency_key", "fingerprint", "trace_id"),
    *("root_kid", "quota_day", "settles_in", "charge", "created_at_ms", "changed_at_ms", "lease_until_ms"),
    *("ticket", "sent_at_ms", "start_deadline_ms", "token_id", "end_user", "key_space", "caller_address"),
    *("user_agent", "webhook_endpoint_id", "mirror_keep_s"),
)


def _write_rows(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    inserting_many(generations, *_INSERTED).run(connection, rows)


def note_key(connection: Connection, tenant_id: str, idempotency_key: str | None) -> None:
    """Notes that a change of the row with this Idempotency-Key, if it has one, is deferred."""
    known = kept(connection)
    if known is not None and idempotency_key is not None:
        known["key", tenant_id, idempotency_key] = True


def write_rows(connection: Connection) -> None:
    """Writes what is deferred, if rows of generations are: before they are counted."""
    if kept(connection) is not None and is_deferred(connection, _write_rows, lambda _: True):
        write_deferred(connection)


def with_unsent_input(connection: Connection, generation: Generation) -> Generation:
    """Returns a queued generation with its whole input, to be sent: what is stored with it is abridged."""
    whole = connection.execute(_UNSENT, {"of_id": generation.id}).scalar_one_or_none()
    return generation if whole is None else replace(generation, input_text=whole)


def forget_unsent_input(connection: Connection, generation: Generation) -> None:
    """Deletes the whole input of a queued generation that will not be sent any more."""
    if generation.queueable and is_abridged(generation.input_text):
        connection.execute(_FORGET_UNSENT, {"of_id": generation.id})


def reassign_credential(connection: Connection, generation_id: str, credential: str) -> Generation | None:
    """Moves a generation that is being sent to another credential.

    Returns None where it is no longer being sent.
    """
    row = connection.execute(
        update(generations)
        .where(generations.c.id == generation_id, generations.c.state == State.DISPATCHING)
        .values(credential=credential)
        .returning(generations)
    ).one_or_none()
    return None if row is None else generation_of(row)


def set_ticket(connection: Connection, generation: Generation, ticket: int) -> Generation:
    """Gives a queued generation another place in its tenant's queue, and returns the generation."""
    connection.execute(update(generations).where(generations.c.id == generation.id).values(ticket=ticket))
    return replace(generation, ticket=ticket)


def find(connection: Connection, generation_id: str, tenant_id: str | None) -> Generation | None:
    """Returns a generation by its id, or None.

    It is searched among those of this tenant or, where `tenant_id` is None, of all.
    """
    if not is_storable(generation_id):
        return None
    if tenant_id is None:
        row = _BY_ID.one_or_none(connection, {"id": generation_id})
    else:
        row = _BY_ID_AND_TENANT.one_or_none(connection, {"id": generation_id, "tenant": tenant_id})
    return None if row is None else generation_of(row)


def find_all(
    connection: Connection, generation_ids: Collection[str], tenant_id: str
) -> dict[str, Generation]:
    """Returns the tenant's generations with these ids, by their ids; an id without one is left out."""
    query = select(generations).where(
        generations.c.id.in_(generation_ids), generations.c.tenant_id == tenant_id
    )
    return {row.id: generation_of(row) for row in connection.execute(query)}


def find_some(connection: Connection, generation_ids: Sequence[str]) -> list[Generation]:
    """Returns the generations with these ids, of whatever tenant; an id without one is left out.

    The number of parameters is a power of two, so that few forms of the statement have to be prepared.
    """
    size = 1 << max(0, len(generation_ids) - 1).bit_length()
    padded = [*generation_ids, *[generation_ids[-1]] * (size - len(generation_ids))]
    named = {f"id{number}": one for number, one in enumerate(padded)}
    return [generation_of(row) for row in _by_ids(size).all(connection, named)]


@lru_cache(maxsize=16)
def _by_ids(count: int) -> Prepared:
    wanted: list[Any] = [bindparam(f"id{number}") for number in range(count)]
    return Prepared(select(generations).where(generations.c.id.in_(wanted)))


def find_by_key(
    connection: Connection, tenant_id: str, idempotency_key: str, *, key_space: str = ""
) -> Generation | None:
    """Returns the tenant's generation with this Idempotency-Key in this namespace, or None."""
    known = kept(connection)
    if known is not None and ("key", tenant_id, idempotency_key) in known:
        write_deferred(connection)
    wanted = {"tenant": tenant_id, "space": key_space, "key": idempotency_key}
    row = _BY_KEY.one_or_none(connection, wanted)
    return None if row is None else generation_of(row)


def page(
    connection: Connection,
    tenant_id: str,
    *,
    limit: int,
    mode: Mode,
    before: tuple[int, str] | None = None,
    states: frozenset[State] | None = None,
    model_id: str | None = None,
    generation_id: str | None = None,
    token_id: str | None = None,
    end_user: str | None = None,
    created_from_ms: int | None = None,
    created_until_ms: int | None = None,
) -> list[Generation]:
    """Returns a page of a tenant's generations in one mode, newest first, at most `limit` of them.

    `before` is a cursor, (created_at_ms, id): only older generations are returned. The other arguments are
    filters, all of which must match; None is no filter. Those made at `created_from_ms` match, those made at
    `created_until_ms` do not.
    """
    query = (
        select(generations)
        .where(generations.c.tenant_id == tenant_id, generations.c.mode == mode)
        .order_by(generations.c.created_at_ms.desc(), generations.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(tuple_(generations.c.created_at_ms, generations.c.id) < tuple_(*before))
    if created_from_ms is not None:
        query = query.where(generations.c.created_at_ms >= created_from_ms)
    if created_until_ms is not None:
        query = query.where(generations.c.created_at_ms < created_until_ms)
    if states is not None:
        query = query.where(generations.c.state.in_(states))
    if model_id is not None:
        query = query.where(generations.c.model_id == model_id)
    if generation_id is not None:
        query = query.where(generations.c.id == generation_id)
    if token_id is not None:
        query = query.where(literal_column("token_id IS NOT NULL"), generations.c.token_id == token_id)
    if end_user is not None:
        query = query.where(literal_column("end_user IS NOT NULL"), generations.c.end_user == end_user)
    return [generation_of(row) for row in connection.execute(query)]


def settled_with_price(
    connection: Connection, owner: Owner, model_id: str, version: str, *, from_ms: int, until_ms: int
) -> Iterator[Generation]:
    """Yields the generations of a model that ended and were charged by a version of its prices.

    They are those made from `from_ms` on and before `until_ms`, the oldest first.
    """
    query = (
        select(generations)
        .where(
            generations.c.tenant_id == owner.tenant_id,
            generations.c.mode == owner.mode,
            generations.c.model_id == model_id,
            generations.c.created_at_ms >= from_ms,
            generations.c.created_at_ms < until_ms,
            generations.c.price_version == version,
            generations.c.charge == Charge.SETTLED,
            generations.c.finished_at_ms.is_not(None),
        )
        .order_by(generations.c.created_at_ms, generations.c.id)
    )
    yield from map(generation_of, connection.execute(query))


def set_repriced(connection: Connection, generation_id: str, microcredits: int) -> None:
    """Stores what a generation costs since its price was corrected."""
    connection.execute(
        update(generations)
        .where(generations.c.id == generation_id)
        .values(repriced_microcredits=microcredits)
    )


def stuck_since(connection: Connection, state: State, *, before_ms: int, limit: int) -> list[str]:
    """Returns ids of rows in one state for too long, at most `limit`, those for the longest first.

    For DISPATCHING these are the generations whose lease ended before `before_ms`, for any other state those
    that entered it before `before_ms`.
    """
    rows = _stuck_in(state).all(connection, {"before_ms": before_ms, "at_most": limit})
    return [row_id for (row_id,) in rows]


@lru_cache(maxsize=8)
def _stuck_in(state: State) -> Prepared:
    moment = generations.c.lease_until_ms if state is State.DISPATCHING else generations.c.changed_at_ms
    return Prepared(
        select(generations.c.id)
        .where(literal_column(state_is(state)), moment < bindparam("before_ms"))
        .order_by(moment)
        .limit(bindparam("at_most"))
    )


def unknown_by_mode(connection: Connection) -> dict[Mode, tuple[int, int]]:
    """Returns how many generations of each mode are unknown, and since when the first of them is."""
    query = (
        select(generations.c.mode, func.count(), func.min(generations.c.changed_at_ms))
        .where(literal_column(state_is(State.UNKNOWN)))
        .group_by(generations.c.mode)
    )
    return {mode: (count, first_ms) for mode, count, first_ms in connection.execute(query)}


def in_flight(connection: Connection, owner: Owner, *, unknown_since_ms: int) -> dict[Scope, int]:
    """Returns how many of an account's generations are in flight, for every scope that one of them counts in.

    An unknown generation counts if it became so at or after `unknown_since_ms`.
    """
    write_rows(connection)
    counts: dict[Scope, int] = {}
    of_owner = {"tenant": owner.tenant_id, "of_mode": owner.mode, "since_ms": unknown_since_ms}
    for root_kid, model_id, count in _IN_FLIGHT.all(connection, of_owner):
        # A set, because a row older than the ledger has no key: then two of its scopes equal the other two.
        for scope in set(scopes_of(root_kid or "", model_id)):
            counts[scope] = counts.get(scope, 0) + count
    return counts


def live_of_credential(connection: Connection, credential: str, *, unknown_since_ms: int) -> int:
    """Returns how many generations a credential has in flight.

    An unknown generation counts if it became so at or after `unknown_since_ms`.
    """
    write_rows(connection)
    (count,) = _LIVE_OF_CREDENTIAL.one(
        connection, {"of_credential": credential, "since_ms": unknown_since_ms}
    )
    return int(count)


def durations(connection: Connection) -> list[tuple[str, int]]:
    """Returns model id and duration in milliseconds of the generations that completed last, the oldest first.

    Of the generations whose output is still kept, these are the last 200.
    """
    query = (
        select(
            generations.c.model_id,
            generations.c.finished_at_ms
            - func.coalesce(generations.c.sent_at_ms, generations.c.created_at_ms),
        )
        .where(literal_column("output IS NOT NULL"))
        .order_by(generations.c.finished_at_ms.desc())
        .limit(_MAX_DURATIONS)
    )
    return [(model_id, duration_ms) for model_id, duration_ms in connection.execute(query)][::-1]


def erase(connection: Connection, *, finished_before_ms: int, now_ms: int, limit: int) -> int:
    """Erases at most `limit` outputs of generations that finished before `finished_before_ms`.

    Returns the number of outputs erased.
    """
    old = (
        select(generations.c.id)
        .where(literal_column("output IS NOT NULL"), generations.c.finished_at_ms < finished_before_ms)
        .order_by(generations.c.finished_at_ms)
        .limit(limit)
    )
    found = connection.execute(
        update(generations).where(generations.c.id.in_(old)).values(output=None, erased_at_ms=now_ms)
    )
    return found.rowcount


_CALLERS: Final = "erase callers"


def erase_callers(connection: Connection, *, before_ms: int, limit: int) -> tuple[int, int]:
    """Erases what is kept of the callers of generations that were submitted before `before_ms`.

    It goes on where the last call ended, which is stored, and looks at `limit` generations. Returns how many
    callers were erased, and how many generations it looked at.
    """
    done = connection.execute(_POSITION, {"of_name": _CALLERS}).scalar_one()
    seen = connection.execute(
        select(generations.c.id, or_(_ADDRESS.is_not(None), _PROGRAM.is_not(None)))
        .where(generations.c.id > done, generations.c.id < first_of(before_ms))
        .order_by(generations.c.id)
        .limit(limit)
    ).all()
    having = [generation_id for generation_id, has_caller in seen if has_caller]
    if having:
        none = {"caller_address": None, "user_agent": None}
        connection.execute(update(generations).where(generations.c.id.in_(having)).values(none))
    if seen:
        own = update(upkeep_positions).where(upkeep_positions.c.name == _CALLERS)
        connection.execute(own.values(position=seen[-1][0]))
    return len(having), len(seen)


def add_evidence(connection: Connection, generation_id: str, kept: Mapping[str, Any]) -> None:
    """Stores the evidence of a submit whose generation the rescue loop had meanwhile made unknown.

    Evidence that is stored already is not overwritten.
    """
    connection.execute(
        update(generations)
        .where(
            generations.c.id == generation_id,
            generations.c.state == State.UNKNOWN,
            generations.c.evidence.is_(None),
        )
        .values(evidence=to_column(kept))
    )


TERMS: Final = (
    "tenant_id",
    "kid",
    "root_kid",
    "credential",
    "price_microcredits",
    "price_version",
    "output_seconds",
    "settles_in",
    "idempotency_key",
    "fingerprint",
    "token_id",
    "end_user",
)
"""What is logged of a generation whose job was made, besides its id, model and mode."""
_FIELDS = frozenset(field.name for field in fields(Generation))
_COLUMNS = tuple(generations.c.keys())
_PLACES = {_TEXTS.get(name, name): place for place, name in enumerate(_COLUMNS)}
_NAMES = tuple(name for name in _PLACES if name in _FIELDS)
_OF_FIELDS = itemgetter(*(_PLACES[name] for name in _NAMES))
_STATES: Final = {state.value: state for state in State}  # a look-up takes a third of the time of a call
_CHARGES: Final[dict[str | None, Charge | None]] = {None: None, **{one.value: one for one in Charge}}
_UNSET: dict[str, Any] = {**dict.fromkeys(_NAMES), "returns": 0}
_HELD: Final = Charge.HELD.value


def generation_of(row: Sequence[Any]) -> Generation:
    """Returns the generation in a row of the table, which has all its columns in their order."""
    if len(row) != len(_COLUMNS):
        raise ValueError("not all columns of a row")
    values = dict(zip(_NAMES, _OF_FIELDS(row), strict=True))
    values["state"], values["charge"] = _STATES[values["state"]], _CHARGES[values["charge"]]
    return _made_of(values)


def with_changes(generation: Generation, columns: Mapping[str, Any]) -> Generation:
    """Returns the generation as it is with these values in these columns of its row."""
    changes = {_TEXTS.get(name, name): value for name, value in columns.items()}
    return _made_of(generation.__dict__ | changes)


def _made_of(values: dict[str, Any]) -> Generation:
    # Its own initialiser would set one field after the other: most of the cost of reading a row.
    generation = object.__new__(Generation)
    object.__setattr__(generation, "__dict__", values)
    return generation
