"""The options that a sandbox is created with."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """The options of one sandbox. Only the first three have no default.

    token: the bearer token demanded on every `/v1` route.
    public_url: absolute base of every URL in the responses, such as `http://127.0.0.1:8701`.
    data_dir: folder of job records, and rendered files; created when it is missing.
    concurrency: jobs that run at a time; the others are queued.
    queue_s, run_s: the minimum seconds that a job is queued and that it runs. RunComfy's own jobs take
        minutes; the defaults are short enough for a demo and long enough for a poller to see every state.
    allow_hosts: hosts (`name` or `name:port`) that pictures may be fetched from. A picture from any other
        host is replaced by a drawn one, so the sandbox needs no network.
    render_workers: threads that draw and encode. More threads than cores gain nothing.
    max_body_bytes: the longest submit body; room for a picture of `max_picture_bytes` in base64.
    max_picture_bytes: 50 MB, RunComfy's recommended limit for images.
    fetch_timeout_s: total time for fetching one picture.
    keep_jobs: finished jobs that are kept; beyond it the oldest is deleted, as if it had expired.
    keep_files: finished jobs whose file is kept; beyond it the oldest file is deleted and its URL answers
        404.
    keep_calls: submissions that the ledger keeps.
    hang_limit_s: the longest time that a hanging call hangs, so that a forgotten client does not stay for
        ever.
    usd_per_second: made-up price of a second of video, shown by `?include_cost=true`.
    """

    token: str
    public_url: str
    data_dir: Path
    concurrency: int = 2
    queue_s: float = 1.0
    run_s: float = 4.0
    allow_hosts: tuple[str, ...] = ()
    render_workers: int = 2
    max_body_bytes: int = 70_000_000
    max_picture_bytes: int = 50_000_000
    fetch_timeout_s: float = 20.0
    keep_jobs: int = 20_000
    keep_files: int = 2_000
    keep_calls: int = 50_000
    hang_limit_s: float = 600.0
    usd_per_second: float = 0.05

    def __post_init__(self) -> None:
        """Refuses options that could not work, with a ValueError that names the option."""
        if not self.token:
            raise ValueError("token must not be empty")
        parts = urlsplit(self.public_url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise ValueError("public_url must be an absolute http(s) URL")
        if self.concurrency < 1 or self.render_workers < 1:
            raise ValueError("concurrency and render_workers must be at least 1")
        if self.queue_s < 0 or self.run_s < 0:
            raise ValueError("queue_s and run_s must not be negative")

    def url(self, path: str) -> str:
        """Returns the absolute URL of a path of this sandbox, such as `/files/a.mp4`."""
        return self.public_url.rstrip("/") + path
