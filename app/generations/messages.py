"""Webhook messages of requests and of crossed thresholds: which there are, their ids and their data.

They are written in the transaction of what they tell. The id of a message is made of what it tells, so what
is told twice, or completed later, has one id.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, select

from app.auth.keys import Mode
from app.db.engines.engine import Database
from app.db.schema.asset_states import AssetState
from app.db.schema.tables import asset_events, generations
from app.errors import Problem
from app.generations import events, store
from app.generations.events import Appended, AssetEvent, Event, ThresholdEvent
from app.generations.lifecycle import STATUS_NAMES, State
from app.generations.store import Generation
from app.kit.clock import iso
from app.kit.log import get_logger
from app.mirror import rows as asset_rows
from app.mirror.rows import Asset
from app.quotas.account import Owner
from app.webhooks.kinds import OF_ASSETS, Kind
from app.webhooks.messages import bodies, outbox, owed
from app.webhooks.messages.outbox import Bodies, Message
from app.webhooks.messages.owed import Owed

_ENDS: Final = {
    State.COMPLETED: Kind.COMPLETED,
    State.FAILED: Kind.FAILED,
    State.REJECTED: Kind.FAILED,
    State.LOST: Kind.FAILED,
    State.CANCELLED: Kind.CANCELLED,
    State.EXPIRED: Kind.CANCELLED,
    State.UNKNOWN: Kind.UNKNOWN,
}
_OF_ASSETS: Final = {
    AssetState.STORED: Kind.ASSET_STORED,
    AssetState.FAILED: Kind.ASSET_FAILED,
    AssetState.GONE: Kind.ASSET_FAILED,
    AssetState.EXPIRED: Kind.ASSET_EXPIRED,
}
_AFTER_UNKNOWN: Final = frozenset({State.IN_QUEUE, State.REJECTED, State.LOST})
_FIRST_AFTER_UNKNOWN: Final = 3  # dispatching is version 1 at least, unknown 2
_RESOLVED: Final = "r"
_OF_ASSET: Final = "a"
_BATCH: Final = 200
_log = get_logger("webhooks")


def tell(
    connection: Connection, generation: Generation, appended: Appended, *, reason: str, at_ms: int
) -> None:
    """Writes the messages of a generation's change to its present state, as far as its tenant hears of it."""
    for kind, suffix in _kinds(connection, generation):
        _tell(
            connection,
            generation,
            kind,
            suffix,
            number=appended.number,
            reason=reason,
            at_ms=at_ms,
            endpoints=appended.webhooks,
        )


def _kinds(connection: Connection, generation: Generation) -> list[tuple[Kind, str]]:
    """Returns the kinds of messages of the present state, each with how its id ends."""
    kind = _ENDS.get(generation.state)
    kinds = [] if kind is None else [(kind, "")]
    if generation.state in _AFTER_UNKNOWN and generation.version >= _FIRST_AFTER_UNKNOWN:
        before = events.of_version(connection, generation.id, generation.version - 1)
        if before is not None and before.state is State.UNKNOWN:
            kinds.append((Kind.RESOLVED, _RESOLVED))
    return kinds


def _tell(
    connection: Connection,
    generation: Generation,
    kind: Kind,
    suffix: str,
    *,
    number: int,
    reason: str,
    at_ms: int,
    endpoints: int | None = None,
) -> int:
    message = Message(
        id=f"{outbox.MESSAGE}{generation.id}_{generation.version}{suffix}",
        tenant_id=generation.tenant_id,
        mode=generation.mode,
        kind=kind,
        at_ms=at_ms,
        generation_id=generation.id,
    )

    def make(linked: bool) -> Bodies:  # noqa: FBT001 - as `outbox.tell` calls it
        data = request_data(generation, number=number, reason=reason)
        return Bodies(
            bodies.body(kind, data, at_ms=at_ms),
            bodies.with_output(kind, data, generation.output, at_ms=at_ms) if linked else None,
        )

    named = generation.webhook_endpoint_id
    return outbox.tell(connection, message, make, named=named, number=endpoints)


