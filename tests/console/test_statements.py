"""A call of a page takes as many statements of the database for a large company as for a small one."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from tests.console.company import WEBHOOK_KEY, Company, furnished
from tests.harness import FakeClock, open_world, settings_for
from tests.sandbox.harness import Running
from tests.sessions.browsing import admin_key

pytestmark = pytest.mark.anyio
OF_OPERATORS = (
    "overview?mode=live",
    *("requests?mode=live&limit=50", "requests?tenant=acme&limit=50", "requests?state=unknown&limit=50"),
    *("requests/{request_id}", "ledger?request_id={request_id}", "ledger?tenant=acme&limit=50"),
    *("tenants?limit=50", "tenants/acme", "limits/account?tenant=acme&test=false"),
    *("limit-overrides?tenant=acme", "keys?tenant=acme&mode=live&limit=100"),
    *("client-tokens?tenant=acme&limit=50", "statements?tenant=acme", "refusals?limit=100"),
    *("usage?mode=live&by=day&group_by=tenant&limit=1000", "usage?mode=live&by=month&group_by=model"),
    *("usage?tenant=acme&mode=live&by=month&group_by=end_user", "dispatch", "models", "credentials"),
    *("webhook-deliveries?mode=live&limit=50", "webhook-endpoints?mode=live&limit=50"),
    *("webhook-replays?limit=50", "audit?limit=50", "audit/head", "settings", "admin-keys"),
)
OF_TENANTS = (
    *("quota", "refusals", "requests?limit=50", "requests/{request_id}", "usage?by=day&group_by=model"),
    *("ledger?limit=50", "statements", "keys", "origins", "webhooks/deliveries?limit=50"),
    *("webhooks/endpoints?limit=50", "webhooks/replays?limit=50"),
)
MOST = 15


async def _counts(file: Path, template: Path, sandbox: Running, **size: Any) -> Counter[str]:
    """How many statements each call takes."""
    shutil.copyfile(template, file)
    url = f"sqlite:///{file}"
    key = furnished(url, Company(now_ms=FakeClock().now_ms(), **size))
    more = {"admin_api": True, "webhook_key": WEBHOOK_KEY}
    settings = settings_for(url, file.parent, sandbox.options.public_url, **more)
    found: Counter[str] = Counter()
    async with open_world(settings, sandbox) as world:
        operator = world.with_key(await admin_key(world))
        listed = await world.client.get("/admin/v1/requests?tenant=acme&limit=1", headers=operator)
        (request,) = listed.json()["requests"]
        calls = [(f"/admin/v1/{one}", operator) for one in OF_OPERATORS]
        calls += [(f"/v1/{one}", world.with_key(key)) for one in OF_TENANTS]
        for path, headers in calls:
            address = path.format_map(request)
            await world.client.get(address, headers=headers)  # what is remembered is remembered now
            seen: list[str] = []

            def note(_one: Any, _two: Any, statement: str, *_more: Any, seen: list[str] = seen) -> None:
                if not statement.startswith(
                    ("PRAGMA", "BEGIN", "ROLLBACK", "SAVEPOINT", "RELEASE", "COMMIT")
                ):
                    seen.append(statement)

            event.listen(Engine, "before_cursor_execute", note)
            try:
                answer = await world.client.get(address, headers=headers)
            finally:
                event.remove(Engine, "before_cursor_execute", note)
            assert answer.status_code == 200, (path, answer.text)
            found[path] = len(seen)
    return found


async def test_no_call_of_a_page_takes_more_statements_for_a_large_company(
    tmp_path: Path, sqlite_template: Path, sandbox: Running
) -> None:
    few = await _counts(tmp_path / "few.db", sqlite_template, sandbox, tenants=8, requests=80)
    many = await _counts(tmp_path / "many.db", sqlite_template, sandbox, tenants=24, requests=400)
    assert many == few
    assert {path: count for path, count in many.items() if count > MOST} == {}
    assert sum(many.values()) > len(many), "the statements are seen"
