"""The playground's jobs: one for two clicks, kept at an address, saved, shown as JSON, explained."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.console.play import KID, Play, playing
from tests.harness import World, until

pytestmark = pytest.mark.anyio

SUBMIT = "POST /v1/models/"
OVERLAPS = """() => {
  const bar = document.querySelector(".checkout").getBoundingClientRect();
  const isFree = (one) =>
    one.bottom <= bar.top || one.top >= bar.bottom || one.right <= bar.left || one.left >= bar.right;
  const fields = [...document.querySelectorAll("#inputs .field")];
  return fields.filter((one) => !isFree(one.getBoundingClientRect())).map((one) => one.dataset.name);
}"""


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"playground_kid": KID, "public_url": "http://127.0.0.1"}


@pytest.fixture
async def play(world: World, browser: Browser) -> AsyncIterator[Play]:
    async with playing(world, browser) as opened:
        yield opened


async def test_two_clicks_make_one_job_and_so_do_more_while_it_is_under_way(play: Play) -> None:
    await play.open()
    await play.page.get_by_label("Prompt").fill("once [sandbox:queued]")
    await play.quoted()
    await play.page.locator("#go").dblclick()
    await play.shows("queued")
    go = play.page.locator('#go[aria-disabled="true"]')
    await go.wait_for()
    await play.page.get_by_text("This job is under way. To make another, change an input.").wait_for()
    await play.page.wait_for_timeout(800)  # no double click any more
    await go.click(force=True)
    await play.page.get_by_label("Prompt").press("Control+Enter")
    assert play.relay.asked(SUBMIT) == 1
    await play.page.get_by_label("Prompt").fill("another [sandbox:queued]")
    await play.page.locator('#go[aria-disabled="false"]').wait_for()
    await play.generate_again()
    await until(lambda: play.relay.asked(SUBMIT) == 2)
    keys = re.findall(r"(?im)^idempotency-key: (\S+)", play.relay.text)
    assert len(set(keys)) == 2


async def test_what_was_given_up_is_asked_for_again_with_the_same_key(play: Play) -> None:
    await play.open()
    play.relay.cut()
    await play.page.locator("#go").click()
    await play.page.get_by_role("button", name="Stop asking").click()
    await play.shows("refused")
    await play.relay.mend()
    await play.page.wait_for_timeout(800)
    play.relay.lose_answer_to(SUBMIT)  # it is made, and the page is not told
    await play.page.locator("#go").click()
    await play.shows("queued")
    keys = re.findall(r"(?im)^idempotency-key: (\S+)", play.relay.text)
    assert len(keys) >= 2
    assert len(set(keys)) == 1
    assert len((await play.world.get("/v1/requests"))["requests"]) == 1


async def test_a_job_has_an_address_without_a_secret_that_opens_it_in_another_tab(play: Play) -> None:
    await play.open()
    await play.generate("canned")
    await play.ended("done")
    (listed,) = (await play.world.get("/v1/requests"))["requests"]
    address = play.page.url
    assert address == f"{play.relay.url}/playground#job={listed['request_id']}"
    link = play.page.get_by_role("link", name="Link to this job")
    assert await link.evaluate("link => link.href") == address
    tab = await play.page.context.new_page()
    await tab.goto(address)
    await tab.locator('#stage[data-phase="done"]').wait_for()
    await tab.locator(f'.history [data-id="{listed["request_id"]}"]').wait_for()
    await tab.close()


async def test_a_result_is_saved_as_a_file(play: Play) -> None:
    await play.open()
    await play.generate("canned")
    await play.ended("done")
    async with play.page.expect_download() as saving:
        await play.page.get_by_role("button", name="Download").click()
    download = await saving.value
    assert re.fullmatch(r"[\w.-]+\.mp4", download.suggested_filename)
    assert (await download.path()).read_bytes()[4:8] == b"ftyp"


async def test_input_and_output_are_shown_as_json_and_copied_whole(play: Play) -> None:
    await play.open()
    await play.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await play.generate("canned")
    await play.ended("done")
    await play.page.locator(".json summary").click()
    (listed,) = (await play.world.get("/v1/requests"))["requests"]
    record = await play.world.get(f"/v1/requests/{listed['request_id']}")
    for name in ("Input", "Output"):
        await play.page.get_by_role("button", name=f"Copy the {name.lower()} as JSON").click()
        await play.page.get_by_text(re.compile("^Copied the .* as JSON$")).first.wait_for()
        copied = await play.page.evaluate("navigator.clipboard.readText()")
        shown = await play.page.get_by_role("region", name=f"{name} as JSON").inner_text()
        assert json.loads(copied) == json.loads(shown) == record[name.lower()]


@pytest.mark.parametrize("screen", [(1366, 768), (1440, 900)])
async def test_the_price_lies_over_no_input(world: World, browser: Browser, screen: tuple[int, int]) -> None:
    async with playing(world, browser, size=screen) as play:
        await play.open()
        for top in (0, 300, 10_000):
            await play.page.evaluate("(top) => scrollTo({ top, behavior: 'instant' })", top)
            assert await play.page.evaluate(OVERLAPS) == []
        await play.generate("queued")
        await play.shows("queued")
        await play.page.wait_for_timeout(1000)  # for the way to the stage
        box = await play.page.locator("#go").bounding_box()
        assert box is not None
        assert 0 <= box["y"] <= screen[1] - box["height"], "the button is still in view"


async def test_a_refusal_is_explained_to_people(play: Play) -> None:
    await play.open()
    await play.generate("reject=422")
    await play.shows("refused")
    shown = await play.text("#stage")
    assert "Prompt: " in shown
    assert "#/prompt" not in shown
    assert "What to do: Change the input, and send it again. Nothing was spent." in shown
    problems = (await play.world.client.get("/problems")).json()["problems"]
    assert not [one["code"] for one in problems if one["remedy"] in shown]
