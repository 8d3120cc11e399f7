"""No secret in a finished log line, whatever wrote it; and what operators need stays."""

import json
import logging
import time
from io import StringIO
from pathlib import Path

import pytest
import structlog

from app.auth import keys
from app.auth.keys import APIKey
from app.config import Settings
from app.kit import redaction, telemetry
from app.kit.redaction import Redactor
from app.kit.secrets import random_text
from app.upstream.client import Upstream

KID = "abcdefABCDEF"
SECRET = random_text(keys.SECRET_LENGTH + 6)


@pytest.mark.parametrize("mode", ["live", "test", "client"])
@pytest.mark.parametrize("end", [SECRET, SECRET[:10], SECRET + "x", SECRET.replace("a", "_")])
def test_of_a_key_the_kid_stays(mode: str, end: str) -> None:
    said = Redactor().redact(f'{{"key":"rg_{mode}_{KID}_{end}","status":401}}')
    assert said == f'{{"key":"rg_{mode}_{KID}_[redacted]","status":401}}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abcdef.ghi-jkl", "Authorization: Bearer [redacted]"),
        ("{'authorization': 'bearer abcdef=='}", "{'authorization': 'bearer [redacted]'}"),
        ("Basic dXNlcjp3b3Jk", "Basic [redacted]"),
        ("GET https://a.example/x?signature=abc&b=1 failed", "GET https://a.example/x?[redacted] failed"),
        ('"https://a.example/x#token=abc"', '"https://a.example/x?[redacted]"'),
        ("postgresql://me:word@db:5432/x", "postgresql://[redacted]@db:5432/x"),
        ("https://me:word@a.example/", "https://[redacted]@a.example/"),
        ("data:image/png;base64," + "A" * 5000, "data:image/png;base64,(5000 characters)"),
        ("nothing to hide: https://a.example/x", "nothing to hide: https://a.example/x"),
        ("a basic thing; the bearer of it", "a basic thing; the bearer of it"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_and_the_rest_stays(text: str, expected: str) -> None:
    assert Redactor().redact(text) == expected


def test_known_secrets_are_hidden_in_every_form_and_the_longer_first() -> None:
    redactor = Redactor()
    redactor.remember(["secret-one", "secret-one-and-two", 'with"quote/and\\slash', "short"])
    assert redactor.redact("secret-one-and-two secret-one short") == "[redacted] [redacted] short"
    odd = 'with"quote/and\\slash'
    assert odd not in redactor.redact(odd)
    assert "quote" not in redactor.redact(json.dumps({"a": odd}))
    assert "quote" not in redactor.redact("/x/with%22quote%2Fand%5Cslash")


@pytest.mark.parametrize(
    "text",
    [
        "rg_live_" * 130_000,
        "://" * 350_000,
        "https://" * 130_000,
        "https://a?" * 100_000,
        "://a:" * 200_000,
        "Bearer " * 150_000,
        "data:image/png;base64," * 45_000,
        "a" * 1_000_000,
        "https://" + "a" * 1_000_000,
        "data:" + "a" * 1_000_000 + ";base64,",
        "://" + "a:" * 500_000 + "@",
    ],
)
def test_no_line_takes_long(text: str) -> None:
    redactor = Redactor()
    redactor.remember(["some secret or other", "://a:://a:://a:b"])
    began_s = time.perf_counter()
    redactor.redact(text)
    assert (
        time.perf_counter() - began_s < 5
    )  # some 0.1 s here; a regular expression that backtracks, for ever


@pytest.mark.parametrize("as_json", [True, False])
def test_finished_lines_of_ours_and_of_libraries_are_redacted_with_their_tracebacks(
    as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, before = logging.getLogger(), (logging.getLogger().handlers[:], logging.getLogger().level)
    said = StringIO()
    monkeypatch.setattr("sys.stderr", said)
    monkeypatch.setattr(redaction, "redactor", Redactor())
    redaction.redactor.remember(["a-well-known-secret"])
    try:
        telemetry.configure_logging(level="INFO", as_json=as_json)
        key = f"rg_live_{KID}_{SECRET}"
        try:
            raise ValueError(f"{key} a-well-known-secret postgresql://u:word@h/x")  # noqa: TRY301 - to be logged
        except ValueError:
            telemetry.get_logger("x").exception("It failed.", url="https://h/p?token=abc", key=key)
            logging.getLogger("library").exception("It failed with %s", key)
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        structlog.reset_defaults()
    assert said.getvalue().count("It failed") == 2
    assert KID in said.getvalue()
    for hidden in (SECRET, "a-well-known-secret", "word@", "token=abc"):
        assert hidden not in said.getvalue()


def test_nothing_shows_its_secret_when_it_is_printed(tmp_path: Path) -> None:
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path,
        pepper="0123456789-abcdefghij-ABCDEFGHIJ-!",
        previous_peppers=["an-old-pepper-an-old-pepper"],
        upstream_token="the-upstream-token",
        metrics_token="the-metrics-token",
        database_url="postgresql://u:the%2Dpassword@h/x",
    )
    upstream = Upstream(base_url="http://h", token="the-upstream-token", read_deadline_s=1)
    parsed = keys.parse("rg_live_x")
    said = repr(settings) + str(settings) + repr(upstream) + repr(parsed) + repr(APIKey.__dataclass_fields__)
    secrets = settings.secrets()
    assert {"the-upstream-token", "the-metrics-token", "the-password"} <= set(secrets)
    assert [one for one in secrets if one in said] == []
    assert APIKey.__dataclass_fields__["digest"].repr is False
