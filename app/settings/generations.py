"""The life of a request: waiting, sending, following, and its end."""

from pydantic import (
    Field,
)

from app.settings.values import Room, Seconds


class GenerationSettings(Room):
    """The life of a request: waiting, sending, following, and its end."""

    run_loops: bool = Field(
        default=True,
        description="Whether `reelgate serve` also runs the background loops (polling, sending queued"
        " requests,"
        " erasing outputs); false where `reelgate worker` runs them, which does so in any case.",
    )
    queueing: bool = Field(
        default=False,
        description="Whether requests that cannot be sent yet are queued instead of refused. A tenant's or"
        " key's own setting replaces it.",
    )
    max_queued_per_tenant: int = Field(
        default=1_000,
        ge=0,
        le=1_000_000,
        description="The maximum number of queued requests per tenant and mode (live, test), where the"
        " tenant has no"
        " number of its own.",
    )
    max_queued: int = Field(
        default=10_000,
        ge=0,
        le=10_000_000,
        description="The maximum number of queued requests of all tenants per mode (live, test).",
    )
    dispatches_at_once: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="The maximum number of queued requests being sent at a time, on each server.",
    )
    dispatch_lease_s: Seconds = Field(
        default=30.0,
        gt=0,
        description="Seconds after which a submit without an outcome counts as unknown; more than"
        " SUBMIT_DEADLINE_S.",
    )
    rescue_interval_s: Seconds = Field(
        default=5.0, gt=0, description="Seconds between two searches for submits whose server died."
    )
    freshness_s: Seconds = Field(
        default=1.0,
        ge=0,
        description="How many seconds old a record may be before reading it polls RunComfy.",
    )
    poll_min_s: Seconds = Field(
        default=1.0,
        gt=0,
        description="The shortest interval in seconds between two polls of a job in the background.",
    )
    poll_max_s: Seconds = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="The longest interval in seconds between two polls of a job in the background.",
    )
    polls_at_once: int = Field(
        default=32,
        ge=1,
        le=1000,
        description="The maximum number of concurrent polls in the background, for each credential and"
        " server.",
    )
    follow_for_s: Seconds = Field(
        default=604_800.0,
        gt=0,
        description="Seconds after which a request whose job never ends at RunComfy is closed as lost.",
    )
    missing_grace_s: Seconds = Field(
        default=300.0,
        ge=0,
        description="Seconds for which RunComfy must answer 404 before a request is closed as lost.",
    )
    unknown_refund_after_s: Seconds = Field(
        default=86_400.0,
        gt=0,
        description="Seconds after which a request of unknown outcome is closed as lost, and its hold ends.",
    )
    unknown_slot_s: Seconds = Field(
        default=900.0,
        ge=0,
        description="Seconds for which a request of unknown outcome counts as in flight.",
    )
    result_retention_s: Seconds = Field(
        default=2_592_000.0,
        ge=0,
        description="Seconds for which outputs are kept after a request's end; 0 keeps them for ever.",
    )
