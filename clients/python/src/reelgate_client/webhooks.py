"""Verifies webhooks that are signed as Standard Webhooks 1.0.0 describes.

event = verify(await request.body(), request.headers, secret)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from reelgate_client.errors import InvalidWebhook

TOLERANCE_S = 300
"""How many seconds the time of a webhook may differ from ours: an older one may be a replay."""


def verify(
    body: bytes | str,
    headers: Mapping[str, str],
    secrets: str | Iterable[str],
    *,
    tolerance_s: float = TOLERANCE_S,
    now_s: float | None = None,
) -> dict[str, Any]:
    """Returns the document of a webhook, once it is certain that a holder of the secret sent it, and lately.

    Args:
        body: the body exactly as it came.
        headers: the headers, in any spelling.
        secrets: the endpoint's secret (`whsec_…`), or several while one replaces another.
        tolerance_s: how many seconds old it may be.
        now_s: the present moment, by default this machine's.

    Raises:
        InvalidWebhook: do not act upon it; answer 400.

    """
    lowered = {str(name).lower(): value for name, value in headers.items()}
    try:
        identifier, sent_at, signatures = (
            lowered[f"webhook-{name}"] for name in ("id", "timestamp", "signature")
        )
    except KeyError as missing:
        raise _invalid(f"The header {missing.args[0]} is missing.") from None
    if not (sent_at.isascii() and sent_at.isdigit()):
        raise _invalid("The header webhook-timestamp is no number of seconds.")
    now_s = time.time() if now_s is None else now_s
    if abs(now_s - int(sent_at)) > tolerance_s:
        raise _invalid("It was sent too long ago, or this machine's clock is wrong.")
    content = body.encode() if isinstance(body, str) else bytes(body)
    signed = f"{identifier}.{sent_at}.".encode() + content
    expected = [hmac.new(key, signed, hashlib.sha256).digest() for key in _keys(secrets)]
    given = [one for one in map(_signature, signatures.split(" ")) if one is not None]
    # Every pair is compared, so the time that it takes says nothing of which one fits.
    if not sum(hmac.compare_digest(one, other) for one in given for other in expected):
        raise _invalid("No signature fits the body and the secret.")
    document = _parsed(content)
    if not isinstance(document, dict):
        raise _invalid("The body is no JSON object.")
    return document


def _keys(secrets: str | Iterable[str]) -> list[bytes]:
    given = [secrets] if isinstance(secrets, str) else list(secrets)
    if not given:
        raise ValueError("verify needs a secret")
    keys = []
    for secret in given:
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("the secret of a webhook endpoint is base64 after whsec_") from None
        if not key:
            raise ValueError("the secret of the webhook endpoint is empty")
        keys.append(key)
    return keys


def _signature(text: str) -> bytes | None:
    version, _, value = text.partition(",")
    if version != "v1":
        return None
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        raise _invalid("The body is no JSON.") from None


def _invalid(detail: str) -> InvalidWebhook:
    return InvalidWebhook({"detail": detail, "remedy": "Do not act upon this webhook; answer it with 400."})
