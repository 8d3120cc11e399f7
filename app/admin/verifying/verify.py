"""Verifying the books: every sum is computed anew from the rows, and every rule of the ledger is checked.

Nothing here trusts a sum that the gateway stores. Usage is added up from the generations and the top-ups, and
what ledger entries a generation must have follows from its events.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Final

from sqlalchemy import Connection, func, select, text

from app.admin.session import AdminGateway
from app.admin.verifying.verify_usage import wrong_roll_ups
from app.db.schema.tables import archived_charges, generations, ledger_entries, quota_usage
from app.generations.lifecycle import FOLLOWABLE, IN_FLIGHT, MOVES, TERMINAL, State
from app.kit.clock import iso
from app.quotas.amounts import NAMES
from app.quotas.balances.ledger import Charge, Kind
from app.quotas.limits import scopes_of
from app.quotas.metrics import SETTABLE
from app.quotas.periods import TOTAL, periods_of_day

_MAX_SHOWN: Final = 200  # findings of each rule; the first ones are enough to start with


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A violation of a rule. `subject` is the id of a request or an entry, or the key of a row of usage."""

    rule: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """The numbers and sums of what was checked, and the findings; without any, the books are right."""

    generations: int
    entries: int
    in_flight: int
    held_microcredits: int
    spent_microcredits: int
    added_microcredits: int
    findings: list[Finding] = field(default_factory=list)


async def report(gateway: AdminGateway) -> Report:
    """Checks everything on one unchanging view of the database, beside running servers; it may take long.

    What it finds is a condition that the operator is told of, and so is that it finds nothing any more.
    """
    from app.admin.checks import conditions  # noqa: PLC0415 - other commands on the ledger need nothing of webhooks

    found = await gateway.db.snapshot(verify)
    await conditions.tell_verified(gateway, conditions.Name.LEDGER_VERIFY_FAILED, len(found.findings))
    return found


def verify(connection: Connection) -> Report:
    """Checks everything, on a connection that sees one unchanging state."""
    findings = sorted(
        {
            *_broken_rules(connection),
            *_wrong_days(connection),
            *_wrong_sums(connection),
            *_wrong_roll_ups(connection),
        }
    )
    held, spent = (_sum_of_prices(connection, charge) for charge in (Charge.HELD, Charge.SETTLED))
    added = select(func.sum(ledger_entries.c.microcredits)).where(
        ledger_entries.c.generation_id.is_(None), ledger_entries.c.about_id.is_(None)
    )
    live = select(func.count()).select_from(generations).where(generations.c.state.in_(IN_FLIGHT))
    return Report(
        connection.scalar(select(func.count()).select_from(generations)) or 0,
        connection.scalar(select(func.count()).select_from(ledger_entries)) or 0,
        connection.scalar(live) or 0,
        held,
        spent,
        int(connection.scalar(added) or 0),
        findings,
    )


def _sum_of_prices(connection: Connection, charge: Charge) -> int:
    price = func.coalesce(generations.c.repriced_microcredits, generations.c.price_microcredits)
    total = int(connection.scalar(select(func.sum(price)).where(generations.c.charge == charge)) or 0)
    if charge is Charge.SETTLED:
        total += int(connection.scalar(select(func.sum(archived_charges.c.microcredits))) or 0)
    return total


def _names(words: Iterable[StrEnum]) -> str:
    return ", ".join(f"'{word}'" for word in sorted(words))


_TERMINAL = _names(TERMINAL)
_WITHOUT_CREDENTIAL = _names(frozenset({State.ACCEPTED, State.CANCELLED, State.EXPIRED}))
_STARTS = _names(frozenset({State.ACCEPTED, State.DISPATCHING}))
_ALLOWED = " OR ".join(
    f"(a.state = '{source}' AND b.state IN ({_names(moves)}))" for source, moves in MOVES.items() if moves
)
# Whether a generation's events settled its price: one of its states did, or an operator said so.
_SPENDING = """SELECT 1 FROM generation_events e WHERE e.generation_id = g.id AND (
    e.reason = 'resolved_charged' OR (e.reason <> 'resolved_not_charged'
    AND ',' || g.settles_in || ',' LIKE '%,' || e.state || ',%'))"""
_WAS_SPENT = f"EXISTS ({_SPENDING})"
_WAS_ACCEPTED = f"""EXISTS (SELECT 1 FROM generation_events e
    WHERE e.generation_id = g.id AND e.state = '{State.IN_QUEUE}')"""
