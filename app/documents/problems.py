"""Problem documents (RFC 9457): the entries of the catalogue of errors, and single occurrences of them."""

from typing import Annotated, Final, NotRequired, TypedDict

from app import errors
from app.auth.principal import Principal
from app.documents.amounts.limits import (
    Limit,
    can_see_all_limits,
    policies,
    refusal_detail,
    refused_limits,
)
from app.documents.fields import Id, Policies, Url, Violation, violations
from app.documents.schema import keywords
from app.errors import (
    BAD_TOKEN,
    CATALOGUE,
    GATEWAY_QUEUE_FULL,
    NO_BALANCE,
    QUEUE_FULL,
    QUOTA_EXHAUSTED,
    UPSTREAM_REJECTED,
    Fault,
)
from app.kit.log import trace_id_var
from app.quotas.metrics import Unit
from app.quotas.problem import QuotaProblem

_WITHOUT_AMOUNTS: Final = dict.fromkeys(
    (QUEUE_FULL, GATEWAY_QUEUE_FULL), "Too many requests are queued already."
)


class ProblemKind(TypedDict):
    """An entry of the catalogue of errors."""

    type: Url
    title: str
    status: int
    code: Annotated[str, keywords("A stable code for programs.", enum=[fault.code for fault in CATALOGUE])]
    retryable: Annotated[bool, keywords("Whether sending the same request again can help.")]
    remedy: Annotated[str, keywords("What to do about it.")]
    error_code: NotRequired[Annotated[int, keywords("RunComfy's number for an error of this meaning.")]]


def problem_kind(fault: Fault, base_url: str) -> ProblemKind:
    """Returns an entry of the catalogue."""
    document: ProblemKind = {
        "type": problem_type(base_url, fault),
        "title": fault.title,
        "status": fault.status,
        "code": fault.code,
        "retryable": fault.retryable,
        "remedy": fault.remedy,
    }
    if fault.error_code is not None:
        document["error_code"] = fault.error_code
    return document


class ProblemKinds(TypedDict):
    """The whole catalogue of errors."""

    problems: list[ProblemKind]


def problem_kinds(base_url: str) -> ProblemKinds:
    """Returns the whole catalogue."""
    return {"problems": [problem_kind(fault, base_url) for fault in CATALOGUE]}


class UpstreamWords(TypedDict):
    """What RunComfy said when it refused an input."""

    error_code: int | None
    error_message: str


class _Occurrence(ProblemKind):
    detail: str
    instance: str
    trace_id: Annotated[str, keywords("Quote it to the operator.")]
    retry_after_s: NotRequired[int]
    request_id: NotRequired[Id]
    errors: NotRequired[list[Violation]]


# Not a class, because the member's name is not an identifier.
_Policies = TypedDict("_Policies", {"violated-policies": NotRequired[Policies]})


class _More(TypedDict):
    limits: NotRequired[list[Limit]]
    upstream: NotRequired[UpstreamWords]


class Problem(_Occurrence, _Policies, _More):
    """A refusal."""


def problem(one: errors.Problem, principal: Principal | None, *, base_url: str, instance: str) -> Problem:
    """Returns the problem document that a caller may read; `principal` is None where none is known."""
    fault = one.fault
    document: Problem = {
        "type": problem_type(base_url, fault),
        "title": fault.title,
        "status": fault.status,
        "detail": detail(one, principal),
        "instance": instance,
        "code": fault.code,
        "trace_id": trace_id_var.get(),
        "retryable": fault.retryable,
        "remedy": fault.remedy,
    }
    if (error_code := _error_code(one)) is not None:
        document["error_code"] = error_code
    if one.retry_after_s is not None:
        document["retry_after_s"] = one.retry_after_s
    if one.errors:
        document["errors"] = violations(one.errors)
    if isinstance(one, QuotaProblem):
        document["violated-policies"] = policies(one)
        document["limits"] = refused_limits(one, principal)
    if "request_id" in one.extra:
        document["request_id"] = one.extra["request_id"]
    if "upstream" in one.extra:
        document["upstream"] = one.extra["upstream"]
    return document


def _error_code(one: errors.Problem) -> int | None:
    """Returns RunComfy's number for a problem: its own where it refused the input, or that of the fault.

    Where a budget or a balance of credits is used up, that is RunComfy's "no balance".
    """
    if isinstance(one, QuotaProblem) and one.fault is QUOTA_EXHAUSTED:
        lasting = [each for each in one.violated if each.retry_after_s is None]
        return NO_BALANCE if any(each.limit.metric.unit is Unit.MICROCREDITS for each in lasting) else None
    if one.fault is UPSTREAM_REJECTED:
        code = (one.extra.get("upstream") or {}).get("error_code")
        return code if isinstance(code, int) and code != BAD_TOKEN else None
    return one.fault.error_code


def detail(one: errors.Problem, principal: Principal | None) -> str:
    """Returns the detail that a caller may see: pages see no amounts of limits and queues of others."""
    if isinstance(one, QuotaProblem):
        return refusal_detail(one, principal)
    if one.fault in _WITHOUT_AMOUNTS and not can_see_all_limits(principal):
        return _WITHOUT_AMOUNTS[one.fault]
    return one.detail


def problem_type(base_url: str, fault: Fault) -> str:
    """Returns the fault's registered type or, without one, its stable address here, which `GET` can read."""
    return fault.registered or f"{base_url}/problems/{fault.slug}"
