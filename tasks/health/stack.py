"""The local stack: its servers, its ports, and what earlier commands have left behind."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import psutil

from agentgym.settings import Settings
from tasks.health.finding import Finding, Look, ok, problem, warning
from tasks.ports import find_listener, program_of
from tasks.servers import LOOPBACK, TIES, answers, last_words
from tasks.stack import Service, find_marked, has_mark, is_alive, read_stack

DEFAULT_PORTS = {"prefect": 4200, "mlflow": 5000}
COMMAND_MARK = TIES[0]
# A command that ended just now is given this long to take its children along.
_ENDING_SECONDS = 3.0
_SAME_TIME_SECONDS = 2.0


def stack_looks(settings: Settings) -> dict[str, Look]:
    return {
        "stack": lambda: look_at_services(settings),
        "ports": lambda: look_at_ports(settings, DEFAULT_PORTS | {"endpoint": settings.endpoint_port}),
        "left behind": lambda: look_for_the_left_behind(settings),
    }


def look_at_services(settings: Settings) -> Iterator[Finding]:
    services = read_stack(settings)
    if not services:
        yield ok("stack", "No stack is up; each command runs by itself.")
    for service in services:
        yield _service(service)


def look_at_ports(settings: Settings, defaults: Mapping[str, int]) -> Iterator[Finding]:
    """Who has the ports of the stack: where it listens when it is up, else where it would."""
    services = read_stack(settings)
    for name, default in defaults.items():
        service = next((service for service in services if service.name == name), None)
        port = (urlsplit(service.address).port if service else None) or default
        host = settings.endpoint_host if name == "endpoint" else LOOPBACK
        yield _port(name, host, port, settings, is_expected=service is not None and is_alive(service))


def look_for_the_left_behind(settings: Settings) -> Iterator[Finding]:
    """Processes of commands, or of a stack, that are gone."""
    of_stack, of_commands = _left_of_stack(settings), _left_of_commands()
    # They may be ending just now.
    psutil.wait_procs([*of_stack, *of_commands], timeout=_ENDING_SECONDS)
    of_stack, of_commands = ([process for process in left if process.is_running()] for left in (of_stack, of_commands))
    if of_stack:
        yield problem("left behind", f"No stack is up, and of an earlier one there is still {_in_words(of_stack)}.", "agentgym down")
    if of_commands:
        pids = " ".join(str(process.pid) for process in of_commands)
        yield problem("left behind", f"What a command starts ends with it; there is still {_in_words(of_commands)}.", f"kill {pids}")
    if not of_stack and not of_commands:
        yield ok("left behind", "No process is left of an earlier command.")


def _left_of_stack(settings: Settings) -> list[psutil.Process]:
    return [] if any(is_alive(service) for service in read_stack(settings)) else find_marked(settings)


def _left_of_commands() -> list[psutil.Process]:
    marks = {process: mark for process in psutil.process_iter() if (mark := _command_of(process)) is not None}
    return [process for process, mark in marks.items() if not _is_command_alive(mark)]


def _service(service: Service) -> Finding:
    name = f"stack: {service.name}"
    if not is_alive(service):
        return problem(name, f"{service.name} was started and is gone. It said: {last_words(service)}", "agentgym up")
    if not answers(service):
        return problem(
            name,
            f"{service.name} runs as process {service.pid} and does not answer at {service.health_url}. It said: {last_words(service)}",
            "agentgym down, then agentgym up",
        )
    return ok(name, f"{service.name} answers at {service.address}.")


def _port(name: str, host: str, port: int, settings: Settings, *, is_expected: bool) -> Finding:
    label = f"port: {name}"
    listener = find_listener(host, port)
    if listener is None:
        return ok(label, f"{port} is free.")
    if is_expected or (listener.pid is not None and _is_ours(psutil.Process(listener.pid), settings)):
        return ok(label, f"{port} is ours: {listener}.")
    return warning(label, f"{port} is taken by {listener}.", f"Stop it, or start {name} elsewhere: agentgym up --{name}-port.")


def _is_ours(process: psutil.Process, settings: Settings) -> bool:
    """Whether one of our commands started it, or one of its parents, in this workspace or another."""
    with suppress(psutil.Error):
        return any(has_mark(each, settings) or _command_of(each) is not None for each in (process, *process.parents()))
    return False


def _command_of(process: psutil.Process) -> str | None:
    """The mark of the command that started it: `PID-CREATED`, as agentgym.cli.guard writes it."""
    with suppress(psutil.Error):
        found = process.environ().get(COMMAND_MARK)
        return str(found) if found else None
    return None


def _is_command_alive(mark: str) -> bool:
    pid, _, created_at = mark.partition("-")
    with suppress(psutil.Error, ValueError):
        return bool(abs(psutil.Process(int(pid)).create_time() - float(created_at)) < _SAME_TIME_SECONDS)
    return False


def _in_words(processes: Sequence[psutil.Process]) -> str:
    return ", ".join(f"process {process.pid} ({program_of(process)})" for process in processes)
