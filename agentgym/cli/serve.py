"""`agentgym serve` and `agentgym keys`: the endpoint in the foreground, and who may ask it."""

import signal
from datetime import UTC, datetime
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from rich.table import Table

from agentgym.cli.console import Screen
from agentgym.cli.session import session
from agentgym.errors import Unavailable
from agentgym.settings import Settings, make_workspace

if TYPE_CHECKING:
    from agentgym.serving.api_keys import ApiKeys
    from tasks.serving import RunningEndpoint


def run_serve(*, agent: str, host: str | None, port: int | None, replicas: int | None, is_json: bool) -> None:
    """Serves until Ctrl-C or SIGTERM."""
    with session(is_json=is_json) as run:
        make_workspace(run.settings)
        from tasks.serving import first_key, running_endpoint

        # Ending a Ray takes longer than the few seconds that other commands are given.
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_number, _end)
        settings = listening_at(run.settings, host=host, port=port, replicas=replicas)
        try:
            with running_endpoint(agent, settings) as endpoint:
                key = first_key(settings)
                _show(run.screen, endpoint, agent, key)
                run.screen.finish({"url": endpoint.url, "base_url": f"{endpoint.url}/v1", "agent": agent, "key": key})
                if endpoint.job.process.wait() != 0:
                    raise Unavailable(
                        f"The endpoint must go on until it is told to end; it ended by itself. Its log: {log_of(agent, settings)}."
                    )
        except KeyboardInterrupt:
            run.screen.show("The endpoint has ended.")


def listening_at(settings: Settings, *, host: str | None, port: int | None, replicas: int | None) -> Settings:
    """The settings with what the command line says of the endpoint."""
    said = {"endpoint_host": host, "endpoint_port": port, "endpoint_replicas": replicas}
    return settings.model_copy(update={name: value for name, value in said.items() if value is not None})


def log_of(agent: str, settings: Settings) -> str:
    return str(settings.workspace / "jobs" / f"serve-{agent}" / "log.txt")


def create_key(name: str, *, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        key = _keys(run.settings).create(name, now=datetime.now(UTC))
        if not is_json:
            run.screen.show(f"{key}", "Keep it: only its digest stays here.")
        run.screen.finish({"name": name, "key": key})


def list_keys(*, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        keys = _keys(run.settings).all()
        table = Table("name", "key", "created", "revoked", box=None)
        for key in keys:
            revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
            table.add_row(key.name, f"{key.begins_with}…", f"{key.created_at:%Y-%m-%d %H:%M}", revoked)
        run.screen.show(table)
        run.screen.finish({"keys": [key.model_dump(mode="json") for key in keys]})


def revoke_key(name: str, *, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        _keys(run.settings).revoke(name, now=datetime.now(UTC))
        run.screen.show(f"The key {name!r} is refused from now on; a running endpoint notices within seconds.")
        run.screen.finish({"revoked": name})


def _keys(settings: Settings) -> "ApiKeys":
    make_workspace(settings)
    from agentgym.serving.api_keys import ApiKeys

    return ApiKeys(settings.experience_url)


def _show(screen: Screen, endpoint: "RunningEndpoint", agent: str, key: str | None) -> None:
    screen.show(f"[bold]{agent}[/] is served at {endpoint.url}/v1 (OpenAI's chat completions, model {agent!r}).")
    if key is not None and not screen.is_json:
        screen.show(f"Its first key, shown once: {key}")
    screen.show("Outcomes: POST /v1/feedback. Ctrl-C ends it; what was served stays.")


def _end(_: int, __: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
