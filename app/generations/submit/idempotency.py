"""Idempotency: one generation for one Idempotency-Key. The generation's row is the record of its key."""

import hashlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from app.auth.client_tokens import ClientToken
from app.auth.keys import Mode
from app.errors import IDEMPOTENCY_MISMATCH, Problem
from app.generations import store, visibility
from app.generations.store import Generation, SubmitIntent
from app.kit.json import dumps


def fingerprint(mode: Mode, model_id: str, body: Mapping[str, Any]) -> str:
    """Returns the SHA-256, in hex, of the method, route, mode, model and canonical JSON of a submit.

    The mode is included so that a live submit is never answered with a sandbox job.
    """
    canonical = dumps(body, sort_keys=True)
    head = f"POST\0/v1/models/{{model_id}}\0{mode}\0{model_id}\0".encode()
    return hashlib.sha256(head + canonical).hexdigest()


def find(
    connection: Connection,
    tenant_id: str,
    mode: Mode,
    idempotency_key: str,
    wanted_fingerprint: str,
    *,
    key_space: str = "",
    token: ClientToken | None = None,
) -> Generation | None:
    """Returns the generation that an earlier submit with this key made, or None.

    Raises:
        Problem: IDEMPOTENCY_MISMATCH, the earlier submit was a different one, or its generation is not
            visible to this token.

    """
    generation = store.find_by_key(connection, tenant_id, idempotency_key, key_space=key_space)
    if generation is not None and not visibility.can_see(token, generation):
        raise Problem(
            IDEMPOTENCY_MISMATCH,
            "This Idempotency-Key was used with another client token, whose requests this one may not read."
            " Give tokens that replace one another the same `end_user`.",
        )
    if generation is not None and generation.fingerprint != wanted_fingerprint:
        raise Problem(
            IDEMPOTENCY_MISMATCH,
            "This Idempotency-Key was used with another model, another input, or a key of the other mode.",
            # A generation of the other mode must not be visible to this caller.
            extra={"request_id": generation.id} if generation.mode == mode else {},
        )
    return generation


def find_earlier(connection: Connection, intent: SubmitIntent, idempotency_key: str) -> Generation | None:
    """Returns the generation that an earlier submit with the intent's key made, or None.

    Raises:
        Problem: IDEMPOTENCY_MISMATCH, as in `find`.

    """
    return find(
        connection,
        intent.tenant_id,
        intent.mode,
        idempotency_key,
        intent.fingerprint or "",
        key_space=intent.key_space,
        token=intent.token,
    )
