"""Tenants, as operators read them."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from app.auth import tenants
from app.auth.tenants import MediaChecks
from app.config import Settings
from app.db.schema.asset_states import MirrorMode
from app.documents.fields import Moment, iso_or_none
from app.documents.schema import keywords
from app.kit.clock import iso


class TenantInEffect(TypedDict):
    """What applies to a tenant: its own settings and, where it has none, those of the gateway."""

    media_checks: MediaChecks
    queueing: bool
    max_queued: int


class Tenant(TypedDict):
    """A tenant. Where `media_checks`, `queueing` or `max_queued` is null, the gateway's settings apply."""

    id: Annotated[str, keywords("Its id, which never changes.", format="uuid")]
    name: str
    created_at: Moment
    disabled_at: Moment | None
    time_zone: Annotated[str, keywords("The IANA time zone of the days and months of its limits.")]
    media_checks: MediaChecks | None
    origins: list[str]
    queueing: bool | None
    max_queued: int | None
    weight: Annotated[int, keywords("Its share of dispatches among the tenants that have a queue.")]
    dispatch_paused_at: Moment | None
    mirror: Annotated[
        MirrorMode,
        keywords(
            "Whether outputs are copied to the gateway's store, and shown beside RunComfy's links or instead."
        ),
    ]
    mirror_keep_s: Annotated[
        int | None, keywords("For how many seconds copies are kept; 0: for ever; null: as the settings say.")
    ]
    in_effect: TenantInEffect


class TenantPage(TypedDict):
    """A page of tenants, oldest first."""

    tenants: list[Tenant]
    next_cursor: str | None


def tenant(one: tenants.Tenant, settings: Settings) -> Tenant:
    """Returns the document of a tenant."""
    return {
        "id": one.id,
        "name": one.name,
        "created_at": iso(one.created_at_ms),
        "disabled_at": iso_or_none(one.disabled_at_ms),
        "time_zone": one.time_zone,
        "media_checks": one.media_checks,
        "origins": sorted(one.origins),
        "queueing": one.queueing,
        "max_queued": one.max_queued,
        "weight": one.weight,
        "dispatch_paused_at": iso_or_none(one.dispatch_paused_at_ms),
        "mirror": one.mirror,
        "mirror_keep_s": one.mirror_keep_s,
        "in_effect": {
            "media_checks": one.media_checks or settings.media_checks,
            "queueing": settings.queueing if one.queueing is None else one.queueing,
            "max_queued": settings.max_queued_per_tenant if one.max_queued is None else one.max_queued,
        },
    }


def tenant_page(entries: Sequence[tenants.Tenant], next_cursor: str | None, settings: Settings) -> TenantPage:
    """Returns the document of a page of tenants."""
    return {"tenants": [tenant(one, settings) for one in entries], "next_cursor": next_cursor}