_ENDED = f"(g.state IN ({_TERMINAL}) OR {_WAS_SPENT})"


def _entries(kind: Kind) -> str:
    return f"(SELECT count(*) FROM ledger_entries l WHERE l.generation_id = g.id AND l.kind = '{kind}')"


def _was_recovered(row: str) -> str:
    """After a restore its request was made again, later than its token allowed, or without a lost token."""
    return (
        "EXISTS (SELECT 1 FROM generation_events e"
        f" WHERE e.generation_id = {row}.id AND e.reason = 'recovered')"
    )


def _amount_is_not(kind: Kind, amount: str) -> str:
    return (
        "SELECT g.id, 'is ' || l.microcredits || ', its price ' || g.price_microcredits"
        " FROM ledger_entries l JOIN generations g ON g.id = l.generation_id"
        f" WHERE l.kind = '{kind}' AND l.microcredits <> {amount}"
    )


_NUMBERED = (
    "SELECT tenant_id, mode, number FROM generation_events"
    " UNION ALL SELECT tenant_id, mode, number FROM threshold_events"
    " UNION ALL SELECT tenant_id, mode, number FROM endpoint_events"
    " UNION ALL SELECT tenant_id, mode, number FROM asset_events"
)


_COUNTED = (
    "SELECT tenant_id, sum(events) AS events, max(last) AS last FROM"
    " (SELECT tenant_id, mode, count(DISTINCT number) AS events, max(number) AS last"
    f" FROM ({_NUMBERED}) n GROUP BY tenant_id, mode"
    " UNION ALL SELECT tenant_id, mode, events, last_event_number FROM archive_batches) c"
)


