"""Limits, as operators read them. Amounts of credits are in micro-credits."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

from app.auth.keys import Mode
from app.documents.amounts.limits import Limit, limit
from app.documents.fields import Moment
from app.documents.schema import keywords
from app.kit.clock import iso
from app.quotas import limits
from app.quotas.account import Owner
from app.quotas.limits import Scope
from app.quotas.metrics import Metric
from app.quotas.overrides import Override
from app.quotas.standing import Standing


class _Account(TypedDict):
    tenant: Annotated[str, keywords("The tenant's name.")]
    mode: Mode
    kid: Annotated[str | None, keywords("The API key that it is limited to; null: all of them.")]
    end_user: Annotated[
        str | None, keywords("The end user; `*`: each without a limit of its own; null: none.")
    ]
    model_id: Annotated[str | None, keywords("The model; null: all models.")]


class SetLimit(TypedDict):
    """A limit that was set."""

    metric: Metric
    amount: Annotated[int | None, keywords("Null: no limit, even where a default has one.")]
    burst: Annotated[int | None, keywords("Of a rate: how many may come at once, if not `amount`.")]


class ListedLimit(_Account, SetLimit):
    """A limit that was set, with whose it is and how it stands."""

    standing: Annotated[Limit | None, keywords("How it stands; null where there is no limit.")]


class LimitPage(TypedDict):
    """A page of limits."""

    limits: list[ListedLimit]
    next_cursor: str | None


class LimitOverride(_Account, SetLimit):
    """A temporary override of a limit."""

    override_id: Annotated[str, keywords(format="uuid")]
    state: Annotated[str, keywords(enum=["lasts", "ended"])]
    created_at: Moment
    until: Annotated[Moment, keywords("When it ends, or ended.")]


class LimitOverridePage(TypedDict):
    """A page of overrides, oldest first."""

    overrides: list[LimitOverride]
    next_cursor: str | None


class AccountLimits(_Account):
    """The limits of one account."""

    limits: Annotated[list[SetLimit], keywords("Those that were set for it.")]
    standings: Annotated[list[Limit], keywords("How all that apply to it stand, defaults among them.")]
    refused_models: Annotated[
        list[str],
        keywords("Models that a limit that was just set refuses: their files declare no seconds of output."),
    ]


def account(tenant: str, owner: Owner, scope: Scope) -> _Account:
    """Returns what says whose limits a document is about."""
    return {
        "tenant": tenant,
        "mode": "live" if owner.mode == "live" else "test",
        "kid": scope.kid or None,
        "end_user": scope.end_user or None,
        "model_id": scope.model_id or None,
    }


def set_limit(one: limits.Limit) -> SetLimit:
    """Returns the document of a limit that was set."""
    return {"metric": one.metric, "amount": one.amount, "burst": one.burst}


def listed_limit(tenant: str, owner: Owner, one: limits.Limit, standing: Standing | None) -> ListedLimit:
    """Returns the document of a limit in a list."""
    return {
        **account(tenant, owner, one.scope),
        **set_limit(one),
        "standing": None if standing is None else limit(standing),
    }


def account_limits(
    tenant: str,
    owner: Owner,
    scope: Scope,
    *,
    own: Sequence[limits.Limit],
    standings: Sequence[Standing],
    refused_models: Sequence[str],
) -> AccountLimits:
    """Returns the document of an account's limits."""
    return {
        **account(tenant, owner, scope),
        "limits": [set_limit(one) for one in own],
        "standings": [limit(one) for one in standings],
        "refused_models": list(refused_models),
    }


def limit_override(tenant: str, one: Override, now_ms: int) -> LimitOverride:
    """Returns the document of a temporary override."""
    return {
        "override_id": one.id,
        "state": "lasts" if one.until_ms > now_ms else "ended",
        **account(tenant, one.owner, one.limit.scope),
        **set_limit(one.limit),
        "created_at": iso(one.created_at_ms),
        "until": iso(one.until_ms),
    }
