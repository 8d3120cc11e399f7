"""The operation on the models that are served."""

from collections.abc import Sequence
from typing import Final

from app.admin.operation import Operation
from app.admin.running import models as cases
from app.admin.session import AdminGateway
from app.catalog.model import Model
from app.documents.admin.running import models as documents
from app.documents.admin.running.models import PricedModels


def _document(_gateway: AdminGateway, found: Sequence[Model]) -> PricedModels:
    return documents.models(found)


LIST: Final = Operation(
    name="list_priced_models",
    command="models list",
    method="GET",
    path="/admin/v1/models",
    scope="read",
    tag="system",
    text="Models and prices are files of the server; a server reads them when it starts.",
    function=cases.listed,
    document=_document,
    shape=PricedModels,
)

OPERATIONS: Final = (LIST,)
