"""Webhooks of tenants, and the operator's own."""

import base64
import binascii
from urllib.parse import urlsplit

from pydantic import (
    Field,
    SecretStr,
    field_validator,
)

from app.settings.values import (
    CommaList,
    HostPorts,
    Room,
    Seconds,
    SecretList,
)


class WebhookSettings(Room):
    """Webhooks of tenants, and the operator's own."""

    webhook_key: SecretList = Field(
        default=[],
        max_length=2,
        description="The key that seals the secrets of webhook endpoints in the database: at least 32"
        " characters, except in development. While it is replaced, two, separated by a comma: the first"
        " seals, both open. Without it no endpoint can be made.",
    )
    webhook_endpoints: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="The maximum number of webhook endpoints of a tenant in one mode.",
    )
    http_webhook_hosts: HostPorts = Field(
        default=[],
        description="host:port pairs, separated by commas, to which webhooks may be sent over plain http,"
        " even in private networks.",
    )
    webhook_networks: CommaList = Field(
        default=[],
        description="Private networks to which webhooks may be sent over https, such as 10.20.0.0/16 or"
        " 10.20.0.0/16:8443. Every tenant can then choose any address in them.",
    )
    webhook_retention_s: Seconds = Field(
        default=2_592_000,
        ge=86_400,
        description="Seconds for which webhooks are kept after they were made: events, deliveries and their"
        " attempts. What still waits then is not sent.",
    )
    webhooks_at_once: int = Field(
        default=128,
        ge=1,
        le=1000,
        description="The maximum number of webhooks being sent at a time, on each server.",
    )
    webhooks_per_tenant: int = Field(
        default=32,
        ge=1,
        le=1000,
        description="The maximum number of webhooks of one tenant being sent at a time, on all servers.",
    )
    webhooks_per_endpoint: int = Field(
        default=8,
        ge=1,
        le=1000,
        description="The maximum number of webhooks being sent to one endpoint at a time, on all servers.",
    )
    operator_webhook_url: str | None = Field(
        default=None,
        description="The operator's own webhook endpoint, which hears of conditions such as a refused"
        " credential. Its host may be private. See [webhooks](webhooks.md#for-the-operator).",
    )
    operator_webhook_secret: SecretStr | None = Field(
        default=None,
        description="The secret that messages to OPERATOR_WEBHOOK_URL are signed with: `whsec_` and 24 to 64"
        " bytes in base64.",
    )

    @field_validator("operator_webhook_url")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
                raise ValueError("must be an absolute http(s) URL without user name and password")
        return value

    @field_validator("operator_webhook_secret")
    @classmethod
    def _webhook_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            webhook_secret_in(value)
        return value


def webhook_secret_in(secret: SecretStr) -> bytes:
    """Returns the bytes of a webhook secret in its usual form.

    Raises:
        ValueError: it has another form.

    """
    prefix, _, text = secret.get_secret_value().strip().partition("_")
    try:
        found = base64.b64decode(text, validate=True) if prefix == "whsec" else b""
    except binascii.Error:
        found = b""
    if not 24 <= len(found) <= 64:  # noqa: PLR2004 - Standard Webhooks 1.0.0
        raise ValueError("must be whsec_ and the base64 of 24 to 64 bytes")
    return found
