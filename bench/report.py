"""The report of a run: a table for people, a document for programs, and the facts of the machine."""

import os
import platform
import sqlite3
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.children import ROOT
from bench.databases import SQLITE
from bench.rounds import Cell, Findings, Options
from bench.targets import TARGETS

_COLUMNS = (
    ("req/s", 8),
    ("ratio", 7),
    ("least…most", 12),
    ("p50 ms", 9),
    ("ratio", 7),
    ("p99 ms", 9),
    ("ratio", 7),
    ("max ms", 9),
    ("cpu µs", 8),
    ("ratio", 7),
    ("speed", 7),
    ("server", 8),
    ("load", 6),
)
_PACKAGES = ("fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "httptools", "httpx2", "sqlalchemy")


def machine() -> dict[str, Any]:
    """Returns what the numbers depend on besides the code."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short=12", "HEAD") or None,
        "uncommitted_changes": bool(_git("status", "--porcelain", "--", "app", "bench")),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "load_average": [round(one, 2) for one in os.getloadavg()],
        "platform": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: version(name) for name in _PACKAGES},
    }


def document(options: Options, facts: dict[str, Any], findings: Findings) -> dict[str, Any]:
    """Returns everything for `--json`, without the database's URL, which may contain a password."""
    chosen = asdict(options) | {
        "only": sorted(options.only),
        "database": "sqlite" if options.database == SQLITE else "postgresql",
    }
    return {"machine": facts, "options": chosen, **asdict(findings)}


def table(facts: dict[str, Any], findings: Findings) -> str:
    """Returns the table."""
    changed = " with uncommitted changes" if facts["uncommitted_changes"] else ""
    lines = [
        f"{facts['date']}, commit {facts['commit']}{changed}",
        f"Python {facts['python']}, {facts['cores']} cores of {facts['processor']}",
        "ratio: to the bare FastAPI route in the same round. cpu: of the server for one request.",
        "speed: how many of these requests take as much of the processor as one of the bare route.",
    ]
    for loop in dict.fromkeys(cell.loop for cell in findings.cells):
        lines += [
            "",
            _line(loop, *(name for name, _ in _COLUMNS)),
        ]
        own = {cell.target: cell for cell in findings.cells if cell.loop == loop}
        lines += [_row(own[target.name], target.title) for target in TARGETS if target.name in own]
    lines += [
        "",
        f"Everything else on this machine used {findings.others_cpu:.2f} cores meanwhile.",
        f"Memory of the gateway: {findings.rss_before_mib:.0f} → {findings.rss_after_mib:.0f} MiB.",
        f"Submits: {findings.accepted} accepted, {findings.received} received upstream.",
        f"Errors: {sum(cell.errors for cell in findings.cells)}. Took {findings.took_s:.0f} s.",
    ]
    return "\n".join(lines)


def _row(cell: Cell, title: str) -> str:
    spread = "" if cell.spread is None else f"{cell.spread[0]:.2f}…{cell.spread[1]:.2f}"
    return _line(
        title,
        f"{cell.rps:,.0f}",
        _ratio(cell.rps_ratio),
        spread,
        f"{cell.p50_ms:.2f}",
        _ratio(cell.p50_ratio),
        f"{cell.p99_ms:.2f}",
        _ratio(cell.p99_ratio),
        f"{cell.max_ms:.1f}",
        f"{cell.server_us:,.0f}",
        _ratio(cell.server_us_ratio),
        _ratio(None if not cell.server_us_ratio else 1 / cell.server_us_ratio),
        f"{cell.server_cpu:.2f}",
        f"{cell.load_cpu:.2f}",
    )


def _line(title: str, *columns: str) -> str:
    return f"{title:24}" + "".join(
        f"{one:>{width}}" for one, (_, width) in zip(columns, _COLUMNS, strict=True)
    )


def _ratio(number: float | None) -> str:
    return "" if number is None else f"{number:.2f}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607 - whichever git is there
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
