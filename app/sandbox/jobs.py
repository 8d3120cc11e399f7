"""The life of a job as a function of the clock: no I/O, no clock of its own.

Queued jobs start in the order of their arrival as slots become free; a running job finishes when its minimum
time is over *and* its file was rendered. `settle(now)` applies everything that is due, each at its own time,
so that one late call leaves the same record as many early ones.
"""

import heapq
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

FAILURES: dict[str, Any] = {
    "fail": "the sandbox was asked to fail",
    "fail-object": {"code": "SANDBOX_FAILURE", "message": "the sandbox was asked to fail"},
    "fail-list": [{"code": "SANDBOX_FAILURE", "message": "the sandbox was asked to fail"}, "second reason"],
}


class State(StrEnum):
    """The state of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


@dataclass(slots=True, kw_only=True)
class Job:
    """One accepted request. Times are seconds since 1970 UTC.

    input: as sent, but a long `data:` URI is abridged (its text is kept in a file until the job ends).
    prepared_at: when the file was rendered or the failure was known; the job may still have to run on.
    output: the kind of medium to the name of its file, such as `{"video": "<id>.mp4"}`.
    error: a string, an object or a list when it failed.
    seen: how often each route was called for this job; not kept over a restart.
    """

    request_id: str
    model_id: str
    input: dict[str, Any]
    directives: dict[str, float]
    created_at: float
    queue_s: float
    run_s: float
    number: int = 0
    state: State = State.QUEUED
    started_at: float | None = None
    prepared_at: float | None = None
    finished_at: float | None = None
    output: dict[str, str] | None = None
    error: Any = None
    seen: Counter[str] = field(default_factory=Counter)

    def failure(self) -> Any:
        """Returns the error that a directive asks for, or None."""
        return next((error for name, error in FAILURES.items() if name in self.directives), None)


class JobBook:
    """All jobs, and the rules by which time changes them. Not thread-safe: it belongs to the event loop."""

    def __init__(self, concurrency: int) -> None:
        self.jobs: dict[str, Job] = {}
        self._concurrency = concurrency
        self._numbers = 0
        self._line: list[int] = []  # sorted numbers of the queued jobs: bisection gives a job's position
        self._running: set[str] = set()
        self._waiting: list[tuple[float, int, str]] = []  # heap: queued jobs by the earliest time to start
        self._ready: list[tuple[int, str]] = []  # heap: queued jobs that only need a free slot
        self._finishing: list[tuple[float, int, str]] = []  # heap: prepared jobs by the time they finish
        self._settled_at = 0.0

    def add(self, job: Job) -> None:
        """Adds a new job at the end of the queue."""
        self._numbers += 1
        job.number = self._numbers
        self._enlist(job)

    def restore(self, jobs: Iterable[Job]) -> list[Job]:
        """Adds the jobs of an earlier run; returns those whose rendering was interrupted."""
        cut_short = []
        for job in sorted(jobs, key=lambda each: each.number):
            self._numbers = max(self._numbers, job.number)
            if job.state is State.QUEUED:
                self._enlist(job)
                continue
            self.jobs[job.request_id] = job
            if job.state is State.RUNNING:
                self._running.add(job.request_id)
                if job.prepared_at is None:
                    cut_short.append(job)
                else:
                    self._finish_later(job)
        return cut_short

    def _enlist(self, job: Job) -> None:
        """Adds a queued job; one that a directive keeps in the queue never becomes ready."""
        self.jobs[job.request_id] = job
        insort(self._line, job.number)
        if "queued" not in job.directives:
            heapq.heappush(self._waiting, (job.created_at + job.queue_s, job.number, job.request_id))

    def forget(self, request_id: str) -> None:
        """Removes a finished job."""
        self.jobs.pop(request_id, None)

    def place(self, job: Job) -> int:
        """Returns the number of queued jobs before this one: 0 is the next."""
        return bisect_left(self._line, job.number)

    def cancel(self, job: Job, now: float) -> bool:
        """Cancels a queued job; returns False for any other."""
        if job.state is not State.QUEUED:
            return False
        self._leave_line(job)
        job.state = State.CANCELLED
        job.finished_at = now
        return True

    def prepared(
        self, job: Job, at: float, *, output: dict[str, str] | None = None, error: Any = None
    ) -> None:
        """Records that a running job's file exists, or that it failed; the job may still have to run on."""
        job.prepared_at, job.output, job.error = at, output, error
        self._finish_later(job)

    def _finish_later(self, job: Job) -> None:
        started, prepared = job.started_at or job.created_at, job.prepared_at or job.created_at
        heapq.heappush(self._finishing, (max(started + job.run_s, prepared), job.number, job.request_id))

    def next_event(self) -> float | None:
        """Returns when `settle` has something to do next; None if that depends on other calls alone."""
        heads = [heap[0][0] for heap in (self._waiting, self._finishing) if heap]
        return min(heads, default=None)

    def settle(self, now: float) -> list[Job]:
        """Applies all that is due by `now`, in order of time; returns the jobs that started or finished."""
        changed: list[Job] = []
        while (due := self.next_event()) is not None and due <= now:
            self._settled_at = max(self._settled_at, due)
            if self._finishing and self._finishing[0][0] == due:
                changed.append(self._finish(heapq.heappop(self._finishing)[2]))
            else:
                _, number, request_id = heapq.heappop(self._waiting)
                heapq.heappush(self._ready, (number, request_id))
            changed += self._start_ready()
        return changed

    def _finish(self, request_id: str) -> Job:
        job = self.jobs[request_id]
        self._running.discard(request_id)
        job.state = State.SUCCEEDED if job.error is None else State.FAILED
        job.finished_at = self._settled_at
        return job

    def _start_ready(self) -> list[Job]:
        """Starts ready jobs in the free slots; returns them.

        A job that a directive lets fail needs no rendering: it is prepared as it starts.
        """
        started = []
        while self._ready and len(self._running) < self._concurrency:
            job = self.jobs.get(heapq.heappop(self._ready)[1])
            if job is None or job.state is not State.QUEUED:
                continue  # cancelled while it was queued
            self._leave_line(job)
            self._running.add(job.request_id)
            job.state = State.RUNNING
            job.started_at = max(self._settled_at, job.created_at)
            if (error := job.failure()) is not None:
                self.prepared(job, job.started_at, error=error)
            started.append(job)
        return started

    def _leave_line(self, job: Job) -> None:
        del self._line[bisect_left(self._line, job.number)]
