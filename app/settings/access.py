"""The secrets behind keys and tokens, and how often each may call."""

from pydantic import (
    Field,
    SecretStr,
)

from app.settings.values import Room, Seconds, SecretList


class AccessSettings(Room):
    """The secrets behind keys and tokens, and how often each may call."""

    pepper: SecretStr | None = Field(
        default=None,
        description="The server's secret in the digests of API keys and client tokens: at least 32"
        " characters, except in"
        " development.",
    )
    previous_peppers: SecretList = Field(
        default=[],
        description="Former peppers, separated by commas, until the keys that were made with them are"
        " rotated.",
    )
    reads_per_minute: int = Field(
        default=6000,
        ge=0,
        le=1_000_000,
        description="The maximum number of calls other than submits, per minute and API key, on each"
        " server; 0 for no limit.",
    )
    token_calls_per_minute: int = Field(
        default=600,
        ge=0,
        le=1_000_000,
        description="The maximum number of calls, including submits, per minute and client token, on each"
        " server; 0 for no limit.",
    )
    tokens_per_minute: int = Field(
        default=600,
        ge=0,
        le=1_000_000,
        description="The maximum number of client tokens created per minute and API key, on each server; 0"
        " for no limit.",
    )
    token_retention_s: Seconds = Field(
        default=2_592_000.0,
        ge=3600,
        description="Seconds for which the record of a client token without requests is kept after it"
        " expires.",
    )
    playground_kid: str | None = Field(
        default=None,
        pattern=r"^[0-9A-Za-z]{12}$",
        description="The kid of the API key whose client tokens the page at /playground gets. Whoever can"
        " open"
        " the page spends that key's credits. Unset, there is no page; `reelgate dev` uses its test key.",
    )
    playground_requests: int = Field(
        default=20,
        ge=0,
        description="The maximum number of requests of one playground token, which is valid for ten minutes.",
    )

    def older_peppers(self) -> list[str]:
        """Returns the peppers that are being rotated out."""
        return [pepper.get_secret_value() for pepper in self.previous_peppers]
