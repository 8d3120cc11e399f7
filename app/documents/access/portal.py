"""Links that open the portal, which a tenant's people use."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from app.auth.keys import SCOPES, APIKey
from app.documents.fields import Moment
from app.documents.schema import keywords
from app.kit.clock import iso


class PortalLinkTerms(TypedDict, total=False):
    """What a link to the portal may be used for."""

    scopes: Annotated[
        list[Annotated[str, keywords(enum=list(SCOPES))]] | None,
        keywords("Fewer scopes than the key's; left out or null: all of them."),
    ]


class PortalLink(TypedDict):
    """A link that opens the portal once."""

    url: Annotated[
        str | None,
        keywords("The link. It is shown once: null where this repeats the answer of an earlier call."),
    ]
    expires_at: Moment
    kid: Annotated[str, keywords("The API key that whoever opens it acts as.")]
    tenant: str
    scopes: list[str]


def portal_link(key: APIKey, scopes: Sequence[str], url: str, expires_at_ms: int) -> PortalLink:
    """Returns the document of a link that was made."""
    return {
        "url": url,
        "expires_at": iso(expires_at_ms),
        "kid": key.kid,
        "tenant": key.tenant_name,
        "scopes": list(scopes),
    }
