"""The models that are served, for the operator: their prices, and what is odd about them."""

from app.admin.session import AdminGateway
from app.catalog.model import Model


async def listed(gateway: AdminGateway) -> list[Model]:
    """Returns every model of the catalogue, sorted by its id.

    Raises:
        CatalogError: a model file cannot be understood.

    """
    return [model for _, model in sorted(gateway.catalog.models.items())]
