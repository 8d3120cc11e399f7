"""The admin API as its callers meet it: keys of each scope, and calls that are complete."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from app.admin.access import admin_keys
from app.admin.actor import Actor
from app.admin.operation import Operation
from app.api.admin.openapi import build
from tests.contract.published import Contract, keep_promises
from tests.harness import World

ACTOR = Actor("command", "olga")
REASON = "the ticket says so"
CONTRACT = Contract(build("0", "http://gateway.test"))
# What stands for each parameter that an operation cannot do without.
VALUES: Mapping[str, Any] = {
    "amount": "1",
    "bill": b"request_id,cost\n",
    "delivery_id": "dlv_00000000-0000-7000-8000-000000000000",
    "endpoint_id": "ep_00000000-0000-7000-8000-000000000000",
    "first_day": "2026-11-01",
    "kid": "nobodyskid00",
    "last_day": "2026-11-30",
    "lifetime_ms": 3_600_000,
    "limits": ["in-flight=5"],
    "media_checks": "warn",
    "metrics": ["in-flight"],
    "mode": "test",
    "model_id": "acme/video",
    "month": "2026-10",
    "name": "nobody",
    "new_name": "somebody",
    "note": "goodwill",
    "origins": ["https://app.example"],
    "mirror": "beside",
    "overlap_ms": 1000,
    "override": "in-flight=5",
    "override_id": "00000000-0000-7000-8000-000000000000",
    "queueing": True,
    "reason": REASON,
    "replay_id": "rpl_00000000-0000-7000-8000-000000000000",
    "request_id": "no-such-request",
    "scopes": ["read"],
    "since": "2020-01-01T00:00:00Z",
    "tenant": "nobody",
    "time_zone": "Europe/Berlin",
    "token_id": "nobodystoken",
    "url": "https://hooks.example/",
    "version": "2026-10",
    "until": "2030-01-01T00:00:00Z",
}


def sample(operation: Operation[Any], **given: Any) -> dict[str, Any]:
    """Arguments that an operation accepts."""
    return {one.name: VALUES[one.name] for one in operation.parameters if one.default is ...} | given


@dataclass
class Counter:
    """Where an operator calls the admin API of a world. Every answer must keep its contract."""

    world: World
    keys: dict[str, str] = field(default_factory=dict)
    answers: list[httpx2.Response] = field(default_factory=list)

    async def key(self, *scopes: str, lifetime_ms: int | None = None) -> str:
        """A new admin key."""
        made = await admin_keys.create(
            self.world.gateway, ACTOR, "olga", scopes or ("root",), lifetime_ms=lifetime_ms
        )
        return made.key

    async def call(
        self,
        operation: Operation[Any],
        *,
        key: str | None = None,
        idempotency_key: str | None = None,
        if_match: str | None = "*",
        **arguments: Any,
    ) -> httpx2.Response:
        """Calls an operation with these arguments of its function, by default with a key of scope `root`."""
        reason = {"reason": REASON} if operation.changes else {}
        sent = operation.sent({**reason, **arguments})
        headers = {"Authorization": f"Bearer {await self._of('root') if key is None else key}"}
        if operation.changes:
            headers["Idempotency-Key"] = idempotency_key or str(uuid.uuid4())
        if operation.edits and if_match is not None:
            headers["If-Match"] = if_match
        if operation.upload is not None:
            headers["Content-Type"] = operation.upload.media_type
        answer = await self.world.client.request(
            operation.method,
            sent.path,
            params=tuple(sent.query),
            json=sent.body,
            content=sent.file,
            headers=headers,
        )
        keep_promises(answer)
        published = CONTRACT.document["paths"][operation.path][operation.method.lower()]["responses"]
        if answer.status_code != 404 or answer.json()["code"] != "route_not_found":
            contents = published[str(answer.status_code)].get("content", {"": {"schema": {}}})
            media_type = answer.headers["content-type"].partition(";")[0]
            assert media_type in contents or contents.keys() == {""}
            if media_type.endswith("json"):
                (content,) = (one for name, one in contents.items() if name in {"", media_type})
                assert CONTRACT.misfits(content["schema"], answer.json()) == []
        self.answers.append(answer)
        return answer

    async def done(self, operation: Operation[Any], **arguments: Any) -> dict[str, Any]:
        """The document of a call that must succeed."""
        answer = await self.call(operation, **arguments)
        assert answer.status_code == operation.status, answer.text
        document: dict[str, Any] = answer.json()
        return document

    async def _of(self, scope: str) -> str:
        if scope not in self.keys:
            self.keys[scope] = await self.key(scope)
        return self.keys[scope]
