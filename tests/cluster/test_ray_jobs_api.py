"""A job submitted to a Ray cluster over its Jobs API: its lines and result come back, and it ends with the flow run it belongs to."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import pytest
from ray._private.authentication_test_utils import reset_auth_token_state

from agentgym.errors import InvalidInput, Unavailable
from agentgym.settings import Settings
from tasks.ray_job import run_ray_job, stop_jobs

RUN_ID = "00000000-0000-0000-0000-000000000001"
# The spec says what the job does.
JOB = """
import os, sys, threading
from pathlib import Path
spec, result = Path(sys.argv[2]), Path(sys.argv[4])
match spec.read_text():
    case "echo":
        print("echoed", flush=True)
        result.write_text("an echo")
    case "refuse":
        sys.stderr.write("The spec must ask for an echo; it does not.\\n")
        sys.exit(2)
    case "wait":
        print(os.getpid(), flush=True)
        threading.Event().wait(120)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the Jobs API of a Ray of our own, which knows the job above."""
    package = tmp_path_factory.mktemp("cluster") / "ray_jobs"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "job.py").write_text(JOB)
    # Its sockets have long names, which a system allows about a hundred characters.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    with ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        port, api_port, agent_port = (server.getsockname()[1] for server in servers)
    where = f"--node-ip-address 127.0.0.1 --dashboard-host 127.0.0.1 --temp-dir {folder}"
    ports = f"--port {port} --dashboard-port {api_port} --dashboard-agent-listen-port {agent_port}"
    command = f"{Path(sys.executable).parent / 'ray'} start --head --block --num-cpus 1 --object-store-memory 80000000 {where} {ports}"
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(32).hex()}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # Jobs run where the cluster was started, and find the package there before ours.
    with subprocess.Popen(command.split(), env={**os.environ, **token, "PATH": path}, cwd=package.parent, **quiet) as head:
        family = {}
        try:
            with pytest.MonkeyPatch.context() as patch:
                for name, text in token.items():
                    patch.setenv(name, text)
                # A process that used a Ray before remembers that one's token, or that it had none.
                reset_auth_token_state()
                wait_until_answered(f"http://127.0.0.1:{api_port}/api/version")
                family = set(psutil.Process(head.pid).children(recursive=True))
                yield f"http://127.0.0.1:{api_port}"
        finally:
            reset_auth_token_state()
            head.terminate()
            for process in psutil.wait_procs(family, timeout=20)[1]:
                process.kill()
            shutil.rmtree(folder, ignore_errors=True)


def wait_until_answered(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urlopen(url, timeout=5).close()
        except URLError as error:
            # It answers, and asks for the token.
            if getattr(error, "code", None) == 401:
                return
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"no answer from {url}")


@pytest.fixture
def settings(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("AGENTGYM_RAY_ADDRESS", cluster)
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ROOT_FLOW_RUN_ID", RUN_ID)
    return Settings().inside(tmp_path)


def submit(spec: bytes, settings: Settings, on_line: Any = lambda _: None) -> bytes:
    return run_ray_job("job", spec, job_id=spec.decode(), settings=settings, on_line=on_line)


def test_lines_and_result_come_back(settings: Settings) -> None:
    lines: list[str] = []
    assert submit(b"echo", settings, lines.append) == b"an echo"
    assert lines[-1] == "echoed"


def test_a_job_that_refuses_its_spec_is_bad_input(settings: Settings) -> None:
    with pytest.raises(InvalidInput, match=r"^The spec must ask for an echo; it does not\.$"):
        submit(b"refuse", settings)


def test_the_job_of_a_run_that_was_cancelled_is_stopped(settings: Settings) -> None:
    is_there, pids, errors = threading.Event(), list[int](), list[Exception]()

    def note(line: str) -> None:
        if line.isdigit():
            pids.append(int(line))
            is_there.set()

    def wait() -> None:
        try:
            submit(b"wait", settings, note)
        except Unavailable as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert is_there.wait(60)
    job = psutil.Process(pids[0])
    stop_jobs(None, SimpleNamespace(id="another run"), None)  # type: ignore[arg-type]
    assert job.is_running()
    stop_jobs(None, SimpleNamespace(id=RUN_ID), None)  # type: ignore[arg-type]
    assert psutil.wait_procs([job], timeout=20)[1] == []
    thread.join(20)
    assert "it was stopped" in str(errors[0])


def test_a_job_ends_when_whoever_waits_for_it_is_interrupted(settings: Settings) -> None:
    jobs: list[psutil.Process] = []

    def interrupt(line: str) -> None:
        if line.isdigit():
            jobs.append(psutil.Process(int(line)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        submit(b"wait", settings, interrupt)
    assert psutil.wait_procs(jobs, timeout=20)[1] == []


def test_a_cluster_that_is_away_may_come_back(settings: Settings) -> None:
    with pytest.raises(Unavailable, match=r"must answer at http://127\.0\.0\.1:9; it said"):
        submit(b"echo", settings.model_copy(update={"ray_address": "http://127.0.0.1:9"}))
