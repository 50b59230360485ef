"""The local stack as `workspace/stack.json` knows it: servers that outlive the command that started them, told apart and ended.

A pid alone may be another program's by now, so a server is a pid and the time it was created. Whatever a server starts carries its mark in
the environment: what is left of one that was killed is found by it.
"""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from agentgym.errors import InvalidInput, Unavailable
from agentgym.settings import Settings
from agentgym.store import write_atomically
from tasks.ending import end_families

MARK = "AGENTGYM_STACK"
# An endpoint ends a Ray of its own, and waits up to 45 seconds for that.
GRACE_SECONDS = 60.0
# The system counts from its start, which it places anew when somebody sets the clock.
_SAME_TIME_SECONDS = 2.0

ServiceName = Literal["prefect", "mlflow", "deployments", "endpoint"]


class Service(BaseModel):
    """A server of the stack.

    created_at: when its process began, in seconds since 1970.   address: what a person opens.   health_url: what is asked whether it
    answers.   has_answered: it did once; before, it may still be starting.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ServiceName
    pid: int
    created_at: float
    address: str
    health_url: str
    log: Path
    has_answered: bool = False


class _Stack(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    services: tuple[Service, ...]


def read_stack(settings: Settings) -> tuple[Service, ...]:
    """What `up` started and nobody has ended with `down`, alive or not. Raises InvalidInput when the file says something else."""
    path = stack_file(settings)
    try:
        return _Stack.model_validate_json(path.read_bytes()).services
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        raise InvalidInput(f"{path} must be what `agentgym up` wrote; reading it says {error}. Run `agentgym down`.") from error


def write_stack(services: Sequence[Service], settings: Settings) -> None:
    """Keeps what is started; without any service there is no file."""
    if not services:
        stack_file(settings).unlink(missing_ok=True)
        return
    write_atomically(stack_file(settings), _Stack(services=tuple(services)).model_dump_json(indent=2).encode())


def stack_file(settings: Settings) -> Path:
    return settings.workspace / "stack.json"


def is_alive(service: Service) -> bool:
    return _leader(service) is not None


def prefect_api_url(settings: Settings) -> str | None:
    """The API of the stack's Prefect server; None where none is up."""
    # A broken file is told by `up`, `down` and `doctor`; other commands do without a stack.
    with suppress(InvalidInput):
        for service in read_stack(settings):
            if service.name == "prefect" and service.has_answered and is_alive(service):
                return f"{service.address}/api"
    return None


@contextmanager
def changing_the_stack(settings: Settings) -> Iterator[None]:
    """Keeps a second `up` or `down` out of the block. Raises Unavailable when one is at work."""
    lock = settings.workspace / "stack" / "lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Unavailable(
                f"One `up` or `down` works on a stack at a time; another one is at work in {settings.workspace}. Wait for it."
            ) from error
        yield


def end_stack(settings: Settings) -> tuple[Service, ...]:
    """Ends every server of the stack and all they started; those that were still alive. Ending it again does nothing."""
    # What a file that cannot be read was about is found by its mark.
    services: tuple[Service, ...] = ()
    with suppress(InvalidInput):
        services = read_stack(settings)
    alive = tuple(service for service in services if is_alive(service))
    end_services(alive)
    end_families(find_marked(settings), grace_seconds=GRACE_SECONDS)
    write_stack((), settings)
    return alive


def end_services(services: Sequence[Service]) -> None:
    """Tells these servers to end, and waits until they and all their children are gone."""
    # The deployments tell Prefect that they are paused, so Prefect ends last.
    for is_prefect in (False, True):
        leaders = (_leader(service) for service in services if (service.name == "prefect") is is_prefect)
        end_families([leader for leader in leaders if leader is not None], grace_seconds=GRACE_SECONDS)


def find_marked(settings: Settings) -> list[psutil.Process]:
    """Every process that a server of this stack is or has started, also where the server itself is gone."""
    ours = {process.pid for process in (psutil.Process(), *psutil.Process().parents())}
    return [process for process in psutil.process_iter() if process.pid not in ours and has_mark(process, settings)]


def has_mark(process: psutil.Process, settings: Settings) -> bool:
    # One that is not ours to look into, or that ended just now, is none of ours.
    with suppress(psutil.Error):
        return bool(process.environ().get(MARK) == str(settings.workspace))
    return False


def _leader(service: Service) -> psutil.Process | None:
    """The server's own process; None when it is gone, whoever has its pid now."""
    with suppress(psutil.Error):
        process = psutil.Process(service.pid)
        is_same = abs(process.create_time() - service.created_at) < _SAME_TIME_SECONDS
        if is_same and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None
