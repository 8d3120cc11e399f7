"""Idempotency: one generation for one Idempotency-Key. The row of the generation is the record of its key."""

import hashlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from app.auth.client_tokens import ClientToken
from app.auth.keys import Mode
from app.errors import IDEMPOTENCY_MISMATCH, Problem
from app.generations import store, visibility
from app.generations.store import Generation
from app.kit.json import dumps


def fingerprint(mode: Mode, model_id: str, body: Mapping[str, Any]) -> str:
    """SHA-256 in hex over method, route, kind of key, model and canonical JSON.

    The kind of key is in it so that a live submit is never answered with a sandbox job.
    """
    canonical = dumps(body, sort_keys=True)
    head = f"POST\0/v1/models/{{model_id}}\0{mode}\0{model_id}\0".encode()
    return hashlib.sha256(head + canonical).hexdigest()


def key_space_of(token: ClientToken | None, root_kid: str) -> str:
    """Within what an Idempotency-Key is one: the tenant or, of client tokens, their end user.

    Where they name none it is their API key, so that a page that goes on with a new token makes no second
    job: it is told that the first one is not its own.
    """
    if token is None:
        return ""
    return f"key:{root_kid}" if token.end_user is None else f"user:{token.end_user}"


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
    """The generation that a submit with this key made before, where the caller may see it.

    Raises:
        Problem: IDEMPOTENCY_MISMATCH, it was another submit.

    """
    generation = store.find_by_key(connection, tenant_id, idempotency_key, key_space=key_space)
    if generation is not None and not visibility.can_see(token, generation):
        raise Problem(
            IDEMPOTENCY_MISMATCH,
            "This Idempotency-Key was sent before with another client token, whose requests this one does not"
            " see. Tokens that follow one another need an `end_user`.",
        )
    if generation is not None and generation.fingerprint != wanted_fingerprint:
        raise Problem(
            IDEMPOTENCY_MISMATCH,
            "Another model, input or kind of API key was sent with this Idempotency-Key before.",
            # What the other kind of key made is nobody's to see from here.
            extra={"request_id": generation.id} if generation.mode == mode else {},
        )
    return generation