def request_data(generation: Generation, *, number: int, reason: str) -> dict[str, Any]:
    """Returns the data of a message about a request: ids, states, amounts and our own links."""
    base = f"/v1/requests/{generation.id}"
    return {
        "request_id": generation.id,
        "event_number": number,
        "request_version": generation.version,
        "state": generation.state,
        "status": STATUS_NAMES[generation.state],
        "reason": reason,
        "error_code": generation.error_code,
        "model_id": generation.model_id,
        "mode": generation.mode,
        "kid": generation.kid,
        "token_id": generation.token_id,
        "end_user": generation.end_user,
        "idempotency_key": generation.idempotency_key,
        "charge": generation.charge,
        "price_microcredits": generation.price_microcredits,
        "output_seconds": generation.output_seconds,
        "created_at": iso(generation.created_at_ms),
        "finished_at": None if generation.finished_at_ms is None else iso(generation.finished_at_ms),
        "links": {"request": base, "status": f"{base}/status", "result": f"{base}/result"},
    }


def tell_asset(connection: Connection, asset: Asset, reason: str, at_ms: int, named: str | None) -> None:
    """Appends the event of an asset's end, and writes its messages.

    `named` is the webhook endpoint that the submit of its request named.
    """
    _tell_asset(connection, asset, events.append_asset(connection, asset, reason, at_ms=at_ms), named)


def _tell_asset(connection: Connection, asset: Asset, event: AssetEvent, named: str | None) -> int:
    kind = _OF_ASSETS[event.state]
    message = Message(
        id=asset_message_id(asset, event),
        tenant_id=asset.tenant_id,
        mode=asset.mode,
        kind=kind,
        at_ms=event.at_ms,
        generation_id=asset.generation_id,
    )
    return outbox.tell(connection, message, lambda _: _asset_bodies(asset, event), named=named)


def asset_message_id(asset: Asset, event: AssetEvent) -> str:
    """Returns the id of the message of an asset's end; its number ends it, for one that is owed."""
    return f"{outbox.MESSAGE}{asset.generation_id}_{_OF_ASSET}{event.number}"


def _asset_bodies(asset: Asset, event: AssetEvent) -> Bodies:
    base = f"/v1/requests/{asset.generation_id}"
    data = {
        "asset_id": asset.id,
        "request_id": asset.generation_id,
        "event_number": event.number,
        "pointer": asset.pointer,
        "state": event.state,
        "reason": event.reason,
        "mode": asset.mode,
        "media_type": asset.media_type,
        "size_bytes": asset.size_bytes,
        "sha256": asset.sha256,
        "expires_at": None if asset.expires_at_ms is None else iso(asset.expires_at_ms),
        "links": {"request": base, "assets": f"{base}/assets", "asset": f"/v1/assets/{asset.id}"},
    }
    return Bodies(bodies.body(_OF_ASSETS[event.state], data, at_ms=event.at_ms))


def tell_threshold(connection: Connection, owner: Owner, event: ThresholdEvent) -> int:
    """Writes the message of a crossed threshold for the endpoints that hear it; returns their number."""
    message = Message(
        id=threshold_id(owner.tenant_id, owner.mode, event.number),
        tenant_id=owner.tenant_id,
        mode=owner.mode,
        kind=Kind.THRESHOLD,
        at_ms=event.at_ms,
    )
    return outbox.tell(connection, message, lambda _: _threshold_bodies(owner, event))


def threshold_id(tenant_id: str, mode: str, number: int) -> str:
    """Returns the id of the message of a crossed threshold; its number ends it, for one that is owed."""
    return f"{outbox.message_id('threshold', tenant_id, mode, str(number))}_{number}"


def _threshold_bodies(owner: Owner, event: ThresholdEvent) -> Bodies:
    crossing = event.crossing
    scope = crossing.limit.scope
    data = {
        "event_number": event.number,
        "mode": owner.mode,
        "policy": crossing.limit.policy,
        "kid": scope.kid or None,
        "model_id": scope.model_id or None,
        "end_user": scope.end_user or None,
        "period": crossing.window.partition(":")[0],
        "percent": crossing.percent,
        "amount": crossing.amount,
        "used": crossing.used,
        "links": {"quota": "/v1/quota"},
    }
    return Bodies(bodies.body(Kind.THRESHOLD, data, at_ms=event.at_ms))


