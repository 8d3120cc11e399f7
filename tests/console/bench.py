"""A real browser with a page of another origin, a wire that can be cut, and a real gateway with a sandbox."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, Request, Response
from playwright.async_api import Error as PlaywrightError
from starlette.applications import Starlette
from starlette.requests import Request as Asked
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from app.auth import tenants
from app.server.protocol import GuardedProtocol, Limits
from tests.console.network import HOST, Relay, relaying, served
from tests.harness import World, until
from tests.patience import PATIENCE_S
from tests.sandbox.harness import DREAMINA
from tests.streams import moving

_NAMED = os.environ.get("REELGATE_TEST_BROWSER")  # read now: the tests clear such variables
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_PAGE = Path(__file__).parent / "page.html"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
# The client's pauses last for seconds; in the page they last for a twentieth. Longer waits, which are for
# connections that say nothing, are as long as ever unless a test sets `longest`.
HURRY = """
const inTime = window.setTimeout;
Object.assign(window, { pace: 20, longest: 30_000, pauses: [] });
window.setTimeout = (work, ms, ...more) => {
  if (ms > longest) return inTime(work, ms, ...more);
  pauses.push(ms);
  return inTime(work, ms / pace, ...more);
};
"""


def browser_path() -> str | None:
    """The browser of this machine, if it has one."""
    return _NAMED or next((path for name in _NAMES if (path := shutil.which(name))), None)


@dataclass
class Told:
    """What the page told the test, as it came."""

    updates: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)

    def take(self, kind: str, value: Any) -> None:
        lists: dict[str, list[Any]] = {
            "update": self.updates,
            "result": self.results,
            "error": self.errors,
            "ready": self.versions,
        }
        lists[kind].append(value)

    @property
    def states(self) -> list[str | None]:
        """Of every update that is no mere change of place, in order."""
        before = [None, *(one["version"] for one in self.updates)]
        pairs = zip(self.updates, before, strict=False)
        return [one["state"] for one, version in pairs if one["version"] != version]

    @property
    def is_over(self) -> bool:
        return bool(self.results or self.errors)

    @property
    def error(self) -> dict[str, Any]:
        """The one error that there was."""
        assert (len(self.errors), self.results) == (1, [])
        return self.errors[0]


@dataclass
class Bench:
    """The page, its own server, which has an API key, and its network.

    `terms` are those of the tokens that the page gets, `minted` these tokens as the gateway gave them;
    `status` is what the page's server answers with, and `gives` the one token that it gives, if set.
    """

    world: World
    relay: Relay
    page: Page
    origin: str
    key: str
    told: Told = field(default_factory=Told)
    terms: dict[str, Any] = field(default_factory=lambda: {"end_user": "ada"})
    minted: list[dict[str, Any]] = field(default_factory=list)
    gives: dict[str, Any] | None = None
    status: int = 200
    failures: int = 0
    """Of requests, for want of a network."""
    _seen: list[str] = field(default_factory=list)
    _answers: list[Response] = field(default_factory=list)

    # --- the page

    async def run(self, method: str, *values: Any, **options: Any) -> None:
        """Begin a call that is watched; what comes of it is in `told`."""
        await self.page.evaluate("(call) => void run(...call)", [method, values, options])

    async def ask(self, script: str, value: Any = None) -> Any:
        """What an expression such as `gate.quota()` gives, or `{"error": …}`; `value` is its `value`."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.page.evaluate(f"(value) => ask(async () => {script})", value)

    async def subscribe(self, directive: str = "canned", **options: Any) -> str:
        """Have the page submit a job and watch it: the request id, once the page sees it in the queue."""
        await self.run("subscribe", DREAMINA, self.world.body(directive), **options)
        await self.sees("in_queue")
        request_id = self.told.updates[0]["requestId"]
        assert isinstance(request_id, str)
        return request_id

    async def sees(self, state: str) -> None:
        """Wait until the page is told of the state; no time passes for the gateway."""
        await until(lambda: state in self.told.states or self.told.is_over)
        assert state in self.told.states, self.told

    async def over(self) -> None:
        """Wait until the page is told the outcome, while time passes for the gateway."""
        await moving(self.world, lambda: self.told.is_over, step_s=0.1)

    async def live(self) -> None:
        """Let the job run, and then end, each seen by the page."""
        self.begin()
        await moving(self.world, lambda: "in_progress" in self.told.states or self.told.is_over, step_s=0.1)
        self.end()
        await self.over()

    async def shown(self) -> str:
        """The problem that somebody who looks at the page reads."""
        return await self.page.inner_text("#problem")

    # --- the sandbox

    def begin(self) -> None:
        """Let every job's time in the queue pass."""
        self.world.sandbox.clock.now += self.world.sandbox.options.queue_s

    def end(self) -> None:
        """And the time that it runs."""
        self.world.sandbox.clock.now += self.world.sandbox.options.run_s

    # --- the page's own server

    async def mint(self, **terms: Any) -> dict[str, Any]:
        """A client token with its record."""
        answer = await self.world.client.post(
            "/v1/client-tokens", json=terms, headers=self.world.with_key(self.key)
        )
        assert answer.status_code == 201, answer.text
        document: dict[str, Any] = answer.json()
        return document

    async def give_token(self) -> JSONResponse:
        if self.status != 200:
            return JSONResponse({}, self.status)
        self.minted.append(self.gives or await self.mint(**self.terms))
        return JSONResponse(self.minted[-1])

    # --- what the browser sent and received

    def watch(self, page: Page) -> None:
        page.on("request", self._note_request)
        page.on("response", self._note_answer)
        page.on("requestfailed", self._note_failure)

    def _note_request(self, request: Request) -> None:
        self._seen.append(f"{request.method} {request.url} {request.post_data}")

    def _note_answer(self, response: Response) -> None:
        self._answers.append(response)

    def _note_failure(self, _request: Request) -> None:
        self.failures += 1

    async def seen(self) -> str:
        """All requests and answers, as the browser tells them and as they went over the wire."""
        told = list(self._seen)
        for answer in self._answers:
            told += [str(await answer.request.all_headers()), str(await answer.all_headers())]
            with suppress(PlaywrightError):  # a preflight's, and a part of a video, cannot be had
                told.append((await answer.body()).decode(errors="replace"))
        return "\n".join([*told, self.relay.text])