# Each selects a subject and a detail. `charge` is NULL in rows that are older than the ledger.
_RULES: Final = {
    "history-has-gaps": """
        SELECT g.id, 'version ' || g.version || ', ' || count(e.version) || ' events' FROM generations g
        LEFT JOIN generation_events e ON e.generation_id = g.id GROUP BY g.id, g.version
        HAVING count(e.version) <> g.version OR min(e.version) <> 1 OR max(e.version) <> g.version""",
    "state-is-not-its-last-event": """
        SELECT g.id, 'is ' || g.state || ', its last event ' || e.state FROM generations g
        JOIN generation_events e ON e.generation_id = g.id AND e.version = g.version
        WHERE e.state <> g.state""",
    "history-has-an-impossible-move": f"""
        SELECT a.generation_id, a.state || ' to ' || b.state FROM generation_events a
        JOIN generation_events b ON b.generation_id = a.generation_id AND b.version = a.version + 1
        WHERE NOT ({_ALLOWED})
        UNION ALL SELECT generation_id, 'starts as ' || state FROM generation_events
        WHERE version = 1 AND state NOT IN ({_STARTS})""",
    "event-without-its-request": """
        SELECT e.generation_id, 'event ' || e.version FROM generation_events e
        LEFT JOIN generations g ON g.id = e.generation_id
        WHERE g.id IS NULL OR g.tenant_id <> e.tenant_id OR g.mode <> e.mode""",
    "event-numbers-have-gaps": f"""
        SELECT t.id, 'has ' || t.live_events || ' live and ' || t.test_events || ' test events; its rows say '
        || coalesce(l.events, 0) || ' up to ' || coalesce(l.last, 0) || ' and '
        || coalesce(s.events, 0) || ' up to ' || coalesce(s.last, 0)
        FROM tenants t
        LEFT JOIN ({_COUNTED} WHERE mode = 'live' GROUP BY tenant_id) l ON l.tenant_id = t.id
        LEFT JOIN ({_COUNTED} WHERE mode = 'test' GROUP BY tenant_id) s ON s.tenant_id = t.id
        WHERE coalesce(l.events, 0) <> t.live_events OR coalesce(l.last, 0) <> t.live_events
        OR coalesce(s.events, 0) <> t.test_events OR coalesce(s.last, 0) <> t.test_events""",
    "times-are-not-its-events": f"""
        SELECT g.id, 'is ' || g.state || ' since ' || l.at_ms || ', made at ' || f.at_ms FROM generations g
        JOIN generation_events f ON f.generation_id = g.id AND f.version = 1
        JOIN generation_events l ON l.generation_id = g.id AND l.version = g.version
        WHERE g.created_at_ms <> f.at_ms OR g.changed_at_ms <> l.at_ms OR coalesce(g.finished_at_ms, -1)
        <> CASE WHEN g.state IN ({_TERMINAL}) THEN l.at_ms ELSE -1 END""",
    "upstream-id-is-missing": f"""
        SELECT g.id, 'is ' || g.state FROM generations g
        WHERE g.upstream_request_id IS NULL AND {_WAS_ACCEPTED}""",
    "upstream-id-is-unexpected": f"""
        SELECT g.id, 'is ' || g.state || ', never accepted, and has ' || g.upstream_request_id
        FROM generations g WHERE g.upstream_request_id IS NOT NULL AND NOT {_WAS_ACCEPTED}""",
    "upstream-id-is-twice": """
        SELECT min(id), count(*) || ' requests share ' || upstream_request_id FROM generations
        WHERE upstream_request_id IS NOT NULL GROUP BY mode, upstream_request_id HAVING count(*) > 1""",
    "idempotency-key-is-twice": """
        SELECT min(id), count(*) || ' requests share ' || idempotency_key FROM generations
        WHERE idempotency_key IS NOT NULL GROUP BY tenant_id, key_space, idempotency_key
        HAVING count(*) > 1""",
    "idempotency-key-is-another-callers": f"""
        SELECT id, 'is kept in ' || coalesce(nullif(key_space, ''), 'its tenant') FROM generations
        WHERE key_space <> CASE WHEN token_id IS NULL THEN ''
        WHEN end_user IS NULL THEN 'key:' || coalesce(root_kid, kid) ELSE 'user:' || end_user END
        AND NOT (token_id IS NULL AND {_was_recovered("generations")})""",
    "idempotency-key-is-half": """
        SELECT id, 'has one of key and fingerprint' FROM generations
        WHERE (idempotency_key IS NULL) <> (fingerprint IS NULL)""",
    "key-is-not-its-tenants": """
        SELECT g.id, 'made by key ' || g.kid FROM generations g LEFT JOIN api_keys k ON k.kid = g.kid
        WHERE k.kid IS NULL OR k.tenant_id <> g.tenant_id OR k.mode <> g.mode
        OR (g.charge IS NOT NULL AND g.root_kid <> coalesce(k.root_kid, k.kid))""",
    "client-token-is-not-its-makers": f"""
        SELECT g.id, 'made with token ' || g.token_id FROM generations g
        LEFT JOIN client_tokens t ON t.token_id = g.token_id WHERE g.token_id IS NOT NULL
        AND (t.token_id IS NULL OR t.kid <> g.kid OR t.tenant_id <> g.tenant_id OR t.mode <> g.mode
        OR coalesce(t.end_user, '') <> coalesce(g.end_user, '') OR t.visibility = 'request'
        OR g.created_at_ms < t.created_at_ms
        OR (g.created_at_ms >= t.expires_at_ms AND NOT {_was_recovered("g")})
        OR (t.models IS NOT NULL AND t.models NOT LIKE '%"' || g.model_id || '"%'))
        UNION ALL SELECT id, 'is for ' || end_user || ' and of no client token' FROM generations
        WHERE end_user IS NOT NULL AND token_id IS NULL""",
    "client-token-spent-too-much": f"""
        SELECT t.token_id, 'has ' || count(g.id) || ' requests for ' || coalesce(sum(g.price_microcredits), 0)
        FROM client_tokens t JOIN generations g ON g.token_id = t.token_id
        WHERE g.charge IN ('{Charge.HELD}', '{Charge.SETTLED}')
        GROUP BY t.token_id, t.max_generations, t.max_microcredits
        HAVING count(g.id) > t.max_generations OR sum(g.price_microcredits) > t.max_microcredits""",
    "key-is-not-of-its-line": """
        SELECT n.kid, 'counts as ' || coalesce(n.root_kid, 'itself') FROM api_keys n
        LEFT JOIN api_keys k ON k.rotated_to = n.kid WHERE coalesce(n.root_kid, '')
        <> CASE WHEN k.kid IS NULL THEN '' ELSE coalesce(k.root_kid, k.kid) END
        OR k.tenant_id <> n.tenant_id OR k.mode <> n.mode""",
    "terms-are-incomplete": f"""
        SELECT id, 'its charge is ' || coalesce(charge, 'none') FROM generations
        WHERE CASE WHEN charge IS NULL
        THEN root_kid IS NOT NULL OR quota_day IS NOT NULL OR settles_in IS NOT NULL
        ELSE root_kid IS NULL OR quota_day IS NULL OR settles_in IS NULL OR price_microcredits IS NULL
        OR price_microcredits < 0 OR ',' || settles_in || ',' NOT LIKE '%,{State.COMPLETED},%' END""",
    "hold-is-not-once": f"""
        SELECT g.id, {_entries(Kind.HOLD)} || ' holds' FROM generations g
        WHERE g.charge IS NOT NULL AND {_entries(Kind.HOLD)} <> 1""",
    "hold-is-not-the-price": _amount_is_not(Kind.HOLD, "-g.price_microcredits"),
    "refund-is-not-the-price": _amount_is_not(Kind.REFUND, "g.price_microcredits"),
    "settle-changes-the-balance": _amount_is_not(Kind.SETTLE, "0"),
    "end-is-not-once": f"""
        SELECT g.id, {_entries(Kind.SETTLE)} || ' settles, ' || {_entries(Kind.REFUND)} || ' refunds'
        FROM generations g WHERE g.charge IS NOT NULL AND {_entries(Kind.SETTLE)} + {_entries(Kind.REFUND)}
        <> CASE WHEN {_ENDED} THEN 1 ELSE 0 END""",
    "end-is-of-the-wrong-kind": f"""
        SELECT g.id, 'is ' || g.state || ' and settles in ' || g.settles_in FROM generations g
        WHERE g.charge IS NOT NULL AND (({_entries(Kind.SETTLE)} > 0 AND NOT {_WAS_SPENT})
        OR ({_entries(Kind.REFUND)} > 0 AND {_WAS_SPENT}))""",
    "charge-is-not-what-the-ledger-says": f"""
        SELECT g.id, 'is ' || g.charge FROM generations g WHERE g.charge IS NOT NULL AND g.charge <>
        CASE WHEN {_entries(Kind.SETTLE)} > 0 THEN '{Charge.SETTLED}'
        WHEN {_entries(Kind.REFUND)} > 0 THEN '{Charge.REFUNDED}' ELSE '{Charge.HELD}' END""",
    "entry-without-its-request": """
        SELECT 'entry ' || l.id, l.kind || ' of ' || coalesce(l.generation_id, '-') FROM ledger_entries l
        LEFT JOIN generations g ON g.id = l.generation_id WHERE l.kind IN ('hold', 'settle', 'refund')
        AND (g.id IS NULL OR g.charge IS NULL OR g.tenant_id <> l.tenant_id OR g.mode <> l.mode
        OR l.kid <> '' OR l.model_id <> '')""",
    "entry-is-not-of-its-moment": f"""
        SELECT 'entry ' || l.id, l.kind || ' of ' || g.id || ' at ' || l.at_ms
        FROM ledger_entries l JOIN generations g ON g.id = l.generation_id WHERE CASE l.kind
        WHEN '{Kind.HOLD}' THEN l.at_ms <> g.created_at_ms
        WHEN '{Kind.REFUND}' THEN l.at_ms <> g.changed_at_ms
        ELSE NOT EXISTS ({_SPENDING} AND e.at_ms = l.at_ms) END""",
    "repriced-is-not-what-the-ledger-says": f"""
        SELECT g.id, 'costs ' || coalesce(g.repriced_microcredits, g.price_microcredits)
        || ', the ledger says ' || (g.price_microcredits - a.microcredits) FROM generations g JOIN
        (SELECT about_id, sum(microcredits) AS microcredits FROM ledger_entries WHERE about_id IS NOT NULL
        GROUP BY about_id) a ON a.about_id = g.id
        WHERE coalesce(g.repriced_microcredits, -1) <> g.price_microcredits - a.microcredits
        OR g.charge <> '{Charge.SETTLED}'
        UNION ALL SELECT id, 'was repriced, and no entry says so' FROM generations
        WHERE repriced_microcredits IS NOT NULL
        AND id NOT IN (SELECT about_id FROM ledger_entries WHERE about_id IS NOT NULL)""",
    "correction-without-its-request": f"""
        SELECT 'entry ' || l.id, l.kind || ' about ' || l.about_id FROM ledger_entries l
        LEFT JOIN generations g ON g.id = l.about_id WHERE l.about_id IS NOT NULL
        AND (l.kind <> '{Kind.ADJUSTMENT}' OR g.id IS NULL OR g.tenant_id <> l.tenant_id
        OR g.mode <> l.mode OR l.kid <> '' OR l.model_id <> '')""",
    "nobody-will-move-it": f"""
        SELECT id, 'is ' || state || CASE state WHEN '{State.DISPATCHING}' THEN ' without a lease'
        ELSE ' without a next poll' END FROM generations
        WHERE (state = '{State.DISPATCHING}' AND lease_until_ms IS NULL)
        OR (state IN ({_names(FOLLOWABLE)}) AND next_poll_at_ms IS NULL)""",
    "queue-is-not-its-rows": f"""
        SELECT q.tenant_id || ' ' || q.mode, 'counts ' || q.queued || ' queued, the rows ' || count(g.id)
        FROM queues q LEFT JOIN generations g ON g.tenant_id = q.tenant_id AND g.mode = q.mode
        AND g.state = '{State.ACCEPTED}'
        GROUP BY q.tenant_id, q.mode, q.queued HAVING q.queued <> count(g.id)
        UNION ALL SELECT g.id, 'is queued, but its tenant has no queue' FROM generations g
        LEFT JOIN queues q ON q.tenant_id = g.tenant_id AND q.mode = g.mode
        WHERE g.state = '{State.ACCEPTED}' AND q.mode IS NULL""",
    "waits-out-of-line": f"""
        SELECT id, CASE WHEN ticket IS NULL THEN 'is queued without a ticket'
        ELSE 'is queued, but has the credential ' || credential END
        FROM generations WHERE state = '{State.ACCEPTED}' AND (ticket IS NULL OR credential <> '')
        UNION ALL SELECT id, 'is ' || state || ' without a credential' FROM generations
        WHERE credential = '' AND state NOT IN ({_WITHOUT_CREDENTIAL})
        UNION ALL SELECT min(id), count(*) || ' requests have ticket ' || ticket FROM generations
        WHERE ticket IS NOT NULL GROUP BY tenant_id, mode, ticket HAVING count(*) > 1""",
    "limit-is-none": f"""
        SELECT tenant_id, metric || ' of ' || coalesce(amount, -1) FROM quota_limits
        WHERE metric NOT IN ({_names(SETTABLE)}) OR amount < 0 OR burst < 1
        OR (kid <> '' AND end_user <> '')""",
    "top-up-takes-away": f"""
        SELECT 'entry ' || id, 'is ' || microcredits FROM ledger_entries
        WHERE kind = '{Kind.TOP_UP}' AND microcredits <= 0""",
    "reference-is-twice": """
        SELECT 'entry ' || max(id), count(*) || ' entries share ' || reference FROM ledger_entries
        WHERE reference IS NOT NULL GROUP BY tenant_id, mode, kind, reference HAVING count(*) > 1""",
}


