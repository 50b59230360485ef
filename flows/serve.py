"""Serves what `infra/prefect.yaml` declares, so that runs can be scheduled and started from the Prefect UI.

PREFECT_API_URL=http://127.0.0.1:4200/api python -m flows.serve
"""

from pathlib import Path
from typing import Any

import yaml
from prefect import Flow, serve
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import load_flow_from_entrypoint
from prefect.schedules import Cron, Schedule
from prefect.types.entrypoint import EntrypointType

from agentgym.errors import InvalidInput

DEPLOYMENTS_FILE = Path(__file__).parent.parent / "infra" / "prefect.yaml"


def main() -> None:
    serve(*declared_deployments(DEPLOYMENTS_FILE))


def declared_deployments(file: Path) -> list[RunnerDeployment]:
    """The deployments of a `prefect.yaml`. Raises InvalidInput when it declares none."""
    declarations = yaml.safe_load(file.read_text())["deployments"]
    if not declarations:
        raise InvalidInput(f"A file to serve must declare deployments; {file} declares none. Add one under `deployments:`.")
    return [_deployment(declaration) for declaration in declarations]


def _deployment(declaration: dict[str, Any]) -> RunnerDeployment:
    flow: Flow[..., Any] = load_flow_from_entrypoint(_importable(declaration["entrypoint"]))
    deployment = flow.to_deployment(
        name=declaration["name"],
        description=declaration.get("description"),
        tags=declaration.get("tags"),
        parameters=declaration.get("parameters"),
        schedules=[_schedule(schedule) for schedule in declaration.get("schedules", [])],
        # A file's path would be looked for in the folder this is run from.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    # Prefect's signature allows for a coroutine, which it gives to asynchronous callers only.
    assert isinstance(deployment, RunnerDeployment)
    return deployment


def _importable(entrypoint: str) -> str:
    """`flows/rollback.py:rollback`, as `prefect deploy` wants it, as a name that can be imported anywhere."""
    return entrypoint.replace(".py:", ".").replace("/", ".")


def _schedule(declaration: dict[str, Any]) -> Schedule:
    return Cron(declaration["cron"], timezone=declaration.get("timezone", "UTC"), active=declaration.get("active", True))


if __name__ == "__main__":
    main()
