"""Signatures of AWS, version 4, for S3: of a request, of a URL, and of a form. Pure.

It is written out here because it is short, and because the libraries that have it bring clients of their own
(megabytes, threads, or a runtime that cannot be cancelled).
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import orjson

EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_UNSIGNED: Final = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True)
class Keys:
    """What requests to S3 are signed with."""

    key_id: str
    secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    region: str = "us-east-1"

    def scope(self, day: str) -> str:
        """Returns the scope of a signature made on this day."""
        return f"{day}/{self.region}/s3/aws4_request"

    def sign(self, text: str, day: str) -> str:
        """Returns the signature of the text, in hex."""
        key = f"AWS4{self.secret}".encode()
        for part in (day, self.region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()


def path_of(*parts: str) -> str:
    """Returns the path of a bucket and a key, encoded as it is signed and sent."""
    return "/" + "/".join(quote(part, safe="/-_.~") for part in parts if part)


def query_of(parameters: Mapping[str, str]) -> str:
    """Returns the query, encoded and in the order in which it is signed."""
    return "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(parameters.items())
    )


def signed_headers(
    keys: Keys,
    *,
    method: str,
    host: str,
    path: str,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    sha256: str = EMPTY_SHA256,
    now_ms: int,
) -> dict[str, str]:
    """Returns the headers of a request, with its signature. `path` and `query` are encoded already."""
    moment, day = _moment(now_ms)
    sent = {"host": host, "x-amz-content-sha256": sha256, "x-amz-date": moment}
    sent |= {name.lower(): value.strip() for name, value in (headers or {}).items()}
    if keys.session_token is not None:
        sent["x-amz-security-token"] = keys.session_token
    names = ";".join(sorted(sent))
    request = _canonical(method, path, query, sent, sha256)
    signature = keys.sign(_to_sign(request, moment, keys.scope(day)), day)
    credential = f"{keys.key_id}/{keys.scope(day)}"
    sent["authorization"] = (
        f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
    )
    return sent


def signed_query(
    keys: Keys, *, host: str, path: str, parameters: Mapping[str, str], expires_s: int, now_ms: int
) -> str:
    """Returns the query with which anybody may GET a path of the host until it expires."""
    moment, day = _moment(now_ms)
    named = {
        **parameters,
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{keys.key_id}/{keys.scope(day)}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(expires_s),
        "X-Amz-SignedHeaders": "host",
    }
    if keys.session_token is not None:
        named["X-Amz-Security-Token"] = keys.session_token
    query = query_of(named)
    request = _canonical("GET", path, query, {"host": host}, _UNSIGNED)
    signature = keys.sign(_to_sign(request, moment, keys.scope(day)), day)
    return f"{query}&X-Amz-Signature={signature}"


def signed_form(
    keys: Keys,
    *,
    bucket: str,
    key: str,
    media_type: str,
    max_bytes: int,
    expires_s: int,
    now_ms: int,
) -> dict[str, str]:
    """Returns the fields of a form that uploads one file to the key, of this type and no larger."""
    moment, day = _moment(now_ms)
    fields = {
        "key": key,
        "Content-Type": media_type,
        "x-amz-algorithm": _ALGORITHM,
        "x-amz-credential": f"{keys.key_id}/{keys.scope(day)}",
        "x-amz-date": moment,
    }
    if keys.session_token is not None:
        fields["x-amz-security-token"] = keys.session_token
    conditions: Sequence[Any] = [
        {"bucket": bucket},
        *({name: value} for name, value in fields.items()),
        ["content-length-range", 1, max_bytes],
    ]
    expires = datetime.fromtimestamp(now_ms / 1000, UTC) + timedelta(seconds=expires_s)
    policy = {"expiration": f"{expires:%Y-%m-%dT%H:%M:%S.000Z}", "conditions": conditions}
    fields["policy"] = base64.b64encode(orjson.dumps(policy)).decode()
    fields["x-amz-signature"] = keys.sign(fields["policy"], day)
    return fields


def _canonical(method: str, path: str, query: str, headers: Mapping[str, str], sha256: str) -> str:
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    return "\n".join((method, path, query, lines, ";".join(sorted(headers)), sha256))


def _to_sign(request: str, moment: str, scope: str) -> str:
    digest = hashlib.sha256(request.encode()).hexdigest()
    return f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}"


def _moment(now_ms: int) -> tuple[str, str]:
    moment = datetime.fromtimestamp(now_ms / 1000, UTC)
    return f"{moment:%Y%m%dT%H%M%SZ}", f"{moment:%Y%m%d}"
