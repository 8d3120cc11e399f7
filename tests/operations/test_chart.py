"""The Helm chart, as Helm renders it and as the schemas of Kubernetes have it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from app.settings.values import PREFIX
from tests.operations.tools import DEPLOY, ROOT

SQLITE = {"database": {"kind": "sqlite"}, "replicas": 1, "worker": {"replicas": 0}}
SECRET = {"existingSecret": "reelgate"}
CHART = DEPLOY / "helm" / "reelgate"


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python of an environment with Helm and the schemas: 400 MB, which is kept from run to run."""
    uv, lock = Path(sys.executable).with_name("uv"), ROOT / "tools" / "deploy" / "requirements.lock"
    env = Path(sys.prefix) / "deploy"
    made, mark = env / "bin" / "python", env / "installed"
    if not mark.exists() or mark.stat().st_mtime < lock.stat().st_mtime:
        for command in (
            ("venv", "--quiet", "--allow-existing", "--python", sys.executable, env),
            ("pip", "install", "--quiet", "--python", made, "--require-hashes", "-r", lock),
        ):
            done = subprocess.run([uv, *command], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"Helm CANNOT BE INSTALLED, so the chart is not checked: {done.stderr[-300:]}")
        mark.touch()
    return made


@pytest.fixture(scope="module")
def helm(python: Path) -> Iterator[Any]:
    """A function that renders the chart with some values."""
    process = subprocess.Popen(
        [python, Path(__file__).with_name("charts.py"), CHART],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield partial(_ask, process)
    process.communicate()
    assert process.returncode == 0


def _ask(process: "subprocess.Popen[str]", **values: Any) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(values) + "\n")
    process.stdin.flush()
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    return answer


def of_kind(answer: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    assert "error" not in answer, answer["error"]
    return [one for one in answer["manifests"] if one["kind"] == kind]


def environment(container: dict[str, Any]) -> dict[str, Any]:
    names = [one["name"] for one in container["env"]]
    assert len(set(names)) == len(names), "a name that is there twice is an error of Helm 4"
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def test_postgresql_has_servers_a_worker_and_migrations_as_a_hook(helm: Any) -> None:
    answer = helm(**SECRET)
    assert answer["findings"]["errors"] == []
    servers, worker = of_kind(answer, "Deployment")
    assert (servers["spec"]["replicas"], worker["spec"]["replicas"]) == (2, 1)
    assert servers["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    (job,) = of_kind(answer, "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert not of_kind(answer, "PersistentVolumeClaim")
    assert len(of_kind(answer, "PodDisruptionBudget")) == len(of_kind(answer, "NetworkPolicy")) == 1
    for one in (servers, worker, job):
        (container,) = one["spec"]["template"]["spec"]["containers"]
        found = environment(container)
        assert found["REELGATE_PEPPER"] == {"secretKeyRef": {"name": "reelgate", "key": "pepper"}}
        assert found["REELGATE_RUN_LOOPS"] == "false"
        known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
        assert found.keys() <= known
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert one["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]


def test_a_pod_has_time_for_both_drains_and_for_a_submit_under_way(helm: Any) -> None:
    (servers, _) = of_kind(helm(**SECRET, drainDelay=5, drain=30), "Deployment")
    assert servers["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 45
    found = environment(servers["spec"]["template"]["spec"]["containers"][0])
    assert (found["REELGATE_DRAIN_DELAY_S"], found["REELGATE_DRAIN_S"]) == ("5", "30")


def test_sqlite_is_one_replica_on_its_own_volume_that_is_replaced_whole(helm: Any) -> None:
    answer = helm(**SECRET, **SQLITE)
    (server,) = of_kind(answer, "Deployment")
    assert server["spec"]["strategy"] == {"type": "Recreate"}
    assert [one["args"] for one in server["spec"]["template"]["spec"]["initContainers"]] == [["migrate"]]
    (claim,) = of_kind(answer, "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert not of_kind(answer, "Job")
    assert not of_kind(answer, "PodDisruptionBudget")
    found = environment(server["spec"]["template"]["spec"]["containers"][0])
    assert "REELGATE_DATABASE_URL" not in found
    assert found["REELGATE_RUN_LOOPS"] == "true"


def test_every_secret_setting_comes_by_reference_and_is_refused_in_values(helm: Any) -> None:
    fields = Settings.model_fields.items()
    secret = {name.upper() for name, field in fields if "SecretStr" in repr(field.annotation)}
    assert "PEPPER" in secret
    (server, _) = of_kind(helm(**SECRET), "Deployment")
    found = environment(server["spec"]["template"]["spec"]["containers"][0])
    assert {name.removeprefix(PREFIX) for name, value in found.items() if "secretKeyRef" in value} == secret
    for name in secret:
        assert "error" in helm(**SECRET, settings={name: "in the clear"}), name


@pytest.mark.parametrize(
    "wrong",
    [
        {**SQLITE, "replicas": 2},
        {**SQLITE, "worker": {"replicas": 1}},
        {**SQLITE, "autoscaling": {"enabled": True}},
        {"existingSecret": ""},
        {"settings": {"PEPPER": "in the clear"}},
        {"settings": {"DATABASE_URL": "postgresql://u:p@h/d"}},
        {"database": {"kind": "mysql"}},
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_before_anything_is_installed(helm: Any, wrong: dict[str, Any]) -> None:
    assert "values don't meet the specifications" in helm(**{**SECRET, **wrong})["error"]


def test_with_an_autoscaler_the_deployment_says_no_number_of_replicas(helm: Any) -> None:
    answer = helm(
        **SECRET,
        autoscaling={"enabled": True},
        ingress={"enabled": True, "className": "nginx", "tlsSecret": "tls"},
        serviceMonitor={"enabled": True},
        settings={"PUBLIC_URL": "https://gateway.example.com", "MAX_WAIT_S": 25, "QUEUEING": True},
    )
    servers, _ = of_kind(answer, "Deployment")
    assert "replicas" not in servers["spec"]
    found = environment(servers["spec"]["template"]["spec"]["containers"][0])
    assert (found["REELGATE_MAX_WAIT_S"], found["REELGATE_QUEUEING"]) == ("25", "true")
    for kind in ("HorizontalPodAutoscaler", "Ingress", "PodMonitor"):
        assert len(of_kind(answer, kind)) == 1


def test_what_is_the_operators_leads_nowhere_from_outside(helm: Any) -> None:
    (ingress,) = of_kind(answer := helm(**SECRET, ingress={"enabled": True}), "Ingress")
    behind = {
        path["path"]: path["backend"]["service"]["name"]
        for path in ingress["spec"]["rules"][0]["http"]["paths"]
    }
    services = {one["metadata"]["name"]: one["spec"] for one in of_kind(answer, "Service")}
    assert {path for path, name in behind.items() if "selector" not in services[name]} == {
        "/metrics",
        "/admin",
    }
    assert "selector" in services[behind["/"]]
    opened = helm(**SECRET, ingress={"enabled": True, "closed": []})
    assert len(of_kind(opened, "Service")) == 1