@asynccontextmanager
async def open_bench(world: World, browser: Browser) -> AsyncIterator[Bench]:
    """A page at an origin of the world's tenant, with the client loaded from the gateway."""
    edge: Any = world.client._transport
    key = await world.another_key(scopes=("submit", "read", "tokens:create"))
    protocol = partial(GuardedProtocol, Limits.of(world.gateway.settings))
    async with served(edge.app, http=protocol) as port, relaying(port) as relay:
        html = _PAGE.read_text().replace("{{gateway}}", relay.url)

        async def page_of(_request: Asked) -> HTMLResponse:
            return HTMLResponse(html)

        async def token_of(_request: Asked) -> JSONResponse:
            return await bench.give_token()

        site = Starlette(routes=[Route("/", page_of), Route("/token", token_of, methods=["POST"])])
        async with served(site) as site_port, _context(browser) as context:
            origin = f"http://{HOST}:{site_port}"
            await world.gateway.db.write(tenants.set_origins, world.tenant_id, [origin])
            world.clock.advance(2)  # whatever was known before is read anew
            bench = Bench(world, relay, await context.new_page(), origin, key)
            await open_page(bench)
            uncaught: list[str] = []
            bench.page.on("pageerror", lambda error: uncaught.append(str(error)))
            yield bench
            assert uncaught == []
        world.gateway.following.watch.close()  # ends what the server would wait for


async def open_page(bench: Bench) -> None:
    """Load the page, with the client in it."""
    bench.watch(bench.page)
    await bench.page.expose_function("tell", bench.told.take)
    await bench.page.goto(bench.origin)
    await until(lambda: bench.told.versions)


@asynccontextmanager
async def _context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context()
    await context.add_init_script(HURRY)
    try:
        yield context
    finally:
        await context.close()
