"""/client.js and many requests: one connection for all of them, and for each its own changes and errors."""

import json
from typing import Any

import pytest

from tests.console.test_client_rules import DONE, UNTAGGED, event, page, play, refusal

pytestmark = pytest.mark.anyio
__all__ = ["page"]

# Follow some requests at once; what each was told, and what came of it.
ALL = """Promise.all(%s.map((id) => {
  const seen = [];
  const told = ({ state, queuePosition }) => seen.push(queuePosition ?? state);
  return gate.follow(id, { onUpdate: told }).then(
    (result) => ({ seen, status: result.status }),
    (error) => ({ seen, code: error.code }),
  );
}))"""


def _of(request_id: str, text: str) -> str:
    return text.replace('"request_id": "r"', f'"request_id": "{request_id}"')


def _life(request_id: str, *states: str) -> str:
    words = {"completed": "completed", "in_progress": "in_progress"}
    told = (event(at, state, words.get(state, "in_queue")) for at, state in enumerate(states, 1))
    return _of(request_id, "".join(told)).replace("id: ", ": ")


def _asked(outcome: dict[str, Any]) -> list[str]:
    return [one["url"].partition("/v1")[2] for one in outcome["calls"]]


async def test_what_is_followed_together_has_one_stream_and_each_its_own_changes(page: Any) -> None:
    place = 'event: position\ndata: {"request_id":"b","queue_position":7}\n\n'
    stream = _life("a", "in_queue", "in_progress") + _life("b", "in_queue") + place
    stream += _life("a", "in_queue", "in_progress", "completed") + _life("b", "in_queue", "completed")
    outcome = await play(page, [{"stream": stream}, DONE], ALL % json.dumps(["a", "b"]))
    assert outcome["value"] == [
        {"seen": ["in_queue", "in_progress", "completed"], "status": "succeeded"},
        {"seen": ["in_queue", 7, "completed"], "status": "succeeded"},
    ]
    asked = _asked(outcome)
    assert asked[0] == "/requests/events?ids=a%2Cb"
    assert sorted(asked[1:]) == ["/requests/a/result", "/requests/b/result"]


async def test_one_that_is_refused_does_not_take_the_others_along(page: Any) -> None:
    missing = refusal(404, "request_not_found", retryable=False, request_id="b")
    answers = [missing, {"stream": _life("a", "completed")}, DONE]
    outcome = await play(page, answers, ALL % json.dumps(["a", "b"]))
    assert [one.get("code") for one in outcome["value"]] == [None, "request_not_found"]
    assert _asked(outcome)[:2] == ["/requests/events?ids=a%2Cb", "/requests/a/events"]


async def test_a_refusal_of_the_caller_is_told_to_all(page: Any) -> None:
    outcome = await play(page, [refusal(403, "x", retryable=False)], ALL % json.dumps(["a", "b", "c"]))
    assert [one["code"] for one in outcome["value"]] == ["x"] * 3
    assert len(outcome["calls"]) == 1


async def test_where_no_stream_gets_through_all_are_polled_one_by_one_and_nothing_is_held(page: Any) -> None:
    over = [{"version": 1, "state": "completed"}]
    anything = {"json": DONE["json"] | {"events": over, "queue_position": None}, "tag": '"1"'}
    answers = [UNTAGGED, UNTAGGED, anything]
    outcome = await play(page, answers, ALL % json.dumps(["a", "b"]))
    assert [one["status"] for one in outcome["value"]] == ["succeeded"] * 2
    polls = [one for one in _asked(outcome) if not one.endswith(("/result", "events?ids=a%2Cb"))]
    assert polls == ["/requests/a/status", "/requests/a", "/requests/b/status", "/requests/b"]
    assert [one["headers"].get("prefer") for one in outcome["calls"]] == [None] * len(outcome["calls"])


async def test_more_than_fit_into_a_stream_take_turns(page: Any) -> None:
    ids = [f"r{at}" for at in range(60)]
    first, rest = "".join(_life(one, "completed") for one in ids[:50]), _life("r0", "in_queue")
    last = "".join(_life(one, "completed") for one in ids[50:])
    outcome = await play(
        page, [{"stream": first}, *[DONE] * 50, {"stream": rest + last}, DONE], ALL % json.dumps(ids)
    )
    assert [one["status"] for one in outcome["value"]] == ["succeeded"] * 60
    streams = [one for one in _asked(outcome) if "/events" in one]
    assert [len(one.split("%2C")) for one in streams] == [50, 10]
