"""Every change of a request, over whatever way gets through: an event stream, held answers, or polling."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import httpx2

from reelgate_client._async.calls import AsyncCalls
from reelgate_client._primitives_async import sleep
from reelgate_client._retry import Patience
from reelgate_client._sse import EventLines
from reelgate_client._wire import Call, path_of
from reelgate_client.errors import ReelgateError, Unreachable, WaitTimeout, refusal
from reelgate_client.types import Event

T = TypeVar("T")
_SILENCE_S = 40.0
"""After which a stream is given up: the gateway sends a line every 15 seconds."""
_HELD_S = 25
"""For which the gateway is asked to hold an answer; it may hold it for less."""
_POLLS = 10
"""How many times a request is polled before a stream that could not be had is tried again."""
_POLL_FIRST_S, _POLL_MAX_S = 1.0, 5.0
"""The pause between two polls of RunComfy itself."""
_OVER = {"completed", "cancelled", "canceled", "failed", "succeeded"}
_STATUS = {
    "accepted": "in_queue",
    "dispatching": "in_queue",
    "in_queue": "in_queue",
    "in_progress": "in_progress",
    "unknown": "in_progress",
    "cancelled": "cancelled",
    "expired": "cancelled",
}
"""The status for each state that a record names; of any other it is `completed`."""


@dataclass(frozen=True)
class Update:
    """A change of state, with the `event` where the server is a gateway, or a new position in the queue."""

    state: str
    status: str
    final: bool
    event: Event | None = None
    position: int | None = None


class AsyncFollower:
    """Follows one request. `version` is of the last event that was seen."""

    def __init__(
        self, calls: AsyncCalls, request_id: str, *, after: int = 0, until_s: float | None = None
    ) -> None:
        self._calls = calls
        self._id = request_id
        self._version = after
        self._until_s = until_s
        self._tag = ""
        self._last = Update("", "", final=False)
        self._patience = Patience(calls.retries.patient(), time.monotonic())

    async def updates(self) -> AsyncGenerator[Update]:
        """Yields every change once, in order, to the last one.

        Raises:
            WaitTimeout: the moment `until_s` has come.

        """
        polls, is_mute = 0, False
        if self._calls.is_gateway is None:
            await self._calls.document(
                Call("GET", path_of("requests", self._id, "status"), request_id=self._id)
            )
        while not self._last.final:
            is_streaming = bool(self._calls.is_gateway) and not polls and self._left_s() > _SILENCE_S
            source = (
                self._streamed()
                if is_streaming
                else self._held()
                if self._calls.is_gateway
                else self._polled()
            )
            told, failed = False, None
            try:
                async with aclosing(source) as updates:
                    async for update in updates:
                        told = True
                        self._last = update
                        yield update
            except ReelgateError as error:
                failed = error
            polls = max(0, polls - 1)
            if is_streaming and not told:  # a proxy may hold streams back; a second one in a row is not tried
                polls, is_mute = (_POLLS, False) if is_mute else (0, True)
            if failed is not None:
                polls = _POLLS if failed.code == "too_many_streams" else polls
                await self._rest(failed)

    async def _rest(self, error: ReelgateError) -> None:
        if isinstance(error, WaitTimeout):
            raise error
        if "retryable" not in error.problem:
            error.retryable = isinstance(error, Unreachable) or (error.status or 0) in {
                429,
                500,
                502,
                503,
                504,
            }
        error.request_id = error.request_id or self._id
        if error.code == "too_many_streams":
            return
        delay_s = self._patience.delay_after(error, time.monotonic())
        await sleep(min(delay_s, self._left_s()))

    def _left_s(self) -> float:
        """For how many seconds there is still to wait; may be without end."""
        if self._until_s is None:
            return float("inf")
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            detail = f"The request {self._id} has not ended in time; it goes on."
            raise WaitTimeout({"detail": detail, "request_id": self._id})
        return left_s

    def _lives(self) -> None:
        self._patience.begin(time.monotonic())
        self._left_s()

    async def _streamed(self) -> AsyncGenerator[Update]:
        headers = {"Accept": "text/event-stream"} | (
            {"Last-Event-ID": str(self._version)} if self._version else {}
        )
        call = Call("GET", path_of("requests", self._id, "events"), headers=headers, request_id=self._id)
        lines = EventLines()
        async with self._calls.stream(call, _SILENCE_S) as answer:
            if answer.status_code == httpx2.codes.NO_CONTENT:  # the last event was seen before
                self._last = Update("", "completed", final=True)
            async for line in answer.aiter_lines():
                self._lives()
                taken = lines.take(line)
                if taken is not None:
                    name, data = taken
                    document = _parsed(data)
                    if name == "problem":
                        raise refusal(int(document.get("status", 0)), document)
                    update = self._understood(name, document)
                    if update is not None:
                        yield update

    def _understood(self, name: str, document: dict[str, Any]) -> Update | None:
        if name == "position":
            return self._moved(document.get("queue_position"))
        if name != "state" or int(document["version"]) <= self._version:
            return None
        self._version = int(document["version"])
        return Update(document["state"], document["status"], bool(document["final"]), cast("Event", document))

    def _moved(self, position: int | None) -> Update | None:
        if position is None or position == self._last.position or not self._last.state:
            return None
        return Update(self._last.state, self._last.status, final=False, position=position)

    async def _held(self) -> AsyncGenerator[Update]:
        """One status that the gateway holds until it differs, then the record."""
        wait_s = int(min(_HELD_S, self._left_s()))
        headers = {"If-None-Match": self._tag} if self._tag else {}
        if wait_s:
            headers["Prefer"] = f"wait={wait_s}"
        timeout_s = wait_s + self._calls.timeout_s
        status = Call(
            "GET",
            path_of("requests", self._id, "status"),
            headers=headers,
            timeout_s=timeout_s,
            request_id=self._id,
        )
        began_s = time.monotonic()
        answer = await self._calls.once(status)
        self._lives()
        if answer.status_code == httpx2.codes.NOT_MODIFIED:
            await self._pace(began_s)
            return
        self._tag = answer.headers.get("etag", "")
        record = (
            await self._calls.once(Call("GET", path_of("requests", self._id), request_id=self._id))
        ).json()
        events = record["events"]
        for one in events:
            if one["version"] > self._version:
                self._version = one["version"]
                is_final = record["finished_at"] is not None and one is events[-1]
                status_word = _STATUS.get(one["state"], "completed")
                document = {"request_id": self._id, **one, "status": status_word, "final": is_final}
                yield Update(one["state"], status_word, is_final, cast("Event", document))
        moved = self._moved(record["queue_position"])
        if moved is not None:
            yield moved
        if record["finished_at"] is not None:
            self._last = Update(record["state"], record["status"], final=True)
        else:
            await self._pace(began_s)

    async def _pace(self, began_s: float) -> None:
        """Leaves a second between two polls where the gateway holds no answers just now."""
        await sleep(max(0.0, min(began_s + _POLL_FIRST_S - time.monotonic(), self._left_s())))

    async def _polled(self) -> AsyncGenerator[Update]:
        """RunComfy's own status, again and again."""
        pause_s = _POLL_FIRST_S
        call = Call("GET", path_of("requests", self._id, "status"), request_id=self._id)
        while not self._last.final:
            document = (await self._calls.once(call)).json()
            self._lives()
            status, position = str(document.get("status")), document.get("queue_position")
            if (status, position) != (self._last.status, self._last.position):
                self._last = Update(status, status, status in _OVER, position=position)
                yield self._last
            if not self._last.final:
                await sleep(min(pause_s, self._left_s()))
                pause_s = min(_POLL_MAX_S, pause_s * 1.3)


def _parsed(data: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Unreachable({"detail": "An event of the stream broke off.", "retryable": True})
    return document
