"""A long history, inserted by the database itself: rows of the right shape, with sums that do not agree.

Everything follows from a row's number, so that any row can be addressed without a query.
"""

# ruff: noqa: S608 - its statements are made of its own constants

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from sqlalchemy import Connection, text

from bench.statements import Draw

TABLES: Final = (
    "tenants",
    "api_keys",
    "quota_limits",
    "limit_overrides",
    "quota_usage",
    "client_tokens",
    "generations",
    "generation_events",
    "ledger_entries",
    "refusals",
    "usage_counts",
    "usage_days",
    "usage_months",
    "statements",
    "threshold_events",
    "webhook_endpoints",
    "webhook_messages",
    "webhook_deliveries",
)
_FIRST_MS: Final = 1_700_000_000_000
_APART_MS: Final = 6000
_TENANTS: Final = 2000  # the first of them has half of all rows
_MODELS: Final = 4
_TOKENS: Final = 1000  # client tokens, and as many end users; they made a quarter of all generations
_MONTHS: Final = 24  # that are closed of each tenant
_NETWORKS: Final = 200  # that the callers are in
_FIRST_DAY: Final = date(2000, 1, 1)
_INPUT: Final = '{"prompt":"a harbour at dawn"}'
_OUTPUT: Final = '{"video":"https://example.com/harbour.mp4"}'


