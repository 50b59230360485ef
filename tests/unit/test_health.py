"""What `agentgym doctor` finds on the machine and in the stack, each state provoked."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from agentgym.cli.guard import MARK as COMMAND_MARK
from agentgym.settings import Settings
from tasks.health import Finding, look_at, worst_of
from tasks.health.databases import look_at_databases
from tasks.health.machine import look_at_disk, look_at_exposure, look_at_memory, look_at_packages, look_at_telemetry, look_at_workspace
from tasks.health.stack import look_at_ports, look_at_services, look_for_the_left_behind
from tasks.stack import MARK, Service, write_stack

WAITING = "import threading; threading.Event().wait(120)"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings().inside(tmp_path)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def found(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


def ourselves_as(name: str, settings: Settings, *, health_url: str = "http://127.0.0.1:9/health", is_alive: bool = True) -> Service:
    log = settings.workspace / "server.log"
    log.write_text("Starting.\nNo more memory.\n\n")
    created_at = psutil.Process().create_time() - (0 if is_alive else 3600)
    given = {"name": name, "pid": os.getpid(), "created_at": created_at, "address": "http://127.0.0.1:9", "health_url": health_url}
    return Service.model_validate({**given, "log": log})


def test_a_look_that_fails_is_a_problem_and_the_others_go_on() -> None:
    def fail() -> Iterator[Finding]:
        raise ZeroDivisionError("division by zero")

    failed, after = look_at({"memory": fail, "disk": lambda: look_at_disk(2**40)})
    assert (failed.name, failed.state) == ("memory", "problem")
    assert "ZeroDivisionError: division by zero" in failed.statement
    assert worst_of((failed, after)) == "problem"
    assert worst_of((after,)) == worst_of(()) == "ok"


@pytest.mark.parametrize(("gib", "state"), [(100, "ok"), (1, "warning"), (0.01, "problem")])
def test_disk_and_memory_are_told_before_they_run_out(gib: float, state: str) -> None:
    assert found(look_at_disk(int(gib * 2**30))).state == state
    assert found(look_at_memory(int(gib * 2**30))).state == state


def test_packages_that_differ_from_the_lock_are_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    assert found(look_at_packages(lock)).state == "ok"
    lock.write_text(
        f"# pinned\nfastapi==0.1\nno-such-package==1.0\nwindows-only==1.0 ; sys_platform == 'win32'\npsutil=={psutil.__version__}\n"
    )
    finding = found(look_at_packages(lock))
    assert (finding.state, "fastapi is 0." in finding.statement, "no-such-package is missing" in finding.statement) == (
        "warning",
        True,
        True,
    )
    assert "windows-only" not in finding.statement
    assert "psutil" not in finding.statement


def test_a_workspace_that_is_a_file_is_a_problem(settings: Settings, tmp_path: Path) -> None:
    assert found(look_at_workspace(settings)).state == "ok"
    assert "Nothing is kept yet" in found(look_at_workspace(settings.inside(tmp_path / "absent"))).statement
    (tmp_path / "file").touch()
    assert found(look_at_workspace(settings.inside(tmp_path / "file"))).state == "problem"


@pytest.mark.parametrize(
    ("is_asked_for", "environment", "state"),
    [(False, {}, "ok"), (True, {}, "warning"), (False, {"MLFLOW_DISABLE_TELEMETRY": "false"}, "warning")],
)
def test_telemetry_that_is_on_is_told(is_asked_for: bool, environment: Mapping[str, str], state: str) -> None:
    assert found(look_at_telemetry(Settings(telemetry=is_asked_for), environment)).state == state


def test_an_endpoint_beyond_loopback_is_told() -> None:
    assert found(look_at_exposure(Settings())).state == "ok"
    assert "0.0.0.0" in found(look_at_exposure(Settings(endpoint_host="0.0.0.0"))).statement


def test_ports_are_free_or_taken_by_somebody(settings: Settings, taken: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    states = {finding.name: finding for finding in look_at_ports(settings, {"prefect": free, "mlflow": taken})}
    assert states["port: prefect"].state == "ok"
    assert states["port: mlflow"].state == "warning"
    assert "agentgym up --mlflow-port" in states["port: mlflow"].repair


def test_a_port_is_ours_when_the_stack_has_it(settings: Settings, taken: int) -> None:
    service = ourselves_as("mlflow", settings).model_copy(update={"address": f"http://127.0.0.1:{taken}"})
    write_stack([service], settings)
    assert "is ours" in found(look_at_ports(settings, {"mlflow": 5000})).statement


def test_without_a_stack_nothing_is_wrong(settings: Settings) -> None:
    assert found(look_at_services(settings)).state == "ok"


def test_a_server_that_is_gone_is_told_with_its_last_words(settings: Settings) -> None:
    write_stack([ourselves_as("mlflow", settings, is_alive=False)], settings)
    finding = found(look_at_services(settings))
    assert (finding.state, finding.repair) == ("problem", "agentgym up")
    assert finding.statement == "mlflow was started and is gone. It said: No more memory."


def test_a_server_that_does_not_answer_is_told(settings: Settings) -> None:
    write_stack([ourselves_as("mlflow", settings)], settings)
    assert "does not answer" in found(look_at_services(settings)).statement


@pytest.mark.parametrize("mark", ["command", "stack"])
def test_what_an_earlier_command_left_is_told_with_its_pid(mark: str, settings: Settings) -> None:
    # No process began in 1970.
    marks = {"command": {COMMAND_MARK: f"{os.getpid()}-0.0"}, "stack": {MARK: str(settings.workspace)}}
    environment = {name: text for name, text in os.environ.items() if name != COMMAND_MARK}
    with subprocess.Popen([sys.executable, "-c", WAITING], env={**environment, **marks[mark]}) as left:
        (finding,) = (each for each in look_for_the_left_behind(settings) if f"process {left.pid} " in each.statement)
        left.kill()
    assert finding.state == "problem"
    assert ("agentgym down" if mark == "stack" else str(left.pid)) in finding.repair


def test_what_a_running_command_has_started_is_not_left_behind(settings: Settings) -> None:
    running = f"{os.getpid()}-{psutil.Process().create_time()}"
    with subprocess.Popen([sys.executable, "-c", WAITING], env={**os.environ, COMMAND_MARK: running}) as child:
        statements = [finding.statement for finding in look_for_the_left_behind(settings)]
        child.kill()
    assert not [statement for statement in statements if f"process {child.pid} " in statement]


def test_databases_nobody_has_made_yet_are_no_problem_and_are_not_made(settings: Settings, tmp_path: Path) -> None:
    assert worst_of(look_at_databases(settings)) == "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_database_somebody_is_stuck_writing_to_is_told_with_who_has_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.health.databases._STUCK_SECONDS", 0.1)
    stuck = f"import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN EXCLUSIVE'); print(flush=True); {WAITING}"
    command = [sys.executable, "-c", stuck, str(tmp_path / "experience.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        (finding,) = (finding for finding in look_at_databases(settings) if finding.state != "ok")
        writer.kill()
    assert "database is locked" in finding.statement
    assert f"process {writer.pid}" in finding.statement


def test_a_broken_database_is_told(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, and long enough to be read as one" * 9)
    with closing(sqlite3.connect(tmp_path / "experience.db")) as connection:
        connection.execute("CREATE TABLE t (x)")
    states = {finding.name: finding.state for finding in look_at_databases(settings)}
    assert states == {"database: mlflow": "problem", "database: history": "ok", "database: experience": "ok"}


def test_in_an_empty_folder_everything_is_well(tmp_path: Path) -> None:
    environment = {**os.environ, "AGENTGYM_WORKSPACE": str(tmp_path / "absent")}
    command = [sys.executable, "-c", "from agentgym.cli import main; main()", "doctor", "--json"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    told = json.loads(done.stdout)
    checks = {check["name"]: check for check in told["checks"]}
    assert "Nothing is kept yet" in checks["workspace"]["statement"]
    # Ports and memory are what this machine has now.
    about_us = [checks[name]["state"] for name in checks if not name.startswith(("port", "memory", "disk", "left", "packages"))]
    assert set(about_us) == {"ok"}
    assert done.returncode == (3 if told["state"] == "problem" else 0)
    assert list(tmp_path.iterdir()) == []
