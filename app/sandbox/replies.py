"""The bodies of RunComfy's responses, made from a job."""

from datetime import UTC, datetime
from typing import Any

from app.sandbox.jobs import TERMINAL, Job, State
from app.sandbox.options import SandboxOptions
from app.sandbox.shape import cost_usd, kind_of

BAD_MODEL, NO_BALANCE, BAD_TOKEN, UNKNOWN_REQUEST = 400_001, 400_002, 400_004, 404_001

RESULT_NAMES = {
    State.QUEUED: "in_queue",
    State.RUNNING: "in_progress",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}
STATUS_NAMES = {
    **RESULT_NAMES,
    State.SUCCEEDED: "completed",
    State.FAILED: "completed",
}  # finished, not succeeded
ALT_WORDS = {**RESULT_NAMES, State.CANCELLED: "canceled"}

MODELS = (
    "bytedance/dreamina-3-0/image-to-video",
    "sandbox/camera/image-to-video",
    "sandbox/brush/text-to-image",
    "sandbox/brush/edit",
    "sandbox/chord/text-to-audio",
)
PRICE_UNITS = {"video": "second", "image": "output", "audio": "output"}


def error(code: int, message: str) -> dict[str, Any]:
    """Returns RunComfy's error body."""
    return {"error_code": code, "error_message": message}


def mismatch(message: str, *where: str, kind: str = "value_error") -> dict[str, Any]:
    """Returns the body of a 422."""
    return {"detail": [{"loc": ["body", *where], "msg": message, "type": kind}]}


def submitted(options: SandboxOptions, job: Job) -> dict[str, Any]:
    """Returns the response to a submit."""
    base = f"/v1/requests/{job.request_id}"
    return {
        "request_id": job.request_id,
        "status_url": options.url(f"{base}/status"),
        "result_url": options.url(f"{base}/result"),
        "cancel_url": options.url(f"{base}/cancel"),
    }


def status(options: SandboxOptions, job: Job, place: int) -> dict[str, Any]:
    """Returns the response of the status route; `queue_position` counts the queued jobs before this one."""
    urls = submitted(options, job)
    body: dict[str, Any] = {"request_id": job.request_id, "status": status_word(job)}
    if body["status"] == "in_queue":
        body["queue_position"] = place
    return {**body, "status_url": urls["status_url"], "result_url": urls["result_url"]}


def status_word(job: Job) -> str:
    """Returns the word for the job's state on the status route, changed as directives ask.

    Counts in `job.seen` how often it said `in_progress`.
    """
    if job.state is State.RUNNING:
        if "unknown-status" in job.directives:
            return "warming_up"
        job.seen["in_progress"] += 1
        if "backwards" in job.directives and job.seen["in_progress"] == 2:  # noqa: PLR2004  once, after the first
            return "in_queue"
    return (ALT_WORDS if "alt-words" in job.directives else STATUS_NAMES)[job.state]


def result(options: SandboxOptions, job: Job, *, with_cost: bool) -> dict[str, Any]:
    """Returns the response of the result route, for unfinished jobs too."""
    body: dict[str, Any] = {"request_id": job.request_id, "status": RESULT_NAMES[job.state]}
    if job.state is State.RUNNING and "unknown-status" in job.directives:
        body["status"] = "warming_up"
    if job.state is State.SUCCEEDED and "result-missing-output" not in job.directives:
        body["output"] = _output(options, job)
    if job.state is State.FAILED:
        body["error"] = job.error
    body["created_at"] = iso(job.created_at)
    if job.finished_at is not None:
        body["finished_at"] = iso(job.finished_at)
    if with_cost and job.state in TERMINAL:
        succeeded = job.state is State.SUCCEEDED
        body["cost"] = cost_usd(job.model_id, job.input, options.usd_per_second) if succeeded else 0.0
    return body


def _output(options: SandboxOptions, job: Job) -> dict[str, Any]:
    urls = {kind: options.url(f"/files/{name}") for kind, name in (job.output or {}).items()}
    if "as-list" in job.directives:
        return {f"{kind}s": [url] for kind, url in urls.items()}
    return dict(urls)


def cancelled(job: Job, *, done: bool) -> dict[str, Any]:
    """Returns the response to a cancel, whether or not the job was cancelled."""
    outcome = "cancelled" if done else "not_cancellable"
    return {"request_id": job.request_id, "status": STATUS_NAMES[job.state], "outcome": outcome}


def model(model_id: str, options: SandboxOptions) -> dict[str, Any]:
    """Returns one entry of the catalogue; its schema accepts any input, as the sandbox does."""
    kind = kind_of(model_id)
    return {
        "model_id": model_id,
        "display_name": model_id.replace("/", " · "),
        "kind": "model",
        "categories": [part for part in model_id.split("/") if "-to-" in part] or [f"image-to-{kind}"],
        "base_price_usd": options.usd_per_second if kind == "video" else cost_usd(model_id, {}, 0),
        "price_unit": PRICE_UNITS[kind],
        "input_schema": {"type": "object", "title": "Input", "properties": {"prompt": {"type": "string"}}},
    }


def iso(moment: float) -> str:
    """Returns a time as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