async def complete_all(db: Database) -> int:
    """Completes the messages that are owed; returns how many. One that cannot be completed stays owed."""
    completed = 0
    for one in await db.read(owed.first, limit=_BATCH):
        try:
            completed += await db.write_for(one.tenant_id, _complete, one)
        except Problem:
            raise
        except Exception:  # noqa: BLE001 - the others are completed all the same
            _log.exception("A webhook's message that is owed could not be completed.", message_id=one.id)
    return completed


def _complete(connection: Connection, one: Owed) -> bool:
    """Writes the body and deliveries of an owed message, from the rows of what it tells.

    Returns whether it is told now; False where it was completed meanwhile, is owed again, or nobody hears it.
    """
    if not owed.take(connection, one):
        return False
    ending = one.id.rpartition("_")[2]
    if one.generation_id is None:
        owner = Owner(one.tenant_id, one.mode)
        crossed = events.threshold_at(connection, owner, int(ending))
        return crossed is not None and tell_threshold(connection, owner, crossed) > 0
    if one.kind in OF_ASSETS:
        return _complete_asset(connection, one, int(ending.removeprefix(_OF_ASSET)))
    version = int(ending.removesuffix(_RESOLVED))
    generation = store.find(connection, one.generation_id, None)
    event = events.of_version(connection, one.generation_id, version)
    if generation is None or event is None:
        return False
    heard = _tell(
        connection,
        replace(generation, state=event.state, version=version),
        Kind(one.kind),
        _RESOLVED if ending.endswith(_RESOLVED) else "",
        number=event.number,
        reason=event.reason,
        at_ms=event.at_ms,
    )
    return heard > 0


def _complete_asset(connection: Connection, one: Owed, number: int) -> bool:
    event = events.asset_at(connection, Owner(one.tenant_id, one.mode), number)
    asset = None if event is None else asset_rows.find(connection, event.asset_id)
    if event is None or asset is None:
        return False
    generation = store.find(connection, asset.generation_id, None)
    named = None if generation is None else generation.webhook_endpoint_id
    return _tell_asset(connection, asset, event, named) > 0


def ids_of(connection: Connection, generation_ids: Sequence[str]) -> list[str]:
    """Returns the ids that messages about these requests have, as far as there are any."""
    versions = connection.execute(
        select(generations.c.id, generations.c.version).where(generations.c.id.in_(generation_ids))
    )
    found = [
        f"{outbox.MESSAGE}{generation_id}_{one}{suffix}"
        for generation_id, version in versions
        for one in range(1, version + 1)
        for suffix in ("", _RESOLVED)
    ]
    ends = connection.execute(
        select(asset_events.c.generation_id, asset_events.c.number).where(
            asset_events.c.generation_id.in_(generation_ids)
        )
    )
    return found + [f"{outbox.MESSAGE}{generation_id}_{_OF_ASSET}{number}" for generation_id, number in ends]


class Told(NamedTuple):
    """A message as any endpoint that hears everything would have it, whether there is one or not."""

    id: str
    kind: Kind
    number: int
    body: str


def told(
    connection: Connection, tenant_id: str, mode: Mode, *, after: int, limit: int
) -> tuple[list[Told], int]:
    """Returns the messages of a tenant's events after a number, the oldest first, of `limit` events at most.

    Also returns the number of the last event that was looked at: not every event has a message. An amount is
    the present one, not that of the moment of the event.
    """
    found: list[Told] = []
    for one in events.after(connection, tenant_id, mode, after, limit=limit):
        after = one.number
        if isinstance(one, ThresholdEvent):
            owner = Owner(tenant_id, mode)
            message_id = threshold_id(tenant_id, mode, one.number)
            found.append(Told(message_id, Kind.THRESHOLD, one.number, _threshold_bodies(owner, one).plain))
        elif isinstance(one, AssetEvent):
            if (asset := asset_rows.find(connection, one.asset_id)) is not None:
                kind, body = _OF_ASSETS[one.state], _asset_bodies(asset, one).plain
                found.append(Told(asset_message_id(asset, one), kind, one.number, body))
        elif isinstance(one, Event) and (now := store.find(connection, one.generation_id, None)) is not None:
            then = replace(now, state=one.state, version=one.version)
            for kind, suffix in _kinds(connection, then):
                data = request_data(then, number=one.number, reason=one.reason)
                body = bodies.body(kind, data, at_ms=one.at_ms)
                found.append(Told(f"{outbox.MESSAGE}{now.id}_{one.version}{suffix}", kind, one.number, body))
    return found, after
