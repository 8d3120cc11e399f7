"""The sandbox that stands in for RunComfy."""

from typing import Final

from pydantic import (
    Field,
    SecretStr,
)

from app.setting_texts import netloc, reachable
from app.settings.values import BaseUrl, Host, Room, Seconds, TokenText

DEMO_SANDBOX_TOKEN: Final = "sandbox-demo-token"  # noqa: S105 - gives access to the sandbox alone


class SandboxSettings(Room):
    """The sandbox that stands in for RunComfy."""

    sandbox_host: Host = Field(default="127.0.0.1", description="The address that the sandbox listens on.")
    sandbox_port: int = Field(
        default=8701, ge=1, le=65535, description="The port that the sandbox listens on."
    )
    sandbox_url: BaseUrl | None = Field(
        default=None,
        description="The address at which the gateway reaches the sandbox, for rg_test_ keys."
        " Default: http://SANDBOX_HOST:SANDBOX_PORT.",
    )
    sandbox_public_url: BaseUrl | None = Field(
        default=None,
        description="The address at which callers reach the sandbox, for the URLs of its pictures and videos."
        " Default: SANDBOX_URL.",
    )
    sandbox_token: TokenText = Field(
        default=SecretStr(DEMO_SANDBOX_TOKEN),
        description="The secret that the gateway and its sandbox share.",
    )
    sandbox_concurrency: int = Field(
        default=2, ge=1, description="The number of jobs that the sandbox runs at a time."
    )
    sandbox_queue_s: Seconds = Field(
        default=1.0,
        ge=0,
        description="The shortest time in seconds that a job spends in the sandbox's queue.",
    )
    sandbox_run_s: Seconds = Field(
        default=4.0, ge=0, description="The shortest time in seconds that a sandbox job runs."
    )

    @property
    def sandbox_base_url(self) -> str:
        """The base of the URLs at which the gateway reaches the sandbox."""
        return self.sandbox_url or f"http://{reachable(self.sandbox_host)}:{self.sandbox_port}"

    @property
    def sandbox_public_base_url(self) -> str:
        """The base of the URLs of the sandbox's pictures and videos."""
        return self.sandbox_public_url or self.sandbox_base_url

    @property
    def sandbox_media_hosts(self) -> frozenset[str]:
        """The `host:port` of the sandbox, as the gateway and as callers reach it."""
        return frozenset({netloc(self.sandbox_base_url), netloc(self.sandbox_public_base_url)})
