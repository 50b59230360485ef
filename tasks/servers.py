"""The servers of the local stack: what each is started with, when it answers, and all of them started together."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import psutil
from pydantic import SecretStr

from agentgym.errors import Unavailable
from agentgym.settings import Settings
from tasks.ports import find_listener
from tasks.stack import MARK, Service, ServiceName, end_services, has_mark, is_alive, read_stack, write_stack

LOOPBACK = "127.0.0.1"
START_SECONDS = 240.0
POLL_SECONDS = 0.2
# What would end a server with the command that started it: the marks of agentgym.cli.guard and ray_jobs.orphan.
TIES = ("AGENTGYM_COMMAND", "AGENTGYM_PARENT_PROCESS")
_ASK_SECONDS = 5.0
# A runner asks for scheduled runs every ten seconds.
_POLLED_WITHIN_SECONDS = 60.0
_SERVE = "from agentgym.cli import main; main()"


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server that can be started.

    port: what it listens on at `host`; None where it only asks others.   needs: what must answer before it is started.
    address, health_url: see Service.   repair: the option that chooses another port.
    """

    name: ServiceName
    command: tuple[str, ...]
    environment: Mapping[str, str]
    address: str
    health_url: str
    host: str = LOOPBACK
    port: int | None = None
    needs: ServiceName | None = None
    repair: str = ""


def prefect_server(port: int) -> Server:
    address = f"http://{LOOPBACK}:{port}"
    return Server(
        name="prefect",
        command=(sys.executable, *f"-m prefect server start --host {LOOPBACK} --port {port}".split()),
        # Its pages would ask at the port that Prefect's settings say, not at this one.
        environment={"PREFECT_SERVER_UI_API_URL": f"{address}/api", "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false"},
        address=address,
        health_url=f"{address}/api/health",
        port=port,
        repair="--prefect-port",
    )


