"""Metrics, traces and logs."""

import re
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    Field,
    SecretStr,
    field_validator,
)

from app.settings.values import PREFIX, Room, TokenText

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class ObservingSettings(Room):
    """Metrics, traces and logs."""

    metrics_token: TokenText | None = Field(
        default=None, description="The bearer token for /metrics. Without it there are no metrics."
    )
    metrics_tenants: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="For how many tenants /metrics has numbers of their own: those with the longest queues,"
        " and with the most refusals. By default none, since each tenant is a label.",
    )
    otlp_endpoint: str | None = Field(
        default=None,
        description="The address of an OTLP receiver, such as http://127.0.0.1:4318, which is sent"
        " [traces](traces.md). Without it there are none. Needs the extra `otel`.",
    )
    otlp_headers: SecretStr | None = Field(
        default=None,
        description="Headers for that receiver, such as its token: NAME=VALUE, separated by commas.",
    )
    traces_ratio: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Which part of all traces is recorded, where the caller does not decide: 1 for all.",
    )
    callers_traces_per_s: int = Field(
        default=10,
        ge=0,
        le=10_000,
        description="How many calls a second each server records because their caller's `traceparent` says"
        " so, beside those that the ratio records.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The lowest severity that is logged."
    )
    log_format: Literal["json", "console"] | None = Field(
        default=None, description="json, or console for people. Default: console in development, else json."
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _receiver(cls, value: str | None) -> str | None:
        if value is not None and (
            urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).netloc
        ):
            raise ValueError("is not an address such as http://127.0.0.1:4318")
        if value is not None and ("@" in urlsplit(value).netloc or "?" in value or "#" in value):
            # it is shown, by `reelgate config show` among others
            raise ValueError(f"must have no password and no query: use {PREFIX}OTLP_HEADERS")
        return value

    @field_validator("otlp_headers")
    @classmethod
    def _pairs(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _pairs_in(value)
        return value

    @property
    def otlp_header_pairs(self) -> dict[str, str]:
        """The headers for the receiver of traces."""
        return {} if self.otlp_headers is None else _pairs_in(self.otlp_headers)


def _pairs_in(value: SecretStr) -> dict[str, str]:
    """Returns headers that are written NAME=VALUE, separated by commas."""
    pairs = [one.strip().partition("=") for one in value.get_secret_value().split(",")]
    if wrong := [name for name, sign, text in pairs if not (_HEADER_NAME.fullmatch(name) and sign and text)]:
        raise ValueError(f"entry {[one[0] for one in pairs].index(wrong[0]) + 1} is not NAME=VALUE")
    return {name: text for name, _, text in pairs}
