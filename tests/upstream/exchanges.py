"""Exchanges with RunComfy to judge: written by hand, and drawn at random."""

from typing import Any

import orjson
from hypothesis import strategies as st

from app.upstream.outcomes import Exchange, Sent


def answer(status: int, document: Any = None, *, body: bytes | None = None, **headers: str) -> Exchange:
    """A complete answer to a request that left in full."""
    raw = orjson.dumps(document) if body is None else body
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Exchange(Sent.BODY, status, names, raw, complete=True)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
known_keys = st.sampled_from(
    [
        *["request_id", "error_code", "error_message", "message", "error", "detail", "status", "output"],
        *["queue_position", "cost", "outcome"],
    ]
)
documents = st.dictionaries(known_keys, json_values | st.text("abc/ .:", max_size=4), max_size=6)


def _bytes_of(document: Any) -> bytes:
    try:
        return orjson.dumps(document)
    except TypeError:  # a lone surrogate
        return repr(document).encode("utf-8", "surrogatepass")


bodies = st.one_of(st.binary(max_size=200), documents.map(_bytes_of), json_values.map(_bytes_of))
exchanges = st.builds(
    Exchange,
    st.sampled_from(Sent),
    st.none() | st.integers(100, 999),
    st.dictionaries(st.just("retry-after"), st.text(max_size=40), max_size=1),
    bodies,
    st.booleans(),
    st.sampled_from(["", "timeout", "ReadError", "too_large"]),
)
