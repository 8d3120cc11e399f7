"""The statements that read and change many accounts at once: those of the submits of a transaction.

They are text, as `app.db.statements.many` has it. What is wanted is a row for each account; a number says
whose a row of the answer is, and that of no account is negative.
"""

from typing import Final

from app.db.statements.many import Many
from app.quotas.amounts import NAMES, NOTHING

_ACCOUNT: Final = ("tenant_id", "mode", "kid", "end_user", "model_id")
_PERIODS: Final = ("of_month", "of_day")
_USAGE: Final = (
    *("kid", "model_id", "end_user", "period", "added_microcredits", "tat_us"),
    *(f"{what}_{name}" for what in ("held", "spent") for name in NAMES),
)
_WHERE_LIMITS = """
    {limits}.tenant_id = wanted.tenant_id AND {limits}.mode = wanted.mode
    AND {limits}.kid IN ('', wanted.kid)
    AND {limits}.end_user IN ('', '*', wanted.end_user)
    AND {limits}.model_id IN ('', wanted.model_id)
"""
LIMITS_OF_MODEL = Many(
    f"""SELECT * FROM (
    WITH wanted (number, now_ms, {", ".join(_ACCOUNT)}) AS (VALUES {{rows}})
    SELECT wanted.number, own.kid, own.model_id, own.end_user, own.metric, own.amount, own.burst,
        CAST(NULL AS BIGINT)
    FROM wanted JOIN quota_limits AS own ON {_WHERE_LIMITS.format(limits="own")}
    UNION ALL
    SELECT wanted.number, o.kid, o.model_id, o.end_user, o.metric, o.amount, o.burst, o.until_ms
    FROM wanted JOIN limit_overrides AS o ON {_WHERE_LIMITS.format(limits="o")}
        AND o.until_ms > wanted.now_ms
    ) AS found""",  # noqa: S608 - our names
    "number",
    "now_ms",
    *_ACCOUNT,
    whole=("number", "now_ms"),
    blank=(-1, 0, "", "", "", "", ""),
)
_WHERE_USAGE = """
    quota_usage.tenant_id = wanted.tenant_id AND quota_usage.mode = wanted.mode
    AND quota_usage.kid IN ('', wanted.kid)
    AND quota_usage.end_user IN ('', wanted.end_user)
    AND quota_usage.model_id IN ('', wanted.model_id)
    AND quota_usage.period IN ('total', wanted.of_month, wanted.of_day)
"""
USAGE_OF_MODEL = Many(
    f"""SELECT * FROM (
    WITH wanted (number, {", ".join((*_ACCOUNT, *_PERIODS))}) AS (VALUES {{rows}})
    SELECT wanted.number, {", ".join(f"quota_usage.{name}" for name in _USAGE)}
    FROM wanted JOIN quota_usage ON {_WHERE_USAGE}
    ) AS found""",  # noqa: S608 - our names
    "number",
    *_ACCOUNT,
    *_PERIODS,
    whole=("number",),
    blank=(-1, "", "", "", "", "", "", ""),
)
HOLD = Many(
    f"""
    WITH wanted ({", ".join((*_ACCOUNT, *_PERIODS))}, {", ".join(f"more_{name}" for name in NAMES)})
        AS (VALUES {{rows}})
    UPDATE quota_usage
    SET {", ".join(f"held_{name} = quota_usage.held_{name} + wanted.more_{name}" for name in NAMES)}
    FROM wanted WHERE {_WHERE_USAGE}
    """,  # noqa: S608 - our names
    *_ACCOUNT,
    *_PERIODS,
    *(f"more_{name}" for name in NAMES),
    whole=tuple(f"more_{name}" for name in NAMES),
    blank=("", "", "", "", "", "", "", *NOTHING),
)
SET_TATS = Many(
    f"""
    WITH wanted ({", ".join(_ACCOUNT)}, now_tat_us) AS (VALUES {{rows}})
    UPDATE quota_usage SET tat_us = wanted.now_tat_us FROM wanted
    WHERE quota_usage.period = 'total'
        AND {" AND ".join(f"quota_usage.{name} = wanted.{name}" for name in _ACCOUNT)}
    """,  # noqa: S608 - our names
    *_ACCOUNT,
    "now_tat_us",
    whole=("now_tat_us",),
)