def _broken_rules(connection: Connection) -> Iterator[Finding]:
    for rule, query in _RULES.items():
        rows = connection.execute(text(f"{query} LIMIT {_MAX_SHOWN}"))
        yield from (Finding(rule, str(subject), str(detail)) for subject, detail in rows)


_BEFORE_UTC = timedelta(hours=14)  # the offsets of the earliest and the latest time zone
_BEHIND_UTC = timedelta(hours=12)


def _wrong_days(connection: Connection) -> Iterator[Finding]:
    """Yields generations that count on a day which, when they were made, was the date in no time zone."""
    table = generations.c
    days = select(table.quota_day, func.min(table.created_at_ms), func.max(table.created_at_ms))
    counted = days.where(table.quota_day.is_not(None)).group_by(table.quota_day).order_by(table.quota_day)
    for day, first_ms, last_ms in connection.execute(counted).all():
        from_ms, until_ms = _day_on_earth(day)
        if from_ms <= first_ms and last_ms < until_ms:
            continue
        query = select(table.id, table.created_at_ms).where(
            table.quota_day == day, (table.created_at_ms < from_ms) | (table.created_at_ms >= until_ms)
        )
        for subject, created_at_ms in connection.execute(query.limit(_MAX_SHOWN)):
            detail = f"counts on {day}, was made at {iso(created_at_ms)}"
            yield Finding("quota-day-is-not-when-it-was-made", subject, detail)


