"""A run that is cancelled in Prefect, or whose process is killed, takes its job along."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import httpx
import psutil
import pytest
from prefect.settings import PREFECT_API_URL

from tasks.ending import end_families
from tasks.ray_job import FLOW_RUN_VARIABLE

Found = TypeVar("Found")
# The test's own package `ray_jobs` is found before ours, for it lies in the folder all of these run in.
JOB = """
import subprocess, sys, threading
child = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait(120)"])
print(child.pid, flush=True)
threading.Event().wait(120)
"""
FLOW = """
import os
from pathlib import Path
from prefect import flow
from agentgym.settings import read_settings
from tasks.ray_job import run_ray_job, stop_jobs
from tasks.step import step

@step
def wait_long(folder):
    Path(folder, "run.pid").write_text(str(os.getpid()))
    run_ray_job("endless", b"{}", job_id="endless", settings=read_settings(), on_line=Path(folder, "child.pid").write_text)

@flow(name="waiting", on_cancellation=[stop_jobs], on_crashed=[stop_jobs])
def waiting(folder: str):
    wait_long(folder)

if __name__ == "__main__":
    waiting.serve(name="by-hand")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the flow is served from."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "ray_jobs").mkdir()
    (folder / "ray_jobs" / "__init__.py").touch()
    (folder / "ray_jobs" / "endless.py").write_text(JOB)
    (folder / "waiting.py").write_text(FLOW)
    environment = {**os.environ, "AGENTGYM_WORKSPACE": str(folder / "workspace"), "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    log = (folder / "log.txt").open("wb")
    with subprocess.Popen([sys.executable, "waiting.py"], cwd=folder, env=environment, stdout=log, stderr=log) as runner:
        yield folder
        end_families([psutil.Process(runner.pid)], grace_seconds=15)  # the runner may wait for a run whose process was killed
    log.close()


@pytest.fixture
def api() -> Iterator[httpx.Client]:
    with httpx.Client(base_url=str(PREFECT_API_URL.value()), timeout=30) as client:
        yield client


@pytest.fixture
def run(folder: Path, api: httpx.Client, tmp_path: Path) -> tuple[UUID, list[psutil.Process]]:
    """A run, and its job with the child of that, once both are at work."""

    def deployment() -> str | None:
        answer = api.get("/deployments/name/waiting/by-hand")
        return str(answer.json()["id"]) if answer.is_success else None

    asked = api.post(f"/deployments/{eventually(deployment)}/create_flow_run", json={"parameters": {"folder": str(tmp_path)}})
    run_id = UUID(asked.raise_for_status().json()["id"])
    eventually(lambda: read_pid(tmp_path / "child.pid"))
    return run_id, [process for process in psutil.process_iter() if belongs_to(process, run_id)]


def read_pid(file: Path) -> int | None:
    return int(file.read_text()) if file.exists() and file.read_text() else None


def belongs_to(process: psutil.Process, run_id: UUID) -> bool:
    try:
        return bool(process.environ().get(FLOW_RUN_VARIABLE) == str(run_id))
    except psutil.Error:
        return False


def eventually(look: Callable[[], Found | None], *, seconds: float = 60.0) -> Found:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"nothing within {seconds:g} s"
        time.sleep(0.1)
    return found


def test_a_cancelled_run_ends_its_job_and_what_the_job_started(run: tuple[UUID, list[psutil.Process]], api: httpx.Client) -> None:
    run_id, job = run
    assert len(job) == 2
    api.post(f"/flow_runs/{run_id}/set_state", json={"state": {"type": "CANCELLING"}, "force": True}).raise_for_status()
    assert psutil.wait_procs(job, timeout=30)[1] == []
    assert eventually(lambda: api.get(f"/flow_runs/{run_id}").json()["state_type"] == "CANCELLED", seconds=30)


def test_the_job_of_a_run_that_was_killed_is_found_and_ended(run: tuple[UUID, list[psutil.Process]], tmp_path: Path) -> None:
    _, job = run
    assert len(job) == 2
    os.kill(int((tmp_path / "run.pid").read_text()), signal.SIGKILL)
    assert psutil.wait_procs(job, timeout=30)[1] == []