@dataclass(frozen=True, slots=True)
class History:
    """`rows` generations, of which the last `live` are live; a fiftieth of these is being sent or unknown.

    Each has two events and two ledger entries, and there are a tenth as many rows of quota usage. Usage has a
    row for each tenant and day, and one for each end user of the largest tenant and day, of `days` at least.
    The older half of the generations has another version of prices than the newer one.
    """

    rows: int
    live: int
    days: int = 10

    @property
    def now_ms(self) -> int:
        """The time at which the last generation was created."""
        return _FIRST_MS + self.rows * _APART_MS

    @property
    def summed_until(self) -> int:
        """The day up to which usage is summed: all but the last three."""
        return int((self._day - timedelta(days=3)).strftime("%Y%m%d"))

    @property
    def _day(self) -> date:
        """The last day of usage."""
        return _FIRST_DAY + timedelta(days=self._days - 1)

    def draw(self, chance: random.Random, *, of_the_largest: bool = False) -> Draw:
        """Returns keys of random rows, or of random rows of the tenant that has half of them."""
        number = chance.randrange(self.rows)
        if of_the_largest:
            number -= number % 2
        tenant = 0 if number % 2 == 0 else 1 + number // 2 % (_TENANTS - 1)
        return Draw(
            generation=_id(number),
            live=_id(chance.randrange(self._live_from, self._odd_from)),
            tenant=f"00000000-0000-7000-9000-{tenant:012x}",
            kid=f"kid0{tenant:012x}",
            model=f"a/{number % _MODELS}",
            credential=f"c{number % 2}",
            number=chance.randrange(max(1, self.rows // _TENANTS)),
            created_at_ms=_FIRST_MS + number * _APART_MS,
            now_ms=self.now_ms,
            token=f"{number % _TOKENS:012x}",
            end_user=f"user-{number % _TOKENS}",
            address=f"10.0.{number % _NETWORKS}.0/24",
            day=(_FIRST_DAY + timedelta(days=chance.randrange(self._days))).isoformat(),
            today=self._day.isoformat(),
        )

    def fill(self, connection: Connection, tables: Collection[str] = TABLES) -> Iterator[str]:
        """Inserts everything, one table at a time; yields each table's name before it is filled."""
        sqlite = connection.dialect.name == "sqlite"
        for table, select in self._selects(_Words(sqlite)).items():
            if table not in tables:
                continue
            yield table
            columns, _, rows = select.partition(" AS SELECT ")
            connection.execute(text(f"INSERT INTO {table} ({columns}) SELECT {rows}"))
        connection.execute(
            text("UPDATE upkeep_positions SET position = :day WHERE name = 'usage sums'"),
            {"day": str(self.summed_until)},
        )

    def _selects(self, words: "_Words") -> dict[str, str]:
        tenants = f"{words.series(_TENANTS)}"
        numbers = words.series(self.rows)
        twice = f"{numbers} CROSS JOIN (SELECT 1 AS v UNION ALL SELECT 2) AS twice"
        made = f"{_FIRST_MS} + n * {_APART_MS}"
        followed = f"n >= {self._live_from} AND n < {self._odd_from}"
        tenant = words.tenant(f"CASE WHEN n % 2 = 0 THEN 0 ELSE 1 + n / 2 % {_TENANTS - 1} END")
        kid = words.kid(f"CASE WHEN n % 2 = 0 THEN 0 ELSE 1 + n / 2 % {_TENANTS - 1} END")
        of_tenant = f"CASE WHEN n % 2 = 0 THEN n / 2 ELSE n / 2 / {_TENANTS - 1} END"
        ended = "CASE WHEN n % 20 = 0 THEN 'failed' ELSE 'completed' END"
        state = (
            f"CASE WHEN n < {self._live_from} THEN {ended}"
            f" WHEN n >= {self._odd_from} THEN CASE WHEN n % 2 = 0 THEN 'dispatching' ELSE 'unknown' END"
            " ELSE CASE WHEN n % 4 < 2 THEN 'in_queue' ELSE 'in_progress' END END"
        )
        charge = (
            f"CASE WHEN n >= {self._live_from} THEN 'held' WHEN n % 20 = 0 THEN 'refunded' ELSE 'settled' END"
        )
        return {
            "tenants": "id, name, created_at_ms, live_events AS SELECT "
            f"{words.tenant('n')}, {words.tenant('n')}, 0, {self.rows} FROM {tenants}",
            "api_keys": "kid, tenant_id, name, mode, digest, pepper_id, last_four, scopes, created_at_ms AS"
            f" SELECT {words.kid('n')}, {words.tenant('n')}, '', 'live', '', '', '', '[]', 0 FROM {tenants}",
            "quota_limits": "tenant_id, mode, kid, model_id, metric, amount, changed_at_ms AS SELECT "
            f"{words.tenant('n')}, 'live', '', '', 'generations-total', 900000000, 0 FROM {tenants}",
            "limit_overrides": "id, tenant_id, mode, kid, model_id, end_user, metric, amount, created_at_ms,"
            f" until_ms AS SELECT {words.id('n')}, {words.tenant('n')}, 'live', '', '', '',"
            f" 'generations-total', 900000000, 0, 1 FROM {tenants}",
            "client_tokens": "token_id, tenant_id, kid, mode, digest, pepper_id, created_at_ms,"
            f" expires_at_ms, end_user, visibility AS SELECT {words.hex('n')}, {words.tenant('0')},"
            f" {words.kid('0')}, 'live', '', '',"
            f" {made}, {made} + 600000, {words.join('user-', 'n')}, 'end_user'"
            f" FROM {words.series(_TOKENS)}",
            "generations": "id, tenant_id, kid, root_kid, mode, model_id, input, price_microcredits,"
            " price_version, state, version, credential, upstream_request_id, output, idempotency_key,"
            " fingerprint, trace_id, created_at_ms, changed_at_ms, finished_at_ms, lease_until_ms,"
            " next_poll_at_ms, quota_day, settles_in, charge, error_code, caller_address, token_id, end_user"
            " AS SELECT "
            f"{words.id('n')}, {tenant}, {kid}, {kid}, 'live', {words.join('a/', f'n % {_MODELS}')},"
            f" '{_INPUT}', 250000, CASE WHEN n < {self.rows // 2} THEN '0' ELSE '1' END,"
            f" {state}, 2, {words.join('c', 'n % 2')},"
            f" CASE WHEN n < {self._odd_from} THEN {words.join('upstream-of-it-', words.hex('n'))} END,"
            f" CASE WHEN n < {self._live_from} AND n % 20 > 0 THEN '{_OUTPUT}' END,"
            f" CASE WHEN n % 4 = 1 THEN {words.join('key-', words.hex('n'))} END,"
            f" CASE WHEN n % 4 = 1 THEN '{64 * 'f'}' END, '{32 * '0'}', {made}, {made} + 1000,"
            f" CASE WHEN n < {self._live_from} THEN {made} + 60000 END,"
            f" CASE WHEN n >= {self._odd_from} AND n % 2 = 0 THEN {made} + 30000 END,"
            f" CASE WHEN {followed} THEN {self.now_ms} - 5000 + n % 1000 * 40 END,"
            f" '2026-11-24', 'completed', {charge}, CASE WHEN {state} = 'failed' THEN 'x' END,"
            f" {words.join('10.0.', f'n % {_NETWORKS}')} || '.0/24',"
            f" CASE WHEN n % 4 = 2 THEN {words.hex(f'n % {_TOKENS}')} END,"
            f" CASE WHEN n % 4 = 2 THEN {words.join('user-', f'n % {_TOKENS}')} END FROM {numbers}",
            "generation_events": "generation_id, version, state, at_ms, reason, tenant_id, mode, number"
            f" AS SELECT {words.id('n')}, v, CASE WHEN v = 1 THEN 'dispatching' ELSE {state} END,"
            f" {made} + (v - 1) * 1000, 'filled', {tenant}, 'live', {of_tenant} * 2 + v FROM {twice}",
            "ledger_entries": "tenant_id, mode, kind, generation_id, kid, model_id, microcredits, at_ms"
            f" AS SELECT {tenant}, 'live', CASE WHEN v = 1 THEN 'hold' WHEN n % 20 = 0 THEN 'refund'"
            f" ELSE 'settle' END, {words.id('n')}, '', '', -250000, {made} FROM {twice}"
            f" WHERE v = 1 OR n < {self._live_from}",
            "refusals": "tenant_id, minute_ms, kid, code, network, mode, count AS SELECT "
            f"{words.tenant(f'n % {_TENANTS}')}, {_FIRST_MS} + n * {10 * _APART_MS},"
            f" {words.kid(f'n % {_TENANTS}')}, 'x', '', 'live', 1 FROM {words.series(self.rows // 10)}",
            "usage_counts": "tenant_id, mode, facet, period, subject, kid, model_id, outcome,"
            " spent_microcredits, cost_microusd AS SELECT "
            f"{words.tenant(f'n % {_TENANTS}')}, 'live', 'day', {words.day_number(f'n / {_TENANTS}')}, '',"
            f" {words.kid(f'n % {_TENANTS}')}, {words.join('a/', f'n % {_MODELS}')}, 'completed', 250000,"
            f" 250000 FROM {words.series(self._days * _TENANTS)} UNION ALL SELECT "
            f"{words.tenant('0')}, 'live', 'end_user', {words.day_number(f'n / {_TOKENS}')},"
            f" {words.join('user-', f'n % {_TOKENS}')}, {words.kid('0')}, 'a/0', 'completed', 250000, 250000"
            f" FROM {words.series(self._days * _TOKENS)}",
            "usage_days": "mode, period, model_id, outcome, held_generations, held_microcredits,"
            " spent_generations, spent_microcredits, refunded_generations, refunded_microcredits,"
            " refused_calls, ended_generations, added_microcredits, adjusted_microcredits, cost_microusd"
            " AS SELECT mode, period, model_id, outcome, 0, 0, 0, sum(spent_microcredits), 0, 0, 0, 0, 0, 0,"
            f" sum(cost_microusd) FROM usage_counts WHERE facet = 'day' AND period <= {self.summed_until}"
            " GROUP BY mode, period, model_id, outcome",
            "usage_months": "mode, period, tenant_id, kid, model_id, outcome,"
            " held_generations, held_microcredits, spent_generations, spent_microcredits,"
            " refunded_generations, refunded_microcredits, refused_calls, ended_generations,"
            " added_microcredits, adjusted_microcredits, cost_microusd AS SELECT mode, period / 100,"
            " tenant_id, kid, model_id, outcome, 0, 0, 0, sum(spent_microcredits), 0, 0, 0, 0, 0, 0,"
            f" sum(cost_microusd) FROM usage_counts WHERE facet = 'day' AND period <= {self.summed_until}"
            " GROUP BY mode, period / 100, tenant_id, kid, model_id, outcome",
            "statements": "tenant_id, mode, month, time_zone, from_ms, until_ms, earlier_id, last_id,"
            " entries, opening_microcredits, held_microcredits, refunded_microcredits, added_microcredits,"
            " adjusted_microcredits, closing_microcredits, csv_sha256, closed_at_ms AS SELECT "
            f"{words.tenant(f'n % {_TENANTS}')}, 'live',"
            f" substr({words.day(f'n / {_TENANTS} * 31')}, 1, 7), 'UTC', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,"
            f" '', 0 FROM {words.series(_MONTHS * _TENANTS)}",
            "threshold_events": 'tenant_id, mode, kid, model_id, end_user, metric, "window", percent, amount,'
            " used, at_ms, number AS SELECT "
            f"{words.tenant(f'n % {_TENANTS}')}, 'live', '', '', '', 'credits-day',"
            f" {words.day(f'n / {_TENANTS}')}, 50, 1, 1, {made}, 1000000000 + n"
            f" FROM {words.series(self._days * _TENANTS)}",
            "webhook_endpoints": "id, tenant_id, mode, url, vendor_links, state, state_since_ms, signature,"
            f" secret, created_at_ms, changed_at_ms AS SELECT {words.join('ep_', 'n')}, {words.tenant('n')},"
            f" 'live', '', false, 'enabled', 0, 'v1', '', 0, 0 FROM {words.series(_TENANTS)}",
            "webhook_messages": "id, tenant_id, mode, type, body, heard_by, created_at_ms AS SELECT "
            f"{words.join('msg_', 'n')}, {words.tenant(f'n % {_TENANTS}')}, 'live', 'request.completed', '',"
            f" CASE WHEN n % 10 = 0 THEN {words.join('ep_', f'n % {_TENANTS}')} END, {made}"
            f" FROM {words.series(self.rows // 10)}",
            "webhook_deliveries": "id, message_id, endpoint_id, tenant_id, mode, type, cause, state,"
            f" next_at_ms, created_at_ms AS SELECT {words.join('dlv_', 'n')}, {words.join('msg_', 'n')},"
            f" {words.join('ep_', f'n % {_TENANTS}')}, {words.tenant(f'n % {_TENANTS}')}, 'live',"
            " 'request.completed', 'event', CASE WHEN n % 10 = 0 THEN 'pending' ELSE 'delivered' END,"
            f" {made}, {made} FROM {words.series(self.rows)}",
            "quota_usage": "tenant_id, mode, kid, model_id, period, held_generations, spent_generations,"
            " held_microcredits, spent_microcredits, added_microcredits AS SELECT "
            f"{words.tenant(f'n % {_TENANTS}')}, 'live', '',"
            f" {words.join('a/', f'n / {_TENANTS} % {_MODELS + 1}')},"
            f" {words.day(f'n / {_TENANTS * (_MODELS + 1)}')}, 0, 0, 0, 0, 0"
            f" FROM {words.series(self._days * _TENANTS * (_MODELS + 1))}",
        }

    @property
    def _live_from(self) -> int:
        return self.rows - self.live

    @property
    def _odd_from(self) -> int:
        return self.rows - max(2, self.live // 50)

    @property
    def _days(self) -> int:
        return max(self.days, self.rows // 10 // (_TENANTS * (_MODELS + 1)))


def _id(number: int) -> str:
    made = f"{_FIRST_MS + number * _APART_MS:012x}"
    return f"{made[:8]}-{made[8:]}-7000-8000-{number:012x}"


@dataclass(frozen=True, slots=True)
class _Words:
    """The expressions that the two databases write differently."""

    sqlite: bool

    def series(self, count: int) -> str:
        """Returns a table expression with the numbers from 0 to `count` - 1, as `n`."""
        if self.sqlite:
            return (
                "(WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s"
                f" WHERE n < {count - 1}) SELECT n FROM s) AS s"
            )
        return f"generate_series(CAST(0 AS bigint), {count - 1}) AS s(n)"

    def hex(self, number: str) -> str:
        return f"printf('%012x', {number})" if self.sqlite else f"lpad(to_hex({number}), 12, '0')"

    def join(self, word: str, number: str) -> str:
        return f"'{word}' || ({number})"

    def id(self, number: str) -> str:
        made = self.hex(f"{_FIRST_MS} + {number} * {_APART_MS}")
        return f"substr({made}, 1, 8) || '-' || substr({made}, 9) || '-7000-8000-' || {self.hex(number)}"

    def tenant(self, number: str) -> str:
        return f"'00000000-0000-7000-9000-' || {self.hex(number)}"

    def kid(self, number: str) -> str:
        return f"'kid0' || {self.hex(number)}"

    def day_number(self, number: str) -> str:
        """Returns a day as roll-ups have it: 20000101."""
        return f"CAST(replace({self.day(number)}, '-', '') AS bigint)"

    def day(self, number: str) -> str:
        if self.sqlite:
            return f"date('{_FIRST_DAY}', '+' || ({number}) || ' days')"
        return f"to_char(date '{_FIRST_DAY}' + CAST({number} AS integer), 'YYYY-MM-DD')"
