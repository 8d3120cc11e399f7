"""A real Prometheus with the shipped files, at real gateways: which alerts fire."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.harness import SUBMIT
from tests.operations.tools import DEPLOY, tool
from tests.patience import PATIENCE_S
from tests.processes import Place, eventually, free_port
from tests.sandbox.harness import TOKEN, Running

METRICS_TOKEN = "the-token-of-the-metrics"
PICTURE = "/samples/harbour.jpg"


def hurried(text: str) -> str:
    """The rules with seconds in place of minutes: what they ask is the same, and the test is short."""
    text = re.sub(r"> (60|900)\b", "> 2", text)
    text = re.sub(r"interval: 15s", "interval: 1s", text)
    text = re.sub(r"for: \w+", "for: 1s", text)
    text = re.sub(r"(max_over_time\(\w+)\[1h\]", r"\1[60s]", text)  # a server is started within it
    text = re.sub(r"offset \w+", "offset 5s", text)
    return re.sub(r"\[(?!60s)\w+\]", "[5s]", text)


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that runs; called, it says which alerts fire."""

    url: str

    def __call__(self) -> set[str]:
        return {
            one["labels"]["alertname"] for one in self.asked("alerts")["alerts"] if one["state"] == "firing"
        }

    def asked(self, path: str, **query: str) -> Any:
        answer = httpx2.get(f"{self.url}/api/v1/{path}", params=query, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def is_there(self) -> bool:
        with suppress(httpx2.HTTPError, AssertionError):  # it is starting
            targets = self.asked("targets")["activeTargets"]
            return len([one for one in targets if one["health"] != "unknown"]) > 0
        return False


@contextmanager
def prometheus(folder: Path, targets: list[str]) -> Iterator[Prometheus]:
    """Prometheus with the shipped files."""
    shipped = DEPLOY / "prometheus"
    (folder / "rules.yml").write_text(hurried((shipped / "rules.yml").read_text("utf-8")))
    (folder / "token").write_text(METRICS_TOKEN)
    text = (shipped / "prometheus.yml").read_text("utf-8").replace("15s", "1s")
    text = text.replace("/etc/prometheus/reelgate.token", str(folder / "token"))
    text = re.sub(r"alerting:\n.*\n", "", text)
    text, replaced = re.subn(r"targets: \[.*\]", f"targets: {json.dumps(targets)}", text)
    assert replaced == 1
    (folder / "prometheus.yml").write_text(text)
    port = free_port()
    options = (
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
    )
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([tool("prometheus"), *options], stdout=log, stderr=log)
    running = Prometheus(f"http://127.0.0.1:{port}")
    try:
        eventually(running.is_there)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def settings(live: Running) -> dict[str, str]:
    return {
        "METRICS_TOKEN": METRICS_TOKEN,
        "UPSTREAM_TOKEN": TOKEN,
        "UPSTREAM_BASE_URL": live.options.public_url,
        "POLL_MIN_S": "0.25",
        "SUBMIT_DEADLINE_S": "2",
    }


def submit(place: Place, key: str, live: Running, directive: str) -> httpx2.Response:
    body = {"image_urls": [live.options.public_url + PICTURE], "prompt": f"a boat [sandbox:{directive}]"}
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.post(place.url + SUBMIT, json=body, headers=headers, trust_env=False, timeout=PATIENCE_S)