def _day_on_earth(day: str) -> tuple[int, int]:
    """Returns the moments between which it is that day in some time zone; (0, 0) for what is no day."""
    try:
        midnight = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
        from_, until = midnight - _BEFORE_UTC, midnight + timedelta(days=1) + _BEHIND_UTC
    except (ValueError, OverflowError):
        return 0, 0
    return int(from_.timestamp() * 1000), int(until.timestamp() * 1000)


_Key = tuple[str, str, str, str, str, str]  # tenant, mode, key, model, end user, period
_COUNTERS: Final = (
    *(f"held_{name}" for name in NAMES),
    *(f"spent_{name}" for name in NAMES),
    "added_microcredits",
)


def _wrong_sums(connection: Connection) -> Iterator[Finding]:
    """Yields rows of usage that are not the sums of their generations and ledger entries."""
    right = _sums(connection)
    kept: dict[_Key, tuple[int, ...]] = {}
    for row in connection.execute(select(quota_usage)):
        key = (row.tenant_id, row.mode, row.kid, row.model_id, row.end_user, row.period)
        kept[key] = tuple(int(getattr(row, name)) for name in _COUNTERS)
    zero = (0,) * len(_COUNTERS)

    def differences() -> Iterator[Finding]:
        for key in sorted(right.keys() | kept.keys()):
            pairs = zip(_COUNTERS, kept.get(key, zero), right.get(key, zero), strict=True)
            wrong = [
                f"{name} is {is_now}, the rows say {should}"
                for name, is_now, should in pairs
                if is_now != should
            ]
            if wrong:
                yield Finding(
                    "usage-is-not-the-sum-of-the-rows",
                    " ".join(part or "*" for part in key),
                    "; ".join(wrong),
                )

    yield from islice(differences(), _MAX_SHOWN)


