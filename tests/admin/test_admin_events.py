"""The event stream of operators: that something changed, of any tenant, once a second, and nothing of it."""

from typing import Any

import pytest

from app.admin.access import admin_keys
from app.auth import permits, sessions
from app.db.announcements import ASSETS, SENT, WEBHOOKS, Announcement
from app.generations.following.changes import kind_of
from tests.admin.counter import ACTOR, CONTRACT, Counter
from tests.contract.published import keep_promises, problem_of
from tests.harness import SUBMIT, World, until
from tests.sessions.browsing import Tab, admin_key
from tests.streams import Stream, moving, streaming

pytestmark = pytest.mark.anyio
EVENTS = "/admin/v1/events"


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"admin_api": True, "console": True, "streams_per_tenant": 2}


@pytest.fixture
async def key(world: World) -> dict[str, str]:
    """The header of an admin key that may only read."""
    return {"authorization": f"Bearer {await Counter(world).key('read')}"}


def _told(stream: Stream) -> list[list[str]]:
    return [one.data["kinds"] for one in stream.messages if one.data is not None]


async def test_changes_of_all_tenants_are_told_at_most_once_a_second_and_without_their_data(
    world: World, key: dict[str, str]
) -> None:
    listeners = world.gateway.db.announcements._listeners
    before = {subject: len(found) for subject, found in listeners.items()}
    other = world.with_key(await world.another_key(tenant="another"))
    async with streaming(world, EVENTS, **key) as one, streaming(world, EVENTS, **key) as two:
        assert sum(map(len, listeners.values())) == sum(before.values()) + 4, "one listener for all of them"
        await world.submitted("queued")
        await until(lambda: _told(one) == _told(two) == [["requests"]])
        for _ in range(3):
            await world.submitted("queued")
        await world.client.post(SUBMIT, json=world.body("queued"), headers=other)
        assert _told(one) == [["requests"]], "no second has passed"
        await moving(world, lambda: len(_told(one)) == len(_told(two)) == 2)
        world.gateway.db.announcements._tell_of_losses()
        await moving(world, lambda: _told(one)[2:] == [["assets", "requests", "webhooks"]])
        assert {one.event for one in two.messages} == {None, "changed"}
        assert all(one.id is None for one in two.messages)
        keep_promises(one.answer)
        published = CONTRACT.document["paths"][EVENTS]["get"]["responses"]["200"]["content"]
        schema = published["text/event-stream"]["schema"]["contentSchema"]["items"]
        assert [
            fault for told in one.messages if told.data for fault in CONTRACT.misfits(schema, told.data)
        ] == []
    assert {subject: len(found) for subject, found in listeners.items()} == before


def test_each_announcement_is_of_the_kind_that_a_page_shows() -> None:
    def of(state: str) -> str:
        return kind_of(Announcement("a tenant", "live", "an id", state))

    assert {of(one) for one in ("accepted", "in_queue", "unknown", "lost")} == {"requests"}
    assert {of(one) for one in (ASSETS, "asset_stored", "asset_expired")} == {"assets"}
    assert {of(one) for one in (WEBHOOKS, SENT, "disabled")} == {"webhooks"}


async def test_a_quiet_stream_shows_a_sign_of_life(world: World, key: dict[str, str]) -> None:
    async with streaming(world, EVENTS, **key) as stream:
        await until(lambda: stream.pings == 1)
        await moving(world, lambda: stream.pings > 1)
        assert _told(stream) == []


@pytest.mark.parametrize("by", ["key", "session", "sign-out"])
async def test_it_ends_within_seconds_with_its_key_or_session_and_says_why(world: World, by: str) -> None:
    text, tab = await admin_key(world, "read"), Tab(world)
    sent = {"authorization": f"Bearer {text}"}
    session_id = await tab.sign_in("console", key=text) if by != "key" else ""
    if session_id:
        cookie = "; ".join(f"{name}={value}" for name, value in tab.cookies.items())
        sent = {"cookie": cookie, "sec_fetch_site": "same-origin", "authorization": ""}
    async with (
        streaming(world, EVENTS, **sent) as stream,
        streaming(world, EVENTS, authorization=f"Bearer {await admin_key(world, 'read')}") as other,
    ):
        assert stream.status == 200
        if by == "sign-out":
            await world.gateway.db.write(sessions.end, session_id)
        else:
            await admin_keys.revoke(world.gateway, ACTOR, text.split("_")[2])
        world.clock.advance(permits._SWEEP_S)
        await stream.ends()
        (last,) = stream.messages[-1:]
        assert (last.event, stream.ended, stream.error) == ("problem", True, None)
        assert last.data is not None
        assert last.data["code"] == ("session_ended" if by == "sign-out" else "invalid_admin_key")
        assert not other.over
    assert len(world.gateway.access.permits) == 0


async def test_operators_have_places_of_their_own_and_a_stopping_server_ends_theirs(
    world: World, key: dict[str, str]
) -> None:
    async with (
        streaming(world, "/v1/events"),
        streaming(world, EVENTS, **key) as one,
        streaming(world, EVENTS, **key) as other,
    ):
        refused = await world.client.get(EVENTS, headers=key)
        assert "Operators have 2" in problem_of(refused, 429, "too_many_streams")["detail"]
        await world.submitted("queued")  # its second is not waited for
        await until(lambda: _told(one) and _told(other))
        world.gateway.following.watch.close()
        for stream in (one, other):
            await stream.ends()
            assert (stream.ended, stream.error) == (True, None)
        problem_of(await world.client.get(EVENTS, headers=key), 503, "shutting_down")


async def test_other_methods_and_parameters_are_refused_and_head_watches_nothing(
    world: World, key: dict[str, str]
) -> None:
    refused = await world.client.post(EVENTS, headers=key)
    problem_of(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "GET, HEAD"
    problem_of(await world.client.get(f"{EVENTS}?after=1", headers=key), 400, "invalid_parameter")
    head = await world.client.head(EVENTS, headers=key)
    assert (head.status_code, head.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    assert world.gateway.following.watch.watchers == 0
