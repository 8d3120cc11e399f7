"""An OpenID provider as far as tests need one: it answers in memory, and can be told to misbehave."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
from joserfc import jws
from joserfc.jwk import OctKey, RSAKey

from app.auth.oidc.sign_in import SignIns
from tests.harness import World
from tests.sessions.browsing import Tab

ISSUER = "https://login.test/realm"
CLIENT = "reelgate"
KEY = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "second", "use": "sig"})
SETTINGS: dict[str, Any] = {
    "oidc_issuer": ISSUER,
    "oidc_client_id": CLIENT,
    "oidc_client_secret": "a secret: of the client's",
    "oidc_roles": ["operators=operate", "finance=money", "platform=root"],
}


@dataclass
class FakeProvider:
    """What it publishes and says. `forge` makes another ID token of the right claims."""

    world: World
    keys: list[Any] = field(default_factory=lambda: [KEY])
    discovery: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    forge: Callable[[dict[str, Any]], str] | None = None
    answer: httpx2.Response | None = None
    calls: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)
    """What the browser brought."""

    @classmethod
    def of(cls, world: World) -> "FakeProvider":
        made = cls(world)
        made.sign_ins.provider._client = httpx2.AsyncClient(transport=httpx2.MockTransport(made._answer))
        return made

    @property
    def sign_ins(self) -> SignIns:
        found = self.world.gateway.access.oidc
        assert found is not None
        return found

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.rpartition("/")[2]
        self.calls.append(path)
        if path == "openid-configuration":
            names = {"authorization_endpoint": "auth", "token_endpoint": "token", "jwks_uri": "keys"}
            found = {name: f"{ISSUER}/{one}" for name, one in names.items()}
            return httpx2.Response(200, json={"issuer": ISSUER, **found, **self.discovery})
        if path == "keys":
            return httpx2.Response(200, json={"keys": [one.as_dict(private=False) for one in self.keys]})
        self.forms.append(dict(parse_qsl(request.content.decode())))
        if self.answer is not None:
            return self.answer
        claims = self._claims()
        text = self.forge(claims) if self.forge else signed(claims)
        return httpx2.Response(
            200, json={"id_token": text, "access_token": "of-no-use", "token_type": "Bearer"}
        )

    def _claims(self) -> dict[str, Any]:
        now_s = self.world.clock.now_ms() // 1000
        usual = {
            "iss": ISSUER,
            "aud": CLIENT,
            "sub": "4711",
            "email": "olga@company.test",
            "groups": ["everybody", "operators"],
            "iat": now_s,
            "exp": now_s + 300,
            "nonce": self.asked["nonce"],
        }
        return {name: value for name, value in (usual | self.claims).items() if value is not None}

    async def begin(self, tab: Tab) -> dict[str, str]:
        """The page's part: what the browser is sent to the provider with."""
        begun = await tab.call("POST", "/console/oidc", {})
        assert begun.status_code == 200, begun.text
        parts = urlsplit(begun.json()["url"])
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{ISSUER}/auth"
        self.asked = {name: one for name, (one,) in parse_qs(parts.query).items()}
        return self.asked

    async def come_back(self, tab: Tab, *, accept: str = "*/*", **more: str | None) -> httpx2.Response:
        """The browser comes back from the other site, by an address bar's call."""
        sent = {"state": self.asked["state"], "code": "a-code"} | more
        query = httpx2.QueryParams({name: value for name, value in sent.items() if value is not None})
        address = f"/console/oidc/callback?{query}"
        return await tab.call("GET", address, Sec_Fetch_Site="cross-site", Reelgate_Page=None, Accept=accept)

    async def sign_in(self, tab: Tab) -> httpx2.Response:
        await self.begin(tab)
        return await self.come_back(tab)


def signed(claims: dict[str, Any], key: Any = KEY, *, alg: str = "RS256", kid: str | None = "first") -> str:
    header = {"alg": alg} | ({} if kid is None else {"kid": kid})
    registry = jws.JWSRegistry(algorithms=[alg])
    return jws.serialize_compact(header, json.dumps(claims).encode(), key, registry=registry)


def unsigned(claims: dict[str, Any]) -> str:
    parts = (b'{"alg":"none"}', json.dumps(claims).encode())
    return ".".join(urlsafe_b64encode(one).rstrip(b"=").decode() for one in parts) + "."


def by_public_key(claims: dict[str, Any]) -> str:
    """Signed with what everybody knows, as if it were a shared secret."""
    return signed(claims, OctKey.import_key(KEY.as_pem(private=False).hex().encode()), alg="HS256")