def _wrong_roll_ups(connection: Connection) -> Iterator[Finding]:
    """Yields rows of roll-ups that are not the sums of the ledger's entries."""
    for subject, detail in islice(wrong_roll_ups(connection), _MAX_SHOWN):
        yield Finding("roll-up-is-not-the-sum-of-the-ledger", subject, detail)


def _sums(connection: Connection) -> dict[_Key, tuple[int, ...]]:
    sums: dict[_Key, list[int]] = defaultdict(lambda: [0] * len(_COUNTERS))
    from app.generations import store  # noqa: PLC0415 - other commands on the ledger need nothing of it

    table = generations.c
    group = (
        table.tenant_id,
        table.mode,
        table.root_kid,
        table.model_id,
        table.end_user,
        table.quota_day,
        table.charge,
    )
    query = select(*group, *store.AMOUNT_SUMS).group_by(*group)
    # A generation without a key or a day is a finding of another rule.
    counted = query.where(
        table.charge.in_((Charge.HELD, Charge.SETTLED)),
        table.root_kid.is_not(None),
        table.quota_day.is_not(None),
    )

    def add(charge: str, group: Sequence[str | None], amounts: Iterable[int]) -> None:
        tenant_id, mode, kid, model_id, end_user, day = (one or "" for one in group)
        first = 0 if charge == Charge.HELD else len(NAMES)
        for scope in scopes_of(kid, model_id, end_user):
            for period in periods_of_day(day):
                row = sums[tenant_id, mode, *scope[:3], period]
                for at, amount in enumerate(amounts, first):
                    row[at] += int(amount)

    for *of_account, charge, amounts in ((*row[:7], row[7:]) for row in connection.execute(counted)):
        add(charge, of_account, amounts)
    archived = archived_charges.c
    gone = select(
        *(archived.tenant_id, archived.mode, archived.kid, archived.model_id, archived.end_user),
        archived.quota_day,
        *(archived[name] for name in NAMES),
    )
    for row in connection.execute(gone):
        add(Charge.SETTLED, row[:6], row[6:])
    entry = ledger_entries.c
    scope_columns = (entry.tenant_id, entry.mode, entry.kid, entry.model_id)
    added = select(*scope_columns, func.sum(entry.microcredits)).group_by(*scope_columns)
    for tenant_id, mode, kid, model_id, microcredits in connection.execute(
        added.where(entry.kind.in_((Kind.TOP_UP, Kind.ADJUSTMENT)), entry.about_id.is_(None))
    ):
        sums[tenant_id, mode, kid, model_id, "", TOTAL][-1] += int(microcredits)
    return {key: tuple(row) for key, row in sums.items()}