def mlflow_server(port: int, settings: Settings) -> Server:
    """On the database and the artifacts that the commands write to."""
    address = f"http://{LOOPBACK}:{port}"
    return Server(
        name="mlflow",
        command=(sys.executable, *f"-m mlflow server --host {LOOPBACK} --port {port} --workers 1 --no-serve-artifacts".split()),
        environment={
            # Not on the command line, which everybody on the machine can read: it may hold a database's password.
            "MLFLOW_BACKEND_STORE_URI": settings.tracking_uri,
            "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(settings.workspace / "runs"),
            # Eight processes and 700 MB for jobs that nobody starts.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        address=address,
        health_url=f"{address}/health",
        port=port,
        repair="--mlflow-port",
    )


def deployments(prefect_url: str, *, needs: ServiceName | None) -> Server:
    """The flows that can be started from Prefect.   prefect_url: without /api.   needs: None when Prefect runs elsewhere."""
    return Server(
        name="deployments",
        command=(sys.executable, "-m", "flows.serve"),
        # What a flow tells is read in Prefect's pages; a command is quieter.
        environment={"PREFECT_API_URL": f"{prefect_url}/api", "PREFECT_LOGGING_LEVEL": "INFO"},
        address=f"{prefect_url}/deployments",
        health_url=f"{prefect_url}/api/deployments/filter",
        needs=needs,
    )


def endpoint(agent: str, settings: Settings) -> Server:
    host, port = settings.endpoint_host, settings.endpoint_port
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    return Server(
        name="endpoint",
        command=(sys.executable, "-c", _SERVE, "serve", "--agent", agent, "--host", host, "--port", str(port)),
        environment={},
        address=f"{url}/v1",
        health_url=f"{url}/healthz",
        host=host,
        port=port,
        repair="--endpoint-port",
    )


def start_servers(wanted: Sequence[Server], settings: Settings, *, on_answer: Callable[[Service], None]) -> tuple[Service, ...]:
    """Every wanted server, answering: those of the stack that are alive, and the others started now.

    on_answer: gets each server that was started, once it answers. Raises Unavailable when a port is taken, before anything is started, or
    when a server does not start; what was started here is ended then.
    """
    running = [service for service in read_stack(settings) if is_alive(service)]
    missing = [server for server in wanted if server.name not in {service.name for service in running}]
    require_free_ports(missing, settings)
    board = _Board(running, settings)
    try:
        while missing or board.waiting():
            for server in [server for server in missing if board.is_ready_for(server)]:
                missing.remove(server)
                board.add(_start(server, settings))
            for service in board.waiting():
                _require_life(service)
                if answers(service):
                    on_answer(board.mark_answered(service))
            time.sleep(POLL_SECONDS)
    except BaseException:
        board.end_started()
        raise
    return tuple(board.services)


def require_free_ports(servers: Sequence[Server], settings: Settings) -> None:
    """Raises Unavailable, with everyone who is in the way, unless these servers can listen."""
    found = [(server, find_listener(server.host, server.port)) for server in servers if server.port is not None]
    taken = [(server, listener) for server, listener in found if listener is not None]
    if not taken:
        return
    facts = ", ".join(f"{server.port} for {server.name} is taken by {listener}" for server, listener in taken)
    is_left_behind = any(listener.pid and has_mark(psutil.Process(listener.pid), settings) for _, listener in taken)
    repair = f"Stop it, or choose another port with {' or '.join(server.repair for server, _ in taken)}"
    if is_left_behind:
        repair = "It is left of an earlier stack: agentgym down, then agentgym up"
    raise Unavailable(f"Every server of the stack needs its port to itself; {facts}. {repair}.")


def answers(service: Service) -> bool:
    """Whether the server does its work now: a page that says so, or, where it serves deployments, that it asked for runs lately."""
    return _has_polled(service) if service.name == "deployments" else is_answered(service.health_url)


def is_answered(url: str) -> bool:
    """Whether a server says at `url` that it is well."""
    try:
        return httpx.get(url, timeout=_ASK_SECONDS).is_success
    except httpx.HTTPError:
        return False


def last_words(service: Service) -> str:
    """The last line of its log that says something."""
    lines = service.log.read_text(errors="replace").split("\n") if service.log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")


class _Board:
    """The services of the stack while it is started, written down after every change: a killed `up` leaves what `down` needs."""

    def __init__(self, running: Sequence[Service], settings: Settings) -> None:
        self._services = {service.name: service for service in running}
        self._started: list[ServiceName] = []
        self._settings = settings

    @property
    def services(self) -> list[Service]:
        return list(self._services.values())

    def waiting(self) -> list[Service]:
        return [service for service in self.services if not service.has_answered]

    def is_ready_for(self, server: Server) -> bool:
        return server.needs is None or any(service.name == server.needs and service.has_answered for service in self.services)

    def add(self, service: Service) -> None:
        self._started.append(service.name)
        self._keep(service)

    def mark_answered(self, service: Service) -> Service:
        answered = service.model_copy(update={"has_answered": True})
        self._keep(answered)
        return answered

    def end_started(self) -> None:
        end_services([self._services.pop(name) for name in self._started])
        write_stack(self.services, self._settings)

    def _keep(self, service: Service) -> None:
        self._services[service.name] = service
        write_stack(self.services, self._settings)


def _start(server: Server, settings: Settings) -> Service:
    log = settings.workspace / "stack" / f"{server.name}.log"
    with log.open("wb") as output:
        # A session of its own: neither Ctrl-C nor the end of the terminal reaches it.
        started = subprocess.Popen(
            server.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(server, settings),
            start_new_session=True,
        )
    created_at = psutil.Process(started.pid).create_time()
    return Service(name=server.name, pid=started.pid, created_at=created_at, address=server.address, health_url=server.health_url, log=log)


def _environment(server: Server, settings: Settings) -> dict[str, str]:
    inherited = {name: text for name, text in os.environ.items() if name not in TIES}
    return {**inherited, **_as_environment(settings), MARK: str(settings.workspace), **server.environment}


def _as_environment(settings: Settings) -> dict[str, str]:
    """The settings as variables: what is read from `.env` here would be looked for elsewhere by those in another folder."""
    given = {f"AGENTGYM_{name.upper()}": getattr(settings, name) for name in type(settings).model_fields}
    return {name: _text(setting) for name, setting in given.items() if setting is not None}


def _text(setting: Any) -> str:
    return setting.get_secret_value() if isinstance(setting, SecretStr) else str(setting)


def _require_life(service: Service) -> None:
    """Raises Unavailable when the server has ended, or has been starting for too long."""
    if not is_alive(service):
        raise Unavailable(f"Every server of the stack must start; {service.name} has ended. It said: {last_words(service)}")
    if time.time() - service.created_at > START_SECONDS:
        raise Unavailable(
            f"Every server of the stack must answer within {START_SECONDS:g} s; {service.name} does not. Its log, {service.log}, ends: "
            f"{last_words(service)}"
        )


def _has_polled(service: Service) -> bool:
    key = os.environ.get("PREFECT_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        found = httpx.post(service.health_url, json={}, headers=headers, timeout=_ASK_SECONDS).raise_for_status().json()
    except httpx.HTTPError:
        return False
    since = max(service.created_at, time.time() - _POLLED_WITHIN_SECONDS)
    polled = (deployment["last_polled"] for deployment in found)
    return any(at is not None and datetime.fromisoformat(at) >= datetime.fromtimestamp(since, UTC) for at in polled)
