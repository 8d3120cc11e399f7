"""Idempotency: one generation for one Idempotency-Key. The generation's row is the record of its key."""

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from app.auth.client_tokens import ClientToken
from app.auth.keys import Mode
from app.errors import IDEMPOTENCY_MISMATCH, Problem
from app.generations import archived, store, visibility
from app.generations.store import Generation, SubmitIntent
from app.kit.json import dumps


def fingerprint(
    mode: Mode, model_id: str, body: Mapping[str, Any], webhook_endpoint_id: str | None = None
) -> str:
    """Returns the SHA-256, in hex, of the method, route, mode, model and canonical JSON of a submit.

    The webhook endpoint that it names, if any, is part of it.

    The mode is included so that a live submit is never answered with a sandbox job. Numbers that are equal
    have one form, however they are written: 121, 121.0 and 1.21e2; 0 and -0.0.
    """
    canonical = dumps(_with_plain_numbers(body), sort_keys=True)
    head = f"POST\0/v1/models/{{model_id}}\0{mode}\0{model_id}\0".encode()
    if webhook_endpoint_id is not None:
        head += f"webhook\0{webhook_endpoint_id}\0".encode()
    return hashlib.sha256(head + canonical).hexdigest()


def _with_plain_numbers(value: Any) -> Any:
    """Returns the value with an integer in the place of each number without a fraction.

    The integer is what the digits that RunComfy is sent stand for, not the double that is nearest to them, so
    1e23 is 10**23.
    """
    if isinstance(value, float):
        return int(Decimal(repr(value))) if value.is_integer() else value
    if isinstance(value, dict):
        return {name: _with_plain_numbers(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_with_plain_numbers(one) for one in value]
    return value


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
            visible to this token. REQUEST_ARCHIVED, its generation was archived: the key is not free again.

    """
    generation = store.find_by_key(connection, tenant_id, idempotency_key, key_space=key_space)
    if generation is None:
        gone = archived.find_by_key(connection, tenant_id, idempotency_key, key_space=key_space)
        if gone is not None:
            raise gone.problem("This Idempotency-Key was used: the request")
    if generation is not None and not visibility.can_see(token, generation):
        raise Problem(
            IDEMPOTENCY_MISMATCH,
            "This Idempotency-Key was used with another client token, whose requests this one may not read."
            " Give tokens that replace one another the same `end_user`.",
        )
    if generation is not None and not _is_same(generation, wanted_fingerprint):
        raise Problem(
            IDEMPOTENCY_MISMATCH,
            "This Idempotency-Key was used with another model, another input, another webhook endpoint, or a"
            " key of the other mode.",
            # A generation of the other mode must not be visible to this caller.
            extra={"request_id": generation.id} if generation.mode == mode else {},
        )
    return generation


def _is_same(generation: Generation, wanted_fingerprint: str) -> bool:
    """Returns whether the generation was made by a submit with this fingerprint.

    Rows of older versions have fingerprints in which 121 and 121.0 differ, so it is computed anew before a
    repetition is refused.
    """
    if generation.fingerprint == wanted_fingerprint:
        return True
    endpoint_id = generation.webhook_endpoint_id
    return (
        fingerprint(generation.mode, generation.model_id, generation.input, endpoint_id) == wanted_fingerprint
    )


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
