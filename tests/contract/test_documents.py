"""What the documents list is what the code has, row for row."""

import json
import re
from pathlib import Path

import pytest
import typer.main

from app.api.routes import ROUTES
from app.cli.dev import first_job
from app.cli.entry import cli
from app.config import PREFIX, Settings
from app.errors import CATALOGUE
from app.gateway import open_catalog
from app.generations.lifecycle import RESULT_NAMES, STATUS_NAMES, TERMINAL, State
from app.main import contract

ROOT = Path(__file__).parents[2]
FILE_VARIANTS = {
    "database_url",
    "metrics_token",
    "pepper",
    "sandbox_token",
    "upstream_credentials",
    "upstream_token",
}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def settings_rows() -> list[str]:
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if hasattr(default, "get_secret_value"):
            default = default.get_secret_value()
        if isinstance(default, list):
            default = ",".join(default)
        shown = "" if default in {None, ""} else f"`{default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return rows


def test_every_setting_is_documented_as_the_code_has_it() -> None:
    listed = [line for line in read("docs/settings.md").splitlines() if line.startswith("| `REELGATE_")]
    assert listed == settings_rows()


def test_the_settings_page_names_those_that_can_come_from_a_file() -> None:
    page = read("docs/settings.md")
    named = set(re.findall(r"`REELGATE_([A-Z_]+)_FILE`", page))
    assert named == {name.upper() for name in FILE_VARIANTS}


@pytest.mark.parametrize("name", sorted(FILE_VARIANTS))
def test_such_a_setting_is_read_from_its_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    kept = {
        "database_url": "sqlite:///from/a/file",
        "upstream_credentials": '[{"name":"one","token":"t"}]',
    }.get(name, "from-a-file")
    path.write_text(f"{kept}\n")
    monkeypatch.setenv(f"{PREFIX}{name.upper()}_FILE", str(path))
    assert getattr(Settings(_env_file=None), name).get_secret_value() == kept


def test_every_error_is_documented_as_the_code_has_it() -> None:
    listed = [line for line in read("docs/errors.md").splitlines() if line.startswith("| `")]
    assert listed == [
        f"| `{fault.code}` | {fault.status} | {'yes' if fault.retryable else 'no'} "
        f"| {fault.title} | {fault.remedy} |"
        for fault in CATALOGUE
    ]


def test_error_codes_are_unique() -> None:
    assert len({fault.code for fault in CATALOGUE}) == len(CATALOGUE) > 20


def test_the_published_contract_is_what_the_code_serves() -> None:
    settings = Settings(_env_file=None)
    served = contract(settings, open_catalog(settings))
    assert json.loads(read("openapi.json")) == json.loads(json.dumps(served)), "run `make openapi`"


def test_the_contract_has_the_models_own_schema_on_the_models_own_path() -> None:
    document = json.loads(read("openapi.json"))
    operation = document["paths"]["/v1/models/bytedance/dreamina-3-0/image-to-video"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["image_urls", "prompt"]
    assert schema["properties"]["number_of_frames"]["enum"] == [121, 241]
    assert schema["additionalProperties"] is False


def test_every_route_is_in_the_contract_and_says_how_it_refuses() -> None:
    paths = json.loads(read("openapi.json"))["paths"]
    for route in ROUTES:
        operation = paths[route.path.replace(":path", "")][route.method.lower()]
        statuses = {str(fault.status) for fault in route.faults} | {str(route.status)}
        statuses |= {"304"} if route.tagged else set()
        statuses |= {"204"} if route.streams and "{request_id}" in route.path else set()
        assert set(operation["responses"]) == statuses
        assert bool(operation["security"]) == route.needs_key


def test_every_command_is_documented() -> None:
    group = typer.main.get_command(cli)
    page = read("docs/operating.md")
    names = []
    for name, command in group.commands.items():  # type: ignore[attr-defined]  # typer hides click's class
        children = getattr(command, "commands", None)
        names += [f"{name} {child}" for child in children] if children else [name]
    missing = [name for name in names if f"reelgate {name}" not in page]
    assert not missing


def test_every_link_between_documents_leads_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_has_the_first_job_that_make_run_prints() -> None:
    printed = first_job(Settings(_env_file=None), "KEY")
    job = printed.split("export REELGATE_KEY=KEY\n", 1)[1].strip()
    assert job in read("README.md")


def test_the_architecture_page_shows_the_words_of_every_state() -> None:
    listed = re.findall(
        r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \| (yes|no) \|$", read("docs/architecture.md"), re.MULTILINE
    )
    assert listed == [
        (state.value, STATUS_NAMES[state], RESULT_NAMES[state], "yes" if state in TERMINAL else "no")
        for state in State
    ]


def test_every_log_line_that_the_operator_is_told_of_exists() -> None:
    page = read("docs/operating.md").split("## Logs", 1)[1].split("##", 1)[0]
    lines = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "app").rglob("*.py"))
    assert len(lines) >= 6
    assert [line for line in lines if f'"{line}"' not in source] == []


def test_no_committed_file_names_a_package_registry() -> None:
    for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml", "Dockerfile", "Makefile"):
        assert not re.search(r"https?://(?!127\.)|index[-]url|find[-]links", read(name)), name
