"""What the documents list is what the code has, row for row."""

import json
import re
from pathlib import Path

import pytest
import typer.main

from app.api.routes import ROUTES
from app.catalog.catalog import open_catalog
from app.cli.entry import cli
from app.cli.serving.dev import first_job
from app.config import Settings
from app.errors import CATALOGUE
from app.generations.lifecycle import State
from app.main import contract
from app.settings.values import PREFIX
from tools import docs

ROOT = Path(__file__).parents[2]
FILE_VARIANTS = {
    "database_url",
    "metrics_token",
    "pepper",
    "sandbox_token",
    "upstream_credentials",
    "upstream_proxy",
    "upstream_token",
    "webhook_key",
}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_says_of_the_code_is_what_the_code_has(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert docs.renewed(text) == text, "run `make docs`"
    assert text.count("<!-- made by make docs") == len(docs.parts_of(text)), "a part is not closed"


def test_every_part_that_can_be_made_stands_on_one_page() -> None:
    found = [(name, page.name) for page in PAGES for name in docs.parts_of(page.read_text(encoding="utf-8"))]
    assert sorted(found) == [
        ("error_codes", "errors.md"),
        ("errors", "errors.md"),
        ("metrics", "metrics.md"),
        ("operations", "administration.md"),
        ("printing_options", "operating.md"),
        ("settings", "settings.md"),
        ("states", "architecture.md"),
    ]
    assert {name for name, _ in found} == set(docs.PARTS)


def test_a_made_part_is_written_anew_where_it_has_changed_and_the_rest_of_the_page_is_kept() -> None:
    page = read("docs/settings.md")
    spoilt = page.replace("| `REELGATE_PORT` | `8700` |", "| `REELGATE_PORT` | `1` |")
    assert spoilt != page
    assert docs.renewed(spoilt) == page
    elsewhere = page.replace("A setting is set", "Settings are set")
    assert docs.renewed(elsewhere) == elsewhere


def test_a_made_part_has_a_row_for_everything_that_there_is() -> None:
    assert docs.settings().count("\n| `REELGATE_") == len(Settings.model_fields) > 50
    assert docs.errors().count("\n| `") == len(CATALOGUE)
    assert docs.states().count("\n| `") == len(State)


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
        "upstream_proxy": "http://proxy.example:3128",
        "upstream_credentials": '[{"name":"one","token":"t"}]',
    }.get(name, "from-a-file")
    path.write_text(f"{kept}\n")
    monkeypatch.setenv(f"{PREFIX}{name.upper()}_FILE", str(path))
    found = getattr(Settings(_env_file=None), name)
    assert (found[0] if isinstance(found, list) else found).get_secret_value() == kept


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
        statuses |= {"206", "302", "304"} if route.binary else set()
        statuses |= {"200"} if route.repeats else set()
        statuses |= {"204"} if route.streams and "{request_id}" in route.path else set()
        statuses |= set() if any(one.startswith("4") for one in statuses) else {"400"}  # malformed_request
        assert set(operation["responses"]) == statuses
        assert bool(operation["security"]) == route.needs_key


def test_every_command_is_documented() -> None:
    page = read("docs/operating.md")
    names = [name for name, _ in docs.commands(typer.main.get_command(cli))]
    assert {"serve", "tenants disable", "ledger reconcile"} < set(names), "groups are looked into"
    assert [name for name in names if f"reelgate {name}" not in page] == []


def test_every_route_is_documented() -> None:
    paths = {one.path.replace(":path", "") for one in ROUTES}
    assert [path for path in sorted(paths) if not is_named(path)] == []
    assert not is_named("/v1/requests/{request_id}/nothing")


def is_named(path: str) -> bool:
    """Whether a table of the pages of the API and of webhooks names a path, or its end beside its start."""
    blocks = [block for page in ("docs/api.md", "docs/webhooks.md") for block in read(page).split("\n\n")]
    start, _, end = path.rpartition("/")
    return any(
        f"{path}`" in block or f"{path}?" in block or (f"…/{end}`" in block and f"{start}`" in block)
        for block in blocks
    )


