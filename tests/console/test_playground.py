"""The playground in a real browser: its form, a job to its video, every refusal, keyboard and themes."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.async_api import Browser
from sqlalchemy import Connection, text

from tests.console.play import DESKTOP, KID, Play, playing
from tests.harness import MORE_MODELS, World, until
from tests.quotas.accounts import limited

pytestmark = pytest.mark.anyio

EVERYTHING = "acme/everything/image-to-video"
PHONE, NARROW = (390, 844), (360, 740)
SUBMIT = "POST /v1/models/"
POINT = {
    "type": "object",
    "title": "Point",
    "required": ["x"],
    "properties": {"x": {"type": "number", "minimum": 0, "maximum": 1}, "y": {"type": "number"}},
}
# One of every kind of input, with the dialect's oddities.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["prompt", "camera", "flag", "images"],
    "$defs": {"point": POINT},
    "properties": {
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 10}, "maxItems": 3},
        "prompt": {"type": "string", "minLength": 3, "maxLength": 200, "description": "what happens"},
        "camera": {
            "type": "object",
            "title": "Camera",
            "required": ["speed"],
            "properties": {
                "speed": {"type": "integer", "minimum": 1, "maximum": 10},
                "mode": {"enum": ["pan", "zoom", "orbit", "static", "dolly"]},
                "target": {"$ref": "#/$defs/point"},
            },
        },
        "flag": {"type": "boolean"},
        "maybe": {"type": "boolean"},
        "nick": {"anyOf": [{"type": "string", "minLength": 2}, {"type": "null"}]},
        "count": {"type": ["integer", "null"], "minimum": 0},
        "strength": {"type": "float", "minimum": 0, "maximum": 1, "default": 0.5},
        "path": {"type": "array", "title": "Waypoints", "items": {"$ref": "#/$defs/point"}},
        "a/b~c": {"type": "string", "title": "Odd name"},
        "either": {"oneOf": [{"type": "string"}, {"type": "object", "additionalProperties": True}]},
        "images": {"type": "array", "format": "image_uris", "minItems": 1, "maxItems": 3},
        "fixed": {"const": "v2", "title": "Version"},
    },
}


@pytest.fixture
def world_settings(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "models"
    for file in MORE_MODELS.rglob("*.json"):
        _write(folder / file.relative_to(MORE_MODELS), file.read_text())
    model = {
        "model_id": EVERYTHING,
        "display_name": "Everything",
        "input_schema": SCHEMA,
        "pricing": {"version": "1", "flat": 1_000_000},
    }
    _write(folder / "everything.json", json.dumps(model))
    return {"playground_kid": KID, "public_url": "http://127.0.0.1", "catalog_dir": folder}


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.fixture
async def play(world: World, browser: Browser) -> AsyncIterator[Play]:
    async with playing(world, browser) as opened:
        yield opened


# --- the form


async def test_the_form_is_made_of_the_models_schema(play: Play) -> None:
    await play.open()
    names = await play.page.locator("#inputs [data-name]").evaluate_all("all => all.map(x => x.dataset.name)")
    assert names == ["image_urls", "prompt", "number_of_frames", "resolution", "seed"]
    needed = await play.page.locator("#inputs [data-name]:has(.needed)").evaluate_all("all => all.length")
    assert needed == 2
    assert await play.page.get_by_label("Prompt").input_value() != ""
    assert re.fullmatch(r"\d+ / 800", await play.text('[data-name="prompt"] .aside'))
    frames = play.choices("number_of_frames")
    assert await frames.locator("label").all_inner_texts() == ["121", "241"]
    assert await frames.get_by_label("121").is_checked()
    assert "Supported values" in await frames.inner_text()
    assert await play.page.get_by_label("Seed").input_value() == "-1"
    assert "shortest side must be at least 320 px" in await play.text('[data-name="image_urls"]')
    await play.page.get_by_text("JPEG · 1600").wait_for()


async def test_what_is_not_said_is_not_sent(play: Play) -> None:
    await play.open()
    sent = play.bodies[-1][1]
    assert set(sent) == {"image_urls", "prompt"}
    await play.page.get_by_text("1080P").click()
    await play.quoted()
    assert play.bodies[-1][1] == sent | {"resolution": "1080P"}
    assert await play.text("#price") == "0.3"
    await play.page.get_by_text("720P").click()
    await play.quoted()
    assert play.bodies[-1][1] == sent
    assert await play.text("#micro") == "150,000 micro-credits"


async def test_every_kind_of_input_says_what_was_filled_in(play: Play) -> None:
    await play.open(EVERYTHING)
    page, sample = play.page, f"{play.world.sandbox.options.public_url}/samples/city.jpg"
    await page.get_by_label("Prompt").fill("a crane turns")
    await page.get_by_label("Speed", exact=False).last.fill("7")
    await page.get_by_label("Mode", exact=True).select_option("zoom")
    await play.choices("target").get_by_label("Y").fill("-2.5")
    await play.choices("target").get_by_label("X required").fill("0.25")
    await page.get_by_role("switch", name="Flag").check()
    await play.choices("maybe").get_by_text("No", exact=True).click()
    await page.get_by_label("Nick").fill("ok")
    await page.get_by_label("Count").fill("3")
    await page.get_by_label("Strength, slider").fill("0.75")
    await page.get_by_label("Odd name").fill("/~")
    await page.get_by_label("Either").fill('{"a": 1}')
    await page.get_by_text("v2").click()
    for word in ("sea", "sky"):
        await page.get_by_role("button", name="Add tag").click()
        await page.keyboard.type(word)
    await page.get_by_role("button", name="Add waypoint").click()
    await page.keyboard.type("0.5")
    await page.get_by_role("button", name="Add image").click()
    await page.keyboard.type(sample)
    await play.quoted()
    assert await play.text("#terms") == "Held when you submit, settled once it has completed."
    assert play.bodies[-1][1] == {
        "prompt": "a crane turns",
        "camera": {"speed": 7, "mode": "zoom", "target": {"x": 0.25, "y": -2.5}},
        "flag": True,
        "images": [f"{play.world.sandbox.options.public_url}/samples/harbour.jpg", sample],
        "tags": ["sea", "sky"],
        "maybe": False,
        "nick": "ok",
        "count": 3,
        "strength": 0.75,
        "path": [{"x": 0.5}],
        "a/b~c": "/~",
        "either": {"a": 1},
        "fixed": "v2",
    }


async def test_each_model_of_the_catalogue_has_a_form(play: Play) -> None:
    await play.open()
    answer = await play.world.client.get("/v1/models?include_schema=true")
    models = answer.json()["models"]
    assert len(models) > 5
    for model in models:
        await play.page.locator("#model").select_option(model["model_id"])
        await play.quoted()
        assert play.bodies[-1][0].endswith(f"/v1/quotes/{model['model_id']}")
        fields = await play.page.locator("#inputs > .fields > [data-name]").count()
        assert fields == len(model["input_schema"]["properties"]), model["model_id"]
        assert play.page.url.endswith(f"#{model['model_id']}")


async def test_a_complaint_stands_at_its_field(play: Play) -> None:
    await play.open(EVERYTHING)
    await play.page.get_by_role("button", name="Add waypoint").click()
    await play.page.keyboard.type("2")
    await play.page.get_by_role("button", name="Add tag").click()
    await play.page.keyboard.type("far too long a word")
    await play.page.get_by_label("Odd name").fill("fine")
    await play.page.get_by_label("Either").fill("{oops")
    await play.quoted()
    assert "Must be at most 1." in await play.choices("path").locator(".wrong .problem").first.inner_text()
    assert "at most 10 characters" in await play.text('[data-name="tags"] .wrong .problem')
    assert "Is not JSON yet" in await play.text('[data-name="either"] .problem')
    assert await play.choices("camera").locator(".wrong").count() == 0  # nobody was there yet
    await play.page.locator("#go").click()
    await play.page.locator("#summary:not([hidden])").wait_for()
    assert await play.focused() == "summary"
    links = await play.page.locator("#summary a").all_inner_texts()
    assert [link.partition(":")[0] for link in links] == ["Speed", "Tag", "X", "Either"]
    await play.page.locator("#summary a").first.click()
    invalid = "document.activeElement.getAttribute('aria-invalid')"
    assert await play.page.evaluate(invalid) == "true"
    assert play.relay.asked(SUBMIT) == 0
    assert "3 things" not in await play.page.title()


async def test_a_refused_input_comes_back_to_the_form(play: Play) -> None:
    await play.open()
    await play.page.get_by_label("Prompt").fill("x" * 801)
    await play.page.locator("#go").click()
    await play.page.locator("#summary:not([hidden])").wait_for()
    assert "Prompt: must be at most 800 characters long, has 801" in await play.text("#summary")
    assert play.relay.asked(SUBMIT) == 1
    await play.shows("empty")
    await play.page.get_by_label("Prompt").fill("short")
    await play.page.locator("#summary").wait_for(state="hidden")


# --- files


def _noise(size: tuple[int, int]) -> bytes:
    """A picture that hardly any compression makes small."""
    file = BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(file, "PNG")
    return file.getvalue()


async def _choose(play: Play, name: str, content: bytes, kind: str) -> None:
    chosen = {"name": name, "mimeType": kind, "buffer": content}
    await play.page.locator("input[type=file]").first.set_input_files(chosen)  # type: ignore[arg-type]


async def test_a_large_picture_is_made_to_fit_and_the_page_says_so(play: Play) -> None:
    await play.open()
    await _choose(play, "large.png", _noise((1600, 1200)), "image/png")
    await play.page.locator(".slot .note", has_text="Made smaller to fit into a request").wait_for()
    await play.page.locator(".slot.good").wait_for()
    assert "JPEG" in await play.text(".facts")
    body = play.bodies[-1][1]
    assert body["image_urls"][0].startswith("data:image/jpeg;base64,")
    assert 100_000 < len(json.dumps(body)) < play.world.gateway.settings.max_body_bytes
    assert "data:image/jpeg;base64,…" in await play.text(".code")
    await play.generate("canned")
    await play.ended("done")


async def test_the_original_is_uploaded_unless_it_is_stopped_and_is_submitted(play: Play) -> None:
    await play.open()
    picture = _noise((1600, 1200))
    await _choose(play, "large.png", picture, "image/png")
    button, anywhere = play.page.get_by_role("button", name="Upload the original"), re.compile(r"/v1/files\?")
    await play.page.route(anywhere, lambda _: None)  # it goes nowhere
    await button.click()
    await play.page.get_by_role("button", name="Stop").click()
    await play.page.locator(".slot .note", has_text="The upload was stopped.").wait_for()
    await play.page.unroute(anywhere)
    await button.click()
    await play.page.locator(".slot .note", has_text="large.png was uploaded as it is").wait_for()
    await play.page.locator(".slot.good").wait_for()
    assert (await play.text(".facts")).startswith("PNG · 1600")
    reference = play.bodies[-1][1]["image_urls"][0]
    assert reference.startswith("rg-file:")
    await play.generate("canned")
    await play.ended("done")
    assert play.bodies[-1][1]["image_urls"] == [reference]


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (_noise((200, 200)), "image/png", "The shortest side must be at least 320 px."),
        (b"no picture", "image/png", "Is not a media file of a known type."),
        (b"no picture", "text/plain", "Is not a picture: file"),
    ],
)
async def test_a_file_that_does_not_do_is_told_at_once(
    play: Play, content: bytes, kind: str, words: str
) -> None:
    await play.open()
    await _choose(play, "file", content, kind)
    problem = play.choices("image_urls").locator(".problem")
    await problem.wait_for()
    assert words in await problem.inner_text()


# --- a job


async def test_a_job_goes_through_the_queue_to_a_playing_video(play: Play) -> None:
    await play.open()
    await play.generate()
    await play.ended("done")
    video, picture = play.page.locator(".results video"), play.page.locator(".source img")
    for _ in range(200):
        if await video.evaluate("video => video.currentTime") > 0.2:
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError("it does not play")
    assert await picture.is_visible()
    await play.page.get_by_text("0.15 credits, spent", exact=True).wait_for()
    states = await play.page.locator(".timeline .what").all_inner_texts()
    assert states == ["Submitted", "In the queue", "Rendering", "Done"]
    assert await play.page.locator(".strip .piece").count() == 3
    assert await play.page.title() == "Done · Reelgate Playground"
    assert await play.text("#live") == "Done."
    assert play.said == []
    assert play.relay.asked(SUBMIT) == 1


async def test_a_reload_comes_back_to_the_job_and_another_browser_does_not_see_it(
    play: Play, browser: Browser
) -> None:
    await play.open()
    await play.generate("canned")
    await play.shows("queued")
    await play.page.reload()
    await play.shows("queued")
    await play.ended("done")
    link = play.page.url
    other = await browser.new_context()
    elsewhere = await other.new_page()
    await elsewhere.goto(f"{play.relay.url}/playground")
    await elsewhere.get_by_text("None yet.").wait_for()
    await elsewhere.goto("about:blank")
    await elsewhere.goto(link)
    await elsewhere.get_by_text("This job cannot be shown here.").wait_for()
    await elsewhere.get_by_text("A job can be seen in the browser that made it, and nowhere else.").wait_for()
    await other.close()


async def test_a_job_of_the_list_is_shown_again_and_its_inputs_are_used_again(play: Play) -> None:
    await play.open()
    await play.page.get_by_text("1080P").click()
    await play.generate("canned")
    await play.ended("done")
    first = play.bodies[-1][1]
    await play.page.get_by_label("Prompt").fill("another one [sandbox:queued]")
    await play.page.get_by_text("720P").click()
    await play.quoted()
    await play.generate_again()
    await play.shows("queued")
    entries = play.page.locator(".history .entry")
    await entries.nth(1).wait_for()
    assert await entries.first.get_attribute("aria-current") == "true"
    await entries.nth(1).click()
    await play.shows("done")
    await play.page.get_by_role("button", name="Use these inputs").click()
    await play.quoted()
    assert play.bodies[-1][1] == first
    await entries.first.click()
    await play.shows("queued")


async def test_a_waiting_job_is_cancelled_and_its_price_comes_back(play: Play) -> None:
    await play.open()
    await play.generate("queued")
    await play.shows("queued")
    await play.page.get_by_role("button", name="Cancel").click()
    await play.shows("cancelled")
    await play.page.get_by_text("0.15 credits, refunded", exact=True).wait_for()
    assert await play.focused() == "stage"


# --- what goes wrong


async def test_a_failed_job_says_why(play: Play) -> None:
    await play.open()
    await play.generate("canned,fail")
    await play.ended("failed")
    assert "the sandbox was asked to fail" in await play.text("#stage")
    await play.page.get_by_text("0.15 credits, refunded", exact=True).wait_for()
    assert re.search(r"Trace\s+[0-9a-f]{32}", await play.text("#stage"))
    assert await play.page.title() == "Failed · Reelgate Playground"


async def test_the_scenarios_are_for_the_sandbox(play: Play) -> None:
    await play.open()
    await play.page.locator("#scenario").select_option("reject=422")
    await play.quoted()
    assert play.bodies[-1][1]["prompt"].endswith(" [sandbox:reject=422]")
    await play.generate()
    await play.shows("refused")
    shown = await play.text("#stage")
    assert "RunComfy refused this input." in shown
    assert "upstream_rejected · 422" in shown
    assert "What to do:" in shown


async def test_what_runcomfy_said_is_told(play: Play) -> None:
    await play.open()
    await play.generate("error-code=400123")
    await play.shows("refused")
    assert "RunComfy said: " in await play.text("#stage")


async def test_a_job_of_unknown_fate_is_followed_and_not_sent_again(play: Play) -> None:
    await play.open()
    await play.generate("empty-object")
    await play.shows("refused")
    assert "Outcome unknown" in await play.text("#stage")
    assert await play.page.get_by_role("button", name="Try again").count() == 0
    await play.page.get_by_role("button", name="Follow it").click()
    await play.shows("running")
    assert "Its answer was lost." in await play.text("#stage")
    assert play.relay.asked(SUBMIT) == 1


async def test_a_limit_is_told_before_and_after(play: Play) -> None:
    await limited(play.world, "generations-day=0")
    await play.open()
    await play.page.locator("#refusal:not([hidden])").wait_for()  # samples come later
    assert "It would be refused now." in await play.text("#refusal")
    await play.generate()
    await play.shows("refused")
    assert "quota_exhausted · 429" in await play.text("#stage")
    assert await play.page.get_by_role("button", name="Try again").count() == 0
    assert await play.focused() == "stage"


async def test_what_may_be_tried_again_counts_the_seconds(play: Play) -> None:
    await limited(play.world, "generations-day=1")
    await play.open()
    await play.generate("canned")
    await play.ended("done")
    await play.page.locator("#refusal:not([hidden])").wait_for()
    await play.generate_again()
    await play.shows("refused")
    again = play.page.locator("#stage .actions button")
    assert re.fullmatch(r"Try again in \d+ h \d+ min", await again.inner_text())
    assert await again.is_disabled()


async def test_without_a_network_it_is_one_job_all_the_same(play: Play) -> None:
    await play.open()
    play.relay.cut()
    await play.page.locator("#go").click()
    await play.shows("refused")
    assert "The gateway cannot be reached." in await play.text("#stage")
    await play.relay.mend()
    play.relay.lose_answer_to(SUBMIT)
    await play.page.get_by_role("button", name="Try again").click()
    await play.shows("queued")
    keys = re.findall(r"(?im)^idempotency-key: (\S+)", play.relay.text)
    assert (len(keys), len(set(keys))) == (2, 1)


async def test_without_a_token_the_page_says_so(play: Play) -> None:
    def revoke(connection: Connection) -> None:
        connection.execute(text("UPDATE api_keys SET revoked_at_ms = 1 WHERE kid = :kid"), {"kid": KID})

    await play.world.gateway.db.write(revoke)
    await play.page.goto(f"{play.relay.url}/playground")
    await play.page.get_by_text("This gateway has no playground.").wait_for()
    assert await play.page.locator("#go").is_disabled()
    assert await play.violations() == []


# --- for everybody


async def _tab_to(play: Play, wanted: Callable[[str], bool]) -> None:
    for _ in range(40):
        await play.page.keyboard.press("Tab")
        if wanted(await play.focused()):
            return
    raise AssertionError("the keyboard does not get there")


async def test_the_keyboard_is_enough(play: Play) -> None:
    await play.open()
    await play.page.keyboard.press("Tab")
    assert await play.focused() == "Skip to the form"
    await play.page.keyboard.press("Enter")
    await play.page.keyboard.press("Tab")
    await play.page.keyboard.press("ArrowRight")  # the next sample, and a prompt that suits it
    await play.quoted()
    assert play.bodies[-1][1]["image_urls"][0].endswith("/mountains.png")
    assert "ridges" in play.bodies[-1][1]["prompt"]
    await _tab_to(play, lambda focused: focused == "scenario")
    await play.page.keyboard.press("End")
    await play.page.keyboard.press("Home")
    await play.page.keyboard.press("ArrowDown")
    await play.page.keyboard.press("ArrowDown")
    await play.quoted()
    assert "[sandbox:queued]" in play.bodies[-1][1]["prompt"]
    await _tab_to(play, lambda focused: focused == "go")
    await play.page.keyboard.press("Enter")
    await play.shows("queued")
    assert await play.focused() == "stage"
    await _tab_to(play, lambda focused: focused == "Cancel")
    await play.page.keyboard.press("Enter")
    await play.shows("cancelled")
    assert await play.focused() == "stage"
    await _tab_to(play, lambda focused: focused.startswith("tab-"))
    await play.page.keyboard.press("ArrowRight")
    assert await play.text('[role="tab"]:focus') == "JavaScript"
    assert "/client.js" in await play.text(".code")


async def test_the_code_is_the_job_with_a_placeholder_for_the_key(play: Play) -> None:
    await play.open()
    await play.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for language in ("curl", "JavaScript", "Python"):
        await play.page.get_by_role("tab", name=language).click()
        code = await play.text(".code")
        assert "REELGATE_KEY" in code
        assert "rg_client_" not in code
        assert play.bodies[-1][1]["prompt"] in code
        await play.page.get_by_role("button", name="Copy the code").click()
        await play.page.get_by_text(re.compile("^(Copied|Copied the code)$")).first.wait_for()
        copied = await play.page.evaluate("navigator.clipboard.readText()")
        assert copied.strip() == code.strip()
        if language == "Python":
            compile(copied, "copied.py", "exec")


async def test_a_theme_that_was_chosen_stays(play: Play) -> None:
    await play.open()
    paper = "getComputedStyle(document.body).backgroundColor"
    light = await play.page.evaluate(paper)
    await play.page.get_by_text("Dark", exact=True).click()
    dark = await play.page.evaluate(paper)
    assert light != dark
    await play.page.reload()
    assert await play.page.get_by_label("Dark").is_checked()
    assert await play.page.evaluate(paper) == dark
    await play.page.get_by_text("Auto", exact=True).click()
    assert await play.page.evaluate(paper) == light


async def test_who_wants_no_motion_has_none(world: World, browser: Browser) -> None:
    async with playing(world, browser, reduced_motion="reduce") as play:
        await play.open()
        await play.generate("canned")
        await play.ended("done")
        assert await play.page.locator(".results video").evaluate("video => video.paused")


@pytest.mark.parametrize("size", [DESKTOP, PHONE, NARROW])
@pytest.mark.parametrize("color_scheme", ["light", "dark"])
async def test_no_state_is_closed_to_anybody(
    world: World, browser: Browser, size: tuple[int, int], color_scheme: str
) -> None:
    async with playing(world, browser, size=size, color_scheme=color_scheme) as play:
        found: dict[str, list[str]] = {}

        async def judge(state: str) -> None:
            found[state] = await play.violations()

        await play.open(EVERYTHING)
        await judge("form")
        await play.page.locator("#go").click()
        await play.page.locator("#summary:not([hidden])").wait_for()
        await judge("summary")
        await play.open()
        await play.page.locator("#limits summary").click()
        await judge("empty")
        await play.generate("canned")
        await play.shows("queued")
        await judge("queued")
        play.pass_time(play.world.sandbox.options.queue_s)
        await play.shows("running")
        await judge("running")
        play.pass_time(play.world.sandbox.options.run_s)
        await play.shows("done")
        await play.page.locator(".json summary").click()
        await judge("done")
        await play.page.locator("#scenario").select_option("reject=422")
        await play.quoted()
        await play.generate_again()
        await play.shows("refused")
        await judge("refused")
        await play.page.get_by_label("Prompt").fill("no [sandbox:queued]")
        await play.page.locator("#scenario").select_option("")
        await play.quoted()
        await play.generate_again()
        await play.shows("queued")
        await play.page.get_by_role("button", name="Cancel").click()
        await play.shows("cancelled")
        await judge("cancelled")
        assert found == {state: [] for state in found}


async def test_the_page_is_under_a_policy_that_lets_nothing_else_in(play: Play) -> None:
    answer = await play.page.goto(f"{play.relay.url}/playground")
    assert answer is not None
    policy = (await answer.all_headers())["content-security-policy"]
    assert "script-src 'self'; style-src 'self';" in policy
    assert "require-trusted-types-for 'script'" in policy
    await play.quoted()
    hosts = {request.partition("//")[2].partition("/")[0] for request, _ in play.bodies}
    assert hosts == {play.relay.url.removeprefix("http://")}
    await until(lambda: play.relay.asked("GET /v1/requests") > 0)
