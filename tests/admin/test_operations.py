"""Every command and every admin route is one function of `app.admin`, and none is missing on either side."""

import inspect
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer.main
from openapi_spec_validator import OpenAPIV31SpecValidator

from app import errors
from app.admin.operation import Operation
from app.admin.operations.every import OPERATIONS
from app.admin.paging import Page
from app.api.admin.openapi import PARAMETERS, build, faults_of
from app.cli.entry import cli
from app.errors import Fault
from tests.admin.use_cases import use_cases
from tools.docs import commands

ROOT = Path(__file__).parents[2]
# Commands about a process of this machine or its files: nobody can call them from another one.
OF_THIS_MACHINE = {"serve", "worker", "sandbox", "dev", "migrate", "openapi", "mcp", "webhooks listen"}
OF_THIS_MACHINE |= {"reload", "restart", "config check", "backup", "restore", "recover", "archive"}
# Modules of `app.admin` whose public functions are not use cases, or have no route.
NO_USE_CASES = {"accounts", "audit", "calls", "chain", "session", "database_checks", "sign_in_checks"}
NO_USE_CASES |= {"store_probe"}
# Of files of this machine, for which there is no route either.
NO_USE_CASES |= {"archive", "backup", "recover", "restore"}
# What a tenant asks for itself, at addresses of its own, and the upkeep loop's part.
OF_TENANTS = {"usage.report", "statements.listed", "statements.find", "statements.close_due"}
OF_TENANTS |= {"statements.check_entries"}
OF_LOOPS = {"statements.close_all", "conditions.tell_verified"}
# Of the gateway's own pages, at addresses that no program has.
OF_PAGES = {
    f"sign_ins.{name}"
    for name in ("sign_in_operator", "sign_in_with_key", "sign_in_with_link", "sign_in_person", "sign_out")
}
CONTRACT: dict[str, Any] = json.loads((ROOT / "openapi-admin.json").read_text("utf-8"))
each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)


def operable() -> set[str]:
    """Every public use case that should have an operation, by its module and name."""
    return {name for name in use_cases() if name.partition(".")[0] not in NO_USE_CASES}


def test_every_command_is_one_operation_or_is_about_this_machine() -> None:
    names = [name for name, _ in commands(typer.main.get_command(cli))]
    called = Counter(one.command for one in OPERATIONS)
    assert [name for name, count in called.items() if count > 1] == []
    assert set(names) - OF_THIS_MACHINE == set(called)
    assert set(names) >= OF_THIS_MACHINE, "a name above is of no command"


def test_every_use_case_is_the_function_of_one_operation() -> None:
    functions = Counter(
        f"{one.function.__module__.rpartition('.')[2]}.{one.function.__name__}" for one in OPERATIONS
    )
    assert [name for name, count in functions.items() if count > 1] == []
    assert set(functions) == operable() - OF_TENANTS - OF_LOOPS - OF_PAGES
    assert operable() >= OF_TENANTS | OF_LOOPS | OF_PAGES, "a name above is of no use case"


@each_operation
def test_an_operation_is_a_change_where_its_function_has_an_actor(operation: Operation[Any]) -> None:
    parameters = inspect.signature(operation.function).parameters
    assert ("actor" in parameters) == operation.changes
    assert ("reason" in parameters) == operation.changes
    assert operation.changes == (operation.method != "GET" and operation.upload is None)
    assert (operation.scope == "read") <= (not operation.changes), "scope `read` changes nothing"
    if operation.edits:
        assert operation.current is not None, "an edit is compared with what is there"
    if Page in (
        operation.function.__annotations__["return"],
        getattr(operation.function.__annotations__["return"], "__origin__", None),
    ):
        assert {"limit", "cursor"} <= set(parameters)


@each_operation
def test_an_operation_names_every_error_that_its_function_says_it_raises(operation: Operation[Any]) -> None:
    _, _, raised = (operation.function.__doc__ or "").partition("Raises:")
    said = {
        word.strip(",;.")
        for word in raised.split()
        if isinstance(getattr(errors, word.strip(",;."), None), Fault)
    }
    assert said <= {name for name, value in vars(errors).items() if value in faults_of(operation)}


def test_paths_are_unique_and_belong_to_the_admin_api() -> None:
    assert len({(one.method, one.path) for one in OPERATIONS}) == len(OPERATIONS)
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS)
    assert all(one.path.startswith("/admin/v1/") for one in OPERATIONS)
    assert set(PARAMETERS) == {each.name for one in OPERATIONS for each in one.parameters}


def test_the_committed_contract_is_that_of_the_code_and_valid() -> None:
    committed = CONTRACT
    built = json.loads(json.dumps(build(committed["info"]["version"], committed["servers"][0]["url"])))
    assert committed == built, "run `make openapi`"
    assert [str(error.message) for error in OpenAPIV31SpecValidator(committed).iter_errors()] == []
    declared = {one["name"] for one in committed["tags"]}
    assert declared == {one.tag for one in OPERATIONS}
    used = json.dumps([committed["paths"], committed["webhooks"], committed["components"]["schemas"]])
    assert [one for one in committed["components"]["schemas"] if f'/schemas/{one}"' not in used] == []


@each_operation
def test_the_contract_describes_an_operation_as_linters_and_generators_want_it(
    operation: Operation[Any],
) -> None:
    described = CONTRACT["paths"][operation.path][operation.method.lower()]
    assert re.fullmatch(r"[a-z][a-z0-9_]*", described["operationId"])
    assert described["summary"]
    assert "\n" not in described["summary"]
    assert described["description"] != described["summary"]
    assert described["security"] == [{"AdminKey": []}]
    assert ("requestBody" in described) == (operation.changes or operation.upload is not None)
    named = {one["name"] for one in described.get("parameters", ())}
    assert {one for one in named if f"{{{one}}}" in operation.path} == set(
        re.findall(r"{(\w+)}", operation.path)
    )
    assert ("Idempotency-Key" in named) == operation.changes
    for one in described.get("parameters", ()):
        assert one["description"]
        assert isinstance(one["schema"]["type"], str), "nobody can send a null"
    for status, answer in described["responses"].items():
        if status[0] in "45":
            assert set(answer["content"]) == {"application/problem+json"}
    assert {"400", "401", "403", "429", "500", "503"} <= set(described["responses"])
