"""What the machine does with jobs, time and money, and what must be true after all of it."""

import asyncio
import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from app.admin.actor import Actor
from app.admin.running import requests
from app.auth import tenants
from app.errors import Problem
from app.generations.lifecycle import MOVES, State
from app.quotas import account
from app.quotas.account import Owner
from app.quotas.balances import ledger
from app.quotas.balances.ledger import Kind
from app.quotas.limits import Limit as OwnLimit
from app.quotas.limits import Scope
from app.quotas.metrics import Metric
from tests.machine.driver import Submits, Wish, told
from tests.machine.model import FOLLOWED, Job, Limit, Line, Shown
from tests.machine.surroundings import Server
from tests.machine.upstream import UpstreamJob

_OPERATOR = Actor("command", "tests")
_STATUS_WORDS = {
    "in_queue": "in_queue",
    "dispatching": "in_queue",
    "cancelled": "cancelled",
    "in_progress": "in_progress",
    "unknown": "in_progress",
}
_RESULT_WORDS = _STATUS_WORDS | {"completed": "succeeded"}
_FIRST_STATES = frozenset({"accepted", "dispatching"})


@dataclass
class Driver(Submits):
    """Acts on the gateways and on the model alike, and compares them."""

    checks: int = 0

    # Jobs.

    def phase(self, server: Server, job: Job) -> str:
        """What a look through this server shows."""
        upstream_job = self.place.upstream.jobs.get(job.upstream_id or "")
        if server.options.cut_off:
            return "blind"
        if upstream_job is None or upstream_job.phase == "gone":
            return "gone"
        return "blind" if upstream_job.blind else upstream_job.phase

    def key_for(self, job: Job) -> str:
        """A good key of another line than it was made with, if there is one: they share all requests."""
        lines = [line for line in self.model.lines if line.mode == job.line.mode]
        return lines[self.checks % len(lines)].key(0, self.now_ms)[1]

    async def look(self, server: Server, job: Job, what: str) -> None:
        was_followed, phase = job.state in FOLLOWED, self.phase(server, job)
        self.model.look(job, phase, self.now_ms)
        path = f"/v1/requests/{job.id}" + {"record": "", "result": "/result?include_cost=true"}.get(
            what, "/status"
        )
        answer = await self.place.call(server, self.key_for(job), "GET", path)
        document = told(answer, 200, None)
        stale = (
            ("unreachable" if server.options.cut_off else "unusable") if was_followed and job.stale else None
        )
        assert answer.headers.get("reelgate-stale") == (stale and f"upstream_{stale}")
        if what == "status":
            assert document["status"] == _STATUS_WORDS.get(job.state, "completed")
        elif what == "result":
            assert document["status"] == _RESULT_WORDS.get(job.state, "failed")
            costs = {"settled": job.price / 1_000_000, "refunded": 0.0}
            assert document.get("cost") == costs.get(job.charge)
            assert ("output" in document) == (job.state == "completed")
        else:
            assert (document["state"], document["charge"]) == (job.state, job.charge)

    async def cancel(self, server: Server, job: Job, *, too_late: bool) -> None:
        """Cancel it, perhaps in the moment in which it completes."""
        self.place.upstream.finishes_on_cancel = too_late
        followed = job.state in FOLLOWED
        path = f"/v1/requests/{job.id}/cancel"
        answer = await self.place.call(server, self.key_for(job), "POST", path)
        phase = self.phase(server, job)
        if followed and phase == "blind":
            cut_off = server.options.cut_off
            told(answer, *((503, "upstream_unreachable") if cut_off else (502, "upstream_unusable")))
            return
        if followed:
            self.model.look(job, phase, self.now_ms)
        outcome = "cancelled" if job.state == "cancelled" else "not_cancellable"
        assert told(answer, 202, None)["outcome"] == outcome

    async def crowd(self, job: Job, *, cancelling: bool) -> None:
        """Looks, and perhaps a cancel, through every server at once."""
        if any(server.options.cut_off for server in self.place.servers):
            return
        self.place.upstream.finishes_on_cancel = False
        key, path = self.key_for(job), f"/v1/requests/{job.id}"
        calls = [("GET", "/status"), ("GET", "/result"), ("GET", "")] * 2
        if cancelling:
            calls.insert(2, ("POST", "/cancel"))
        servers = itertools.cycle(self.place.servers)
        answers = await asyncio.gather(
            *(self.place.call(next(servers), key, method, path + what) for method, what in calls)
        )
        for (method, _), answer in zip(calls, answers, strict=True):
            assert answer.status_code in ({202, 502} if method == "POST" else {200}), answer.text
        self.model.look(job, self.phase(self.place.servers[0], job), self.now_ms)

    def progress(self, number: int, to: str) -> None:
        """The upstream goes on, on its own; or it begins or ends to tell nothing about a job."""
        upstream_job = self.upstream_job(number)
        if upstream_job is None:
            return
        if to == "blind":
            upstream_job.blind = not upstream_job.blind
        elif upstream_job.phase == "queued" or (upstream_job.phase == "running" and to != "cancelled"):
            upstream_job.phase = to

    async def attach(self, server: Server, job: Job, upstream_job: UpstreamJob) -> None:
        """An operator says which job it is."""
        mode = job.line.mode
        others = {one.upstream_id for one in self.model.jobs if one.line.mode == mode}
        can_be = (
            job.state == "unknown"
            and not server.options.cut_off
            and upstream_job.mode == mode
            and upstream_job.phase != "gone"
            and not upstream_job.blind
            and upstream_job.id not in others
        )
        try:
            await requests.resolve(
                server.gateway, _OPERATOR, str(job.id), upstream_request_id=upstream_job.id
            )
        except Problem:
            assert not can_be
        else:
            assert can_be
            self.model.move(job, "in_queue", self.now_ms)
            job.upstream_id = upstream_job.id

    async def close(self, server: Server, job: Job, *, charged: bool) -> None:
        """An operator says that it cannot be found, and whether it was charged."""
        was_unknown = job.state == "unknown"
        try:
            await requests.resolve(server.gateway, _OPERATOR, str(job.id), charged=charged)
        except Problem:
            assert not was_unknown
        else:
            assert was_unknown
            self.model.move(job, "lost", self.now_ms, spent=charged)

    # Time.

    async def step(self, seconds: int) -> None:
        self.place.clock.advance(seconds)
        for server in self.place.servers:
            await server.gateway.upkeep.rescuer.run_once()
        self.model.rescue(self.now_ms)

    async def step_to_the_next(self, unit: str) -> None:
        """To the tenant's midnight, or that of the first of a month."""
        zone = ZoneInfo(self.model.zone)
        today = datetime.fromtimestamp(self.now_ms / 1000, zone).date()
        day = (
            today + timedelta(days=1)
            if unit == "day"
            else (today.replace(day=1) + timedelta(days=32)).replace(day=1)
        )
        midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
        await self.step(int(midnight.timestamp()) - self.now_ms // 1000)

    async def move_to(self, zone: str) -> None:
        await self.place.gateway.db.write(
            tenants.set_time_zone, self.place.tenant_id, zone, now_ms=self.now_ms
        )
        self.model.zone = zone

    # Money.

    async def set_limit(self, limit: Limit, amount: int | None, burst: int | None) -> None:
        scope = Scope(limit.root, limit.model_id)
        own = OwnLimit(scope, Metric(limit.metric), amount, burst)
        await self.place.gateway.db.write(account.set_limit, self._owner(limit.mode), own, now_ms=self.now_ms)
        self.model.limits[limit] = (amount, burst)

    async def unset_limit(self, limit: Limit) -> None:
        scope = Scope(limit.root, limit.model_id)
        was_there = await self.place.gateway.db.write(
            account.unset_limit, self._owner(limit.mode), scope, Metric(limit.metric)
        )
        assert was_there == (self.model.limits.pop(limit, None) is not None)

    async def pay(self, line: Line, kind: Kind, amount: int, reference: str | None, *, own: bool) -> None:
        """A payment into the tenant's or a key's own balance, entered perhaps twice."""
        place = (line.mode, line.root if own else "", "")
        earlier = self.model.references.get((line.mode, f"{kind} {reference}")) if reference else None
        try:
            is_new = await self.place.gateway.db.write(
                ledger.add,
                self._owner(line.mode),
                Scope(place[1]),
                kind,
                amount,
                now_ms=self.now_ms,
                reference=reference,
            )
        except Problem:
            assert earlier is not None
            assert earlier != (place, amount)
            return
        assert is_new == (earlier is None)
        if not is_new:
            return
        limit = Limit(*place, "credits-total")
        if kind is Kind.TOP_UP and self.model.limits.get(limit, (None, None))[0] is None:
            self.model.limits[limit] = (0, None)
        self.model.paid[place] = self.model.paid.get(place, 0) + amount
        if reference:
            self.model.references[line.mode, f"{kind} {reference}"] = (place, amount)

    def _owner(self, mode: str) -> Owner:
        return Owner(self.place.tenant_id, mode)

    async def quote(self, server: Server, line: Line, intent: Wish) -> None:
        key, path = line.key(0, self.now_ms)[1], f"/v1/quotes/{intent.model_id}"
        quote = told(await self.place.call(server, key, "POST", path, body=intent.body), 200, None)
        violated, _ = self.refusal(server, line, intent)
        assert (quote["admissible"], quote["price_microcredits"]) == (not violated, self.price(intent))
        assert set((quote["refusal"] or {"violated-policies": []})["violated-policies"]) == violated

    # What must be true.

    async def check(self, *, thoroughly: bool = False) -> None:
        """Rows, sums and what is shown of them after everything, and the whole books now and then."""
        self.checks += 1
        made = self.place.upstream.made
        assert not made or max(made.values()) <= 1, "two jobs of one submit"
        await self._check_rows()
        if thoroughly or self.checks % 10 == 0:
            report = await self.place.report()
            assert report.findings == [], report.findings
        if not thoroughly and self.checks % 2:
            return
        server, line = self.server(self.checks // 2), self.line(self.checks // 4)
        balance = self.model.balance(line.mode)
        kept = await self.place.balances(line.mode)
        assert kept == (balance, balance), (kept, balance)
        answer = await self.place.call(server, line.key(0, self.now_ms)[1], "GET", "/v1/quota")
        names = ("policy", "model_id", "limit", "held", "spent", "remaining")
        shown = {Shown(*(one[name] for name in names)) for one in told(answer, 200, None)["limits"]}
        expected = set(self.model.standings(line, None, server.options, self.now_ms))
        assert shown == expected, (shown - expected, expected - shown)

    async def _check_rows(self) -> None:
        rows = await self.place.rows()
        waiting = {job.mark: job for job in self.model.jobs if job.id is None}
        jobs = {job.id: job for job in self.model.jobs}
        assert len(rows) == len(self.model.jobs)
        for row in rows:
            job = jobs.get(row["id"]) or waiting[row["mark"]]
            job.id = row["id"]
            assert row["tenant_id"] == self.place.tenant_id
            found = (
                *(row["mark"], row["kid"], row["root_kid"], row["mode"], row["model_id"], row["quota_day"]),
                *(row["state"], row["charge"], row["price_microcredits"], row["output_seconds"]),
                *(row["upstream_request_id"], row["idempotency_key"], row["changed_at_ms"]),
            )
            expected = (
                *(job.mark, job.kid, job.line.root, job.line.mode, job.model_id, job.day),
                *(job.state, job.charge, job.price, job.seconds),
                *(job.upstream_id, job.idempotency_key, job.changed_ms),
            )
            assert found == expected, (found, expected)

    async def check_histories(self) -> None:
        """Every request as its tenant sees it, and as nobody else does."""
        server = self.place.servers[0]
        for at, job in enumerate(self.model.jobs):
            self.model.look(job, self.phase(server, job), self.now_ms)
            path = f"/v1/requests/{job.id}"
            answer = await self.place.call(server, self.key_for(job), "GET", path)
            events = told(answer, 200, None)["events"]
            assert [event["version"] for event in events] == list(range(1, len(events) + 1))
            states = [event["state"] for event in events]
            assert states[0] in _FIRST_STATES
            assert states[-1] == job.state
            for before, after in itertools.pairwise(states):
                assert State(after) in MOVES[State(before)]
            others = [line.key(0, self.now_ms)[1] for line in self.model.lines if line.mode != job.line.mode]
            key = (self.place.stranger, others[0])[at % 2]
            told(await self.place.call(server, key, "GET", path), 404, "request_not_found")
        answer = await self.place.call(server, self.place.stranger, "GET", "/v1/requests")
        assert told(answer, 200, None)["requests"] == []
