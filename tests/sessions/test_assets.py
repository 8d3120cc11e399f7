"""What the console and the portal are made of: few bytes, of this origin alone, and known to the last one."""

import gzip
import hashlib
import json
import re

import pytest

from app.console.sites import FILES, served
from tests.harness import World
from tests.sessions.browsing import Tab

pytestmark = pytest.mark.anyio
BUDGET_BYTES = 90_000
_IMPORT = re.compile(r"""\bfrom\s+"([^"]+)"|\bimport\s*\(?\s*"([^"]+)\"""")


def test_the_scripts_of_others_are_those_that_were_looked_at() -> None:
    """`make vendor` writes the lock: another version, or one changed byte, is a change that somebody sees."""
    lock = json.loads((FILES / "vendor.lock.json").read_text())
    for name, digest in lock["files"].items():
        assert hashlib.sha256((FILES / name).read_bytes()).hexdigest() == digest, name
    for name in lock["packages"]:
        assert (FILES / "licences" / f"{name}.txt").read_text().strip()


def test_all_files_together_are_small() -> None:
    files = [one for one in FILES.iterdir() if one.suffix in {".js", ".css", ".html", ".svg"}]
    size = sum(len(gzip.compress(served(one), 9, mtime=0)) for one in files)
    assert size <= BUDGET_BYTES, size


def test_our_files_are_served_without_comments_and_indentation_and_otherwise_as_they_are() -> None:
    for file in [*FILES.glob("*.js"), *FILES.glob("*.css")]:
        text, sent = file.read_text(), served(file).decode()
        assert text.count("\n") == sent.count("\n"), "an error's line is that of the source"
        if file.name.startswith("vendor"):
            assert sent == text
            continue
        lines = [one.lstrip() for one in text.splitlines()]
        if file.suffix == ".css":  # spaces around signs go too
            lines, sent = [one.replace(" ", "") for one in lines], sent.replace(" ", "")
        changed = [pair for pair in zip(lines, sent.splitlines(), strict=True) if pair[0] != pair[1]]
        assert {after for _, after in changed} <= {""}, file.name
        assert [one for one, _ in changed if not re.match(r"(//|/\*\*|\*([ /]|$))", one)] == [], file.name
        if file.suffix == ".js":
            assert not re.search(r"^\s*(//|/\*\*)", sent, re.MULTILINE), file.name


def test_every_import_is_a_file_beside_it() -> None:
    for file in FILES.glob("*.js"):
        if file.name == "vendor.js":
            continue
        for found in _IMPORT.findall(file.read_text()):
            name = found[0] or found[1]
            assert (FILES / name).is_file(), (file.name, name)


async def test_the_pages_let_nothing_in_but_this_origins_scripts(world: World) -> None:
    for page in ("console", "portal"):
        answer = await Tab(world).call("GET", f"/{page}")
        policy = answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert policy.startswith(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        )
        assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<script(?![^>]*\bsrc=)|\bon[a-z]+=|\bstyle=|<style", answer.text)
        for name in re.findall(rf'"{page}/files/([^"]+)"', answer.text):
            found = await Tab(world).call("GET", f"/{page}/files/{name}")
            assert found.status_code == 200, name
            again = await Tab(world).call("GET", f"/{page}/files/{name}", If_None_Match=found.headers["etag"])
            assert again.status_code == 304
    assert (await Tab(world).call("GET", "/console/files/..%2f..%2fpages.py")).status_code == 404


def test_the_pages_call_what_the_contracts_publish_and_nothing_else() -> None:
    """Whatever a page can do, a program can: each address in a script is an operation of a contract."""
    root = FILES.parents[3]
    known = [
        re.compile(re.sub(r"{[^}]*}", "[^/]+", path.lstrip("/")))
        for name in ("openapi.json", "openapi-admin.json")
        for path in json.loads((root / name).read_text())["paths"]
    ]
    asked = set()
    for file in FILES.glob("*.js"):
        text = file.read_text()
        base = re.search(r"const path = `(admin/v1/[^`]+)`", text)
        for found in re.findall(r"""["`]((?:admin/)?v1/[^"`]+|\$\{path\}/[^"`]+)["`]""", text):
            whole = found.replace("${path}", base[1] if base else "")
            asked.add(re.sub(r"\$\{[^}]*\}", "x", whole))
    assert len(asked) > 40
    fitting = {one for one in asked if any(form.fullmatch(one) for form in known)}
    # An address whose last part is chosen by what it does: enable or disable, narrow or revoke.
    assert {one.rpartition("/")[0] for one in asked - fitting} <= {
        "admin/v1/tenants/x",
        "admin/v1/dispatch",
        "admin/v1/keys/x",
        "v1/keys/x",
    }
