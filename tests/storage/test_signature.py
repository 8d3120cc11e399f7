"""Signatures are those of the examples that Amazon publishes with its description of the algorithm."""

import pytest

from app.storage.signature import EMPTY_SHA256, Keys, path_of, query_of, signed_headers, signed_query

KEYS = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
HOST = "examplebucket.s3.amazonaws.com"
NOW_MS = 1_369_353_600_000  # 2013-05-24T00:00:00Z
PUT = {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}
WELCOME = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"


@pytest.mark.parametrize(
    ("request_", "headers", "sha256", "signature"),
    [
        (
            ("GET", "test.txt", ""), {"Range": "bytes=0-9"}, EMPTY_SHA256,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            ("PUT", "test$file.text", ""), PUT, WELCOME,
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            ("GET", "", query_of({"lifecycle": ""})), {}, EMPTY_SHA256,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            ("GET", "", query_of({"prefix": "J", "max-keys": "2"})), {}, EMPTY_SHA256,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)  # fmt: skip
def test_a_request_is_signed_as_in_the_published_examples(
    request_: tuple[str, str, str], headers: dict[str, str], sha256: str, signature: str
) -> None:
    method, key, query = request_
    signed = signed_headers(
        KEYS,
        method=method,
        host=HOST,
        path=path_of(key),
        query=query,
        headers=headers,
        sha256=sha256,
        now_ms=NOW_MS,
    )
    assert signed["authorization"].endswith(f"Signature={signature}")
    assert signed["authorization"].startswith(
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders="
    )


def test_a_url_is_signed_as_in_the_published_example() -> None:
    query = signed_query(
        KEYS, host=HOST, path=path_of("test.txt"), parameters={}, expires_s=86_400, now_ms=NOW_MS
    )
    signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    assert query.endswith(f"&X-Amz-Signature={signature}")


def test_a_session_token_is_signed_too_and_no_secret_is_shown() -> None:
    keys = Keys("id", "the secret", "the session")
    terms = {"method": "GET", "host": HOST, "path": "/", "now_ms": NOW_MS}
    signed = signed_headers(keys, **terms)  # type: ignore[arg-type]
    assert signed["x-amz-security-token"] == "the session"
    assert ";x-amz-security-token," in signed["authorization"]
    assert "X-Amz-Security-Token=the%20session" in signed_query(
        keys, host=HOST, path="/", parameters={}, expires_s=1, now_ms=NOW_MS
    )
    assert "the s" not in repr(keys)
