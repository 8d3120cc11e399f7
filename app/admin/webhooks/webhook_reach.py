"""Where webhooks may be sent to, beside the public internet."""

from app.config import Settings, SettingsError
from app.egress.addresses import parse_network
from app.egress.client import Reach
from app.settings.values import PREFIX


def webhook_reach(settings: Settings) -> Reach:
    """Returns where tenants' webhooks may be sent to.

    Raises:
        SettingsError: a network cannot be parsed.

    """
    try:
        networks = tuple(map(parse_network, settings.webhook_networks))
    except ValueError as error:
        raise SettingsError(f"{PREFIX}WEBHOOK_NETWORKS: {error}.") from error
    return Reach(frozenset(settings.http_webhook_hosts), networks)
