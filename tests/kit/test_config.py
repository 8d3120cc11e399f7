"""Settings that could not work are refused, and what is derived from them is what callers can reach."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy.engine import make_url

from app.config import Settings, SettingsError
from app.db.engines.engine import sync_url
from app.variables import misspelt


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"drain_s": 5}, "drain_s"),
        ({"thresholds": "50,101"}, "whole number from 1 to 100"),
        ({"thresholds": "50, 8.5"}, "whole number from 1 to 100"),
        ({"hourly_usage_days": 0}, "greater than or equal to 1"),
        ({"submit_deadline_s": 10}, "less than or equal to 9"),
        ({"unknown_refund_after_s": "inf"}, "ten years"),
        ({"missing_grace_s": "nan"}, "nan|ten years|greater"),
        ({"public_url": "https://h/#"}, "absolute"),
        ({"dispatch_lease_s": 1}, "dispatch_lease_s"),
        ({"database_url": "mysql://u@h/x"}, "postgresql://"),
        ({"database_url": "sqlite://"}, "sqlite:///PATH"),
        ({"database_url": "sqlite:///"}, "sqlite:///PATH"),
        ({"database_url": "sqlite:///:memory:"}, "a database in memory is not supported"),
        ({"database_url": "sqlite:///x.db?mode=ro"}, "options after a [?] are not supported"),
        ({"database_url": "postgresql://u@h:port/x"}, "postgresql://"),
        ({"database_url": "postgresql://u@[::1/x"}, "postgresql://"),
        ({"database_url": "postgresql+asyncpg://u@h/x"}, "postgresql://"),
        ({"database_url": "postgresql://u:p@h1:5432,h2:5433/db"}, "HOST:PORT&host=HOST:PORT"),
        ({"database_url": "postgresql://u:p@h1,h2:5433/db"}, "HOST:PORT&host=HOST:PORT"),
        ({"public_url": "gateway.example"}, "absolute"),
        ({"public_url": "http://:80"}, "public_url\n.*absolute"),
        ({"public_url": "https://:443/x/"}, "absolute"),
        ({"public_url": "http://@:80"}, "absolute"),
        ({"public_url": "http://[]:80"}, "public_url"),
        ({"sandbox_url": "http://:8701"}, "sandbox_url\n.*absolute"),
        ({"upstream_base_url": "https://"}, "absolute"),
        ({"public_url": "https://h/?q"}, "query"),
        ({"http_media_hosts": "a b/c@d"}, "host:port"),
        ({"upstream_token": "t\u00f6ken"}, "ASCII"),
        ({"otlp_endpoint": "127.0.0.1:4318"}, "http://127.0.0.1:4318"),
        ({"otlp_endpoint": "https://user:hunter2@collector:4318"}, "REELGATE_OTLP_HEADERS"),
        ({"otlp_endpoint": "https://collector:4318/?token=hunter2"}, "REELGATE_OTLP_HEADERS"),
        ({"otlp_headers": "authorization=x,b"}, "entry 2 is not NAME=VALUE"),
        ({"metrics_tenants": -1}, "greater"),
        ({"traces_ratio": 1.5}, "less than or equal to 1"),
        ({"port": 0}, "greater"),
        ({"port": 8702, "admin_api": True, "admin_port": 8702}, "admin_port must not be port"),
        ({"max_body_bytes": 1}, "greater"),
        ({"large_bodies_bytes": 2_000_000}, "must not be less than max_body_bytes and max_data_uri_bytes"),
        ({"media_user_agent": "a\r\nb: c"}, "pattern"),
    ],
)
def test_what_cannot_work_is_refused_with_its_name(values: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        settings(**values)


def test_a_server_that_listens_everywhere_is_named_by_an_address_that_can_be_reached() -> None:
    assert settings(host="0.0.0.0").base_url == "http://127.0.0.1:8700"
    assert settings(host="::1").base_url == "http://[::1]:8700"
    assert settings(host="::").base_url == "http://127.0.0.1:8700"
    assert settings(host="0.0.0.0", public_url="https://g.example/").base_url == "https://g.example"


@pytest.mark.parametrize(
    ("written", "host", "url"),
    [
        ("[::1]", "::1", "http://[::1]:8700"),
        ("[::]", "::", "http://127.0.0.1:8700"),
        ("::1", "::1", "http://[::1]:8700"),
        ("localhost", "localhost", "http://localhost:8700"),
    ],
)
def test_an_address_to_listen_on_may_stand_in_brackets(written: str, host: str, url: str) -> None:
    chosen = settings(host=written, sandbox_host=written, sandbox_port=8700)
    assert (chosen.host, chosen.base_url) == (host, url)
    assert (chosen.sandbox_host, chosen.sandbox_base_url) == (host, url)


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("sqlite:///x.db", "sqlite:///x.db"),
        ("sqlite:////data/a b#c%20.db", "sqlite:////data/a b#c%20.db"),
        ("postgres://u:p@h/db", "postgresql://u:p@h/db"),
        ("postgresql+psycopg://u:p@h:5433/db?sslmode=require", "postgresql://u:p@h:5433/db?sslmode=require"),
    ],
)
def test_a_database_is_stored_without_the_name_of_a_driver(written: str, stored: str) -> None:
    assert settings(database_url=written).database == stored


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("postgresql://u:a,b@h:5432/db", "h", 5432),
        ("postgresql://u:p@[::1]:5433/db", "::1", 5433),
        ("postgresql://u:p@h1,h2/db", "h1,h2", None),
        ("postgresql://u:p@/db?host=h1:5432&host=h2:5433", "h1,h2", "5432,5433"),
    ],
)
def test_the_servers_of_an_accepted_url_are_those_that_the_driver_is_given(
    url: str, hosts: str, ports: Any
) -> None:
    read = make_url(sync_url(settings(database_url=url).database))
    _, given = read.get_dialect()().create_connect_args(read)
    assert (given["host"], given.get("port")) == (hosts, ports)


def test_the_sandboxes_own_pictures_may_always_come_over_plain_http() -> None:
    chosen = settings(
        sandbox_url="http://Sandbox",
        sandbox_public_url="http://127.0.0.1:9000",
        http_media_hosts="Store.Local, other:81",
    )
    assert chosen.sandbox_media_hosts == {"sandbox:80", "127.0.0.1:9000"}
    assert chosen.http_media_hosts == ["store.local:80", "other:81"]


def test_a_pepper_is_demanded_in_production_and_made_once_in_development(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="REELGATE_PEPPER is not set"):
        settings(data_dir=tmp_path).current_pepper()
    assert list(tmp_path.iterdir()) == []
    developer = settings(data_dir=tmp_path, environment="development")
    made = developer.current_pepper()
    assert len(made) >= 32
    assert developer.current_pepper() == made
    assert (tmp_path / "pepper").stat().st_mode & 0o777 == 0o600


def test_no_secret_is_in_what_settings_print() -> None:
    secret = "the-secret-word-of-this-test"
    chosen = settings(
        pepper=secret,
        previous_peppers=secret,
        upstream_token=secret,
        sandbox_token=secret,
        database_url=f"postgresql://u:{secret}@h/x",
    )
    assert secret not in repr(chosen)
    assert secret not in str(chosen.model_dump())


# --- beside a development server


def test_keys_that_seal_webhook_secrets_are_strong_in_production_and_made_in_development(
    tmp_path: Path,
) -> None:
    assert settings(data_dir=tmp_path).sealing_keys() == []
    (made,) = settings(data_dir=tmp_path, environment="development").sealing_keys()
    assert settings(data_dir=tmp_path, environment="development").sealing_keys() == [made]
    assert (tmp_path / "webhook-key").stat().st_mode & 0o777 == 0o600
    new, old = "n3w-" + made[:40], "0ld-" + made[:40]
    both = settings(data_dir=tmp_path, webhook_key=f"{new}, {old}")
    assert both.sealing_keys() == [new, old]
    assert {new, old} <= set(settings(pepper=made, webhook_key=f"{new},{old}").secrets())
    with pytest.raises(SettingsError, match="WEBHOOK_KEY is weak"):
        settings(webhook_key="short").sealing_keys()
    with pytest.raises(ValidationError, match="at most 2 items"):
        settings(webhook_key="a,b,c")


def test_a_command_beside_a_development_server_has_its_pepper(tmp_path: Path) -> None:
    made = settings(data_dir=tmp_path, environment="development").current_pepper()
    beside = settings(data_dir=tmp_path).beside_development()
    assert beside.development
    assert beside.current_pepper() == made


@pytest.mark.parametrize(
    "chosen",
    [
        {"environment": "production"},
        {"database_url": "sqlite:///elsewhere.db"},
        {"database_url": "postgresql://u@h/db"},
        {"pepper": "p" * 40},
    ],
)
def test_nothing_that_speaks_for_production_finds_the_pepper_of_development(
    chosen: dict[str, Any], tmp_path: Path
) -> None:
    settings(data_dir=tmp_path, environment="development").current_pepper()
    production = settings(data_dir=tmp_path, **chosen)
    assert production.beside_development() is production
    assert not production.development


def test_a_data_folder_without_a_pepper_makes_no_command_a_developers(tmp_path: Path) -> None:
    bare = settings(data_dir=tmp_path)
    assert bare.beside_development() is bare
    assert list(tmp_path.iterdir()) == []


# --- misspelt names


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("REELGATE_PEPER", "is not a setting; it is ignored. Did you mean REELGATE_PEPPER?"),
        ("REELGATE_POTR", "is not a setting; it is ignored. Did you mean REELGATE_PORT?"),
        ("REELGATE_PEPPER_FIEL", "is not a setting; it is ignored. Did you mean REELGATE_PEPPER_FILE?"),
        ("REELGATE_PORT_FILE", "is not a setting; it is ignored."),  # only secrets have such a one
        ("reelgate_potr", "is not a setting; it is ignored. Did you mean REELGATE_PORT?"),
        ("REELGATE_XYZZY", "is not a setting; it is ignored."),
    ],
)
def test_a_misspelt_variable_is_named_with_the_nearest_setting(
    variable: str, sentence: str, in_folder: Path
) -> None:
    (found,) = misspelt({variable: "1"})
    assert found.startswith(f"{variable} {sentence}")
    (in_folder / ".env").write_text(f"{variable}=1\n")
    assert misspelt({}) == [found]
    assert misspelt({variable: "1"}) == [found], "once, wherever it stands"


@pytest.mark.usefixtures("in_folder")
def test_no_variable_that_something_of_ours_reads_is_called_misspelt() -> None:
    known = [f"REELGATE_{name.upper()}" for name in Settings.model_fields]
    known += ["REELGATE_PEPPER_FILE", "REELGATE_KEY", "REELGATE_URL", "REELGATE_TEST_POSTGRES_URL"]
    known += ["REELGATE_ADMIN_URL", "REELGATE_ADMIN_KEY"]
    known += ["reelgate_port", "PATH", "REELGATE", "MY_REELGATE_PORT"]
    assert misspelt(dict.fromkeys(known, "1")) == []


def test_the_file_of_a_secret_is_not_read_from_dotenv_and_said_to_be_so(in_folder: Path) -> None:
    (in_folder / ".env").write_text("REELGATE_PEPPER_FILE=/run/secrets/pepper\n")
    (found,) = misspelt({})
    assert found == "REELGATE_PEPPER_FILE must be set in the environment, not in .env; it is ignored."
    assert misspelt({"REELGATE_PEPPER_FILE": "/run/secrets/pepper"}) == []
