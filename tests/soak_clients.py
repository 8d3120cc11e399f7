"""Clients that never give up: each submit is repeated with its key until it is answered, then followed.

Where there are several servers, each call goes to any of them.
"""

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.harness import SUBMIT

WEIGHTS = {
    "canned": 60,
    "canned,slow=0.1": 10,
    "queued": 10,  # for ever: cancelled by its client
    "fail": 5,
    "reject=422": 5,
    "truncated": 3,
    "malformed": 3,
    "hang": 2,
    "hang-before": 2,
}
"""What the upstream does with a submit."""
GENTLE = {"canned": 70, "canned,slow=0.1": 15, "queued": 10, "fail": 5}
"""Of which an upstream answers every submit: whatever else a client meets is the gateway's own doing."""
CANCELLED = "queued"
PAUSE_S = 0.1  # before the same is asked again
FOLLOWED = 0.4  # of the jobs: at once, the others in the end
REPEATED = 0.1  # of the submits: once more with the same key, though it was answered


@dataclass
class Job:
    """One submit that a client insists on, and everything that it was told about it."""

    key: str
    directive: str
    request_ids: list[str] = field(default_factory=list)
    """The last one is what its key stands for now."""
    answers: list[str] = field(default_factory=list)
    """What differs from the answer before: `accepted`, or a refusal's code that forbids to repeat it."""
    words: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        return "accepted" in self.answers


@dataclass(frozen=True)
class Failure:
    """A call that was not answered as one wishes, `at_s` of the monotonic clock."""

    at_s: float
    base_url: str
    method: str
    what: str
    answered: bool


@dataclass
class Caller:
    """A client of one tenant, in a thread of its own until `stop` is set."""

    base_urls: list[str]
    key: str
    picture: str
    chance: random.Random
    stop: threading.Event
    weights: dict[str, int] = field(default_factory=lambda: WEIGHTS)
    jobs: list[Job] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        with httpx2.Client(headers=headers, trust_env=False, timeout=15) as client:
            while not self.stop.is_set():
                directive = self.chance.choices(list(self.weights), list(self.weights.values()))[0]
                job = Job(uuid.UUID(int=self.chance.getrandbits(128)).hex, directive)
                self.jobs.append(job)
                self._submit(client, job)
                if job.accepted and self.chance.random() < FOLLOWED:
                    self._follow(client, job)
                if self.chance.random() < REPEATED:
                    self._submit(client, self.chance.choice(self.jobs))
                time.sleep(self.chance.random() * 0.02)
            for job in self.jobs:
                if job.accepted and not job.words:
                    self._follow(client, job)

    def cancel_unheard_of(self) -> None:
        """Cancel what waits for ever though its submit was answered as unknown: late evidence found it."""
        headers = {"Authorization": f"Bearer {self.key}"}
        with httpx2.Client(headers=headers, trust_env=False, timeout=15) as client:
            for job in self.jobs:
                if job.directive == CANCELLED and job.request_ids and not job.accepted:
                    self._ask(client, "POST", f"/v1/requests/{job.request_ids[-1]}/cancel")

    def _ask(self, client: httpx2.Client, method: str, path: str, **more: Any) -> tuple[int, dict[str, Any]]:
        """The answer; asked again until the server is there and gives one that stays."""
        while True:
            self.sent[method] += 1
            base_url = self.chance.choice(self.base_urls)
            try:
                answer = client.request(method, base_url + path, **more)
                document = answer.json()
            except httpx2.HTTPError as error:
                self.sent["unanswered"] += 1
                self._note(base_url, method, type(error).__name__, answered=False)
            else:
                if answer.status_code < 400 or not (document["retryable"] or answer.status_code == 500):
                    return answer.status_code, document
                self.sent[document["code"]] += 1
                self._note(base_url, method, document["code"], answered=True)
            time.sleep(PAUSE_S * (0.5 + self.chance.random()))

    def _note(self, base_url: str, method: str, what: str, *, answered: bool) -> None:
        self.failures.append(Failure(time.monotonic(), base_url, method, what, answered))

    def _submit(self, client: httpx2.Client, job: Job) -> None:
        body = {"image_urls": [self.picture], "prompt": f"a boat {job.key} [sandbox:{job.directive}]"}
        status, document = self._ask(client, "POST", SUBMIT, json=body, headers={"Idempotency-Key": job.key})
        answer = "accepted" if status == 200 else document["code"]
        if [answer] != job.answers[-1:]:
            job.answers.append(answer)
        if "request_id" in document and document["request_id"] not in job.request_ids:
            job.request_ids.append(document["request_id"])

    def _follow(self, client: httpx2.Client, job: Job) -> None:
        """Poll it to its end; a job that waits for ever is cancelled."""
        path = f"/v1/requests/{job.request_ids[-1]}"
        while not job.words or job.words[-1] in {"in_queue", "in_progress"}:
            if job.directive == CANCELLED:
                self._ask(client, "POST", f"{path}/cancel")
            query = self.chance.choice(("", "?wait=1"))
            _, document = self._ask(client, "GET", f"{path}/result{query}")
            job.words.append(document.get("status") or document["code"])
            time.sleep(0.05)


@contextmanager
def callers(clients: list[Caller]) -> Iterator[None]:
    """Let them work inside the block; leaving waits until each has finished what it began."""
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for client in clients:
            client.stop.set()
        for thread in threads:
            thread.join(600)
        assert not any(thread.is_alive() for thread in threads)
