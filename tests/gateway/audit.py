"""What must be true once everything has come to its end, and all that is not."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from sqlalchemy import Connection, select

from app.admin.verifying.verify import verify
from app.db.schema.tables import threshold_events, webhook_deliveries, webhook_messages
from app.generations import events, messages, store
from app.generations.events import Event
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.webhooks.messages.fan_out import fan_out
from tests.gateway.campaign import Stage, received
from tests.gateway.story import ENDPOINTS, MOST, PRICE, SECONDS, TOP_UP, Story

ENDS = {
    "made": State.COMPLETED,
    "cancelled": State.CANCELLED,
    "refused": State.REJECTED,
    "unclear": State.LOST,
    "ahead": State.CANCELLED,
    "waited": State.COMPLETED,
    "let_go": State.CANCELLED,
}
"""How a submit ends that was answered as it should be."""
TOLD = {
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.REJECTED: "failed",
    State.LOST: "failed",
    State.CANCELLED: "cancelled",
    State.EXPIRED: "cancelled",
    State.UNKNOWN: "unknown",
}
"""What endpoints are told of a request that enters a state."""
WAITED = ("waited", "let_go")


async def complaints(stage: Stage, stories: list[Story]) -> list[tuple[Story | None, str]]:
    """Every broken promise of stories that are over, with the story that it belongs to, where it is one's."""
    report = await stage.gateway.db.snapshot(verify)
    found: list[tuple[Story | None, str]] = [(None, str(one)) for one in report.findings]
    if report.held_microcredits or report.in_flight:
        found.append((None, f"{report.held_microcredits} are held, {report.in_flight} requests never ended"))
    bodies = received(stage.sandbox)
    while await stage.gateway.db.write(fan_out):
        pass
    for story in stories:
        rows, histories = await stage.gateway.db.read(_rows, story.tenant_id)
        told = await stage.gateway.db.read(_messages, story.tenant_id)
        quota = await (await stage.client(story)).get("/v1/quota")
        completed = sum(row.state is State.COMPLETED for row in rows)
        of_story = (
            _of_jobs(story, rows, histories, bodies),
            _of_rows(rows, histories),
            _of_messages(histories, told),
            _of_money(story, quota, completed),
        )
        found.extend((story, complaint) for complaint in chain(*of_story))
    return found


def _rows(connection: Connection, tenant_id: str) -> tuple[list[Generation], dict[str, list[Event]]]:
    rows = store.page(connection, tenant_id, limit=100, mode="test")
    return rows, {row.id: events.of_generation(connection, row.id) for row in rows}


def _of_jobs(
    story: Story, rows: list[Generation], histories: dict[str, list[Event]], came: list[dict[str, Any]]
) -> Iterator[str]:
    """Of each submit: what the upstream received, what the client was told, and what the books say."""
    for job, mark in story.marks.items():
        bodies = [one for one in came if mark in one["input"]["prompt"]]
        charged = {one["request_id"] for one in bodies if one["recorded"]}
        own = [row for row in rows if mark in row.input["prompt"]]
        told = [one for one in story.told if one["job"] == job]
        if len(bodies) > 1:
            yield f"{job}: the upstream received it {len(bodies)} times"
        if bodies and all(row.idempotency_key is None for row in own):
            yield f"{job}: it was received upstream, and its key is free for another"
        if bodies and all(row.sent_at_ms is None for row in own):
            yield f"{job}: it was received upstream, and the books say that it was never sent"
        paths = [[event.state for event in histories[row.id]] for row in own]
        if job in WAITED and any(path[0] is not State.ACCEPTED for path in paths):
            yield f"{job}: it did not wait: {paths}"
        if any(path.count(State.DISPATCHING) > max(1, path.count(State.ACCEPTED)) for path in paths):
            yield f"{job}: it left the queue more than once: {paths}"
        if charged and all(row.state is State.REJECTED for row in own):
            yield f"{job}: the upstream has a job for it, and the books say that it was rejected"
        if invented := {row.upstream_request_id for row in own} - charged - {None}:
            yield f"{job}: the upstream never gave the ids {invented}"
        if len({one["request_id"] for one in told if one["status"] == 200}) > 1:
            yield f"{job}: one key was told two ids: {told}"
        end = State.LOST if job == "waited" and story.lost_while_sending else ENDS[job]
        yield from _of_answer(job, story.final(job), end, {row.id: row for row in own}, charged)


