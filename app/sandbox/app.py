"""The sandbox's ASGI application: RunComfy's routes in RunComfy's shapes, and files, samples and a ledger."""

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from app.sandbox import faults, replies
from app.sandbox.directives import DirectiveError, parse
from app.sandbox.engine import Engine
from app.sandbox.fetch import FILE_NAME
from app.sandbox.jobs import Job
from app.sandbox.ledger import Ledger, Submission
from app.sandbox.options import SandboxOptions
from app.sandbox.pictures import NAMES, SAMPLES, sample_path
from app.sandbox.store import abridge

Endpoint = Callable[[Request], Awaitable[Response]]

SEGMENTS = range(2, 6)  # allowed numbers of segments of a model id
BIG_BODY = 1_000_000  # bytes from which a body is parsed in a thread
OPEN_TO_PAGES = {"Access-Control-Allow-Origin": "*"}  # a player on the gateway's pages may read the media
TYPES = {".mp4": "video/mp4", ".png": "image/png", ".wav": "audio/wav", ".jpg": "image/jpeg"}


class Refused(Exception):  # noqa: N818  a response, not an error
    """Carries the complete response to a request that is handled no further."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def create_sandbox(options: SandboxOptions, *, clock: Callable[[], float] = time.time) -> Starlette:
    """Returns the application. Its lifespan has to run (uvicorn runs it); before that, no file is touched.

    clock: returns seconds since 1970; every state of a job is a function of it, so a test may set it by hand.
    Only directives such as `slow` and `hang` wait in real time.
    """
    sandbox = _Sandbox(options, clock)
    app = Starlette(
        routes=sandbox.routes(),
        lifespan=sandbox.lifespan,
        exception_handlers={HTTPException: _as_json, Refused: _as_refused, Exception: _as_fault},
    )
    app.router.redirect_slashes = False  # RunComfy never redirects, and its clients do not follow redirects
    return app


class _Sandbox:
    """The routes over one engine and one ledger."""

    def __init__(self, options: SandboxOptions, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._ledger = Ledger(options.keep_calls)
        self._engine: Engine | None = None

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self._engine = Engine(self._options, self._clock)
        await self._engine.open()
        try:
            yield
        finally:
            await self._engine.close()

    def routes(self) -> list[Route]:
        return [
            Route("/v1/models", self._guarded(self.models), methods=["GET"]),
            Route("/v1/models/{model_id:path}", self._guarded(self.model), methods=["GET"]),
            Route("/v1/models/{model_id:path}", self._guarded(self.submit, "submit"), methods=["POST"]),
            Route("/v1/requests/{request_id}/status", self._guarded(self.status, "status"), methods=["GET"]),
            Route("/v1/requests/{request_id}/result", self._guarded(self.result, "result"), methods=["GET"]),
            Route("/v1/requests/{request_id}/cancel", self._guarded(self.cancel, "cancel"), methods=["POST"]),
            Route("/sandbox/ledger", self._guarded(self.ledger), methods=["GET", "DELETE"]),
            Route("/samples", self.samples, methods=["GET"]),
            Route("/samples/{name}", self.sample, methods=["GET"]),
            Route("/examples/{path:path}", self.example, methods=["GET"]),
            Route("/files/{name}", self.file, methods=["GET"]),
            Route("/health", self.health, methods=["GET"]),
        ]

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("the sandbox's lifespan has not run")
        return self._engine

    def _guarded(self, endpoint: Endpoint, counted_as: str | None = None) -> Endpoint:
        """Returns the endpoint behind a check of the token. Refused calls are counted in the ledger too."""

        async def guarded(request: Request) -> Response:
            if counted_as is not None:
                self._ledger.count(counted_as)
                if (request_id := request.path_params.get("request_id")) is not None:
                    self._ledger.count_request(counted_as, request_id)
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            right = hmac.compare_digest(token.strip().encode(), self._options.token.encode())
            if scheme.lower() != "bearer" or not right:
                return JSONResponse(replies.error(replies.BAD_TOKEN, "missing or invalid token"), 400)
            return await endpoint(request)

        return guarded

    async def submit(self, request: Request) -> Response:
        model_id = _model_id(request)
        body = await self._read(request)
        submission = Submission(None, model_id, self._clock(), abridge(body))
        self._ledger.submitted(submission)
        response = await self._steered(request, model_id, body, submission)

        async def answered() -> None:
            submission.answered = True

        response.background = BackgroundTask(answered)
        return response

    async def _steered(
        self, request: Request, model_id: str, body: dict[str, Any], submission: Submission
    ) -> Response:
        try:
            steering = parse(body)
        except DirectiveError as error:
            return JSONResponse(replies.mismatch(str(error), "prompt", kind="sandbox_directive"), 422)
        response = faults.refusal(steering, self._options, self._clock())
        hangs_before = response is None and "hang-before" in steering
        if "recorded" in steering or not (response or hangs_before):
            job = await self.engine.accept(model_id, body, steering)
            submission.request_id, submission.recorded = job.request_id, True
            shaped = faults.acceptance(steering, replies.submitted(self._options, job))
        if hangs_before or (response is None and "hang" in steering):
            return await self._hang(request)
        response = response or shaped
        if "slow" in steering and await faults.left_within(request, steering["slow"]):
            raise Refused(response)  # the client has left
        return faults.Dripping(response, steering["drip"]) if "drip" in steering else response

    async def _hang(self, request: Request) -> Response:
        raise Refused(await faults.hang(request, self._options.hang_limit_s))

    async def _read(self, request: Request) -> dict[str, Any]:
        """Returns the submitted object; raises Refused with 413 or 422 where there is none."""
        data = bytearray()
        try:
            async for chunk in request.stream():
                data += chunk
                if len(data) > self._options.max_body_bytes:
                    raise Refused(JSONResponse(replies.error(413_000, "the body is too long"), 413))
        except ClientDisconnect as error:
            raise Refused(JSONResponse({"message": "the client left"}, 400)) from error
        try:
            body = json.loads(data) if len(data) < BIG_BODY else await asyncio.to_thread(json.loads, data)
        except (ValueError, RecursionError) as error:
            raise Refused(
                JSONResponse(replies.mismatch(f"not JSON: {error}", kind="json_invalid"), 422)
            ) from error
        if not isinstance(body, dict):
            raise Refused(JSONResponse(replies.mismatch("not a JSON object", kind="dict_type"), 422))
        return body

    async def status(self, request: Request) -> Response:
        job = self._job(request)
        job.seen["status"] += 1
        calls, steering = job.seen["status"], job.directives
        second = calls == 2  # noqa: PLR2004 - the second call
        if ("vanish" in steering and calls > 1) or ("vanish-once" in steering and second):
            raise Refused(_unknown())
        if _hits(job, "status-429", calls):
            return _fault(429, {"Retry-After": "1"})
        if _hits(job, "status-500", calls):
            return _fault(500)
        if _hits(job, "status-malformed", calls):
            return Response(faults.BROKEN_JSON, media_type="application/json")
        if _hits(job, "status-hang", calls):
            return await self._hang(request)
        return JSONResponse(replies.status(self._options, job, self.engine.book.place(job)))

    async def result(self, request: Request) -> Response:
        job = self._job(request)
        job.seen["result"] += 1
        if "vanish" in job.directives and job.seen["status"] > 0:
            raise Refused(_unknown())
        if _hits(job, "result-500", job.seen["result"]):
            return _fault(500)
        with_cost = request.query_params.get("include_cost", "").lower() in {"true", "1"}
        return JSONResponse(replies.result(self._options, job, with_cost=with_cost))

    async def cancel(self, request: Request) -> Response:
        job = self._job(request)
        if "cancel-500" in job.directives:
            return _fault(500)
        done = "not-cancellable" not in job.directives and self.engine.cancel(job)
        if "cancel-hang" in job.directives:
            return await self._hang(request)
        return JSONResponse(replies.cancelled(job, done=done), 202)

    def _job(self, request: Request) -> Job:
        job = self.engine.find(request.path_params["request_id"])
        if job is None:
            raise Refused(_unknown())
        return job

    async def models(self, _request: Request) -> Response:
        models = [replies.model(model_id, self._options) for model_id in replies.MODELS]
        return JSONResponse({"models": models, "total": len(models), "limit": len(models), "offset": 0})

    async def model(self, request: Request) -> Response:
        return JSONResponse(replies.model(_model_id(request), self._options))

    async def ledger(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._ledger.clear()
        # Inputs may hold what JSONResponse refuses (NaN, lone surrogates): they are returned as sent.
        return Response(json.dumps(self._ledger.snapshot()), media_type="application/json")

    async def samples(self, _request: Request) -> Response:
        listed = [
            {
                "name": each.name,
                "url": self._options.url(f"/samples/{each.name}"),
                "width": each.size[0],
                "height": each.size[1],
                "type": each.type,
            }
            for each in SAMPLES
        ]
        return JSONResponse({"samples": listed}, headers=OPEN_TO_PAGES)

    async def sample(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in NAMES:
            raise HTTPException(404)
        return _media(sample_path(name))

    async def example(self, request: Request) -> Response:
        path = request.path_params["path"]
        return _media(await asyncio.to_thread(self.engine.example, path))

    async def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        path = self.engine.files.files / name
        known = FILE_NAME.fullmatch(name) and path.suffix in TYPES
        if not known or not await asyncio.to_thread(path.is_file):
            raise HTTPException(404)
        return _media(path)

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok", "jobs": len(self.engine.book.jobs)})


def _model_id(request: Request) -> str:
    """Returns the model id in the path, without outer slashes.

    Raises Refused unless it has 2 to 5 segments.
    """
    model_id: str = request.path_params["model_id"].strip("/")
    segments = model_id.split("/")
    if len(segments) not in SEGMENTS or not all(segments):
        raise Refused(JSONResponse(replies.error(replies.BAD_MODEL, f"bad model id: {model_id[:200]}"), 400))
    return model_id


def _hits(job: Job, name: str, calls: int) -> bool:
    """Returns whether a directive applies to this call, where it may be limited to the first COUNT calls."""
    return name in job.directives and (job.directives[name] == 0 or calls <= job.directives[name])


def _fault(code: int, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(replies.error(code * 1000, "the sandbox was asked for this"), code, headers=headers)


def _unknown() -> Response:
    return JSONResponse(replies.error(replies.UNKNOWN_REQUEST, "request not found"), 404)


def _media(path: Path) -> Response:
    return FileResponse(path, media_type=TYPES[path.suffix], headers=OPEN_TO_PAGES)


async def _as_refused(_request: Request, refused: Exception) -> Response:
    if not isinstance(refused, Refused):
        raise TypeError
    return refused.response


async def _as_json(_request: Request, error: Exception) -> Response:
    code = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    return JSONResponse({"message": str(getattr(error, "detail", "error"))}, code, headers=headers)


async def _as_fault(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"message": "Internal Server Error"}, 500)
