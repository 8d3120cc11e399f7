"""No secret in a finished log line, whatever wrote it; and what operators need stays."""

import json
import logging
import time
from io import StringIO
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import Connection

from app.auth import keys, tenants
from app.auth.keys import APIKey
from app.cli import session
from app.config import Settings
from app.gateway import open_gateway
from app.kit import log, redaction
from app.kit.redaction import Redactor

KID = "abcdefABCDEF"
SECRET = "51kPXYRbgOyqzF2J1q7uUQvpmcbY0gHfwlQMkeF"  # one for all of xdist's processes, which compare names


@pytest.mark.parametrize("mode", ["live", "test", "client"])
@pytest.mark.parametrize(
    "end", [SECRET, SECRET[:10], SECRET + "x", SECRET.replace("a", "_"), f"x-{SECRET}.ü"]
)
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
        ("HTTPS://A.example/x?a=b", "HTTPS://A.example/x?[redacted]"),
        ("redis://:wo@rd:x@h/0", "redis://[redacted]@h/0"),
        ("postgresql://me:" + "w" * 5000 + "@db/x", "postgresql://[redacted]@db/x"),
        ("http://h:80/x mail@a.example", "http://h:80/x mail@a.example"),
        ("BeArEr abcdefgh", "BeArEr [redacted]"),
        (
            "data:text/plain;charset=x;base64," + "A%2B" * 10,
            "data:text/plain;charset=x;base64,(40 characters)",
        ),
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
    redactor.remember(["später/noch"])
    for form in ("später/noch", r"sp\u00e4ter/noch", "sp%C3%A4ter/noch", "sp%C3%A4ter%2Fnoch"):
        assert redactor.redact(f"x {form}") == "x [redacted]"
    odd = 'with"quote/and\\slash'
    assert odd not in redactor.redact(odd)
    assert "quote" not in redactor.redact(json.dumps({"a": odd}))
    assert "quote" not in redactor.redact("/x/with%22quote%2Fand%5Cslash")


def test_a_text_with_a_secret_is_told_from_one_that_only_names_it() -> None:
    redactor = Redactor()
    redactor.remember(["the-upstream-token"])
    for secret in (
        f"rg_live_{KID}_abc",
        f"x rg_client_{KID}_abc",
        "see the-upstream-token",
        "the-upstream-token",
    ):
        assert redactor.finds_secret(secret)
    for harmless in (KID, f"rg_live_{KID}", "https://tickets.example/?id=4711", "Basic understanding", ""):
        assert not redactor.finds_secret(harmless)


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
        "://" + "a" * 1_000_000,
        "://:" + "@" * 1_000_000,
        "Bearer" + " " * 1_000_000,
        ";base64," * 120_000,
        f"rg_live_{KID}_" * 50_000,
    ],
)
def test_no_line_takes_long(text: str) -> None:
    redactor = Redactor()
    redactor.remember(["some secret or other", "://a:://a:://a:b"])
    began_s = time.thread_time()
    redactor.redact(text)
    # Some 0.05 s here; a regular expression that backtracks takes for ever.
    assert time.thread_time() - began_s < 5


def test_an_ordinary_line_is_quick() -> None:
    redactor = Redactor()
    redactor.remember(f"{number}-some secret or other" for number in range(8))
    line = json.dumps({"event": "A request was answered.", "trace_id": "0" * 32, "path": "/v1/" + "x" * 200})

    def each_of(count: int) -> float:
        began_s = time.thread_time()
        for _ in range(count):
            redactor.redact(line)
        return (time.thread_time() - began_s) / count

    # Some 5 µs here; the rest is for machines that are busy.
    assert min(each_of(200) for _ in range(10)) < 50e-6


@pytest.mark.parametrize("as_json", [True, False])
def test_finished_lines_of_ours_and_of_libraries_are_redacted_with_their_tracebacks(
    as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, before = logging.getLogger(), (logging.getLogger().handlers[:], logging.getLogger().level)
    said = StringIO()
    monkeypatch.setattr("sys.stderr", said)
    monkeypatch.setattr(log._set_up, "as_json", False)
    monkeypatch.setattr(redaction, "redactor", Redactor())
    redaction.redactor.remember(["a-well-known-secret"])
    try:
        log.configure_logging(level="INFO", as_json=as_json)
        key = f"rg_live_{KID}_{SECRET}"
        try:
            raise ValueError(f"{key} a-well-known-secret postgresql://u:word@h/x")  # noqa: TRY301 - to be logged
        except ValueError:
            log.get_logger("x").exception("It failed.", url="https://h/p?token=abc", key=key)
            log.get_logger("x").info("It failed.", url="https://h/p?token=abc", key=key)
            logging.getLogger("library").exception("It failed with %s", key)
        assert log.flush_log()
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        structlog.reset_defaults()
    assert said.getvalue().count("It failed") == 3
    assert KID in said.getvalue()
    for hidden in (SECRET, "a-well-known-secret", "word@", "token=abc"):
        assert hidden not in said.getvalue()


@pytest.fixture
def database(tmp_path: Path, sqlite_template: Path) -> str:
    (tmp_path / "x.db").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'x.db'}"


@pytest.mark.anyio
async def test_nothing_shows_its_secret_when_it_is_printed(tmp_path: Path, database: str) -> None:
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path,
        pepper="0123456789-abcdefghij-ABCDEFGHIJ-!",
        previous_peppers=["an-old-pepper-an-old-pepper"],
        upstream_token="the-upstream-token",
        metrics_token="the-metrics-token",
        database_url=database,
    )
    remote = settings.model_copy(update={"database_url": SecretStr("postgresql://u:the%2Dpassword@h/x")})
    assert {"the-upstream-token", "the-metrics-token", "the-password"} <= set(remote.secrets())
    async with open_gateway(settings) as gateway:

        def make(connection: Connection) -> tuple[str, APIKey | None]:
            tenant = tenants.create(connection, "acme", now_ms=1)
            pepper = settings.current_pepper()
            kid, text = keys.create(connection, tenant.id, mode="test", name="", pepper=pepper, now_ms=1)
            return text, keys.find(connection, kid)

        text, record = await gateway.db.write(make)
        principal = await gateway.access.authenticator.authenticate(text)
        upstreams = [one.upstream for one in gateway.pool.all.values()]
        things = [settings, remote, gateway, record, principal, keys.parse(text), *upstreams]
    assert record is not None
    said = "\n".join(f"{one!r} {one}" for one in things)
    assert record.kid in said
    hidden = [*remote.secrets(), text, text.rpartition("_")[2], record.digest]
    assert [one for one in hidden if one in said] == []


def test_every_command_hides_the_secrets_of_its_settings_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REELGATE_SANDBOX_TOKEN", "of-the-sandbox-alone")
    monkeypatch.setenv("REELGATE_DATABASE_URL", "postgresql://u:the%2Dpassword@h/x")
    own = Redactor()
    monkeypatch.setattr(session, "redactor", own)
    assert session.settings_or_exit().pepper is None
    assert own.redact("of-the-sandbox-alone the-password") == "[redacted] [redacted]"
    assert list(tmp_path.iterdir()) == []