def _of_answer(
    job: str,
    answer: dict[str, Any] | None,
    end: State,
    rows: dict[str, Generation],
    charged: set[str],
) -> Iterator[str]:
    """Of a submit that was answered: it is in the books for ever, as the upstream has it."""
    if answer is None:
        yield f"{job}: it was never answered"
        return
    row = rows.get(answer["request_id"])
    if row is None:
        yield f"{job}: it is not in the books: {answer}"
    elif answer["code"] == "outcome_unknown" and job not in WAITED:  # which no submit sent
        return
    elif answer["code"] not in {None, "upstream_rejected"}:
        yield f"{job}: it was refused: {answer}"
    elif row.state is not end:
        yield f"{job}: {row.id} was answered, and ended as {row.state}"
    elif row.state is not State.LOST and {row.upstream_request_id} - {None} != charged:
        yield f"{job}: {row.id} is {row.upstream_request_id} upstream, not {charged}"


def _of_rows(rows: list[Generation], histories: dict[str, list[Event]]) -> Iterator[str]:
    for row in rows:
        if not row.terminal:
            yield f"{row.id} is {row.state} for ever"
        versions = [event.version for event in histories[row.id]]
        if versions != list(range(1, row.version + 1)):
            yield f"{row.id} is at version {row.version}, its events are {versions}"
        if row.price_microcredits != PRICE:
            yield f"{row.id} costs {row.price_microcredits}"
        if (row.charge == "settled") != (row.state is State.COMPLETED):
            yield f"{row.id} is {row.state} and {row.charge}"


def _messages(connection: Connection, tenant_id: str) -> list[tuple[str, str, str]]:
    """Every delivery: the message's id and type, and the endpoint; of crossed thresholds, no endpoint."""
    one, its = webhook_deliveries.c, webhook_messages.c
    query = select(its.id, its.type, one.endpoint_id).join_from(
        webhook_messages, webhook_deliveries, one.message_id == its.id, isouter=True
    )
    found = [tuple(row) for row in connection.execute(query.where(its.tenant_id == tenant_id))]
    crossed = select(threshold_events.c.number).where(threshold_events.c.tenant_id == tenant_id)
    numbers = connection.execute(crossed).scalars()
    return found + [
        (messages.threshold_id(tenant_id, "test", number), "quota.threshold", "") for number in numbers
    ]


def _of_messages(histories: dict[str, list[Event]], told: list[tuple[str, str, str]]) -> Iterator[str]:
    """Every end has its message, once for each endpoint, and nothing else has one."""
    wanted = {
        (f"msg_{request_id}_{event.version}{suffix}", kind)
        for request_id, history in histories.items()
        for before, event in zip([None, *history], history, strict=False)
        for kind, suffix in _told_of(None if before is None else before.state, event.state)
    }
    wanted |= {(message_id, kind) for message_id, kind, endpoint in told if not endpoint}
    told = [one for one in told if one[2]]
    if wrong := wanted ^ {(message_id, kind) for message_id, kind, _ in told}:
        yield f"what has no message, or no cause: {wrong}"
    if len(told) != ENDPOINTS * len(wanted) or len(set(told)) != len(told):
        yield f"the endpoints do not each hear of each once: {told}"


def _told_of(before: State | None, state: State) -> list[tuple[str, str]]:
    found = []
    if state in TOLD:
        found.append((f"request.{TOLD[state]}", ""))
    if before is State.UNKNOWN:
        found.append(("request.resolved", "r"))
    return found


def _of_money(story: Story, quota: dict[str, Any], completed: int) -> Iterator[str]:
    """The tenant's own view of its account beside what it must be, counted by hand."""
    limits = {one["policy"]: (one["held"], one["spent"], one["remaining"]) for one in quota["limits"]}
    right = {
        "tenant-credits-total": (0, completed * PRICE, TOP_UP - completed * PRICE),
        "tenant-generations-total": (0, completed, MOST - completed),
        "tenant-in-flight": (0, 0, story.max_in_flight),
    }
    for policy, wanted in right.items():
        if limits[policy] != wanted:
            yield f"{policy} has (held, spent, remaining) {limits[policy]}, not {wanted}"
    for usage in quota["usage"]:
        units = {"generations": 1, "microcredits": PRICE, "output_seconds": SECONDS}
        spent = all(usage[f"spent_{unit}"] == completed * each for unit, each in units.items())
        if any(usage[f"held_{unit}"] for unit in units) or (usage["period"] == "total" and not spent):
            yield f"usage is {usage}, with {completed} completed"
