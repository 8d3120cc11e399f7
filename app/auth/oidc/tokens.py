"""ID tokens: whether one is the provider's, for us, for this sign-in and of now."""

from collections.abc import Mapping
from typing import Any, Final

from joserfc import jwk, jws, jwt
from joserfc.errors import JoseError

from app.kit.secrets import same

# Signatures by public keys alone: with a shared secret, or none, anybody could make a token.
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
SKEW_S: Final = 60
"""By how much the provider's clock may differ from ours."""
_MAX_AGE_S: Final = 600
_MAX_TOKEN: Final = 100_000
_MAX_SUBJECT: Final = 255
_MAX_KEYS: Final = 100
_MIN_RSA_BITS: Final = 2048
_KINDS: Final = frozenset({"RSA", "EC"})
_REGISTRY: Final = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)


class TokenError(Exception):
    """An ID token that is not believed; the message says why, and repeats nothing of the token."""


class UnknownKeyError(TokenError):
    """The token names a key that is not known, so the provider may have a new one."""


class Keys:
    """The provider's keys for signatures, by their ids."""

    def __init__(self, document: Any) -> None:
        listed = document.get("keys") if isinstance(document, Mapping) else None
        found = [_key(one) for one in listed[:_MAX_KEYS]] if isinstance(listed, list) else []
        self._keys = [one for one in found if one is not None]

    def __len__(self) -> int:
        """How many there are."""
        return len(self._keys)

    def of(self, kid: object) -> jwk.Key:
        """Returns the key with this id; a token without one is for the only key that there is.

        Raises:
            UnknownKeyError: there is none.

        """
        fits = self._keys if kid is None else [one for one in self._keys if one.get("kid") == kid]
        if len(fits) != 1:
            raise UnknownKeyError("it is signed with a key that the provider does not publish")
        return fits[0]


def _key(one: Any) -> jwk.Key | None:
    """Returns a public key for signatures; None for what is none, or too weak a one."""
    if not isinstance(one, Mapping) or one.get("kty") not in _KINDS or one.get("use", "sig") != "sig":
        return None
    try:
        key = jwk.import_key({name: value for name, value in one.items() if name != "d"})
        size = getattr(key.get_op_key("verify"), "key_size", 0)
    except (JoseError, ValueError, TypeError):
        return None
    return None if one["kty"] == "RSA" and size < _MIN_RSA_BITS else key


def claims_of(
    text: str, keys: Keys, *, issuer: str, client_id: str, nonce: str, now_ms: int
) -> Mapping[str, Any]:
    """Returns the claims of an ID token, after everything about it was checked.

    Raises:
        TokenError: it is not believed; UnknownKeyError: its key may be a new one.

    """
    try:
        if len(text) > _MAX_TOKEN:
            raise TokenError("it is too long")
        header = jws.extract_compact(text.encode("ascii"), registry=_REGISTRY).headers()
        if header.get("alg") not in ALGORITHMS:
            raise TokenError("its kind of signature is not accepted")
        claims = jwt.decode(text, keys.of(header.get("kid")), registry=_REGISTRY).claims
    except (JoseError, ValueError, TypeError) as error:
        raise TokenError(f"it is malformed, or its signature is wrong ({type(error).__name__})") from None
    _check_audience(claims, issuer, client_id)
    _check_times(claims, now_ms // 1000)
    found = claims.get("nonce")
    if not isinstance(found, str) or not same(found.encode("utf-8", "replace").decode(), nonce):
        raise TokenError("it was not made for this sign-in (nonce)")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT:
        raise TokenError("it names nobody (sub)")
    return claims


def _check_audience(claims: Mapping[str, Any], issuer: str, client_id: str) -> None:
    if claims.get("iss") != issuer:
        raise TokenError("it is of another issuer (iss)")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if client_id not in audiences:
        raise TokenError("it is for another client (aud)")
    if claims.get("azp", None if len(audiences) > 1 else client_id) != client_id:
        raise TokenError("it was given to another client (azp)")


def _check_times(claims: Mapping[str, Any], now_s: int) -> None:
    expires, issued, begins = (_seconds(claims, name) for name in ("exp", "iat", "nbf"))
    if expires is None or issued is None:
        raise TokenError("it does not say from when to when it is valid (iat, exp)")
    if expires <= now_s - SKEW_S:
        raise TokenError("it has expired (exp)")
    if max(issued, begins or 0) > now_s + SKEW_S:
        raise TokenError("it is of the future (iat, nbf): is a clock wrong?")
    if issued < now_s - _MAX_AGE_S - SKEW_S:
        raise TokenError("it is too old (iat)")


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenError(f"it has a time that is no number ({name})")
    return value
