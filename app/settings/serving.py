"""Where a process listens, how callers reach it, and what a connection may do."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Final, Literal

from pydantic import (
    Field,
    field_validator,
)

from app.setting_texts import reachable
from app.settings.values import BaseUrl, CommaList, Host, Room, Seconds

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class ServingSettings(Room):
    """Where a process listens, how callers reach it, and what a connection may do."""

    environment: Literal["development", "production"] = Field(
        default="production",
        description="production, or development, which makes its own pepper and logs for people.",
    )
    host: Host = Field(default="127.0.0.1", description="The address that the gateway listens on.")
    port: int = Field(default=8700, ge=1, le=65535, description="The port that the gateway listens on.")
    worker_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="The port on which `reelgate worker` answers /livez, /readyz and /metrics. Unset, it"
        " listens nowhere.",
    )
    public_url: BaseUrl | None = Field(
        default=None,
        description="The address at which callers reach the gateway: the base of every URL in its answers."
        " Default: http://HOST:PORT.",
    )
    data_dir: Path = Field(
        default=Path("data"),
        description="The folder of the SQLite database, the sandbox's files and the spool.",
    )
    cors_headers: CommaList = Field(
        default=[],
        description="More request headers that pages may send, separated by commas: those of usual tracing"
        " tools are allowed already.",
    )
    trusted_proxies: CommaList = Field(
        default=[],
        description="The networks of your own proxies, separated by commas, which are believed when they"
        " name a caller's address: 10.20.0.0/16, 127.0.0.1. Empty, the address is that of the connection.",
    )
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = Field(
        default="x-forwarded-for",
        description="The header in which your proxies name a caller's address: x-forwarded-for, or forwarded"
        " (RFC 7239). The other one is ignored, because callers could send it.",
    )
    caller_details: Literal["full", "truncated", "none"] = Field(
        default="truncated",
        description="What is kept of who submits a request: full keeps address and `User-Agent`; truncated"
        " keeps the network of the address (24 bits of IPv4, 48 of IPv6) and the first word of `User-Agent`;"
        " none keeps nothing, and counts no refusals by network.",
    )
    caller_retention_s: Seconds = Field(
        default=2_592_000.0,
        ge=0,
        description="Seconds after its submit at which what is kept of a request's caller is erased; 0 keeps"
        " it for ever.",
    )
    max_body_bytes: int = Field(
        default=262_144,
        ge=1024,
        le=67_108_864,
        description="The maximum size of a request's body, in bytes, without the data: URIs in it.",
    )
    max_data_uri_bytes: int = Field(
        default=8_388_608,
        ge=0,
        le=67_108_864,
        description="The maximum size of all data: URIs of a body together, in bytes as sent: a third more"
        " than the files have.",
    )
    large_bodies_bytes: int = Field(
        default=67_108_864,
        ge=1_048_576,
        le=17_179_869_184,
        description="The maximum size of all bodies over MAX_BODY_BYTES that a server works on at the same"
        " time; further ones wait for two seconds, and then get a 503. The server may need five times as much"
        " memory.",
    )
    max_header_bytes: int = Field(
        default=16_384,
        ge=1024,
        le=1_048_576,
        description="The maximum size of a request's address and headers together, and of the extensions and"
        " trailers of a chunked body, in bytes.",
    )
    header_timeout_s: Seconds = Field(
        default=10.0, gt=0, le=300, description="Seconds within which a request's headers must arrive."
    )
    body_timeout_s: Seconds = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="Seconds within which a request's body must arrive; of an uploaded file, each megabyte.",
    )
    write_timeout_s: Seconds = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="Seconds after which a connection is closed whose client reads nothing.",
    )
    keep_alive_s: int = Field(
        default=75,
        ge=1,
        le=3600,
        description="Seconds for which an idle connection is kept; set it higher than in the proxy in front.",
    )
    fast_reads: bool = Field(
        default=True,
        description="Whether plain reads of a request's status and result, and plain submits, are answered"
        " before FastAPI, by the same decisions.",
    )
    max_connections: int = Field(
        default=10_000, ge=1, le=1_000_000, description="The maximum number of open connections of a server."
    )
    drain_s: int = Field(
        default=20, ge=0, le=600, description="Seconds for which a stopping server waits for work under way."
    )
    drain_delay_s: Seconds = Field(
        default=0.0,
        ge=0,
        le=120,
        description="Seconds for which a stopping server keeps serving while /readyz answers 503, so that the"
        " proxy in front of it can notice.",
    )
    max_wait_s: int = Field(
        default=30,
        ge=0,
        le=300,
        description="The longest time in seconds for which `?wait=` and `Prefer: wait=` hold an answer.",
    )
    streams_per_tenant: int = Field(
        default=200,
        ge=1,
        description="The maximum number of open event streams and long polls of a tenant, and of all"
        " operators together, on each server.",
    )
    streams_per_token: int = Field(
        default=10,
        ge=1,
        description="The maximum number of open event streams and long polls of a client token, on each"
        " server.",
    )
    heartbeat_s: Seconds = Field(
        default=15.0, gt=0, le=60, description="Seconds between two keep-alive comments in an event stream."
    )

    @field_validator("cors_headers")
    @classmethod
    def _header_names(cls, values: list[str]) -> list[str]:
        if wrong := [value for value in values if not _HEADER_NAME.fullmatch(value)]:
            raise ValueError(f"{wrong[0]!r} is not the name of a header")
        return values

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, values: list[str]) -> list[str]:
        for value in values:
            try:
                ip_network(value, strict=False)
            except ValueError as error:
                raise ValueError(f"{value!r} is no network: write it like 10.20.0.0/16") from error
        return values

    @property
    def development(self) -> bool:
        """Whether the environment is `development`."""
        return self.environment == "development"

    @property
    def base_url(self) -> str:
        """The base of the gateway's URLs in answers, without a slash at its end."""
        return self.public_url or f"http://{reachable(self.host)}:{self.port}"
