"""What a gateway must answer and keep, said once more and simply: every sum is added up from the requests."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

MINUTE_US = 60_000_000
GRACE_MS = 300_000
REFUND_AFTER_MS = 86_400_000
LIVE = frozenset({"dispatching", "in_queue", "in_progress", "unknown"})
FOLLOWED = frozenset({"in_queue", "in_progress"})
ENDED = frozenset({"completed", "failed", "cancelled", "rejected", "lost"})


@dataclass(frozen=True)
class Options:
    """Settings that a start may change."""

    settle_on: str = "success"
    charge_for: tuple[str, ...] = ()
    unknown_slot_s: int = 900
    default_limits: tuple[tuple[str, int], ...] = (("submits-minute", 600),)
    cut_off: bool = False
    """Whether this server cannot reach the upstream."""

    @property
    def settles(self) -> frozenset[str]:
        accepted = {"in_queue"} if self.settle_on == "acceptance" else set()
        return frozenset({"completed", *self.charge_for, *accepted})


@dataclass
class Line:
    """A key and those that it was rotated to: (kid, text, when it ends). They share their limits."""

    mode: str
    root: str
    keys: list[tuple[str, str, int | None]]

    def key(self, age: int, now_ms: int) -> tuple[str, str, bool]:
        """The newest key, or an older one, and whether it is still good."""
        kid, text, ends_ms = self.keys[max(0, len(self.keys) - 1 - age)]
        return kid, text, ends_ms is None or now_ms < ends_ms


@dataclass
class Job:
    """A request as its row must be."""

    mark: str
    line: Line
    kid: str
    model_id: str
    price: int
    seconds: int
    day: str
    settles: frozenset[str]
    created_ms: int
    idempotency_key: str | None
    body: str
    state: str = "dispatching"
    charge: str = "held"
    changed_ms: int = 0
    id: str | None = None
    upstream_id: str | None = None
    missing_ms: int | None = None
    stale: bool = False

    @property
    def counts(self) -> bool:
        return self.charge in {"held", "settled"}


class Limit(NamedTuple):
    """Of a mode's keys, one line's or all ("") and one model's or all (""); None lifts a default."""

    mode: str
    root: str
    model_id: str
    metric: str


class Shown(NamedTuple):
    """A limit as it stands, as GET /v1/quota shows it."""

    policy: str
    model_id: str | None
    amount: int
    held: int
    spent: int
    remaining: int


