"""A run of the comparison: its processes, its interleaved rounds, and their summary."""

import json
import select
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.children import Child, Children, RunError, Watch, free_port, get, split_cores
from bench.databases import database_of_its_own, writing
from bench.gateway import Gateway, start_gateway
from bench.jobs import add_copies
from bench.load import GRACE_S, Order, Tally
from bench.standin import COUNT_PATH
from bench.targets import JOB_IDS, OTHER_IDS, TARGETS, Loop, Target, Traffic, loops, traffic

_WARM_UP_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run; `database` is a choice of `database_of_its_own`."""

    seconds: float
    rounds: int
    rate: float
    database: str
    only: frozenset[str]
    pin: bool
    quick: bool

    def targets(self) -> list[Target]:
        """Returns the chosen targets, with the baselines that they need."""
        wanted = {one.name for one in TARGETS if not self.only or one.name in self.only}
        wanted |= {one.baseline for one in TARGETS if one.name in wanted and one.baseline}
        return [one for one in TARGETS if one.name in wanted]


@dataclass(frozen=True, slots=True)
class Sample:
    """One target in one loop of one round; `…_cpu` is in cores: 1.0 keeps one core busy."""

    tally: Tally
    server_cpu: float
    load_cpu: float
    upstream_cpu: float


@dataclass(frozen=True, slots=True)
class Cell:
    """A target in a loop over all rounds: medians, the worst maximum, and ratios to the baseline.

    A ratio is taken within each round, between neighbours in time, and then the median of those; `spread` is
    the least and the greatest of the ratios of requests/s. `server_us` is the server's processor time for one
    request over all rounds, which hardly changes when other processes use the machine too.
    """

    target: str
    loop: str
    requests: int
    errors: int
    rps: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    late_p99_ms: float
    server_us: float
    server_cpu: float
    load_cpu: float
    upstream_cpu: float
    server_us_ratio: float | None
    rps_ratio: float | None
    p50_ratio: float | None
    p99_ratio: float | None
    spread: tuple[float, float] | None


@dataclass(slots=True)
class Findings:
    """The results of a run."""

    cells: list[Cell] = field(default_factory=list)
    samples: list[dict[str, object]] = field(default_factory=list)
    rss_before_mib: float = 0.0
    rss_after_mib: float = 0.0
    accepted: int = 0
    received: int = 0
    others_cpu: float = 0.0
    took_s: float = 0.0
    faults: list[str] = field(default_factory=list)


def run(options: Options, *, say: Callable[[str], None]) -> Findings:
    """Starts all processes, measures, and ends them; `say` receives messages about the progress."""
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="reelgate-bench-") as name:
        folder = Path(name)
        with database_of_its_own(options.database, folder) as database, Children() as children:
            bench = _start(children, folder, database, options)
            findings = bench.measure(options, say)
    findings.took_s = time.monotonic() - started_s
    return findings


def _start(children: Children, folder: Path, database: str, options: Options) -> "Bench":
    served, other = split_cores(pin=options.pin)
    baseline_port, upstream_port = free_port(), free_port()
    load = children.add(Child("load", ["bench.load"], folder=folder, cores=other, talks=True))
    upstream = children.add(
        Child("standin", ["bench.standin", str(upstream_port)], folder=folder, cores=other)
    )
    baseline = children.add(
        Child("baseline", ["bench.baseline", str(baseline_port)], folder=folder, cores=served)
    )
    upstream.wait_until_it_answers(upstream_port, COUNT_PATH)
    gateway = start_gateway(
        children,
        folder=folder,
        cores=served,
        database=database,
        upstream_port=upstream_port,
        jobs=JOB_IDS,
    )
    with writing(database) as connection:
        others = add_copies(connection, gateway.finished[0], OTHER_IDS, now_ms=time.time_ns() // 1_000_000)
    baseline.wait_until_it_answers(baseline_port, "/")
    return Bench(load, upstream, upstream_port, baseline, gateway, traffic(gateway, others, baseline_port))


@dataclass(frozen=True, slots=True)
class Bench:
    """The running processes."""

    load: Child
    upstream: Child
    upstream_port: int
    baseline: Child
    gateway: Gateway
    traffic: dict[str, Traffic]

    def measure(self, options: Options, say: Callable[[str], None]) -> Findings:
        """Warms up, then runs every loop of every target, round by round, each second round reversed."""
        findings = Findings(accepted=self.gateway.submitted)
        targets = options.targets()
        warm_up = Loop("warm-up", _WARM_UP_CONNECTIONS)
        for target in targets:
            self._note(findings, target, warm_up, self._sample(target, warm_up, options.seconds / 2))
        findings.rss_before_mib = self.gateway.child.rss_mib()
        samples: dict[tuple[str, str], list[Sample]] = {}
        watch = Watch([self.load, self.upstream, self.baseline, self.gateway.child])
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            for loop in loops(options.rate, quick=options.quick):
                for target in targets if number % 2 == 0 else reversed(targets):
                    sample = self._sample(target, loop, options.seconds)
                    self._note(findings, target, loop, sample)
                    samples.setdefault((loop.name, target.name), []).append(sample)
        findings.others_cpu = watch.others_cpu()
        findings.rss_after_mib = self.gateway.child.rss_mib()
        findings.received = json.loads(get(self.upstream_port, COUNT_PATH)[1])["submits"]
        if findings.accepted != findings.received:
            findings.faults.append(
                f"{findings.accepted} submits were accepted, the upstream received {findings.received}"
            )
        for (loop_name, name), ours in samples.items():
            baseline = next(one.baseline for one in TARGETS if one.name == name)
            findings.cells.append(_cell(name, loop_name, ours, samples.get((loop_name, baseline or ""))))
        return findings

    def _note(self, findings: Findings, target: Target, loop: Loop, sample: Sample) -> None:
        tally = sample.tally
        findings.samples.append({"target": target.name, "loop": loop.name, **asdict(sample)})
        if target.name == "submit":
            findings.accepted += tally.requests
        if tally.errors or not tally.requests:
            findings.faults.append(
                f"{target.name}, {loop.name}: {tally.requests} answers, {tally.errors} errors."
                f" {tally.first_error}"
            )

    def _sample(self, target: Target, loop: Loop, seconds: float) -> Sample:
        server = self.baseline if target.of_baseline else self.gateway.child
        children = (server, self.load, self.upstream)
        before = [child.cpu_s() for child in children]
        own = self.traffic[target.name]
        tally = measured(
            self.load, Order(own.port, own.requests, own.expect, loop.connections, seconds, loop.rate)
        )
        used = [child.cpu_s() - then for child, then in zip(children, before, strict=True)]
        return Sample(tally, *(one / tally.seconds for one in used))


def order(load: Child, wanted: Order) -> None:
    """Tells a load generator to start a round."""
    if load.process.stdin is None:
        raise RunError("the load generator was started without pipes")
    load.process.stdin.write(json.dumps(asdict(wanted)).encode() + b"\n")
    load.process.stdin.flush()


def measured(load: Child, wanted: Order) -> Tally:
    """Runs a round and returns its measurements."""
    order(load, wanted)
    return answer(load, wanted)


def answer(load: Child, wanted: Order) -> Tally:
    """Waits for the round that was ordered, and returns its measurements."""
    if load.process.stdout is None:
        raise RunError("the load generator was started without pipes")
    ready, _, _ = select.select([load.process.stdout], [], [], wanted.seconds + 2 * GRACE_S)
    line = load.process.stdout.readline() if ready else b""
    if not line:
        raise RunError(f"the load generator did not answer:\n{load.tail()}")
    return Tally(**json.loads(line))


def _cell(target: str, loop: str, ours: list[Sample], baseline: list[Sample] | None) -> Cell:
    rps_ratios = _ratios(ours, baseline, lambda tally: tally.rps)
    baseline_us = _server_us(baseline or [])
    server_us_ratio = _server_us(ours) / baseline_us if baseline_us else None
    return Cell(
        target=target,
        loop=loop,
        requests=sum(one.tally.requests for one in ours),
        errors=sum(one.tally.errors for one in ours),
        rps=statistics.median(one.tally.rps for one in ours),
        p50_ms=statistics.median(one.tally.p50_ms for one in ours),
        p99_ms=statistics.median(one.tally.p99_ms for one in ours),
        max_ms=max(one.tally.max_ms for one in ours),
        late_p99_ms=statistics.median(one.tally.late_p99_ms for one in ours),
        server_us=_server_us(ours),
        server_cpu=statistics.median(one.server_cpu for one in ours),
        load_cpu=statistics.median(one.load_cpu for one in ours),
        upstream_cpu=statistics.median(one.upstream_cpu for one in ours),
        server_us_ratio=server_us_ratio,
        rps_ratio=_median_or_none(rps_ratios),
        p50_ratio=_median_or_none(_ratios(ours, baseline, lambda tally: tally.p50_ms)),
        p99_ratio=_median_or_none(_ratios(ours, baseline, lambda tally: tally.p99_ms)),
        spread=(min(rps_ratios), max(rps_ratios)) if rps_ratios else None,
    )


def _server_us(samples: list[Sample]) -> float:
    requests = sum(one.tally.requests for one in samples)
    return sum(one.server_cpu * one.tally.seconds for one in samples) / requests * 1e6 if requests else 0.0


def _ratios(
    ours: list[Sample], baseline: list[Sample] | None, number: Callable[[Tally], float]
) -> list[float]:
    pairs = zip(ours, baseline or [], strict=baseline is not None)
    return [number(one.tally) / number(other.tally) for one, other in pairs if number(other.tally)]


def _median_or_none(numbers: list[float]) -> float | None:
    return statistics.median(numbers) if numbers else None
