"""Whether a port is free, and who has it."""

import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_ANSWER_SECONDS = 0.5
_LONGEST_PROGRAM = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """Who listens on a port.   pid, program: None where the system does not tell us, as of another user's process."""

    pid: int | None = None
    program: str | None = None

    def __str__(self) -> str:
        return f"process {self.pid} ({self.program})" if self.pid is not None else "a process of another user"


def find_listener(host: str, port: int) -> Listener | None:
    """Who has the port at `host`; None when it is free."""
    return None if _can_bind(host, port) and not _is_answered(host, port) else _owner_of(port)


def program_of(process: psutil.Process) -> str:
    """The command line as short as a message wants it; `?` where it ended or is not ours to look at."""
    with suppress(psutil.Error):
        program, *arguments = process.cmdline() or [process.name()]
        # Ray writes titles of its own, with room to grow.
        line = " ".join(" ".join([Path(program).name, *arguments]).split())
        return line if len(line) <= _LONGEST_PROGRAM else f"{line[: _LONGEST_PROGRAM - 1]}…"
    return "?"


def _can_bind(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As servers do: connections that have just ended are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind((host, port))
            return True
    return False


def _is_answered(host: str, port: int) -> bool:
    """A server on every address does not keep others from one address everywhere (macOS): then only asking tells."""
    with suppress(OSError), socket.create_connection((host, port), timeout=_ANSWER_SECONDS):
        return True
    return False


def _owner_of(port: int) -> Listener:
    # macOS tells only the administrator.
    with suppress(psutil.Error):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid is not None:
                return Listener(pid=connection.pid, program=program_of(psutil.Process(connection.pid)))
    return Listener()
