"""Settings, which are read when a process starts: from the environment, `.env`, or files.

A variable of the environment wins over `.env`, that over the file that a `…_FILE` names, and that over the
settings file (`app.settings_file`). Each setting stands in a room of `app.settings`.

`docs/settings.md` lists the same fields; a test compares the two.
"""

import os
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from app import database_url, settings_file
from app.setting_texts import MIN_PEPPER_CHARACTERS, fault_of_text, weak
from app.settings.access import AccessSettings
from app.settings.administration import AdministrationSettings
from app.settings.database import DatabaseSettings
from app.settings.files import FileSettings
from app.settings.generations import GenerationSettings
from app.settings.media import MediaSettings
from app.settings.mirror import MirrorSettings
from app.settings.observing import ObservingSettings
from app.settings.quotas import QuotaSettings
from app.settings.sandbox import SandboxSettings
from app.settings.serving import ServingSettings
from app.settings.upstream import UpstreamSettings
from app.settings.values import PREFIX
from app.settings.webhooks import WebhookSettings

RELOADED = frozenset({"upstream_token", "upstream_credentials", "default_limits", "log_level"})
"""The settings that a running process takes over from a reload."""
FROM_FILES = (
    "pepper",
    "upstream_token",
    "upstream_credentials",
    "upstream_proxy",
    "sandbox_token",
    "database_url",
    "metrics_token",
    "webhook_key",
    "operator_webhook_secret",
    "oidc_client_secret",
    "link_key",
    "bucket_secret",
    "bucket_session_token",
)


class SettingsError(ValueError):
    """The settings do not allow what is asked for, such as a start; the message says what to change."""


