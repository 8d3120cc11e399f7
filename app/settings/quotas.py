"""Limits, charges, and what is counted."""

from typing import Annotated, Final, Literal

from pydantic import (
    BeforeValidator,
    Field,
    field_validator,
)
from pydantic_settings import NoDecode

from app.settings.values import CommaList, Room, Seconds, split

_PERCENTAGES: Final = range(1, 101)


class QuotaSettings(Room):
    """Limits, charges, and what is counted."""

    default_limits: CommaList = Field(
        default_factory=lambda: ["submits-minute=600"],
        description="Default limits of every tenant, separated by commas and written as for `reelgate"
        " limits set`."
        " A tenant's own limit of the same metric replaces the default.",
    )
    settle_on: Literal["success", "acceptance"] = Field(
        default="success",
        description="When a price is settled: once the request has completed, or once RunComfy has"
        " accepted it.",
    )
    charge_for: Annotated[
        list[Literal["cancelled", "failed", "expired", "lost"]], NoDecode, BeforeValidator(split)
    ] = Field(
        default=[],
        description="Other final states that are charged, separated by commas: cancelled, failed, expired,"
        " lost."
        " All others are refunded.",
    )
    thresholds: CommaList = Field(
        default_factory=lambda: ["50", "80", "95", "100"],
        description="At which percentages of a budget or balance an event is sent to the tenant, once in each"
        " window, separated by commas; from 1 to 100.",
    )
    hourly_usage_days: int = Field(
        default=35,
        ge=1,
        le=3660,
        description="Days for which usage by the hour is kept. Usage by the day is kept for ever.",
    )
    refusal_retention_s: Seconds = Field(
        default=1_209_600.0,
        ge=3600,
        description="Seconds for which counts of refused calls are kept.",
    )

    @field_validator("thresholds")
    @classmethod
    def _percentages(cls, value: list[str]) -> list[str]:
        if any(not one.isascii() or not one.isdigit() or int(one[:4]) not in _PERCENTAGES for one in value):
            raise ValueError("has something that is not a whole number from 1 to 100")
        return value
