"""A newcomer types what docs/deploying.md says into a bare Debian, and has all that the page promises."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

from tests.operations.debian import Booted, bare_debian
from tests.operations.tools import ROOT

GIT = shutil.which("git") or "git"
PASSWORD = "abc123DEF"
NAME = "gateway.test"
METRICS_TOKEN = "f" * 64
# What the page asks a person for: the editor, a certificate.
EDITED = rf"""
file=/etc/reelgate/reelgate.env
sed -i "s#^REELGATE_PEPPER=.*#REELGATE_PEPPER=$(openssl rand -base64 32)#; s#a-password#{PASSWORD}#
s#the token of RunComfy#a-token-of-ours#; s#gateway.example.com#{NAME}#
s#^\(REELGATE_METRICS_TOKEN\)=.*#\1={METRICS_TOKEN}#; s#^\# \(REELGATE_RUN_LOOPS=false\)#\1#" $file
! grep -E 'output of|token of RunComfy' $file | grep -v '^#'
"""
CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    f" -subj /CN={NAME} -addext subjectAltName=DNS:{NAME}"
    " -keyout /etc/reelgate/tls/privkey.pem -out /etc/reelgate/tls/fullchain.pem 2>/dev/null"
)
TO_SQLITE = r"""
systemctl disable --now reelgate@8710 reelgate@8720 reelgate-worker
sed -i 's/^\(REELGATE_DATABASE_URL=postgresql\)/# \1/; s/^# \(REELGATE_DATABASE_URL=sqlite\)/\1/
s/^REELGATE_RUN_LOOPS/# &/' /etc/reelgate/reelgate.env
systemctl start reelgate-migrate
"""
TOLD = {"'PASSWORD'": f"'{PASSWORD}'", "ADDRESS-OF-THIS-REPOSITORY": "/root/repository", "YOUR-NAME": NAME}
TOLD |= {"THE-METRICS-TOKEN": METRICS_TOKEN}


def steps() -> list[str]:
    """The commands of the page, step by step, with what a person puts in."""
    page = (ROOT / "docs" / "deploying.md").read_text("utf-8")
    section = page.partition("## On Debian, step by step\n")[2].partition("\n## ")[0]
    found = []
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", section, re.MULTILINE | re.DOTALL):
        text = dedent(block)
        for what, put in TOLD.items():
            text = text.replace(what, put)
        text = re.sub(r"^editor .*$", lambda _: EDITED, text, flags=re.MULTILINE)
        found.append(re.sub(r"^(install -d .*/tls\b).*$", rf"\1\n{CERTIFICATE}", text, flags=re.MULTILINE))
    return found


def test_a_newcomer_has_servers_worker_tls_and_metrics_by_what_the_page_says(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    programs, database, settings, services, on_sqlite, tls, tenant, metrics = steps()
    with bare_debian(tmp_path) as debian:
        began = time.monotonic()
        repository = str(debian.root / "root" / "repository")
        subprocess.run([GIT, "clone", "-q", "--bare", str(ROOT), repository], check=True)
        debian.before_it_boots(programs)
        with debian.booted() as machine:
            for step in (database, settings, services, tls):
                machine.run(step)
            keys = machine.run(tenant.replace("rg doctor", "rg doctor || true"))  # RunComfy cannot be reached
            machine.run(metrics)
            (key,) = re.findall(r"^rg_live_\S+$", keys, re.MULTILINE)
            told = f"A newcomer was done after {time.monotonic() - began:.0f} s of the machine's time."
            record_property("newcomer", told)
            print(told)  # noqa: T201 - with -s
            is_served(machine, key)
            assert restarted(machine, tenant) == 2
            machine.run("systemctl start reelgate-backup")
            machine.run(TO_SQLITE + on_sqlite)
            machine.run(tenant.replace("rg doctor", ""))
            assert restarted(machine, tenant) == 1
            machine.run("systemctl reload reelgate@8710 && systemctl start reelgate-backup")


def is_served(machine: Booted, key: str) -> None:
    """TLS, the API, no metrics to strangers, all three processes seen by Prometheus, an Alertmanager."""
    call = f"curl -s --resolve {NAME}:443:127.0.0.1 --cacert /etc/reelgate/tls/fullchain.pem"
    models = machine.run(f"{call} https://{NAME}/v1/models -H 'Authorization: Bearer {key}'")
    assert json.loads(models)["models"]
    assert machine.run(f"{call} https://{NAME}/metrics -o /dev/null -w '%{{http_code}}'") == "404"
    up = "curl -s --retry 30 --retry-connrefused http://127.0.0.1:9090/api/v1"
    seen: list[str] = []
    for _ in range(60):
        targets = json.loads(machine.run(f"{up}/targets"))["data"]["activeTargets"]
        seen = [one["health"] for one in targets]
        if seen == ["up"] * 3:
            break
        time.sleep(1)
    assert seen == ["up"] * 3
    assert len(json.loads(machine.run(f"{up}/alertmanagers"))["data"]["activeAlertmanagers"]) == 1


def restarted(machine: Booted, tenant: str) -> int:
    """How many servers `rg restart` replaced; systemd knows the new ones."""
    alias = tenant.splitlines()[0]
    told = machine.run(f"{alias}\nrg restart")
    serving = re.findall(r"replaced by server \S+:(\d+) ", told)
    units = machine.run("systemctl show 'reelgate@*.service' -p MainPID --value").split()
    assert set(serving) <= set(units), (told, units)
    return len(serving)
