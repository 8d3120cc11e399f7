"""Accounts as tests steer and read them, and the rate-limit headers read as RFC 9651 wants it."""

import re
from typing import Any

import httpx2
from sqlalchemy import Connection

from app.auth.keys import Mode
from app.quotas.account import Owner, set_limit
from app.quotas.balances import ledger
from app.quotas.limits import Scope, parse_limit
from app.quotas.metrics import SETTABLE, Metric
from tests.contract.published import problem_of
from tests.harness import SUBMIT, World
from tests.sandbox.harness import DREAMINA

IANA = "https://iana.org/assignments/http-problem-types#quota-exceeded"
AUDIO = "bytedance/seed-audio-1.0/text-to-audio"
PRICE = 150_000
SECONDS = 5
OF_SUBMITS = tuple(one for one in SETTABLE if one is not Metric.STORED_BYTES)
"""The metrics of limits that a submit can meet; `tests/files` meets the one of uploads."""
DAY, MONTH = "2026-09-21", "2026-09"  # of the tests' clock
Usage = dict[tuple[str, str | None, str], tuple[int, ...]]
EXCEEDED, EXHAUSTED = "quota_exceeded", "quota_exhausted"
TO_MIDNIGHT_S, TO_OCTOBER_S = 35_200, 812_800  # of the tests' clock, 2026-09-21T14:13:20Z
ROOM_FOR_TWO: dict[str, tuple[str, int | None]] = {
    "submits-minute=2": (EXCEEDED, 30),
    "submits-minute=60/2": (EXCEEDED, 1),
    "in-flight=2": (EXCEEDED, 5),
    "generations-day=2": (EXCEEDED, TO_MIDNIGHT_S),
    "generations-month=2": (EXCEEDED, TO_OCTOBER_S),
    "generations-total=2": (EXHAUSTED, None),
    "credits-day=0.3": (EXCEEDED, TO_MIDNIGHT_S),
    "credits-month=0.3": (EXCEEDED, TO_OCTOBER_S),
    "credits-total=0.3": (EXHAUSTED, None),
    "output-seconds-day=10": (EXCEEDED, TO_MIDNIGHT_S),
    "output-seconds-month=10": (EXCEEDED, TO_OCTOBER_S),
    "output-seconds-total=10": (EXHAUSTED, None),
}
"""Limits, how the third submit is refused, and after how many seconds it may come again."""


def kid_of(key: str) -> str:
    return key.split("_")[2]


async def limited(
    world: World, *texts: str, scopes: tuple[Scope, ...] = (Scope(),), mode: Mode = "test"
) -> None:
    def set_all(connection: Connection) -> None:
        for scope in scopes:
            for text in texts:
                limit = parse_limit(text, scope)
                set_limit(connection, Owner(world.tenant_id, mode), limit, now_ms=world.clock.now_ms())

    await world.gateway.db.write(set_all)


async def submit(
    world: World, key: str | None = None, *, once: str | None = None, **body: Any
) -> httpx2.Response:
    headers = world.with_key(key or world.key) | ({} if once is None else {"Idempotency-Key": once})
    return await world.client.post(SUBMIT, json=body or world.body("queued"), headers=headers)


async def accepted(world: World, key: str | None = None) -> str:
    answer = await submit(world, key)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["request_id"])


async def refused(world: World, code: str, key: str | None = None) -> dict[str, Any]:
    return problem_of(await submit(world, key), 429, code)


async def quota(world: World, key: str | None = None) -> dict[str, Any]:
    document: dict[str, Any] = (
        await world.client.get("/v1/quota", headers=world.with_key(key or world.key))
    ).json()
    return document


async def everything(world: World) -> list[Any]:
    """All that a submit could leave behind."""
    entries = await world.gateway.db.read(ledger.entries, tenant_id=world.tenant_id, limit=1000)
    return [await quota(world), await world.get("/v1/requests?limit=100"), entries]


_STRING = r'"((?:[ !#-\[\]-~]|\\["\\])*)"'
_NAME = re.compile(_STRING)
_PARAMETER = re.compile(rf"; *([a-z*][a-z0-9_.*-]*)=(?:(-?[0-9]{{1,15}})(?![0-9.])|{_STRING})")
_NEXT = re.compile(r"[ \t]*,[ \t]*(?=.)")


def members(text: str) -> dict[str, dict[str, int | str]]:
    """A structured list of strings with parameters, each member once; an error for anything else."""
    found: dict[str, dict[str, int | str]] = {}
    at = 0
    while True:
        name = _NAME.match(text, at)
        assert name, text[at:]
        assert name[1] not in found
        at = name.end()
        found[name[1]] = {}
        while parameter := _PARAMETER.match(text, at):
            assert parameter[1] not in found[name[1]]
            found[name[1]][parameter[1]] = int(parameter[2]) if parameter[2] else parameter[3]
            at = parameter.end()
        if at == len(text):
            return found
        comma = _NEXT.match(text, at)
        assert comma, text[at:]
        at = comma.end()


NO_LISTS = (
    "",
    "a;q=1",
    '"a",',
    '"a" "b"',
    '"a";q=1,"a";q=2',
    '"a";q=1.5',
    '"a";Q=1',
    '"ä"',
    '"a";q=1' + "0" * 15,
)


def policies(answer: httpx2.Response) -> dict[str, dict[str, int | str]]:
    """Every policy of both headers with its parameters, of the kinds that the draft gives them."""
    limits, states = members(answer.headers["ratelimit-policy"]), members(answer.headers["ratelimit"])
    assert list(limits) == list(states)
    merged = {name: limits[name] | states[name] for name in limits}
    for name, has in merged.items():
        assert {"q"} <= limits[name].keys() <= {"q", "w", "qu"}, name
        assert {"r"} <= states[name].keys() <= {"r", "t"}, name
        numbers = [value for parameter, value in has.items() if parameter != "qu"]
        assert all(isinstance(value, int) and value >= 0 for value in numbers), name
        assert has.get("w") != 0
        assert has.get("qu") in {None, "microcredits", "output-seconds", "concurrent-requests"}, name
    return merged


async def usage(world: World, key: str | None = None) -> Usage:
    answer = await world.client.get("/v1/quota", headers=world.with_key(key or world.key))
    names = [f"{what}_{unit}" for unit in ("generations", "microcredits") for what in ("held", "spent")]
    return {
        (row["holder"], row["model_id"], row["period"]): tuple(
            row[name] for name in (*names, "added_microcredits")
        )
        for row in answer.json()["usage"]
    }


def everywhere(counters: tuple[int, ...], *periods: str) -> Usage:
    return {
        (holder, model_id, period): counters
        for holder in ("tenant", "key")
        for model_id in (None, DREAMINA)
        for period in periods or (DAY, MONTH, "total")
    }
