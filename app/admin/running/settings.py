"""The settings in effect, for whoever asks a server or this machine; never a secret."""

import asyncio
import os
from dataclasses import dataclass
from typing import Any, Final

from pydantic import SecretStr

from app.admin.session import AdminGateway
from app.config import RELOADED, Settings
from app.settings.values import PREFIX
from app.variables import origin_of

_IN_PLACE: Final = "(set)"  # of a secret


@dataclass(frozen=True, slots=True)
class ShownSetting:
    """A setting, by the name of its variable: its value, what set it, and whether a reload takes it over."""

    name: str
    value: Any
    origin: str
    reloads: bool


async def shown(gateway: AdminGateway) -> list[ShownSetting]:
    """Returns the settings of the server that answers, and what set each; in place of a secret, `(set)`."""
    return await asyncio.to_thread(rows, gateway.settings)  # it reads files


def rows(settings: Settings) -> list[ShownSetting]:
    """Returns the settings, in the order of the documents, and what set each."""
    return [
        ShownSetting(
            f"{PREFIX}{name.upper()}",
            _without_secrets(getattr(settings, name)),
            origin_of(name, os.environ),
            name in RELOADED,
        )
        for name in Settings.model_fields
    ]


def _without_secrets(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return _IN_PLACE
    if isinstance(value, list):
        return [_without_secrets(one) for one in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)
