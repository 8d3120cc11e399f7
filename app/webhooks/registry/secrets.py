"""The secrets of webhook endpoints: made here, kept only sealed (encrypted), and shown once.

A sealed secret is a text `v1.<id of the operator's key>.<base64url of nonce and ciphertext>`, by AES-256-GCM.
It is bound to its endpoint, so that one row's secret cannot be put into another row. Of the operator's keys,
the first seals and all of them open: a key is replaced by naming the new one first, resealing, and dropping
the old one.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Scheme = Literal["v1", "v1a"]
"""How messages are signed: `v1` by HMAC-SHA256 with a shared secret, `v1a` by Ed25519."""

SECRET_BYTES: Final = 32
_PREFIX: Final = {"v1": "whsec_", "v1a": "whpk_"}
_FORM: Final = "v1"
_NONCE_BYTES: Final = 12


class Unreadable(Exception):  # noqa: N818 - named after what it says of the sealed text
    """A sealed secret cannot be opened: no key of the operator's fits, or it is not this endpoint's."""


def generate() -> bytes:
    """Returns a new secret: the key of `v1`, or the seed of the Ed25519 key of `v1a`."""
    return os.urandom(SECRET_BYTES)


def shown(secret: bytes, scheme: Scheme) -> str:
    """Returns what a receiver verifies with: the secret itself, or the public key."""
    what = secret if scheme == "v1" else public_key(secret)
    return _PREFIX[scheme] + base64.b64encode(what).decode()


def public_key(secret: bytes) -> bytes:
    """Returns the public key of an Ed25519 seed."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - as below

    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def seal(plain: bytes, keys: Sequence[str], *, bound_to: str) -> str:
    """Returns a secret sealed with the first of the operator's keys, for the endpoint with this id."""
    nonce = os.urandom(_NONCE_BYTES)
    sealed = _cipher(keys[0]).encrypt(nonce, plain, bound_to.encode())
    return f"{prefix_of(keys)}{base64.urlsafe_b64encode(nonce + sealed).decode()}"


def open(sealed: str, keys: Sequence[str], *, bound_to: str) -> bytes:  # noqa: A001 - read as `secrets.open`
    """Returns the secret in a sealed text.

    Raises:
        Unreadable: none of the keys opens it for this endpoint.

    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - few processes need it

    form, _, rest = sealed.partition(".")
    named, _, text = rest.partition(".")
    fitting = next((one for one in keys if key_id(one) == named), None)
    if form != _FORM or fitting is None:
        raise Unreadable(f"It was sealed with the key {named[:8] or 'nobody knows'}, which is not set.")
    try:
        raw = base64.urlsafe_b64decode(text)
        return _cipher(fitting).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound_to.encode())
    except (InvalidTag, binascii.Error, ValueError) as error:
        raise Unreadable("It was changed, or it belongs to another endpoint.") from error


def prefix_of(keys: Sequence[str]) -> str:
    """Returns what every secret begins with that is sealed with the first of the operator's keys."""
    return f"{_FORM}.{key_id(keys[0])}."


@lru_cache(maxsize=8)
def key_id(key: str) -> str:
    """Returns eight hex digits that identify an operator's key and reveal nothing else about it."""
    return hashlib.sha256(b"reelgate webhook key id\0" + key.encode()).hexdigest()[:8]


@lru_cache(maxsize=8)
def _cipher(key: str) -> "AESGCM":
    """Returns the cipher of an operator's key, which has at least the randomness of its 32 bytes."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - few processes need it

    return AESGCM(hashlib.sha256(b"reelgate webhook key\0" + key.encode()).digest())
