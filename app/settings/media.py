"""The files that requests name."""

from typing import Literal

from pydantic import (
    Field,
)

from app.settings.values import CommaList, HostPorts, Room, Seconds


class MediaSettings(Room):
    """The files that requests name."""

    media_checks: Literal["enforce", "warn", "off"] = Field(
        default="enforce",
        description="What happens to a file that breaks a rule of its model: enforce refuses the request,"
        " warn"
        " accepts and notes it, off inspects no files. A tenant's own setting replaces it.",
    )
    data_uris: bool = Field(default=True, description="Whether pictures may be sent as data: URIs.")
    http_media_hosts: HostPorts = Field(
        default=[],
        description="host:port pairs, separated by commas, from which files may be fetched over plain http,"
        " even in private networks; for rg_test_ keys the sandbox is always included.",
    )
    media_networks: CommaList = Field(
        default=[],
        description="Private networks, separated by commas, from which files may be fetched: 10.20.0.0/16"
        " allows ports 80 and 443, 10.20.0.0/16:9000 only port 9000.",
    )
    media_deadline_s: Seconds = Field(
        default=4.0,
        gt=0,
        le=60,
        description="Seconds for inspecting all files of a request; for a submit at most half of"
        " SUBMIT_DEADLINE_S.",
    )
    media_cache_s: Seconds = Field(
        default=30.0,
        ge=0,
        le=3600,
        description="Seconds for which what is known of a file at a URL is reused without fetching it again.",
    )
    media_fetches_per_tenant: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="The maximum number of concurrent fetches of files for a tenant, on each server.",
    )
    media_user_agent: str | None = Field(
        default=None,
        pattern=r"^[!-~]([ -~]{0,254}[!-~])?$",
        description="What servers are told of who fetches files from them, in `User-Agent`: name a contact."
        " By default reelgate, its version, and PUBLIC_URL where that is set.",
    )
