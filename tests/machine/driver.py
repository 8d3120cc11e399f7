"""What the machine does with submits and servers, beside what must come of it."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx2

from tests.machine.model import LIVE, Job, Line, Model, Options
from tests.machine.surroundings import Place, Server
from tests.machine.upstream import UpstreamJob
from tests.pictures import data_uri, png

_IMAGE = [data_uri(png())]
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "small": ("bytedance/dreamina-3-0/image-to-video", {"image_urls": _IMAGE}),
    "large": ("bytedance/dreamina-3-0/image-to-video", {"image_urls": _IMAGE, "resolution": "1080P"}),
    "sound": ("bytedance/seed-audio-1.0/text-to-audio", {}),
    "free": ("wan-ai/wan-2.7/edit", {"image_urls": _IMAGE}),
}
OUTCOMES = {
    "accept": (200, None, "in_queue"),
    "busy_for_a_moment": (200, None, "in_queue"),
    "refuse": (422, "upstream_rejected", "rejected"),
    "busy": (503, "upstream_busy", "rejected"),
    "credential": (503, "upstream_credential_refused", "rejected"),
    "lost": (504, "outcome_unknown", "unknown"),
    "nothing": (504, "outcome_unknown", "unknown"),
    "twin": (504, "outcome_unknown", "unknown"),
}
FREES_THE_KEY = frozenset({"busy", "credential"})
_MAX_PRESSED = 5
_UNSETTLED = frozenset({"dispatching", "unknown"})


class Wish(NamedTuple):
    """A submit, as often as it is sent."""

    mark: str
    model_id: str
    body: dict[str, Any]
    idempotency_key: str | None

    def fingerprint(self, mode: str) -> str:
        return f"{mode} {self.model_id} {json.dumps(self.body, sort_keys=True)}"


def told(answer: httpx2.Response, status: int, code: str | None) -> dict[str, Any]:
    document: dict[str, Any] = answer.json()
    assert (answer.status_code, document.get("code")) == (status, code), answer.text
    return document


@dataclass
class Submits:
    """Submits, and the ends of servers that met them: on the gateways and on the model alike."""

    place: Place
    model: Model = field(default_factory=Model)
    wishes: list[Wish] = field(default_factory=list)
    _marks: int = 0

    @property
    def now_ms(self) -> int:
        return self.place.now_ms

    def server(self, number: int) -> Server:
        return self.place.servers[number % len(self.place.servers)]

    def line(self, number: int) -> Line:
        return self.model.lines[number % len(self.model.lines)]

    def job(self, number: int) -> Job:
        """One of the live ones, mostly."""
        live = [job for job in self.model.jobs if job.state in LIVE]
        jobs = live if live and number % 4 else self.model.jobs
        return jobs[number % len(jobs)]

    def upstream_job(self, number: int) -> UpstreamJob | None:
        """One of those that have not ended, mostly."""
        jobs = list(self.place.upstream.jobs.values())
        live = [job for job in jobs if job.phase in {"queued", "running"}]
        jobs = live if live and number % 4 else jobs
        return jobs[number % len(jobs)] if jobs else None

    @property
    def of_unknown_fate(self) -> list[Job]:
        return [job for job in self.model.jobs if job.state == "unknown"]

    def intent(self, kind: str, *, keyed: bool) -> Wish:
        self._marks += 1
        mark = f"m{self._marks}"
        model_id, body = BODIES[kind]
        intent = Wish(mark, model_id, {**body, "prompt": mark}, f"key-{mark}" if keyed else None)
        if keyed:
            self.wishes.append(intent)
        return intent

    # Submits.

    def price(self, intent: Wish) -> int:
        model = self.place.gateway.catalog.models.get(intent.model_id)
        assert model is not None
        return model.price(intent.body)

    def seconds(self, intent: Wish) -> int:
        model = self.place.gateway.catalog.models.get(intent.model_id)
        assert model is not None
        seconds = model.seconds(intent.body)
        assert seconds is not None
        return seconds

    def refusal(self, server: Server, line: Line, intent: Wish) -> tuple[set[str], bool]:
        wanted = {"credits": self.price(intent), "output-seconds": self.seconds(intent)}
        return self.model.refusal(line, intent.model_id, wanted, server.options, self.now_ms)

    def admit(self, server: Server, line: Line, intent: Wish, kid: str) -> Job:
        job = Job(
            intent.mark,
            line,
            kid,
            intent.model_id,
            self.price(intent),
            self.seconds(intent),
            self.model.day(self.now_ms),
            server.options.settles,
            self.now_ms,
            intent.idempotency_key,
            intent.fingerprint(line.mode),
            changed_ms=self.now_ms,
        )
        return self.model.admit(job, server.options, self.now_ms)

    async def post(self, server: Server, key: str, intent: Wish) -> httpx2.Response:
        headers = {} if intent.idempotency_key is None else {"Idempotency_Key": intent.idempotency_key}
        path = f"/v1/models/{intent.model_id}"
        return await self.place.call(server, key, "POST", path, body=intent.body, **headers)

    async def submit(self, server: Server, line: Line, intent: Wish, outcome: str, *, age: int = 0) -> None:
        """Send it; the upstream does as `outcome` says, should it hear of it."""
        upstream = self.place.upstream
        kid, key, good = line.key(age, self.now_ms)
        earlier = self.model.of_key(intent.idempotency_key)
        violated, for_ever = self.refusal(server, line, intent)
        had = upstream.bodies[intent.mark]
        if outcome == "twin":
            twins = [
                job.upstream_id for job in self.model.jobs if job.upstream_id and job.line.mode == line.mode
            ]
            outcome, upstream.twin = ("twin", twins[0]) if twins else ("accept", "")
        upstream.plan(intent.mark, *([outcome, "accept"] if outcome == "busy_for_a_moment" else [outcome]))
        answer = await self.post(server, key, intent)
        heard = upstream.bodies[intent.mark] - had
        if not good or earlier is not None or violated or server.options.cut_off:
            assert heard == 0
        if not good:
            told(answer, 401, "invalid_api_key")
        elif earlier is not None:
            self._told_of(answer, earlier, line, intent.fingerprint(line.mode))
        elif violated:
            self._refused(answer, violated, for_ever)
        else:
            assert heard == (0 if server.options.cut_off else 2 if outcome == "busy_for_a_moment" else 1)
            self._became(
                self.admit(server, line, intent, kid), outcome, answer, cut_off=server.options.cut_off
            )

    def _refused(self, answer: httpx2.Response, violated: set[str], for_ever: bool) -> None:
        problem = told(answer, 429, "quota_exhausted" if for_ever else "quota_exceeded")
        assert set(problem["violated-policies"]) == violated
        assert ("retry-after" in answer.headers) == (not for_ever)

    def _became(self, job: Job, outcome: str, answer: httpx2.Response, *, cut_off: bool) -> None:
        status, code, state = (503, "upstream_unreachable", "rejected") if cut_off else OUTCOMES[outcome]
        job.id = told(answer, status, code)["request_id"]
        self.model.move(job, state, self.now_ms)
        if cut_off or outcome in FREES_THE_KEY:
            job.idempotency_key = None
        if state == "in_queue":
            made = self.place.upstream.job_of(job.mark)
            assert made is not None
            job.upstream_id = made.id

    def _told_of(self, answer: httpx2.Response, earlier: Job, line: Line, fingerprint: str) -> None:
        """The answer to a repetition."""
        if fingerprint != earlier.body:
            problem = told(answer, 422, "idempotency_mismatch")
            if line.mode != earlier.line.mode:  # a key of one kind learns nothing of the other's requests
                assert "request_id" not in problem
                return
        elif earlier.state == "dispatching":
            problem = told(answer, 409, "idempotency_in_progress")
        else:
            problem = told(answer, *self._answer_of(earlier))
            assert answer.headers["idempotent-replayed"] == "true"
        earlier.id = earlier.id or problem["request_id"]
        assert problem["request_id"] == earlier.id

    def _answer_of(self, job: Job, refused: str = "refuse") -> tuple[int, str | None]:
        if job.state in _UNSETTLED:
            return 504, "outcome_unknown"
        return OUTCOMES[refused][:2] if job.state == "rejected" else (200, None)

    async def invalid(self, server: Server, line: Line) -> None:
        answer = await self.place.call(
            server, line.key(0, self.now_ms)[1], "POST", f"/v1/models/{BODIES['small'][0]}", body={}
        )
        told(answer, 422, "invalid_input")

    async def storm(self, line: Line, kind: str, count: int, copies: int) -> None:
        """Many at once, each so many times, through every server: as many as fit are let in, each once."""
        options = self.place.servers[0].options
        servers = [server for server in self.place.servers if server.options == options]
        if options.cut_off:
            return
        wishes = [self.intent(kind, keyed=copies > 1) for _ in range(count)]
        for intent in wishes:
            self.place.upstream.plan(intent.mark, "accept")
        kid, key, _ = line.key(0, self.now_ms)
        sent = [(intent, servers[at % len(servers)]) for at, intent in enumerate(wishes * copies)]
        answers = await asyncio.gather(*(self.post(server, key, intent) for intent, server in sent))
        of_wish = {intent.mark: answers[at::count] for at, intent in enumerate(wishes)}
        let_in = [intent for intent in wishes if any(one.status_code == 200 for one in of_wish[intent.mark])]
        for intent in let_in:
            violated, _ = self.refusal(servers[0], line, intent)
            assert not violated, violated
            first, *more = sorted(of_wish[intent.mark], key=lambda answer: answer.status_code)
            job = self.admit(servers[0], line, intent, kid)
            self._became(job, "accept", first, cut_off=False)
            for one in more:
                code = "idempotency_in_progress" if one.status_code == 409 else None
                assert told(one, 409 if code else 200, code)["request_id"] == job.id
        for intent in wishes:
            if intent not in let_in:
                violated, _ = self.refusal(servers[0], line, intent)
                for one in of_wish[intent.mark]:
                    assert one.status_code == 429, one.text
                    assert set(one.json()["violated-policies"]) <= violated

    async def press(self, server: Server, line: Line, kind: str) -> None:
        """Submit until a limit refuses, if there is one that does soon."""
        for _ in range(_MAX_PRESSED):
            intent = self.intent(kind, keyed=False)
            await self.submit(server, line, intent, "accept")
            if intent.mark not in self.place.upstream.made:
                break

    # What hangs, and the end of servers.

    def can_hang(self, server: Server, line: Line, intent: Wish) -> bool:
        return not server.options.cut_off and not self.refusal(server, line, intent)[0]

    async def hang(self, server: Server, line: Line, intent: Wish) -> None:
        """The upstream has the body, and says nothing."""
        kid, key, _ = line.key(0, self.now_ms)
        self.place.upstream.plan(intent.mark, "hang")
        server.hanging[intent.mark] = asyncio.create_task(self.post(server, key, intent))
        await self.place.upstream.holds(intent.mark)
        self.admit(server, line, intent, kid)

    async def let_go(self, server: Server, mark: str, action: str) -> None:
        """What hung is answered, however late."""
        job = next(job for job in self.model.jobs if job.mark == mark)
        made = self.place.upstream.job_of(mark)
        assert made is not None
        is_anothers = any(one.upstream_id == made.id for one in self.model.jobs)
        self.place.upstream.let_go(mark, action)
        answer = await server.hanging.pop(mark)
        if action == "lost" or (action == "accept" and is_anothers):
            self.model.move(job, "unknown", self.now_ms, only_from={"dispatching"})
        elif action == "accept":
            if self.model.move(job, "in_queue", self.now_ms, only_from=_UNSETTLED):
                job.upstream_id = made.id
        elif self.model.move(job, "rejected", self.now_ms, only_from=_UNSETTLED) and action in FREES_THE_KEY:
            job.idempotency_key = None
        assert told(answer, *self._answer_of(job, action))["request_id"] == job.id

    async def end(self, server: Server, *, crash: bool) -> None:
        """Stop a server; what hangs ends first, or is cut."""
        if crash:
            await self.place.crash(server)
            return
        for mark in list(server.hanging):
            await self.let_go(server, mark, "accept")
        await self.place.stop(server)

    async def restart(self, server: Server, options: Options, *, crash: bool) -> None:
        await self.end(server, crash=crash)
        await self.place.start(options, server.folder)

    async def cut_before_the_record(self, server: Server, line: Line, intent: Wish, options: Options) -> None:
        """The upstream's answer is in the spool alone when the server ends; the next start finds it there."""
        kid, key, _ = line.key(0, self.now_ms)
        self.place.upstream.plan(intent.mark, "accept")
        job = self.admit(server, line, intent, kid)
        await self.place.cut_before_the_record(server, asyncio.create_task(self.post(server, key, intent)))
        await self.place.start(options, server.folder)
        self.model.move(job, "in_queue", self.now_ms)
        made = self.place.upstream.job_of(intent.mark)
        assert made is not None
        job.upstream_id = made.id
