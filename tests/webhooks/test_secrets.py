"""Secrets of endpoints are kept sealed: only the operator's key opens them, and only for their endpoint."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.webhooks.registry import secrets
from app.webhooks.registry.secrets import Unreadable

OLD, NEW = "the-old-key-" + "o" * 32, "the-new-key-" + "n" * 32


def test_a_sealed_secret_is_opened_with_either_key_and_sealed_with_the_first() -> None:
    plain = secrets.generate()
    sealed = secrets.seal(plain, [OLD], bound_to="ep_1")
    assert secrets.open(sealed, [NEW, OLD], bound_to="ep_1") == plain
    assert not sealed.startswith(secrets.prefix_of([NEW, OLD]))
    again = secrets.seal(plain, [NEW, OLD], bound_to="ep_1")
    assert again.startswith(secrets.prefix_of([NEW, OLD]))
    assert secrets.open(again, [NEW], bound_to="ep_1") == plain
    assert secrets.seal(plain, [NEW], bound_to="ep_1") != again  # a nonce of its own each time


def test_neither_another_key_nor_another_endpoint_nor_a_changed_character_opens_it() -> None:
    sealed = secrets.seal(b"x" * 32, [OLD], bound_to="ep_1")
    with pytest.raises(Unreadable, match="not set"):
        secrets.open(sealed, [NEW], bound_to="ep_1")
    with pytest.raises(Unreadable, match="another endpoint"):
        secrets.open(sealed, [OLD], bound_to="ep_2")
    for place in range(len(sealed)):
        changed = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
        with pytest.raises(Unreadable):
            secrets.open(changed, [OLD], bound_to="ep_1")
    for broken in ("", "v1", "v1.", f"v1.{secrets.key_id(OLD)}.", f"v1.{secrets.key_id(OLD)}.%%%", "v2.x.y"):
        with pytest.raises(Unreadable):
            secrets.open(broken, [OLD], bound_to="ep_1")


def test_a_receiver_is_shown_the_secret_or_the_public_key() -> None:
    secret = secrets.generate()
    assert base64.b64decode(secrets.shown(secret, "v1").removeprefix("whsec_")) == secret
    public = base64.b64decode(secrets.shown(secret, "v1a").removeprefix("whpk_"))
    signature = Ed25519PrivateKey.from_private_bytes(secret).sign(b"message")
    Ed25519PublicKey.from_public_bytes(public).verify(signature, b"message")
