"""RunComfy: its address, our credentials, and how long a call may take."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from app.setting_texts import check_proxy
from app.settings.values import BaseUrl, Room, Seconds, TokenText


class CredentialSettings(BaseModel):
    """One of several credentials for RunComfy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")
    token: SecretStr = Field(min_length=1)
    weight: int = Field(default=1, ge=1, le=1000)
    concurrency: int | None = Field(default=None, ge=1, le=1_000_000)


_CREDENTIALS = TypeAdapter(list[CredentialSettings])


class UpstreamSettings(Room):
    """RunComfy: its address, our credentials, and how long a call may take."""

    upstream_base_url: BaseUrl = Field(
        default="https://model-api.runcomfy.net", description="RunComfy's Model API, for rg_live_ keys."
    )
    upstream_token: TokenText | None = Field(
        default=None, description="RunComfy's API token. Without it, rg_live_ keys get a 503."
    )
    upstream_credentials: SecretStr | None = Field(
        default=None,
        description="Several credentials in place of UPSTREAM_TOKEN: a JSON list of objects with `name`,"
        " `token` and optionally `weight` (its share of the jobs) and `concurrency` (the maximum number of"
        " its jobs in flight).",
    )
    upstream_proxy: SecretStr | None = Field(
        default=None,
        description="The HTTP proxy for calls to RunComfy: http(s)://HOST:PORT, with USER:PASSWORD@ where it"
        " asks for one. HTTPS_PROXY is not used.",
    )
    submit_deadline_s: Seconds = Field(
        default=8.0,
        gt=0,
        le=9,
        description="Seconds for a whole submit to RunComfy, so that the gateway answers within 10.",
    )
    read_deadline_s: Seconds = Field(
        default=5.0, gt=0, le=60, description="Seconds for one status, result or cancel call to RunComfy."
    )
    catalog_dir: Path | None = Field(
        default=None,
        description="A folder of your own model files: they are added to the shipped ones, or replace them.",
    )

    @field_validator("upstream_credentials")
    @classmethod
    def _known_credentials(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _credentials_in(value)
        return value

    @field_validator("upstream_proxy")
    @classmethod
    def _known_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_proxy(value.get_secret_value())
        return value

    @property
    def live_credentials(self) -> list[CredentialSettings]:
        """The credentials for RunComfy; none where none is configured."""
        if self.upstream_credentials is not None:
            return _credentials_in(self.upstream_credentials)
        if self.upstream_token is not None:
            return [CredentialSettings(name="default", token=self.upstream_token)]
        return []

    @property
    def upstream_proxy_url(self) -> str | None:
        """The URL of the proxy for calls to RunComfy, with its password."""
        return None if self.upstream_proxy is None else self.upstream_proxy.get_secret_value()

    @property
    def upstream_proxy_host(self) -> str | None:
        """The proxy's `host:port`, which may be shown."""
        return (
            None
            if self.upstream_proxy_url is None
            else urlsplit(self.upstream_proxy_url).netloc.rpartition("@")[2]
        )


def _credentials_in(secret: SecretStr) -> list[CredentialSettings]:
    """Returns the credentials in the JSON of a setting.

    Raises:
        ValueError: they are not valid; the message says why, but repeats none of it, for it holds tokens.

    """
    try:
        found = _CREDENTIALS.validate_json(secret.get_secret_value())
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place or 'it'}: {first['msg']}") from None
    names = [one.name for one in found]
    if not found or len(set(names)) < len(names) or "sandbox" in names:
        raise ValueError("needs one or more credentials, each with a different name, and none named sandbox")
    for one in found:
        token = one.token.get_secret_value()
        if not all("!" <= character <= "~" for character in token):
            raise ValueError(
                f"the token of {one.name} may contain only printable ASCII characters without spaces"
            )
    return found