@dataclass
class Model:
    """One tenant's requests, limits and payments."""

    zone: str = "UTC"
    lines: list[Line] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    limits: dict[Limit, tuple[int | None, int | None]] = field(default_factory=dict)
    paid: dict[tuple[str, str, str], int] = field(default_factory=dict)
    references: dict[tuple[str, str], tuple[tuple[str, str, str], int]] = field(default_factory=dict)
    arrivals_us: dict[tuple[str, str, str], int] = field(default_factory=dict)

    # Requests.

    def admit(self, job: Job, options: Options, now_ms: int) -> Job:
        self.jobs.append(job)
        for limit, amount, burst in self._applicable(job.line, job.model_id, options):
            if limit.metric == "submits-minute" and amount:
                place = limit[:3]
                interval_us, arrival_us, _ = self._arrival(place, amount, burst, now_ms)
                self.arrivals_us[place] = arrival_us + interval_us
        return job

    def move(
        self,
        job: Job,
        to: str,
        now_ms: int,
        *,
        only_from: Collection[str] = LIVE,
        spent: bool | None = None,
    ) -> bool:
        """A change of state, and of the charge where it ends one. Whether there was one."""
        if job.state not in only_from or job.state in ENDED:
            return False
        job.state, job.changed_ms, job.stale = to, now_ms, False
        if job.charge == "held" and (to in job.settles or to in ENDED):
            is_spent = to in job.settles if spent is None else spent
            job.charge = "settled" if is_spent else "refunded"
        return True

    def rescue(self, now_ms: int) -> None:
        """What every server does from time to time."""
        for job in self.jobs:
            if job.state == "dispatching" and job.created_ms + 30_000 < now_ms:
                self.move(job, "unknown", now_ms)
            if job.state == "unknown" and job.changed_ms < now_ms - REFUND_AFTER_MS:
                self.move(job, "lost", now_ms)

    def look(self, job: Job, phase: str, now_ms: int) -> None:
        """A look at a job that shows this phase of it; `blind` shows nothing."""
        if job.state not in FOLLOWED:
            return
        job.stale = phase == "blind"
        if phase == "gone":
            job.missing_ms = job.missing_ms or now_ms
            if now_ms - job.missing_ms >= GRACE_MS:
                self.move(job, "lost", now_ms)
        elif phase in ENDED:
            self.move(job, phase, now_ms)
        elif phase != "blind":
            job.missing_ms = None
            if phase == "running" and job.state == "in_queue":
                self.move(job, "in_progress", now_ms)

    def of_key(self, idempotency_key: str | None) -> Job | None:
        if idempotency_key is None:
            return None
        return next((job for job in self.jobs if job.idempotency_key == idempotency_key), None)

    # Limits.

    def day(self, now_ms: int) -> str:
        return datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(ZoneInfo(self.zone)).date().isoformat()

    def standings(self, line: Line, model_id: str | None, options: Options, now_ms: int) -> list[Shown]:
        """Every limit of a key, of one model or of all, as it stands."""
        return [
            self._standing(limit, amount, burst, options=options, now_ms=now_ms)
            for limit, amount, burst in self._applicable(line, model_id, options)
            if amount is not None
        ]

    def refusal(
        self, line: Line, model_id: str, wanted: dict[str, int], options: Options, now_ms: int
    ) -> tuple[set[str], bool]:
        """The limits that one more request does not fit into, and whether waiting alone would not help.

        It wants so much of each unit that is summed, and is one of all others.
        """
        violated, for_ever = set(), False
        for shown in self.standings(line, model_id, options, now_ms):
            amount = next((wanted[unit] for unit in wanted if unit in shown.policy), 1)
            if amount > shown.remaining:
                violated.add(shown.policy)
                for_ever |= amount > shown.amount or shown.policy.endswith("-total")
        return violated, for_ever

    def balance(self, mode: str) -> int:
        """What the tenant paid in, less the prices of all that was neither refunded nor never taken."""
        used = sum(job.price for job in self.jobs if job.line.mode == mode and job.counts)
        return self.paid.get((mode, "", ""), 0) - used

    def _applicable(
        self, line: Line, model_id: str | None, options: Options
    ) -> Iterator[tuple[Limit, int | None, int | None]]:
        for limit, (amount, burst) in self.limits.items():
            of_key = limit.mode == line.mode and limit.root in {"", line.root}
            if of_key and (model_id is None or limit.model_id in {"", model_id}):
                yield limit, amount, burst
        for metric, amount in options.default_limits:
            limit = Limit(line.mode, "", "", metric)
            if limit not in self.limits:
                yield limit, amount, None

    def _standing(
        self, limit: Limit, amount: int, burst: int | None, *, options: Options, now_ms: int
    ) -> Shown:
        policy = f"{'key' if limit.root else 'tenant'}{'-model' if limit.model_id else ''}-{limit.metric}"
        place = limit[:3]
        if limit.metric == "submits-minute":
            room = self._arrival(place, amount, burst, now_ms)[2] if amount else 0
            return Shown(
                policy, limit.model_id or None, amount, 0, (burst or amount) - room if amount else 0, room
            )
        jobs = [
            job
            for job in self.jobs
            if job.line.mode == limit.mode
            and limit.root in {"", job.line.root}
            and limit.model_id in {"", job.model_id}
        ]
        if limit.metric == "in-flight":
            since_ms = now_ms - options.unknown_slot_s * 1000
            held = sum(
                job.state in LIVE and (job.state != "unknown" or job.changed_ms >= since_ms) for job in jobs
            )
            return Shown(policy, limit.model_id or None, amount, held, 0, max(0, amount - held))
        unit, _, window = limit.metric.rpartition("-")
        length = {"day": 10, "month": 7, "total": 0}[window]
        counted = [job for job in jobs if job.day[:length] == self.day(now_ms)[:length]]
        held, spent = (
            sum(
                {"credits": job.price, "output-seconds": job.seconds}.get(unit, 1)
                for job in counted
                if job.charge == charge
            )
            for charge in ("held", "settled")
        )
        if limit.metric == "credits-total":
            amount += self.paid.get(place, 0)
        return Shown(policy, limit.model_id or None, amount, held, spent, max(0, amount - held - spent))

    def _arrival(
        self, place: tuple[str, str, str], amount: int, burst: int | None, now_ms: int
    ) -> tuple[int, int, int]:
        """How far apart submits are, when the next one is due, and how many may come at once."""
        now_us, interval_us, most = now_ms * 1000, -(-MINUTE_US // amount), burst or amount
        furthest_us = now_us + most * interval_us
        arrival_us = max(self.arrivals_us.get(place, 0), now_us)
        if arrival_us > furthest_us + MINUTE_US:  # of a clock that was set back, or of another limit
            arrival_us = now_us
        return interval_us, arrival_us, max(0, (furthest_us - arrival_us) // interval_us)
