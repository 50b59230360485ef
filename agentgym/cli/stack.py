"""`agentgym up` and `agentgym down`: the local stack started in the background, and ended."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rich.table import Table

from agentgym.cli.console import Screen
from agentgym.cli.session import session
from agentgym.settings import Settings, make_workspace

if TYPE_CHECKING:
    from tasks.servers import Server
    from tasks.stack import Service


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """Where the servers listen."""

    prefect: int
    mlflow: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What `up` wants to run.   absent: by name, why a server is not among them."""

    servers: tuple["Server", ...]
    absent: Mapping[str, str]


def bring_up(*, agent: str, ports: Ports, endpoint_port: int | None, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        make_workspace(run.settings)
        from tasks.servers import start_servers
        from tasks.stack import changing_the_stack

        settings = run.settings if endpoint_port is None else run.settings.model_copy(update={"endpoint_port": endpoint_port})
        began = time.monotonic()
        seconds: dict[str, float] = {}

        def note(service: "Service") -> None:
            seconds[service.name] = round(time.monotonic() - began, 1)
            run.screen.show(f"[dim]{service.name} answers after {seconds[service.name]} s[/]")

        with changing_the_stack(settings):
            wanted = _wanted(agent, ports, settings)
            with first_key_for(wanted, settings) as key:
                services = start_servers(wanted.servers, settings, on_answer=note)
        _show(run.screen, services, wanted.absent, key, settings)
        listed = [service.model_dump(mode="json") | {"started_seconds": seconds.get(service.name)} for service in services]
        run.screen.finish({"workspace": str(settings.workspace), "services": listed, "absent": dict(wanted.absent), "key": key})


def take_down(*, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        from tasks.stack import changing_the_stack, end_stack

        ended: tuple[Service, ...] = ()
        if run.settings.workspace.is_dir():
            with changing_the_stack(run.settings):
                ended = end_stack(run.settings)
        names = ", ".join(service.name for service in ended)
        run.screen.show(f"Ended: {names}." if ended else "Nothing of the stack was running.")
        run.screen.finish({"ended": [service.name for service in ended]})


@contextmanager
def first_key_for(wanted: Wanted, settings: Settings) -> Iterator[str | None]:
    """A new key where an endpoint is wanted and nobody has one: made here, for what the endpoint prints goes to its log.

    When the block fails the key is revoked: nobody has seen it.
    """
    if all(server.name != "endpoint" for server in wanted.servers):
        yield None
        return
    from agentgym.serving.api_keys import ApiKeys
    from tasks.serving import FIRST_KEY, first_key

    key = first_key(settings)
    try:
        yield key
    except BaseException:
        if key is not None:
            ApiKeys(settings.experience_url).revoke(FIRST_KEY, now=datetime.now(UTC))
        raise


def _wanted(agent: str, ports: Ports, settings: Settings) -> Wanted:
    from tasks import servers

    elsewhere = _prefect_elsewhere(settings)
    wanted: list[Server] = []
    absent: dict[str, str] = {}
    if elsewhere is None:
        prefect = servers.prefect_server(_standing_port("prefect", settings) or ports.prefect)
        wanted += [prefect, servers.deployments(prefect.address, needs="prefect")]
    else:
        absent["prefect"] = f"PREFECT_API_URL names one: {elsewhere}."
        wanted.append(servers.deployments(elsewhere, needs=None))
    if settings.tracking_uri.startswith("http"):
        absent["mlflow"] = f"AGENTGYM_TRACKING_URI names one: {settings.tracking_uri}."
    else:
        wanted.append(servers.mlflow_server(ports.mlflow, settings))
    if not _has_champion(agent, settings):
        absent["endpoint"] = f"{agent!r} has no champion to serve. Make one (agentgym improve, or agentgym models upstream), then up again."
    elif (url := _serves_elsewhere(agent, settings)) is not None:
        absent["endpoint"] = f"one that is not of the stack answers at {url}."
    else:
        wanted.append(servers.endpoint(agent, settings))
    return Wanted(servers=tuple(wanted), absent=absent)


def _prefect_elsewhere(settings: Settings) -> str | None:
    """The Prefect server somebody asked for, without /api; None where it is ours to start."""
    from tasks.stack import prefect_api_url

    given = os.environ.get("PREFECT_API_URL")
    return given.rstrip("/").removesuffix("/api") if given and given != prefect_api_url(settings) else None


def _standing_port(name: str, settings: Settings) -> int | None:
    """Where the server of this name listens already, whatever port is asked for now."""
    from tasks.stack import is_alive, read_stack

    return next((urlsplit(service.address).port for service in read_stack(settings) if service.name == name and is_alive(service)), None)


def _has_champion(agent: str, settings: Settings) -> bool:
    from agentgym.registry.ledger import open_ledger

    entries = open_ledger(settings.tracking_uri, agent, history_url=settings.history_url).entries()
    return bool(entries) and entries[-1].standing.champion is not None


def _serves_elsewhere(agent: str, settings: Settings) -> str | None:
    """Where an `agentgym serve` that somebody else started answers for the agent."""
    from agentgym.serving.traffic_log import TrafficLog
    from tasks.servers import is_answered

    if _standing_port("endpoint", settings) is not None:
        return None
    sign = TrafficLog(settings.experience_url, agent).endpoint()
    return sign.url if sign is not None and is_answered(f"{sign.url}/healthz") else None


def _show(screen: Screen, services: tuple["Service", ...], absent: Mapping[str, str], key: str | None, settings: Settings) -> None:
    table = Table("server", "address", "pid", box=None)
    for service in services:
        table.add_row(service.name, service.address, str(service.pid))
    screen.show(table, *(f"No {name}: {reason}" for name, reason in absent.items()))
    if key is not None:
        screen.show(f"The endpoint's first key, shown once: {key}")
    screen.show(f"Logs: {settings.workspace / 'stack'}. `agentgym down` ends them.")
