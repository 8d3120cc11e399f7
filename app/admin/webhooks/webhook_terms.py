"""What the settings say of webhook endpoints, and what a tenant or an operator may ask for of one."""

from collections.abc import Sequence
from typing import Final

from app.admin.session import AdminGateway
from app.admin.violations import refuse
from app.errors import INVALID_WEBHOOK_ENDPOINT, WEBHOOKS_NOT_CONFIGURED, FieldError, Problem
from app.kit.redaction import redactor
from app.webhooks.kinds import TO_CHOOSE
from app.webhooks.registry import rotation, terms
from app.webhooks.registry.endpoints import Endpoint, Terms

TYPES: Final[Sequence[str]] = tuple(map(str, TO_CHOOSE))
"""The types of events that an endpoint can hear."""


def sealing_keys(gateway: AdminGateway) -> list[str]:
    """Returns the operator's keys for secrets, of which the first seals.

    Raises:
        Problem: WEBHOOKS_NOT_CONFIGURED.
        SettingsError: a key is weak.

    """
    keys = gateway.settings.sealing_keys()
    if not keys:
        raise Problem(WEBHOOKS_NOT_CONFIGURED, "REELGATE_WEBHOOK_KEY is not set.")
    redactor.remember(keys)
    return keys


def check(gateway: AdminGateway, wanted: Terms) -> None:
    """Refuses terms that are not valid for an endpoint.

    Raises:
        Problem: INVALID_WEBHOOK_ENDPOINT.

    """
    from app.admin.webhooks.webhook_reach import webhook_reach  # noqa: PLC0415 - it imports the guarded client

    refuse(INVALID_WEBHOOK_ENDPOINT, terms.faults_of(wanted, webhook_reach(gateway.settings), TYPES))


def check_types(wanted: Sequence[str] | None) -> None:
    """Refuses types of events that there are not.

    Raises:
        Problem: INVALID_WEBHOOK_ENDPOINT.

    """
    refuse(INVALID_WEBHOOK_ENDPOINT, terms.faults_of_types(wanted, TYPES))


def check_grace(grace_s: int) -> None:
    """Refuses a grace that is too long.

    Raises:
        Problem: INVALID_WEBHOOK_ENDPOINT.

    """
    if not 0 <= grace_s <= rotation.MAX_GRACE_S:
        detail = f"the grace is from 0 to {rotation.MAX_GRACE_S} seconds, seven days."
        refuse(INVALID_WEBHOOK_ENDPOINT, [FieldError("#/grace_s", "range", detail)])


def public_keys(gateway: AdminGateway, one: Endpoint) -> list[str]:
    """Returns the public keys by which an endpoint's messages are verified now; none with shared secrets."""
    return rotation.public_keys(one, gateway.settings.sealing_keys(), gateway.clock.now_ms())
