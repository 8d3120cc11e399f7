"""Copies of outputs: from where, how many at a time, and for how long they are kept."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from app.setting_texts import netloc
from app.settings.values import HOST_AND_PORT, CommaList, Room, Seconds

_HOST_NAME: Final = re.compile(r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")


def _hosts(values: list[str]) -> list[str]:
    forms = (HOST_AND_PORT, _HOST_NAME)
    if wrong := [one for one in values if not any(form.fullmatch(one) for form in forms)]:
        raise ValueError(f"{wrong[0]!r} is no name of a host, *.name or host:port")
    return [netloc(f"http://{one}") if ":" in one else one.lower() for one in values]


class MirrorSettings(Room):
    """Copies of outputs: from where, how many at a time, and for how long they are kept."""

    mirror_hosts: Annotated[CommaList, AfterValidator(_hosts)] = Field(
        default_factory=lambda: ["*.runcomfy.net", "*.runcomfy.com"],
        description="The hosts, separated by commas, from which outputs are copied: names, *. in front of one"
        " for every name below it, or host:port, which may be private and plain http. For rg_test_ keys the"
        " sandbox is always included. See [mirror](mirror.md).",
    )
    mirror_at_once: int = Field(
        default=4, ge=1, le=64, description="The number of outputs that a process copies at a time."
    )
    mirror_per_tenant: int = Field(
        default=2,
        ge=1,
        le=64,
        description="The number of outputs of one tenant that all processes together copy at a time.",
    )
    mirror_max_bytes: int = Field(
        default=2_147_483_648,
        ge=1,
        le=5_000_000_000,
        description="The most bytes that an output may have to be copied.",
    )
    mirror_timeout_s: Seconds = Field(
        default=900.0, ge=1, description="Seconds that one attempt to copy an output may take."
    )
    mirror_link_life_s: Seconds = Field(
        default=604_800.0,
        ge=0,
        description="Seconds for which RunComfy's links are taken to be alive: for so long an output is tried"
        " again.",
    )
    mirror_retention_s: Seconds = Field(
        default=2_592_000.0,
        ge=0,
        description="Seconds for which copies of outputs are kept, unless a tenant has a time of its own; 0"
        " keeps them for ever.",
    )
