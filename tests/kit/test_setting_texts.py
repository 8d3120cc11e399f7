"""What a setting or a name has by accident is refused by name: quotes, blanks, what cannot be seen."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.admin.violations import faults_of_text
from app.auth.tenants import fault_of_name
from app.config import Settings

PEPPER = "a pepper for tests, long enough to be taken for one"
CREDENTIALS = '[\n  {"name": "main", "token": "abc"},\r\n\t{"name": "spare", "token": "def"}\n]'


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


@pytest.mark.parametrize(
    "name", ["pepper", "upstream_token", "host", "data_dir", "default_limits", "log_level"]
)
@pytest.mark.parametrize(
    ("around", "word"),
    [
        ('"{}"', "quotes"),
        ("'{}'", "quotes"),
        ("{} ", "blank"),
        (" {}", "blank"),
        ("{}\t", "blank"),
        ("{}\n", "blank"),
        ("{}\r", "Unix line ends"),
        ("{}\u00a0", "blank"),
        ("{}\u200b", "U\\+200B"),
        ("\ufeff{}", "U\\+FEFF, at position 1"),
        ("{}\u202e", "U\\+202E"),
        ("{}\x1b", "U\\+001B"),
        ("{}\x00", "U\\+0000"),
    ],
)
def test_what_a_value_has_by_accident_is_refused_by_its_name(name: str, around: str, word: str) -> None:
    with pytest.raises(ValidationError, match=f"{name}\n.*{word}") as refused:
        settings(**{name: around.format("secret-word")})
    (error,) = refused.value.errors()
    assert error["loc"] == (name,)
    assert "secret-word" not in error["msg"]


@pytest.mark.parametrize("value", ['""', "''"])
def test_an_empty_value_with_its_quotes_is_refused_too(value: str) -> None:
    with pytest.raises(ValidationError, match="quotes"):
        settings(metrics_token=value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pepper", PEPPER),
        ("pepper", 'one "quoted" word and more of it, at the end'),
        ("upstream_credentials", CREDENTIALS),
        ("default_limits", "in-flight=5,\n submits-minute=60"),
        ("data_dir", "/srv/a folder/ünïcode"),
        ("port", "8700"),
    ],
)
def test_a_value_that_is_meant_as_it_is_written_is_taken(name: str, value: str) -> None:
    assert getattr(settings(**{name: value}), name) is not None


@pytest.mark.parametrize("name", ["acme", "Acme GmbH Co", "a", "7", "a.b_c-d", "x" * 100])
def test_a_tenants_name_is_taken(name: str) -> None:
    assert fault_of_name(name) is None


@pytest.mark.parametrize(
    "name",
    ["acme ", " acme", "acme\u00a0", "acme\u200b", "acme\n", "a  b", "", " ", "x" * 101, "x" * 100 + " "],
)
def test_a_name_that_looks_like_another_is_refused(name: str) -> None:
    fault = fault_of_name(name)
    assert fault is not None
    assert "not at the end" in fault.detail
    assert fault.detail.isprintable()


@pytest.mark.parametrize(
    "text", ["INVOICE-17 ", " INVOICE-17", "INVOICE-17\u200b", "INVOICE-17\u00a0", "a\nb"]
)
def test_a_reference_that_looks_like_another_is_refused(text: str) -> None:
    """Two that look the same would count a payment twice."""
    (fault,) = faults_of_text("#/reference", "a reference", text, max_length=100)
    assert fault.pointer == "#/reference"
    assert faults_of_text("#/reference", "a reference", "I-17", max_length=100) == []
