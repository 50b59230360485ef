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

from agentgym.errors import InvalidInput

DEPLOYMENTS_FILE = Path(__file__).parent.parent / "infra" / "prefect.yaml"


def main() -> None:
    serve(*declared_deployments(DEPLOYMENTS_FILE))


def declared_deployments(file: Path) -> list[RunnerDeployment]:
    """The deployments of a `prefect.yaml`, with entrypoints relative to the folder above the file's own."""
    declarations = yaml.safe_load(file.read_text())["deployments"]
    if not declarations:
        raise InvalidInput(f"A file to serve must declare deployments; {file} declares none. Add one under `deployments:`.")
    return [_deployment(declaration, root=file.parent.parent) for declaration in declarations]


def _deployment(declaration: dict[str, Any], root: Path) -> RunnerDeployment:
    flow: Flow[..., Any] = load_flow_from_entrypoint(str(root / declaration["entrypoint"]))
    deployment = flow.to_deployment(
        name=declaration["name"],
        description=declaration.get("description"),
        tags=declaration.get("tags"),
        parameters=declaration.get("parameters"),
        schedules=[_schedule(schedule) for schedule in declaration.get("schedules", [])],
    )
    # Prefect's signature allows for a coroutine, which it gives to asynchronous callers only.
    assert isinstance(deployment, RunnerDeployment)
    return deployment


def _schedule(declaration: dict[str, Any]) -> Schedule:
    return Cron(declaration["cron"], timezone=declaration.get("timezone", "UTC"), active=declaration.get("active", True))


if __name__ == "__main__":
    main()