def test_every_link_between_documents_leads_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_has_the_first_job_that_make_run_prints() -> None:
    printed = first_job(Settings(_env_file=None), "KEY")
    job = printed.split("export REELGATE_KEY=KEY\n", 1)[1].strip()
    assert job in read("README.md")


def test_every_log_line_that_the_operator_is_told_of_exists() -> None:
    page = read("docs/operating.md").split("## Logs", 1)[1].split("##", 1)[0]
    lines = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "app").rglob("*.py"))
    assert len(lines) >= 6
    assert [line for line in lines if f'"{line}"' not in source] == []


def test_no_committed_file_names_a_package_registry() -> None:
    locks = (
        "requirements.lock",
        "requirements-dev.lock",
        "tools/js/package-lock.json",
        "tools/js/.npmrc",
        "tools/clients/requirements.lock",
        "tools/clients/.npmrc",
        "clients/typescript/.npmrc",
        "tools/oidc/.npmrc",
    )
    others = ("pyproject.toml", "Dockerfile", "Makefile", "tools/install.py", "tools/js/package.json")
    for name in (*locks, *others, ".pre-commit-config.yaml", ".github/workflows/ci.yml"):
        assert not re.search(r"https?://(?!127\.)|index[-]url|find[-]links", read(name)), name
    for folder in ("tools/clients", "tools/oidc", "clients/typescript", "examples/vite", "examples/next"):
        lock = read(f"{folder}/package-lock.json")  # its addresses are of sponsors
        assert re.findall(r'"resolved": "(?!file:)', lock) == [], folder


EXAMPLE = re.compile(r"^# ([A-Z_]+)=(.*)$", re.MULTILINE)


def test_the_example_of_an_environment_names_only_settings_and_sets_none() -> None:
    text = read(".env.example")
    assert all(line.startswith("#") or not line for line in text.splitlines()), "a copy changes nothing"
    names = [name for name, _ in EXAMPLE.findall(text)]
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(names) - {"POSTGRES_PASSWORD"} <= known
    assert "POSTGRES_PASSWORD" in read("compose.yaml")
    assert len(names) == len(set(names)) > 15
    assert {f"{PREFIX}PEPPER", f"{PREFIX}UPSTREAM_TOKEN", f"{PREFIX}PUBLIC_URL"} <= set(names)


@pytest.mark.parametrize("value", EXAMPLE.findall(read(".env.example")), ids=lambda pair: pair[0])
def test_every_value_of_the_example_is_one_that_its_setting_takes(
    value: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / ".env"
    path.write_text(f"{value[0]}={value[1]}\n", encoding="utf-8")
    assert Settings(_env_file=path)


def test_every_decision_is_short_and_in_the_index() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    index = re.findall(r"^\| (\d+) \| \[(.+)\]\((.+)\) \|$", read("docs/decisions/README.md"), re.MULTILINE)
    listed = []
    for page in pages:
        number, text = int(page.name[:4]), page.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 25, page.name
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequence"]
        title = text.splitlines()[0].removeprefix(f"# {number}. ")
        listed.append((str(number), title, page.name))
    assert index == listed


def test_every_word_of_the_glossary_stands_in_it_once_and_in_order() -> None:
    sections = read("docs/glossary.md").split("\n## ")[1:]
    words = [re.findall(r"^\| \*\*(.+?)\*\* \| .+\. \|$", section, re.MULTILINE) for section in sections]
    rows = [section.count("\n| **") for section in sections]
    assert [len(found) for found in words] == rows
    assert all(found == sorted(found, key=str.lower) for found in words)
    every = [word.lower() for found in words for word in found]
    assert len(every) == len(set(every)) > 50
