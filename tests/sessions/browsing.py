"""A browser as far as sessions go: its cookies, and what it says of the page that calls."""

from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any

import httpx2

from app.admin.access import admin_keys
from app.admin.actor import Actor
from tests.harness import World

ORIGIN = "http://gateway.test"
ACTOR = Actor("command", "olga")


@dataclass
class Tab:
    """A tab of a browser that shows one of the gateway's own pages."""

    world: World
    cookies: dict[str, str] = field(default_factory=dict)
    set_by: list[str] = field(default_factory=list)
    """Every `Set-Cookie` that came."""

    async def call(self, method: str, path: str, body: Any = None, **headers: str | None) -> httpx2.Response:
        """A call as the page makes it; a header can be left out (None) or be another one."""
        sent: dict[str, str | None] = {
            "Authorization": "",
            "Sec-Fetch-Site": "same-origin",
            "Reelgate-Page": "1",
            "Origin": None if method == "GET" else ORIGIN,
            "Host": "gateway.test",
            "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()) or None,
        }
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        given = {name: value for name, value in sent.items() if value}
        # A client of its own: the world's knows nothing of pages, and has the tenant's key.
        transport = self.world.client._transport
        async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            answer = await client.request(method, path, json=body, headers=given)
        for text in answer.headers.get_list("set-cookie"):
            self.set_by.append(text)
            for name, morsel in SimpleCookie(text).items():
                self.cookies.pop(name, None)
                if morsel.value:
                    self.cookies[name] = morsel.value
        return answer

    async def sign_in(self, page: str, **body: str) -> str:
        """The id of the session."""
        answer = await self.call("POST", f"/{page}/session", body)
        assert answer.status_code == 201, answer.text
        session_id = answer.json()["session_id"]
        assert isinstance(session_id, str)
        return session_id


async def admin_key(world: World, *scopes: str) -> str:
    made = await admin_keys.create(world.gateway, ACTOR, "olga", scopes or ("root",), reason="a ticket")
    return made.key
