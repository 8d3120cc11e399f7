"""Settings from a TOML file, what wins over it, and what the operator is shown of all that."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.config import Settings
from app.variables import misspelt, origin_of


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_file_in_this_folder_is_read_and_every_kind_of_value_is_taken() -> None:
    Path("reelgate.toml").write_text(
        "port = 8799\nqueueing = true\nfreshness_s = 0.5\n"
        'default_limits = ["submits-minute=5", "in-flight=2"]\n'
        'public_url = "https://gateway.example"\nprevious_peppers = ["a-former-pepper"]\n'
        '[[upstream_credentials]]\nname = "main"\ntoken = "t-1"\nweight = 3\n'
    )
    settings = Settings()
    assert (settings.port, settings.queueing, settings.freshness_s) == (8799, True, 0.5)
    assert settings.default_limits == ["submits-minute=5", "in-flight=2"]
    assert settings.older_peppers() == ["a-former-pepper"]
    assert [(one.name, one.weight) for one in settings.live_credentials] == [("main", 3)]


def test_the_environment_wins_over_dotenv_that_over_a_secrets_file_and_that_over_the_settings_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("secret").write_text("of-the-secrets-file\n")
    Path("reelgate.toml").write_text('upstream_token = "of-the-settings-file"\n')

    def token() -> tuple[str, str]:
        found = Settings().upstream_token
        assert found is not None
        return found.get_secret_value(), origin_of("upstream_token", os.environ)

    assert token() == ("of-the-settings-file", "reelgate.toml")
    monkeypatch.setenv("REELGATE_UPSTREAM_TOKEN_FILE", "secret")
    assert token() == ("of-the-secrets-file", "REELGATE_UPSTREAM_TOKEN_FILE")
    Path(".env").write_text("REELGATE_UPSTREAM_TOKEN=of-dotenv\n")
    assert token() == ("of-dotenv", ".env")
    monkeypatch.setenv("REELGATE_UPSTREAM_TOKEN", "of-the-environment")
    assert token() == ("of-the-environment", "REELGATE_UPSTREAM_TOKEN")


def test_a_secret_may_stand_in_a_file_that_the_settings_file_names(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("secret").write_text("the-token\n")
    Path("other.toml").write_text('upstream_token_file = "secret"\n')
    monkeypatch.setenv("REELGATE_CONFIG", "other.toml")
    assert Settings().live_credentials[0].token.get_secret_value() == "the-token"
    assert misspelt({"REELGATE_CONFIG": "other.toml"}) == []
    Path("secret").unlink()
    with pytest.raises(ValidationError, match=r"upstream_token_file in other\.toml"):
        Settings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port = \n", "reelgate.toml is no TOML"),
        ("port = 0\n", "port"),
        ('port = "many"\n', "port"),
        ("[port]\nnumber = 1\n", "port"),
        ("host = 7\n", "host"),
        ("settle_on = 2026-01-01\n", "settle_on"),
        ('public_url = " https://x.example"\n', "begins or ends with a blank"),
        ('[[upstream_credentials]]\nname = "main"\n', "token"),
    ],
)
def test_what_the_file_cannot_mean_is_refused_with_its_name(text: str, words: str) -> None:
    Path("reelgate.toml").write_text(text)
    with pytest.raises(ValidationError, match=words):
        Settings()


def test_a_file_that_is_named_and_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELGATE_CONFIG", "none.toml")
    with pytest.raises(ValidationError, match=r"none.toml cannot be read: No such file"):
        Settings()


def test_a_misspelt_key_is_named_with_the_nearest_setting() -> None:
    Path("reelgate.toml").write_text('peper = "x"\nREELGATE_PORT = 1\nxyzzy = 1\npepper_file = "y"\n')
    assert misspelt({}) == [
        "peper in reelgate.toml is not a setting; it is ignored. Did you mean pepper?",
        "REELGATE_PORT in reelgate.toml is not a setting; it is ignored. Did you mean port?",
        "xyzzy in reelgate.toml is not a setting; it is ignored.",
    ]
