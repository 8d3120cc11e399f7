"""A submit's intent: one row for a job, and one job for an Idempotency-Key.

The row is the idempotency record. It is made in tx 1, before anything is sent, and a second submit with the
same key finds it there, whichever replica it comes to.
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from app.auth.keys import Mode
from app.errors import IDEMPOTENCY_MISMATCH, Problem
from app.generations import store
from app.generations.lifecycle import State
from app.generations.store import Generation, Intent
from app.kit.strict_json import dumps


def fingerprint(mode: Mode, model_id: str, body: Mapping[str, Any]) -> str:
    """SHA-256 in hex over method, route, kind of key, model and canonical JSON.

    The kind of key is in it so that a live submit is never answered with a sandbox job.
    """
    canonical = dumps(body, sort_keys=True)
    head = f"POST\0/v1/models/{{model_id}}\0{mode}\0{model_id}\0".encode()
    return hashlib.sha256(head + canonical).hexdigest()


def find(
    connection: Connection, tenant_id: str, idempotency_key: str, wanted_fingerprint: str
) -> Generation | None:
    """The generation that a submit with this key made before.

    Raises:
        Problem: IDEMPOTENCY_MISMATCH, it was another submit.

    """
    generation = store.find_by_key(connection, tenant_id, idempotency_key)
    if generation is not None and generation.fingerprint != wanted_fingerprint:
        raise Problem(
            IDEMPOTENCY_MISMATCH,
            "Another model, input or kind of API key was sent with this Idempotency-Key before.",
            extra={"request_id": generation.id},
        )
    return generation


def record(
    connection: Connection, intent: Intent, *, now_ms: int, lease_until_ms: int
) -> tuple[Generation, bool]:
    """Tx 1: the generation of this intent, and whether it is new.

    Raises:
        Problem: IDEMPOTENCY_MISMATCH.

    """
    add = partial(
        store.add, connection, intent, state=State.DISPATCHING, now_ms=now_ms, lease_until_ms=lease_until_ms
    )
    if intent.idempotency_key is None:
        return add(), True
    wanted = (intent.tenant_id, intent.idempotency_key, intent.fingerprint or "")
    existing = find(connection, *wanted)
    if existing is not None:
        return existing, False
    try:
        with connection.begin_nested():
            return add(), True
    except IntegrityError:
        existing = find(connection, *wanted)
        if existing is None:  # the conflict was of another kind
            raise
        return existing, False
