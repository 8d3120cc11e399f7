"""Settings that could not work are refused, and what is derived from them is what callers can reach."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.config import Settings, SettingsError


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"drain_s": 5}, "drain_s"),
        ({"submit_deadline_s": 10}, "less than or equal to 9"),
        ({"unknown_refund_after_s": "inf"}, "ten years"),
        ({"missing_grace_s": "nan"}, "nan|ten years|greater"),
        ({"public_url": "https://h/#"}, "absolute"),
        ({"dispatch_lease_s": 1}, "dispatch_lease_s"),
        ({"database_url": "mysql://u@h/x"}, "postgresql://"),
        ({"database_url": "sqlite://"}, "sqlite:///PATH"),
        ({"database_url": "postgresql://u@h:port/x"}, "postgresql://"),
        ({"public_url": "gateway.example"}, "absolute"),
        ({"public_url": "https://h/?q"}, "query"),
        ({"http_media_hosts": "a b/c@d"}, "host:port"),
        ({"upstream_token": "t\u00f6ken"}, "ASCII"),
        ({"port": 0}, "greater"),
        ({"max_body_bytes": 1}, "greater"),
    ],
)
def test_what_cannot_work_is_refused_with_its_name(values: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        settings(**values)


def test_a_server_that_listens_everywhere_is_named_by_an_address_that_can_be_reached() -> None:
    assert settings(host="0.0.0.0").base_url == "http://127.0.0.1:8700"
    assert settings(host="::1").base_url == "http://[::1]:8700"
    assert settings(host="0.0.0.0", public_url="https://g.example/").base_url == "https://g.example"


def test_the_sandboxes_own_pictures_may_always_come_over_plain_http() -> None:
    chosen = settings(
        sandbox_url="http://Sandbox",
        sandbox_public_url="http://127.0.0.1:9000",
        http_media_hosts="Store.Local, other:81",
    )
    assert chosen.all_http_media_hosts == {"sandbox:80", "127.0.0.1:9000", "store.local:80", "other:81"}


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
