"""Client tokens as tests mint them, and the calls of whoever holds one."""

from dataclasses import dataclass
from typing import Any

import httpx2

from app.auth import tenants
from tests.contract.published import problem_of
from tests.harness import SUBMIT, World
from tests.sandbox.harness import DREAMINA

MINT = "/v1/client-tokens"
HOME, SECOND = "https://app.acme.example", "http://localhost:5173"
PRICE = 150_000


@dataclass(frozen=True)
class Page:
    """Whoever holds a client token."""

    world: World
    token: str
    token_id: str
    record: dict[str, Any]

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.world.client.get(path, headers=self.world.with_key(self.token) | headers)

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        sent = self.world.with_key(self.token) | {
            name.replace("_", "-"): one for name, one in headers.items()
        }
        return await self.world.client.post(path, json=body, headers=sent)

    async def submit(self, directive: str = "queued", **more: Any) -> httpx2.Response:
        headers = {name: more.pop(name) for name in ("Idempotency_Key", "Origin") if name in more}
        return await self.post(SUBMIT, self.world.body(directive, **more), **headers)

    async def submitted(self, directive: str = "queued", **more: Any) -> str:
        answer = await self.submit(directive, **more)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["request_id"])

    async def listed(self) -> list[str]:
        answer = await self.get("/v1/requests?limit=100")
        assert answer.status_code == 200, answer.text
        return [one["request_id"] for one in answer.json()["requests"]]

    async def in_full(self) -> dict[str, Any]:
        """Its record, as its maker reads it."""
        return await self.world.get(f"{MINT}/{self.token_id}")

    async def refused(self, status: int, code: str, answer: httpx2.Response) -> dict[str, Any]:
        """The problem, which also stands in the record."""
        problem = problem_of(answer, status, code)
        newest = (await self.in_full())["newest_refusals"][0]
        assert newest["code"] == code
        assert newest["detail"].startswith(problem["detail"])
        assert all(one["pointer"] in newest["detail"] for one in problem.get("errors", ()))
        assert newest["trace_id"] == problem["trace_id"]
        return problem


async def mint(world: World, key: str | None = None, **terms: Any) -> httpx2.Response:
    return await world.client.post(MINT, json=terms, headers=world.with_key(key or world.key))


async def page(world: World, key: str | None = None, **terms: Any) -> Page:
    """A page with a token on these terms."""
    answer = await mint(world, key, **terms)
    assert answer.status_code == 201, answer.text
    document = answer.json()
    return Page(world, document["token"], document["token_id"], document)


async def unmintable(world: World, **terms: Any) -> list[tuple[str, str]]:
    """What is wrong with the terms: pointers and codes."""
    problem = problem_of(await mint(world, **terms), 422, "invalid_token_terms")
    return [(one["pointer"], one["code"]) for one in problem["errors"]]


async def with_origins(world: World, *origins: str) -> None:
    await world.gateway.db.write(tenants.set_origins, world.tenant_id, origins)
    world.clock.advance(2)  # whatever was known before is read anew


ONLY: dict[str, Any] = {"models": [DREAMINA]}
