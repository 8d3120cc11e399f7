"""Alerts and the dashboard ask for metrics that exist; each alert fires, ends, and has a runbook."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from app.api.internal.families import FAMILIES
from tests.operations.tools import DEPLOY, ROOT, said, tool

RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = DEPLOY / "grafana" / "reelgate.json"
_NAME = re.compile(r"\breelgate_[a-z_]+")
_GROUPED = re.compile(r"\b(?:by|on|without|ignoring) \(([^)]*)\)")
_ADDED = {"instance", "job", "le"}  # by Prometheus, and of histograms


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text("utf-8"))["groups"][0]["rules"]
    return found


def panels() -> Iterator[tuple[str, str]]:
    """Each query of the dashboard, with its panel's title."""
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


QUERIES = [(rule["alert"], rule["expr"]) for rule in rules()] + list(panels())


def test_every_query_asks_for_metrics_and_labels_that_exist() -> None:
    samples: dict[str, set[str]] = {}
    for one in FAMILIES:
        ends = ("_bucket", "_sum", "_count") if one.kind == "histogram" else ("",)
        samples |= {one.published + end: {*one.labels, *_ADDED} for end in ends}
    for title, query in QUERIES:
        names = set(_NAME.findall(query))
        assert names <= samples.keys(), title
        if names:
            known = set.union(*(samples[name] for name in names))
            grouped = {label.strip() for part in _GROUPED.findall(query) for label in part.split(",")}
            matched = set(re.findall(r"(\w+)(?:=~|!=|!~|=)\"", query))
            assert grouped | matched <= known, title


def test_metrics_of_rows_are_never_added_up_across_servers() -> None:
    of_rows = {one.published for one in FAMILIES if one.source == "rows"}
    for title, query in QUERIES:
        if names := of_rows & set(_NAME.findall(query)):
            assert not re.search(rf"sum[^(]*\([^()]*(?:{'|'.join(sorted(names))})", query), title


def test_every_alert_has_a_severity_and_a_section_of_the_runbooks() -> None:
    page = (ROOT / "docs" / "runbooks.md").read_text("utf-8")
    sections = {title.lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", page, re.MULTILINE)}
    for rule in rules():
        name, _, section = rule["annotations"]["runbook"].partition("#")
        assert (name, section in sections) == ("docs/runbooks.md", True), rule["alert"]
        assert rule["labels"]["severity"] in {"page", "warn"}
        assert rule["alert"] in page, "the section says which alert leads to it"


def test_every_alert_is_tested_to_fire_and_to_end() -> None:
    tests = yaml.safe_load((DEPLOY / "prometheus" / "rules_test.yml").read_text("utf-8"))["tests"]
    seen: dict[str, list[bool]] = {}
    for case in tests:
        for expected in case["alert_rule_test"]:
            seen.setdefault(expected["alertname"], []).append(bool(expected["exp_alerts"]))
    assert seen.keys() == {rule["alert"] for rule in rules()}
    for alert, fired in seen.items():
        assert fired[-2:] == [True, False], alert


def test_promtool_accepts_the_rules_and_their_tests_hold() -> None:
    promtool = tool("promtool")
    assert "SUCCESS" in said(promtool, "check", "rules", RULES)
    assert "SUCCESS" in said(promtool, "test", "rules", "rules_test.yml", cwd=RULES.parent)
    said(promtool, "check", "config", "--syntax-only", RULES.with_name("prometheus.yml"))


def test_an_alert_that_does_not_fire_is_noticed(tmp_path: Path) -> None:
    promtool = tool("promtool")
    (tmp_path / "rules.yml").write_text(RULES.read_text("utf-8").replace('"live"}) > 0', '"live"}) > 99'))
    tests = yaml.safe_load(RULES.with_name("rules_test.yml").read_text("utf-8"))
    tests["tests"] = [one for one in tests["tests"] if one["name"] == "ReelgateUnknownRequests"]
    (tmp_path / "rules_test.yml").write_text(json.dumps(tests))
    with pytest.raises(AssertionError, match="ReelgateUnknownRequests"):
        said(promtool, "test", "rules", "rules_test.yml", cwd=tmp_path)


def test_promtool_parses_every_query_of_the_dashboard(tmp_path: Path) -> None:
    recorded = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, (_, query) in enumerate(panels())
    ]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": recorded}]}))
    assert f"{len(recorded)} rules found" in said(tool("promtool"), "check", "rules", file)


def test_the_dashboard_has_the_classic_form_and_asks_the_variable_for_its_source() -> None:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    assert board["uid"] == "reelgate"
    assert board["schemaVersion"] < 42  # file provisioning takes no newer form
    assert "spec" not in board
    variable = board["templating"]["list"][0]
    assert (variable["name"], variable["type"]) == ("datasource", "datasource")
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids) > 20
    for panel in board["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_amtool_accepts_the_example_of_alertmanager() -> None:
    said(tool("amtool"), "check-config", DEPLOY / "prometheus" / "alertmanager.yml")
    routes = yaml.safe_load((DEPLOY / "prometheus" / "alertmanager.yml").read_text("utf-8"))
    named = set(re.findall(r"Reelgate\w+", json.dumps(routes["inhibit_rules"])))
    assert named <= {rule["alert"] for rule in rules()}


def test_every_alert_is_met_by_a_real_fault_in_a_real_prometheus() -> None:
    told = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_prometheus*.py"))
    names = {rule["alert"].removeprefix("Reelgate") for rule in rules()}
    assert {name for name in names if f'{name}"' not in told} == set()
