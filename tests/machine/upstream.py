"""A small upstream for the machine: over real HTTP; it does what it was told, and nothing by itself."""

import asyncio
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import Wire, response
from tests.patience import PATIENCE_S

TOKENS = {"test": "token-of-the-stand-in", "live": "token-of-the-provider"}
ID_PREFIX = "upjob-"

ENDS = ("completed", "failed", "cancelled")


@dataclass
class UpstreamJob:
    """A job as the upstream has it: queued, running, one of ENDS, or gone."""

    id: str
    mark: str
    mode: str
    phase: str = "queued"
    blind: bool = False
    """Whether whoever asks about it gets an error that tells nothing."""


@dataclass
class FakeUpstream:
    """What the next body with a mark meets, and everything that came.

    `made` counts the bodies of which it made a job, or may have for all that anybody can know.
    """

    plans: dict[str, list[str]] = field(default_factory=dict)
    jobs: dict[str, UpstreamJob] = field(default_factory=dict)
    bodies: Counter[str] = field(default_factory=Counter)
    made: Counter[str] = field(default_factory=Counter)
    twin: str = ""
    """The id that a `twin` answers with."""
    finishes_on_cancel: bool = False
    _held: dict[str, "asyncio.Future[str]"] = field(default_factory=dict)

    def plan(self, mark: str, *actions: str) -> None:
        """What becomes of the bodies with this mark, one after the other."""
        self.plans[mark] = list(actions)

    async def holds(self, mark: str) -> None:
        """Return once the body with this mark is here and hangs."""
        async with asyncio.timeout(PATIENCE_S):
            while mark not in self._held:  # noqa: ASYNC110 - what hangs tells nobody
                await asyncio.sleep(0.001)

    def let_go(self, mark: str, action: str) -> None:
        """Answer what hangs, if it does."""
        held = self._held.get(mark)
        if held is not None and not held.done():
            held.set_result(action)

    def job_of(self, mark: str) -> UpstreamJob | None:
        return next((job for job in self.jobs.values() if job.mark == mark), None)

    async def serve(self, wire: Wire) -> None:
        """One connection, one call."""
        head = (await wire.head()).decode()
        method, path = head.split(" ", 2)[:2]
        mode = next(mode for mode, token in TOKENS.items() if f"Bearer {token}" in head)
        sizes = re.findall(r"(?i)\ncontent-length: *(\d+)", head)
        body = await wire.reader.readexactly(int(sizes[0])) if sizes else b""
        if path.startswith("/v1/models/"):
            await self._submit(wire, mode, json.loads(body)["prompt"])
            return
        _, _, _, upstream_id, what = path.partition("?")[0].split("/")
        job = self.jobs.get(upstream_id)
        status, document = self._look(job if job and job.mode == mode else None, method, what)
        await wire.send(response(status, document, "Connection: close"))

    async def _submit(self, wire: Wire, mode: str, mark: str) -> None:
        self.bodies[mark] += 1
        action = self.plans[mark].pop(0)
        if action == "hang":
            job = self._make(mark, mode)
            self._held[mark] = asyncio.get_running_loop().create_future()
            action = await self._held[mark]
            del self._held[mark]
            if action == "accept":
                await wire.send(_accepted(job.id))
                return
            if action != "lost":  # a refusal: there never was a job
                del self.jobs[job.id]
                self.made[mark] -= 1
        elif action in {"accept", "lost"}:
            job = self._make(mark, mode)
            if action == "accept":
                await wire.send(_accepted(job.id))
                return
        elif action in {"nothing", "twin"}:
            self.made[mark] += 1
        answers = {
            "refuse": response(422, {"detail": [{"loc": ["body", "prompt"], "msg": "no"}]}),
            "busy": response(429, {}),
            "busy_for_a_moment": response(429, {}, "Retry-After: 0"),
            "credential": response(401, {"message": TOKENS[mode]}),
            "twin": _accepted(self.twin),
        }
        await wire.send(answers.get(action, b""))  # nothing: the answer is lost

    def _make(self, mark: str, mode: str) -> UpstreamJob:
        self.made[mark] += 1
        job = UpstreamJob(f"{ID_PREFIX}{sum(self.made.values())}-{mark}", mark, mode)
        self.jobs[job.id] = job
        return job

    def _look(self, job: UpstreamJob | None, method: str, what: str) -> tuple[int, dict[str, Any]]:
        if job is None or job.phase == "gone":
            return 404, {"error_code": 404001}
        if job.blind:
            return 500, {}
        if method == "POST":
            if self.finishes_on_cancel and job.phase == "queued":
                job.phase = "completed"
            if job.phase in {"queued", "cancelled"}:
                job.phase = "cancelled"
                return 202, {"outcome": "cancelled"}
            return 202, {"outcome": "not_cancellable"}
        if what == "status":
            words = {"queued": "in_queue", "running": "in_progress", "failed": "completed"}
            return 200, {"status": words.get(job.phase, job.phase), "queue_position": 0}
        results: dict[str, dict[str, Any]] = {
            "completed": {"status": "succeeded", "output": {"video": "https://v.test/1"}, "cost": 0.1},
            "failed": {"status": "failed", "error": {"text": f"{job.id} of {TOKENS[job.mode]}"}},
        }
        return 200, results.get(job.phase, {"status": job.phase})


def _accepted(upstream_id: str) -> bytes:
    return response(200, {"request_id": upstream_id, "status_url": "s", "result_url": "r", "cancel_url": "c"})
