import os
import socket
from collections.abc import Iterator

import psutil
import pytest

from tasks.ports import Listener, find_listener, program_of


@pytest.fixture
def taken() -> Iterator[int]:
    """A port this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_has_no_listener(taken: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    assert find_listener("127.0.0.1", free) is None


def test_who_listens_is_named(taken: int) -> None:
    listener = find_listener("127.0.0.1", taken)
    assert listener is not None
    # macOS tells only the administrator who listens.
    assert listener.pid in (os.getpid(), None)
    assert "pytest" in str(listener) or listener.pid is None


def test_a_server_on_every_address_is_in_the_way_of_one_on_loopback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("0.0.0.0", 0)) as everywhere:
        assert find_listener("127.0.0.1", everywhere.getsockname()[1]) is not None
        assert find_listener("127.0.0.1", server.getsockname()[1]) is not None


def test_another_users_process_is_told_as_such() -> None:
    assert str(Listener()) == "a process of another user"


def test_a_program_is_told_in_one_short_line() -> None:
    assert 0 < len(program_of(psutil.Process())) <= 60
