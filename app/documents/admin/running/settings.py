"""The settings in effect, as operators read them."""

from typing import Annotated, Any, TypedDict

from app.documents.schema import keywords


class EffectiveSetting(TypedDict):
    """One setting."""

    setting: Annotated[str, keywords("Its variable, such as `REELGATE_PORT`.")]
    value: Annotated[Any, keywords("Its value; `(set)` in place of a secret, null where there is none.")]
    origin: Annotated[str, keywords("What set it: a variable, a file, or `default`.")]
    reloads: Annotated[bool, keywords("Whether `reelgate reload` takes over a change of it.")]


class EffectiveSettings(TypedDict):
    """All settings, in the order of the documents."""

    settings: list[EffectiveSetting]
