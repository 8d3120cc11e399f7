"""Sockets that systemd hands over: they are used by their port, and anything else is told in one line."""

import os
import socket
from collections.abc import Iterator

import pytest

from app.config import SettingsError
from app.server.handed_over import by_port, handed_over


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket that listens, and an environment that says that this process was given it."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        yield one


def copy_of(one: socket.socket) -> int:
    """A descriptor of the same socket, which whoever takes it may close."""
    return os.dup(one.fileno())


def test_a_socket_that_was_given_is_taken_by_its_port_once_and_kept_from_children(
    given: socket.socket,
) -> None:
    port, first = given.getsockname()[1], copy_of(given)
    os.set_inheritable(first, True)
    found = handed_over({port: "PORT", 1: "ADMIN_PORT"}, first=first)
    assert list(found) == [port]
    [taken] = found[port]
    with taken as one:
        assert not one.get_inheritable()
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    assert "LISTEN_FDS" not in os.environ
    assert handed_over({port: "PORT"}, first=first) == {}


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize(("name", "value"), [("LISTEN_PID", "1"), ("LISTEN_FDS", ""), ("LISTEN_FDS", "many")])
def test_what_was_given_to_another_process_is_left_alone(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert handed_over({8700: "PORT"}, first=10_000) == {}


def test_a_socket_on_another_port_is_refused_with_both(given: socket.socket) -> None:
    port = given.getsockname()[1]
    with pytest.raises(SettingsError, match=rf"listens on .*{port}.*, and the settings say REELGATE_PORT=1:"):
        handed_over({1: "PORT"}, first=copy_of(given))


def test_a_port_with_several_addresses_keeps_all_of_them(given: socket.socket) -> None:
    port = given.getsockname()[1]
    with socket.create_server(("127.0.0.2", port)) as other:
        found = by_port([copy_of(given), copy_of(other)], {port: "PORT"})[port]
    addresses = [one.getsockname()[0] for one in found]
    for one in found:
        one.close()
    assert addresses == ["127.0.0.1", "127.0.0.2"]
