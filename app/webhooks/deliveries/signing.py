"""Signatures of Standard Webhooks 1.0.0: `v1` (HMAC-SHA256) and `v1a` (Ed25519)."""

import base64
import hashlib
import hmac
from collections.abc import Sequence

from app.webhooks.registry.secrets import Scheme


def headers(
    message_id: str, *, at_s: int, body: bytes, scheme: Scheme, secrets: Sequence[bytes]
) -> dict[str, str]:
    """Returns the three headers of an attempt that begins at this second.

    There is a signature by each secret, in their order: the newest one comes first, because some receivers
    read no more than the first.
    """
    signed = f"{message_id}.{at_s}.".encode() + body
    signatures = (f"{scheme},{base64.b64encode(_signature(scheme, one, signed)).decode()}" for one in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(signatures),
    }


def _signature(scheme: Scheme, secret: bytes, signed: bytes) -> bytes:
    if scheme == "v1":
        return hmac.digest(secret, signed, hashlib.sha256)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - few use it

    return Ed25519PrivateKey.from_private_bytes(secret).sign(signed)
