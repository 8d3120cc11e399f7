"""Watchers: streams of all of a tenant's events, cut at any point and resumed at any server."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.soak_clients import PAUSE_S, Failure

WATCHED = ("event missing", "event again", "numbered twice")
"""What may be wrong with an event as it comes."""


@dataclass
class Watcher:
    """A stream of one tenant's events, in a thread of its own until `stop` is set."""

    base_urls: list[str]
    key: str
    chance: random.Random
    stop: threading.Event
    events: list[dict[str, Any]] = field(default_factory=list)
    """As they came, each with the number that it came under."""
    wrong: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """The number of the last event; all before it came too, or `wrong` says so."""
        return self.events[-1]["number"] if self.events else 0

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        with httpx2.Client(headers=headers, trust_env=False, timeout=10) as client:
            while not self.stop.is_set():
                base_url = self.chance.choice(self.base_urls)
                try:
                    what = self._watch(client, base_url)
                except httpx2.HTTPError as error:
                    what = type(error).__name__
                self.met[what] += 1
                self.failures.append(Failure(time.monotonic(), base_url, "STREAM", what, answered=False))
                time.sleep(PAUSE_S * self.chance.random())

    def _watch(self, client: httpx2.Client, base_url: str) -> str:
        """Read a stream to its end; how it ended."""
        headers = {"Last-Event-ID": str(self.seen)}
        with client.stream("GET", f"{base_url}/v1/events", headers=headers) as answer:
            if answer.status_code != 200:
                code: str = json.loads(answer.read())["code"]
                return code
            number = 0
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    number = int(value)
                elif name == "data":
                    self._take(number, json.loads(value))
                if self.stop.is_set():
                    return "stopped"
        return "ended"

    def _take(self, number: int, event: dict[str, Any]) -> None:
        faults = (number > self.seen + 1, number <= self.seen, number != event["number"])
        for fault, is_so in zip(WATCHED, faults, strict=True):
            self.wrong[fault] += is_so
        self.events.append(event)


@contextmanager
def watchers(all_of_them: list[Watcher]) -> Iterator[None]:
    """Let them watch inside the block."""
    threads = [threading.Thread(target=one.run, daemon=True) for one in all_of_them]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for one in all_of_them:
            one.stop.set()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
