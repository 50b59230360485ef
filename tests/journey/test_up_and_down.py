"""The local stack as somebody brings it up, uses it and takes it down, from a folder that is not the checkout."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytestmark = pytest.mark.timeout(600)
STATES_AT_AN_END = ("COMPLETED", "FAILED", "CRASHED")


@dataclass(frozen=True, kw_only=True)
class Story:
    """up, up again, what doctor said, the runs Prefect knows by their flow, down; each command's JSON.

    listening: addresses the servers listen at.   left: processes of the stack that outlived it.
    """

    up: dict[str, Any]
    up_again: dict[str, Any]
    answered: dict[str, int]
    doctor: dict[str, Any]
    runs: dict[str, str]
    listening: set[str]
    down: dict[str, Any]
    down_again: dict[str, Any]
    left: list[psutil.Process]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("stack")
    prefect, mlflow, endpoint = free_ports(3)
    options = ["--prefect-port", str(prefect), "--mlflow-port", str(mlflow), "--endpoint-port", str(endpoint)]
    try:
        up = told(folder, "up", *options)
        processes = [process for service in up["services"] for process in family(service["pid"])]
        addresses = {"prefect": f"http://127.0.0.1:{prefect}/api/health", "mlflow": f"http://127.0.0.1:{mlflow}/version"}
        run = start_rollback(f"http://127.0.0.1:{prefect}/api")
        told(folder, "models", "rollback", "--reason", "From the command line.", exit_code=2)
        yield Story(
            up=up,
            up_again=told(folder, "up", *options),
            answered={name: httpx.get(url).status_code for name, url in addresses.items()},
            doctor=told(folder, "doctor"),
            runs=runs_when_ended(f"http://127.0.0.1:{prefect}/api", run),
            listening={connection.laddr.ip for process in processes for connection in listening(process)},
            down=told(folder, "down"),
            down_again=told(folder, "down"),
            left=[process for process in processes if process.is_running()],
        )
    finally:
        told(folder, "down")


def test_every_server_answers_where_up_said_and_the_endpoint_is_told_to_be_missing(story: Story) -> None:
    assert story.answered == {"prefect": 200, "mlflow": 200}
    assert {service["name"] for service in story.up["services"]} == {"prefect", "mlflow", "deployments"}
    assert "'agent' has no champion" in story.up["absent"]["endpoint"]


def test_a_second_up_starts_nothing(story: Story) -> None:
    assert {service["pid"] for service in story.up_again["services"]} == {service["pid"] for service in story.up["services"]}
    assert {service["started_seconds"] for service in story.up_again["services"]} == {None}


def test_nothing_listens_beyond_loopback(story: Story) -> None:
    assert story.listening == {"127.0.0.1"}


def test_a_run_started_in_prefect_and_one_from_the_command_line_are_both_known_there(story: Story) -> None:
    assert sorted(story.runs) == ["From Prefect.", "From the command line."]
    assert all("champion before the present one" in message for message in story.runs.values())


def test_doctor_finds_the_stack_well(story: Story) -> None:
    states = {check["name"]: check["state"] for check in story.doctor["checks"]}
    about = [f"{kind}: {name}" for kind, name in (("stack", "prefect"), ("stack", "mlflow"), ("stack", "deployments"), ("port", "prefect"))]
    assert {name: states[name] for name in about} == dict.fromkeys(about, "ok")


def test_down_ends_every_process_of_the_stack(story: Story) -> None:
    assert sorted(story.down["ended"]) == ["deployments", "mlflow", "prefect"]
    assert (story.left, story.down_again) == ([], {"ended": []})


def told(folder: Path, *arguments: str, exit_code: int | None = 0) -> dict[str, Any]:
    """The JSON of a command."""
    not_here = ("PREFECT_API_URL", "PREFECT_HOME")
    environment = {name: text for name, text in os.environ.items() if name not in not_here}
    command = [sys.executable, "-c", "from agentgym.cli import main; main()", *arguments, "--json"]
    in_workspace = {**environment, "AGENTGYM_WORKSPACE": str(folder / "workspace")}
    done = subprocess.run(command, cwd=folder, env=in_workspace, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == exit_code or arguments[0] == "doctor", f"{done.stdout}\n{done.stderr[-3000:]}"
    return dict(json.loads(done.stdout))


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def family(pid: int) -> list[psutil.Process]:
    leader = psutil.Process(pid)
    return [leader, *leader.children(recursive=True)]


def listening(process: psutil.Process) -> list[Any]:
    return [connection for connection in process.net_connections(kind="tcp") if connection.status == psutil.CONN_LISTEN]


def start_rollback(api: str) -> str:
    deployment = httpx.get(f"{api}/deployments/name/rollback/by-hand").raise_for_status().json()["id"]
    asked = httpx.post(f"{api}/deployments/{deployment}/create_flow_run", json={"parameters": {"reason": "From Prefect."}})
    return str(asked.raise_for_status().json()["id"])


def runs_when_ended(api: str, run: str) -> dict[str, str]:
    """What every run was told, by the reason it was given, once the run that was started from Prefect has ended."""
    deadline = time.monotonic() + 90
    while httpx.get(f"{api}/flow_runs/{run}").json()["state_type"] not in STATES_AT_AN_END:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    runs = httpx.post(f"{api}/flow_runs/filter", json={}).raise_for_status().json()
    return {run["parameters"]["reason"]: run["state"]["message"] for run in runs}
