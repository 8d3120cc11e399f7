"""What a tenant's own people change of its account: bodies, and the web origins."""

from typing import Annotated, TypedDict

from app.auth.keys import DEFAULT_SCOPES, SCOPES
from app.documents.schema import keywords

Scopes = list[Annotated[str, keywords(enum=list(SCOPES))]]
LifetimeS = Annotated[int | None, keywords("Seconds from now until the key expires; null: never.", minimum=1)]


class NewAPIKey(TypedDict, total=False):
    """The terms of a new API key; `api.v1.account` parses them."""

    name: str
    scopes: Annotated[Scopes, keywords("None that this key lacks.", default=list(DEFAULT_SCOPES))]
    models: Annotated[list[str] | None, keywords("The only models that it may use; null: those of this key.")]
    lifetime_s: LifetimeS


class NarrowedAPIKey(TypedDict, total=False):
    """Terms that an API key gets in place of its own: what is left out or null stays."""

    name: str | None
    scopes: Annotated[Scopes | None, keywords("Some of those that it has.")]
    models: Annotated[list[str] | None, keywords("Some of those that it may use.")]
    lifetime_s: Annotated[int | None, keywords("Seconds from now until it expires, earlier than before.")]


class RotationOfKey(TypedDict, total=False):
    """How long the old API key works beside the new one."""

    overlap_s: Annotated[int, keywords("Seconds.", minimum=0, default=604_800)]


class WebOrigins(TypedDict):
    """Web origins of a tenant."""

    origins: Annotated[list[str], keywords("Such as `https://app.example.com`.")]
