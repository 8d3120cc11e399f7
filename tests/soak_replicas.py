"""Several servers and workers over one database: killed at random, or relieved one after another."""

import itertools
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.processes import Place, free_port
from tests.soak_clients import Failure
from tests.soak_server import SOUND, Servers, servers

BETWEEN_KILLS_S = (1.0, 4.0)
MAX_AWAY_S = 1.0
BETWEEN_LEAVES_S = 1.0
WORKER_START_S = 3.0  # until it has said what it does with SIGTERM
EXIT_MARGIN_S = 2.0  # beyond what a server may wait for what is under way
NOTICED_S = 0.3  # from the end of a call that failed to when its client says so
NOBODY_THERE = frozenset({"ConnectError", "ReadError", "WriteError", "RemoteProtocolError"})
"""What a client may meet at a server that left: a refusal, a reset, a close without an answer."""
ENDS_WELL = frozenset({"ended", "shutting_down", "stopped"})
"""How a stream ends at a server that leaves."""


@dataclass(frozen=True)
class Leave:
    """A server was away, from the signal until another was there."""

    base_url: str
    from_s: float
    until_s: float

    def explains(self, failure: Failure) -> bool:
        return failure.base_url == self.base_url and self.from_s <= failure.at_s <= self.until_s + NOTICED_S


@dataclass
class Fleet:
    """The processes, each started again by its own launcher."""

    servers: list[Servers]
    workers: list[Servers]
    ends: int = 0
    leaves: list[Leave] = field(default_factory=list)
    exits_s: list[float] = field(default_factory=list)

    @property
    def all(self) -> list[Servers]:
        return [*self.servers, *self.workers]

    @property
    def base_urls(self) -> list[str]:
        return [one.place.url for one in self.servers]

    def start(self, **settings: str) -> None:
        for one in self.all:
            if not one.pid:
                one.start(**settings)
        for one in self.all:
            one.until_ready()

    def stop(self) -> None:
        for one in self.all:
            one.end(signal.SIGTERM)

    def kill(self, chance: random.Random, *, going_on: Callable[[int], bool]) -> None:
        """Kill any of them every few seconds."""
        while going_on(self.ends):
            time.sleep(chance.uniform(*BETWEEN_KILLS_S))
            one = chance.choice(self.all)
            one.end(signal.SIGKILL)
            self.ends += 1
            time.sleep(chance.random() * MAX_AWAY_S)
            one.start()

    def roll(self, *, going_on: Callable[[int], bool]) -> None:
        """Ask one after another to leave; the next once the last is back."""
        for one in itertools.cycle(self.all):
            if not going_on(self.ends):
                return
            time.sleep(BETWEEN_LEAVES_S)
            from_s = time.monotonic()
            one.end(signal.SIGTERM)  # which asserts exit code 0
            self.exits_s.append(time.monotonic() - from_s)
            self.ends += 1
            one.start()
            one.until_ready()
            if one in self.workers:
                time.sleep(WORKER_START_S)
            else:
                self.leaves.append(Leave(one.place.url, from_s, time.monotonic()))

    def unexplained(self, failures: Iterable[Failure], drain_s: float) -> Counter[str]:
        """What clients met while servers were relieved, and should not have."""
        found = Counter(
            f"{one.method} {one.what}"
            for one in failures
            if one.answered
            or one.what not in NOBODY_THERE | ENDS_WELL
            or not any(leave.explains(one) for leave in self.leaves)
        )
        found["late exits"] = sum(exit_s > drain_s + EXIT_MARGIN_S for exit_s in self.exits_s)
        return found

    def numbers(self) -> dict[str, str]:
        if not self.exits_s:
            return {}
        return {
            "exit, median": f"{statistics.median(self.exits_s):.2f} s",
            "exit, longest": f"{max(self.exits_s):.2f} s",
        }


@contextmanager
def fleet(
    place: Place,
    folder: Path,
    *,
    replicas: int,
    workers: int,
    outputs: tuple[str, ...] = SOUND,
    seed: str = "",
) -> Iterator[Fleet]:
    """So many `serve` and `worker`, none of them started yet."""
    with ExitStack() as stack:

        def one(command: str, number: int, *, loops: bool) -> Servers:
            name = f"{command}-{number}"
            own = place.but(
                PORT=str(free_port()),
                DATA_DIR=str(folder / name),
                RUN_LOOPS=str(loops).lower(),
            )
            log = folder / f"{name}.log"
            return stack.enter_context(servers(own, log, command, outputs=outputs, seed=seed))

        yield Fleet(
            [one("serve", number, loops=not workers) for number in range(replicas)],
            [one("worker", number, loops=True) for number in range(workers)],
        )
