"""The operation that shows the settings in effect."""

from collections.abc import Sequence
from typing import Final

from app.admin.operation import Operation
from app.admin.running import settings as cases
from app.admin.running.settings import ShownSetting
from app.admin.session import AdminGateway
from app.documents.admin.running.settings import EffectiveSettings


def document(found: Sequence[ShownSetting]) -> EffectiveSettings:
    """Returns the document of settings."""
    return {
        "settings": [
            {"setting": one.name, "value": one.value, "origin": one.origin, "reloads": one.reloads}
            for one in found
        ]
    }


def _document(_gateway: AdminGateway, found: Sequence[ShownSetting]) -> EffectiveSettings:
    return document(found)


SHOW: Final = Operation(
    name="list_settings",
    command="config show",
    method="GET",
    path="/admin/v1/settings",
    scope="read",
    tag="system",
    text="Of the server that answers, since it was started or reloaded. No secret is among them, but where"
    " its value comes from is.",
    function=cases.shown,
    document=_document,
    shape=EffectiveSettings,
)

OPERATIONS: Final = (SHOW,)
