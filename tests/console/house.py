"""A real server on PostgreSQL beside a sandbox, with a company in its database; and who looks at it."""

import json
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
from playwright.async_api import Browser, Locator, Page

from app import catalog
from tests.conftest import _administer, _named
from tests.console.company import WEBHOOK_KEY, Company, furnished
from tests.console.site import HOSTILE, Visit, browsing
from tests.processes import Commands, Process, place_for, started
from tests.sandbox.harness import TOKEN

_MODELS: Final = Path(catalog.__file__).parent / "models"
OPERATORS: Final = (
    *("", "requests", "requests?open={request_id}", "requests?state=unknown", "tenants", "tenants/acme"),
    *("tenants/acme?tab=keys", "tenants/acme?tab=users", "tenants/acme?tab=ledger", "tenants?tab=refused"),
    *("tenants/acme?tab=tokens", "tenants/acme?tab=statements", "tenants/acme?tab=settings", "usage"),
    *("usage?group=model", "usage?by=hour", "usage?group=tenant%2Cmodel", "usage?tenant=acme&group=end_user"),
    *("queue", "models", "credentials", "webhooks", "webhooks?open={delivery_id}", "webhooks?tab=endpoints"),
    *("webhooks?tab=replays", "audit", "audit?open=1", "system", "nowhere"),
)
"""Places of the console."""
PERSONS: Final = (
    *("", "requests", "requests?open={request_id}", "usage", "usage?group=end_user", "webhooks"),
    *("webhooks?open={delivery_id}", "webhooks?tab=endpoints", "keys", "statements"),
)
"""Places of the portal."""
WRITTEN: Final = {
    "console": {
        *("requests", "requests?open={request_id}", "tenants/acme?tab=keys", "tenants/acme?tab=users"),
        *(
            "models",
            "audit?open=1",
            "system",
            "usage?tenant=acme&group=end_user",
            "webhooks?open={delivery_id}",
            "webhooks?tab=endpoints",
        ),
    },
    "portal": {
        *("requests", "requests?open={request_id}", "usage?group=end_user", "webhooks?open={delivery_id}"),
        *("webhooks?tab=endpoints", "keys"),
    },
}
"""Where a text of a stranger's stands."""


@dataclass(frozen=True)
class House:
    """The server, and the keys of its operator and of acme; `ids` are of acme's request and delivery."""

    process: Process
    company: Company
    keys: dict[str, str]
    ids: dict[str, str]

    @property
    def url(self) -> str:
        return self.process.place.url.replace("127.0.0.1", "localhost")  # browsers keep a session there

    def used_s(self) -> float:
        """How much processor time the server has used."""
        fields = Path(f"/proc/{self.process.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.keys['console']}"}
        answer = httpx2.get(f"{self.process.place.url}{path}", headers=headers, trust_env=False, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def token(self) -> str:
        """The id of a client token that acme's backend just made."""
        headers = {"Authorization": f"Bearer {self.keys['portal']}"}
        url = f"{self.process.place.url}/v1/client-tokens"
        answer = httpx2.post(url, headers=headers, json={}, trust_env=False, timeout=30)
        assert answer.status_code == 201, answer.text
        token_id = answer.json()["token_id"]
        assert isinstance(token_id, str)
        return token_id

    @asynccontextmanager
    async def visited(self, browser: Browser, site: str, **looks: Any) -> AsyncIterator[Visit]:
        """Somebody who has signed in."""
        async with browsing(browser, self.url, **looks) as visit:
            await visit.sign_in(site, self.keys[site])
            yield visit


@contextmanager
def furnished_house(
    folder: Path, server: str, template: str, sandbox_url: str, **size: int
) -> Iterator[House]:
    """A house with a company of a size, in which strangers wrote what they could."""
    name = f"test_{uuid.uuid4().hex}"
    _administer(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    url = _named(server, name)
    company = Company(now_ms=time.time_ns() // 1_000_000, text=HOSTILE, **size)
    key = furnished(url, company)
    more = {"UPSTREAM_TOKEN": TOKEN, "UPSTREAM_BASE_URL": sandbox_url, "WEBHOOK_KEY": WEBHOOK_KEY}
    on = dict.fromkeys(("ADMIN_API", "CONSOLE", "PORTAL"), "true")
    place = place_for(folder, url, sandbox_url, CATALOG_DIR=str(_titled(folder)), **on, **more)
    told = ("admin-keys", "create", HOSTILE, "--scope", "root", "--reason", HOSTILE, "--json")
    admin = Commands().run(place, *told).json["key"]
    with started(place) as process:
        house = House(process, company, {"console": admin, "portal": key}, {})
        (request,) = house.get("/admin/v1/requests?tenant=acme&state=completed&limit=1")["requests"]
        (delivery,) = house.get("/admin/v1/webhook-deliveries?tenant=acme&mode=live&limit=1")["deliveries"]
        house.ids.update(request_id=request["request_id"], delivery_id=delivery["delivery_id"])
        yield house
    _administer(server, f'DROP DATABASE "{name}" WITH (FORCE)')


def _titled(folder: Path) -> Path:
    """A catalogue whose models have a stranger's text as their titles."""
    models = folder / "models"
    shutil.copytree(_MODELS, models)
    for file in models.rglob("*.json"):
        model = json.loads(file.read_text("utf-8"))
        file.write_text(json.dumps(model | {"display_name": HOSTILE}), "utf-8")
    return models


async def faults_of(
    house: House, visit: Visit, site: str, *, most_calls: int, axe: bool
) -> dict[str, list[str]]:
    """What is wrong with the pages of a site: what axe finds, too wide, too many calls, a text not shown."""
    found: dict[str, list[str]] = {}
    for place in OPERATORS if site == "console" else PERSONS:
        await visit.go(place.format_map(house.ids))
        faults = await visit.violations() if axe else await visit.too_wide()
        asked = [one for one in visit.calls if "/events" not in one]
        if len(asked) > most_calls:
            faults.append(f"{len(asked)} calls: {asked}")
        if place in WRITTEN[site] and "<script>" not in await visit.text():
            faults.append("what a stranger wrote is not shown")
        if faults:
            found[f"{site} {place}"] = faults
    return found


@dataclass
class Walk:
    """Somebody's way to an answer: which controls they used, and how long it took."""

    page: Page
    began: float = field(default_factory=time.monotonic)
    used: list[str] = field(default_factory=list)

    async def click(self, name: str, *, role: Any = "link") -> None:
        self.used.append(f"click {name}")
        await self.page.get_by_role(role, name=name).first.click()

    async def write(self, label: str, value: str) -> None:
        self.used.append(f"{label} = {value}")
        await self.page.get_by_label(label).fill(value)

    async def sees(self, *texts: str) -> Locator:
        """The first row of a table with all of these texts, once it is there."""
        row = self.page.locator("tbody tr")
        for text in texts:
            row = row.filter(has_text=text)
        await row.first.wait_for()
        return row

    @property
    def took_s(self) -> float:
        return time.monotonic() - self.began

    def told(self, question: str) -> str:
        return json.dumps({"question": question, "used": self.used, "seconds": round(self.took_s, 1)})


def exceeding(walks: Sequence[tuple[str, Walk]], *, controls: int, seconds: float) -> list[str]:
    """The walks that used more controls or took longer than they may."""
    return [walk.told(name) for name, walk in walks if len(walk.used) > controls or walk.took_s > seconds]
