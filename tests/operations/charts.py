"""Renders the chart with values from standard input, and validates it, in the environment of tools/deploy.

It prints the manifests as JSON, or `{"error": …}` where Helm refuses.
"""

import json
import sys
from typing import Any

import helm_python as helm
import kubernetes_validate
import yaml

_OURS = {"monitoring.coreos.com/v1"}  # of an operator: Kubernetes has no schema for them


def rendered(folder: str, values: dict[str, Any]) -> dict[str, Any]:
    """Returns what the chart renders to."""
    findings = helm.lint(folder, values)
    with helm.Chart.load(folder) as chart:
        files = chart.render(values, name="video", namespace="media")
    manifests = [one for text in files.values() for one in yaml.safe_load_all(text) if one]
    for one in manifests:
        if one["apiVersion"] not in _OURS:
            kubernetes_validate.validate(one, "1.34", strict=True)
    return {"manifests": manifests, "findings": findings}


def main() -> None:
    """Answers each line of standard input with a line."""
    for line in sys.stdin:
        try:
            answer = rendered(sys.argv[1], json.loads(line))
        except (helm.HelmError, kubernetes_validate.ValidationError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer, default=str), flush=True)  # noqa: T201 - its answer


if __name__ == "__main__":
    main()
