"""Six questions of an operator, over a real server on PostgreSQL: each answered in three clicks at most.

Who is flooding us, why was acme refused at 14:05, what did acme spend last week on which model, which jobs
are unknown, did that webhook arrive, is this price making a loss. And the same pages, looked at one by one.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Browser

from tests.console.company import ACME, AT_A_LOSS, FLOODING, UNKNOWN
from tests.console.house import House, Walk, exceeding, faults_of, furnished_house
from tests.console.test_sites import MOST_CALLS
from tests.sandbox.harness import Running

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: str,
    postgres_template: str,
    live_sandbox: Running,
) -> Iterator[House]:
    folder, url = tmp_path_factory.mktemp("company"), live_sandbox.options.public_url
    with furnished_house(folder, postgres_server, postgres_template, url, tenants=12, requests=1200) as one:
        yield one


async def test_six_questions_are_answered_in_three_clicks_from_the_first_page(
    house: House, browser: Browser
) -> None:
    async with house.visited(browser, "console", timezone_id="UTC") as visit:
        walks: list[tuple[str, Walk]] = []

        async def asking(question: str) -> Walk:
            await visit.go("")
            walks.append((question, Walk(visit.page)))
            return walks[-1][1]

        walk = await asking("who is flooding us")
        await walk.click(f"{FLOODING} is flooding us")
        await walk.sees(FLOODING, "rate_limited")

        walk = await asking("why was acme refused at 14:05")
        await walk.click("Refused calls")
        at = datetime.fromtimestamp(house.company.refused_at_ms / 1000, UTC)
        await walk.write("At about", at.strftime("%Y-%m-%dT%H:%M"))
        row = await walk.sees(ACME, "quota_exhausted", "14:05")
        assert await row.count() == 1

        walk = await asking("what did acme spend last week on which model")
        await walk.click("Usage")
        await walk.write("Tenant", ACME)
        await walk.click("Last week", role="button")
        await visit.page.wait_for_url("**tenant=acme**")
        await visit.settled()
        today = datetime.now(UTC).date()
        monday = today - timedelta(days=today.weekday() + 7)
        asked = f"tenant={ACME}&mode=live&by=day&group_by=model&first_day={monday}&last_day="
        rows = house.get(f"/admin/v1/usage?{asked}{monday + timedelta(days=6)}")["rows"]
        sums = await visit.text("figcaption")
        for model in {one["model_id"] for one in rows}:
            spent = sum(one["spent_microcredits"] for one in rows if one["model_id"] == model)
            assert f"{model} {spent / 1e6:,.10g}" in sums.replace("\n", " "), sums

        walk = await asking("which jobs are unknown")
        await walk.click(f"{UNKNOWN} requests are unknown")
        row = await walk.sees("unknown", ACME)
        assert await row.count() == UNKNOWN

        walk = await asking("did that webhook arrive")
        await walk.click("Webhooks")
        await walk.write("Request id", house.ids["request_id"])
        await visit.page.wait_for_url("**request_id=**")
        await visit.settled()
        row = await walk.sees("request.completed", "delivered", "200")
        assert await row.count() == 1
        await walk.sees("request.completed", "retrying", "500")

        walk = await asking("is this price making a loss")
        await walk.click(f"{AT_A_LOSS} makes a loss")
        await walk.sees(AT_A_LOSS, "a loss")
        assert exceeding(walks, controls=3, seconds=60) == []


@pytest.mark.parametrize("site", ["console", "portal"])
async def test_every_page_shows_strangers_texts_and_runs_none_of_them(
    house: House, browser: Browser, site: str
) -> None:
    """Prompts, programs, end users, keys, endpoints and their answers, on a real server."""
    async with house.visited(browser, site, color_scheme="dark") as visit:
        assert await faults_of(house, visit, site, most_calls=MOST_CALLS, axe=False) == {}