class Settings(
    SandboxSettings,
    ObservingSettings,
    WebhookSettings,
    MirrorSettings,
    FileSettings,
    MediaSettings,
    QuotaSettings,
    GenerationSettings,
    UpstreamSettings,
    AdministrationSettings,
    AccessSettings,
    DatabaseSettings,
    ServingSettings,
):
    """All settings of the operator; their variables have the prefix `REELGATE_`."""

    model_config = SettingsConfigDict(defer_build=False)

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        in_file = settings_file.values()
        for name in FROM_FILES:
            path = os.environ.get(f"{PREFIX}{name.upper()}_FILE")
            if path and not values.get(name):
                values[name] = _secret_in(path, f"{PREFIX}{name.upper()}_FILE")
            path = in_file.get(f"{name}_file")
            if path and name not in in_file and not values.get(name):
                values[name] = _secret_in(str(path), f"{name}_file in {settings_file.path()}")
        return {name: value for name, value in in_file.items() if name in cls.model_fields} | values

    @field_validator("*", mode="before")
    @classmethod
    def _as_it_was_meant(cls, value: Any) -> Any:
        if isinstance(value, str) and (fault := fault_of_text(value)):
            raise ValueError(fault)
        return value

    @model_validator(mode="after")
    def _in_time_and_within_bounds(self) -> Self:
        if self.dispatch_lease_s <= self.submit_deadline_s:
            raise ValueError("dispatch_lease_s must be greater than submit_deadline_s")
        if self.drain_s <= self.submit_deadline_s + 1:
            raise ValueError("drain_s must exceed submit_deadline_s by more than 1: no submit may be cut")
        if self.poll_max_s < self.poll_min_s:
            raise ValueError("poll_max_s must not be less than poll_min_s")
        if self.large_bodies_bytes < self.max_body_bytes + self.max_data_uri_bytes:
            raise ValueError("large_bodies_bytes must not be less than max_body_bytes and max_data_uri_bytes")
        return self

    @model_validator(mode="after")
    def _reaches_upstream(self) -> Self:
        if self.upstream_token is not None and self.upstream_credentials is not None:
            raise ValueError("set upstream_token or upstream_credentials, not both")
        if self.upstream_proxy is not None and not self.upstream_base_url.startswith("https://"):
            raise ValueError(
                "upstream_proxy needs an https upstream_base_url: plain http could be answered by the proxy"
            )
        return self

    @model_validator(mode="after")
    def _administered(self) -> Self:
        if self.has_admin_port and self.admin_port == self.port:
            raise ValueError("admin_port must not be port; leave it unset to serve the admin API there")
        if (self.operator_webhook_url is None) != (self.operator_webhook_secret is None):
            raise ValueError("set both operator_webhook_url and operator_webhook_secret, or neither")
        if self.console and not self.admin_api:
            raise ValueError("console needs admin_api: its pages stand over the admin API")
        return self

    @model_validator(mode="after")
    def _stored_somewhere(self) -> Self:
        if self.files_sent_as == "link" and self.public_url is None:
            raise ValueError("files_sent_as link needs public_url, by which RunComfy reaches this gateway")
        if self.storage == "s3" and None in {self.bucket, self.bucket_key_id, self.bucket_secret}:
            raise ValueError("storage s3 needs bucket, bucket_key_id and bucket_secret")
        return self

    @model_validator(mode="after")
    def _someone_gets_in(self) -> Self:
        if self.oidc_issuer is None:
            return self
        if not self.console:
            raise ValueError("oidc_issuer needs console: it is the console that people sign in to")
        if self.oidc_client_id is None:
            raise ValueError("oidc_issuer needs oidc_client_id")
        if not self.oidc_roles:
            raise ValueError("oidc_issuer needs oidc_roles: without roles nobody could get in")
        return self

    @property
    def console_base_url(self) -> str:
        """The address at which browsers reach the console, without /console."""
        if self.console_url is not None:
            return self.console_url
        return f"http://localhost:{self.admin_port}" if self.has_admin_port else self.base_url

    @property
    def sends_files_by_value(self) -> bool:
        """Whether RunComfy gets uploaded files by value, rather than by a link to this gateway."""
        return (self.files_sent_as or ("link" if self.public_url else "value")) == "value"

    @property
    def admin_address(self) -> str:
        """The address that the admin API listens on, where it has a port of its own."""
        return self.admin_host or self.host

    @property
    def database(self) -> str:
        """The database's URL, as the operator writes it; by default an SQLite file in the data folder."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'reelgate.db'}"

    def secrets(self) -> list[str]:
        """Returns every secret of the settings, for the log to hide.

        Raises:
            SettingsError: as for `current_pepper`.

        """
        single = (
            self.upstream_token,
            self.upstream_credentials,
            self.sandbox_token,
            self.metrics_token,
            self.operator_webhook_secret,
            self.oidc_client_secret,
            self.bucket_secret,
            self.bucket_session_token,
        )
        tokens = [one.get_secret_value() for one in single if one is not None]
        proxy = urlsplit(self.upstream_proxy_url or "").password
        return [
            self.current_pepper(),
            *self.older_peppers(),
            *(one.get_secret_value() for one in (*self.webhook_key, *self.link_key)),
            *tokens,
            *self.otlp_header_pairs.values(),
            *(one.token.get_secret_value() for one in self.live_credentials),
            *database_url.secrets_of(self.database),
            *({proxy, unquote(proxy)} if proxy else ()),
        ]

    def current_pepper(self) -> str:
        """Returns the pepper; in development, if none is set, one that is made once in the data folder.

        Raises:
            SettingsError: outside development there is no pepper, or it is weak.

        """
        if self.pepper is not None:
            pepper = self.pepper.get_secret_value()
            if not self.development and weak(pepper):
                raise SettingsError(
                    f"{PREFIX}PEPPER is weak: use at least {MIN_PEPPER_CHARACTERS} random characters,"
                    " such as `openssl rand -base64 32` prints."
                )
            return pepper
        if not self.development:
            raise SettingsError(
                f"{PREFIX}PEPPER is not set: set it to the output of `openssl rand -base64 32`, and keep it:"
                " without it no API key is valid."
            )
        return _kept_secret(self.kept_pepper)

    def sealing_keys(self) -> list[str]:
        """Returns the keys that open secrets of webhook endpoints, the one that seals first; none may be set.

        In development there is always one: if none is set, one that is made once in the data folder.

        Raises:
            SettingsError: outside development, a key is weak.

        """
        keys = [one.get_secret_value() for one in self.webhook_key]
        if not self.development and any(map(weak, keys)):
            raise SettingsError(
                f"{PREFIX}WEBHOOK_KEY is weak: use at least {MIN_PEPPER_CHARACTERS} random characters,"
                " such as `openssl rand -base64 32` prints."
            )
        return keys or ([_kept_secret(self.kept_webhook_key)] if self.development else [])

    def link_keys(self) -> list[str]:
        """Returns the keys of links to files, the one that signs first.

        Raises:
            SettingsError: outside development, a key is weak.

        """
        keys = [one.get_secret_value() for one in self.link_key]
        if not self.development and any(map(weak, keys)):
            raise SettingsError(
                f"{PREFIX}LINK_KEY is weak: use at least {MIN_PEPPER_CHARACTERS} random characters,"
                " such as `openssl rand -base64 32` prints."
            )
        peppers = [self.current_pepper(), *self.older_peppers()]
        return keys or [f"links of {pepper}" for pepper in peppers]

    @property
    def kept_webhook_key(self) -> Path:
        """The file that holds the key for secrets of webhook endpoints which development makes."""
        return self.data_dir / "webhook-key"

    @property
    def kept_pepper(self) -> Path:
        """The file that holds the pepper which development makes."""
        return self.data_dir / "pepper"

    def beside_development(self) -> Self:
        """Returns the settings of a command that runs in the folder of a development server.

        They are those of the environment `development`, whose pepper is in the data folder. They are
        unchanged where anything speaks for production: a pepper, an environment or a database URL is set, or
        there is no pepper in the data folder.
        """
        chosen = {"environment", "database_url"} & self.model_fields_set
        if self.pepper is not None or chosen or not self.kept_pepper.is_file():
            return self
        return self.model_copy(update={"environment": "development"})


def _secret_in(path: str, where: str) -> str:
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{where}: {error}") from error
    if not secret:
        raise ValueError(f"{where}: {path} is empty")
    return secret


def _kept_secret(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(os.urandom(32).hex())
    secret = path.read_text(encoding="utf-8").strip()
    if not secret:
        raise SettingsError(
            f"{path} is empty; remove it to have a new one made, after which nothing made with it is valid."
        )
    return secret
