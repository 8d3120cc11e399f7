"""Signing in to the console by a real OpenID provider: certified code of others, over real sockets."""

import re
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urljoin

import httpx2
import pytest

from tests.patience import PATIENCE_S
from tests.processes import Place, free_port, place_for, started
from tests.sandbox.harness import Running
from tests.sessions.real_provider import SECRET, installed, providing

FORM = re.compile(r'<form[^>]* action="([^"]+)"')


@pytest.fixture
def node() -> str:
    return installed()


class _Browser:
    """What a browser does of it: it keeps our cookies by itself, since they are for https or this machine."""

    def __init__(self, place: Place) -> None:
        self.base = f"http://localhost:{place.settings['ADMIN_PORT']}"
        self.cookies: dict[str, str] = {}
        self.back = ""
        """The address with which the provider sent it back."""

    def call(self, method: str, address: str, **more: str) -> httpx2.Response:
        headers = {
            "Cookie": "; ".join(f"{name}={text}" for name, text in self.cookies.items()),
            "Sec-Fetch-Site": "same-origin",
            "Reelgate-Page": "1",
            **({"Origin": self.base} if method == "POST" else {}),
            **more,
        }
        url = urljoin(self.base, address)
        answer = httpx2.request(
            method,
            url,
            headers={name: text for name, text in headers.items() if text},
            json={} if method == "POST" else None,
            trust_env=False,
            timeout=PATIENCE_S,
        )
        for text in answer.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(text).items():
                self.cookies.pop(name, None)
                if morsel.value:
                    self.cookies[name] = morsel.value
        return answer

    def go(self, name: str) -> None:
        """Begins on our page, and types a name into the provider's."""
        begun = self.call("POST", "/console/oidc")
        assert begun.status_code == 200, begun.text
        with httpx2.Client(trust_env=False, timeout=PATIENCE_S, follow_redirects=False) as client:
            self.back = self._sign_in(client, begun.json()["url"], name)

    def _sign_in(self, client: httpx2.Client, address: str, name: str) -> str:
        forms = iter(({"prompt": "login", "login": name, "password": "any"}, {"prompt": "consent"}))
        answer = client.get(address)
        for _ in range(12):
            if answer.is_redirect:
                address = urljoin(str(answer.url), answer.headers["location"])
                if address.startswith(f"{self.base}/console/oidc/callback?"):
                    return address
                answer = client.get(address)
            else:
                found = FORM.search(answer.text)
                assert found is not None, answer.text
                answer = client.post(urljoin(str(answer.url), found[1]), data=next(forms))
        raise AssertionError(answer.text)

    def come_back(self, address: str = "") -> httpx2.Response:
        return self.call("GET", address or self.back, **{"Sec-Fetch-Site": "cross-site"})


@pytest.mark.parametrize("client", ["confidential", "public"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_operator_signs_in_with_a_real_provider_on_the_admin_port(
    database_url: str, tmp_path: Path, sandbox: Running, node: str, client: str
) -> None:
    admin_port = free_port()
    terms = {"OIDC_CLIENT_ID": "public"}
    if client == "confidential":
        terms = {"OIDC_CLIENT_ID": "reelgate", "OIDC_CLIENT_SECRET": SECRET}
    with providing(node, free_port(), f"http://localhost:{admin_port}/console/oidc/callback") as issuer:
        place = place_for(
            tmp_path,
            database_url,
            sandbox.options.public_url,
            ADMIN_API="true",
            ADMIN_PORT=str(admin_port),
            CONSOLE="true",
            OIDC_ISSUER=issuer,
            OIDC_ROLES="operators=operate,platform=root",
            **terms,
        )
        with started(place) as server:
            browser, stranger, nobody = _Browser(place), _Browser(place), _Browser(place)
            browser.go("platform")
            assert stranger.come_back(browser.back).status_code == 400
            had = dict(browser.cookies)
            entered = browser.come_back()
            assert entered.status_code == 303, (entered.text, server.text())
            assert entered.headers["location"] == "../../console"
            told = browser.call("GET", "/console/session").json()
            assert told["name"] == "platform@company.test (platform)"
            assert told["scopes"] == ["read", "operate", "money", "root"]
            (entry,) = browser.call("GET", "/admin/v1/audit?limit=1").json()["entries"]
            assert entry["actor"] == {"kind": "person", "name": "platform@company.test (platform)"}
            stranger.cookies = had
            assert stranger.come_back(browser.back).json()["code"] == "sign_in_ended"
            nobody.go("mallory")
            assert nobody.come_back().json()["code"] == "no_operator_role"
            assert "code=" not in server.text()
        with started(place.but(OIDC_ROLES="operators=operate")):
            assert browser.call("GET", "/admin/v1/tenants").json()["code"] == "session_ended"
