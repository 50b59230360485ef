"""The local stack with small servers in place of the real ones: written down, found again, ended to the last child."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from agentgym.cli import guard
from agentgym.cli.stack import Wanted, first_key_for
from agentgym.errors import InvalidInput, Unavailable
from agentgym.serving.api_keys import ApiKeys
from agentgym.settings import Settings
from ray_jobs.orphan import PARENT_VARIABLE
from tasks.servers import TIES, Server, last_words, start_servers
from tasks.stack import MARK, Service, changing_the_stack, end_stack, is_alive, prefect_api_url, read_stack, stack_file, write_stack

# Answers every request, and has a child that would stay behind.
ANSWERING = """
import subprocess, sys
from http.server import HTTPServer, SimpleHTTPRequestHandler
subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait(120)"])
HTTPServer(("127.0.0.1", int(sys.argv[1])), SimpleHTTPRequestHandler).serve_forever()
"""
SILENT = "import threading; print('Still warming up.', flush=True); threading.Event().wait(120)"
FAILING = "import sys; sys.exit('The database is locked.')"
# What `up` does, for somebody to kill in the middle.
UP = """
import json, sys
from agentgym.settings import Settings
from tasks.servers import Server, start_servers
servers = [Server(**server) for server in json.loads(sys.argv[1])]
start_servers(servers, Settings(), on_answer=lambda service: print(service.name, flush=True))
"""

# What every command begins with.
COMMAND = """
import os
from agentgym.cli.session import session
with session(is_json=False):
    print(os.environ.get("PREFECT_API_URL"))
"""


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    settings = Settings().inside(tmp_path)
    (tmp_path / "stack").mkdir()
    yield settings
    end_stack(settings)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def server(program: str, port: int, *, name: str = "mlflow", needs: str | None = None) -> Server:
    url = f"http://127.0.0.1:{port}"
    given = {"name": name, "command": (sys.executable, "-c", program, str(port)), "environment": {}, "address": url, "health_url": url}
    return Server(**given, port=port, needs=needs, repair="--mlflow-port")  # type: ignore[arg-type]


def start(settings: Settings, *servers: Server, on_answer: Callable[[Service], None] = lambda _: None) -> tuple[Service, ...]:
    return start_servers(servers, settings, on_answer=on_answer)


def family(service: Service) -> list[psutil.Process]:
    leader = psutil.Process(service.pid)
    return [leader, *leader.children(recursive=True)]


def test_a_stack_is_written_down_and_ends_with_all_its_children(settings: Settings, port: int) -> None:
    (service,) = start(settings, server(ANSWERING, port))
    processes = family(service)
    assert len(processes) == 2
    assert read_stack(settings) == (service,)
    assert end_stack(settings) == (service,)
    assert not [process for process in processes if process.is_running()]
    assert (end_stack(settings), stack_file(settings).exists()) == ((), False)


def test_what_runs_is_not_started_again(settings: Settings, port: int) -> None:
    told: list[str] = []
    first = start(settings, server(ANSWERING, port))
    again = start(settings, server(ANSWERING, port), on_answer=lambda service: told.append(service.name))
    assert (again, told) == (first, [])


def test_only_what_is_gone_is_started_again(settings: Settings, port: int) -> None:
    (first,) = start(settings, server(ANSWERING, port))
    killed = psutil.Process(first.pid)
    killed.kill()
    killed.wait()
    (again,) = start(settings, server(ANSWERING, port))
    assert again.pid != first.pid


def test_a_server_waits_for_the_one_it_needs(settings: Settings, port: int) -> None:
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        second = other.getsockname()[1]
    servers = server(ANSWERING, second, name="endpoint", needs="mlflow"), server(ANSWERING, port)
    start(settings, *servers, on_answer=lambda service: told.append(service.name))
    assert told == ["mlflow", "endpoint"]


def test_a_server_outlives_the_command_that_started_it(settings: Settings, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for tie in TIES:
        monkeypatch.setenv(tie, "1")
    (service,) = start(settings, server(ANSWERING, port))
    environment = psutil.Process(service.pid).environ()
    assert environment[MARK] == environment["AGENTGYM_WORKSPACE"] == str(settings.workspace)
    assert not set(TIES) & environment.keys()
    assert os.getsid(service.pid) == service.pid


def test_the_ties_are_those_of_the_guard_and_of_a_job() -> None:
    assert TIES == (guard.MARK, PARENT_VARIABLE)


def test_a_taken_port_is_told_before_anything_starts(settings: Settings, port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(Unavailable, match=rf"its port to itself; {taken} for endpoint is taken by .*another port with --mlflow-port"):
            start(settings, server(ANSWERING, port), server(ANSWERING, taken, name="endpoint"))
    assert (read_stack(settings), (settings.workspace / "stack" / "mlflow.log").exists()) == ((), False)


def test_a_port_held_by_what_is_left_of_an_earlier_stack_is_told_as_such(settings: Settings, port: int) -> None:
    start(settings, server(ANSWERING, port))
    stack_file(settings).unlink()
    with pytest.raises(Unavailable, match="left of an earlier stack: agentgym down"):
        start(settings, server(ANSWERING, port))


def test_when_one_does_not_start_its_last_line_is_told_and_the_others_end(settings: Settings, port: int) -> None:
    started: list[Service] = []
    failing = server(FAILING, port + 1, name="endpoint", needs="mlflow")
    with pytest.raises(Unavailable, match=r"endpoint has ended. It said: The database is locked\."):
        start(settings, server(ANSWERING, port), failing, on_answer=started.append)
    assert (len(started), is_alive(started[0]), read_stack(settings)) == (1, False, ())


def test_what_ran_before_stays_when_another_does_not_start(settings: Settings, port: int) -> None:
    (first,) = start(settings, server(ANSWERING, port))
    with pytest.raises(Unavailable):
        start(settings, server(ANSWERING, port), server(FAILING, port + 1, name="endpoint"))
    assert (is_alive(first), read_stack(settings)) == (True, (first,))


def test_one_that_never_answers_is_given_up(settings: Settings, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.servers.START_SECONDS", 0.5)
    with pytest.raises(Unavailable, match=r"must answer within 0\.5 s; mlflow does not\. .* ends: Still warming up\."):
        start(settings, server(SILENT, port))
    assert read_stack(settings) == ()


def test_what_a_killed_up_has_started_can_be_ended(settings: Settings, port: int) -> None:
    keys = ("name", "command", "environment", "address", "health_url", "port")
    wanted = [server(ANSWERING, port), server(SILENT, port + 1, name="endpoint")]
    told = json.dumps([{key: getattr(each, key) for key in keys} for each in wanted])
    environment = {**os.environ, "AGENTGYM_WORKSPACE": str(settings.workspace)}
    with subprocess.Popen([sys.executable, "-c", UP, told], env=environment, stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        assert up.stdout.readline() == "mlflow\n"
        os.kill(up.pid, signal.SIGKILL)
    services = read_stack(settings)
    assert [(service.name, service.has_answered) for service in services] == [("mlflow", True), ("endpoint", False)]
    processes = [process for service in services for process in family(service)]
    end_stack(settings)
    assert not [process for process in processes if process.is_running()]


def test_the_children_of_a_server_that_was_killed_are_ended_too(settings: Settings, port: int) -> None:
    (service,) = start(settings, server(ANSWERING, port))
    leader, child = family(service)
    leader.kill()
    end_stack(settings)
    assert not child.is_running()


def test_a_program_that_has_the_pid_of_a_server_by_now_is_left_alone(settings: Settings, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SILENT]) as other:
        write_stack([recorded(pid=other.pid, created_at=time.time() - 3600)], settings)
        assert end_stack(settings) == ()
        assert other.poll() is None
        other.kill()


@pytest.fixture
def prefect(settings: Settings) -> Iterator[Service]:
    """A Prefect server that is alive, as far as one can see."""
    with subprocess.Popen([sys.executable, "-c", SILENT]) as started:
        yield recorded(pid=started.pid, created_at=psutil.Process(started.pid).create_time())
        started.kill()


def test_a_prefect_server_counts_once_it_has_answered(settings: Settings, prefect: Service) -> None:
    write_stack([prefect], settings)
    assert prefect_api_url(settings) is None
    write_stack([prefect.model_copy(update={"has_answered": True})], settings)
    assert prefect_api_url(settings) == "http://127.0.0.1:4200/api"


@pytest.mark.parametrize(
    ("given", "used"), [(None, "http://127.0.0.1:4200/api"), ("http://prefect.example/api", "http://prefect.example/api")]
)
def test_a_command_reports_to_the_stack_unless_somebody_chose_a_server(
    given: str | None, used: str, settings: Settings, prefect: Service
) -> None:
    write_stack([prefect.model_copy(update={"has_answered": True})], settings)
    environment = {name: text for name, text in os.environ.items() if name != "PREFECT_API_URL"}
    chosen = {"PREFECT_API_URL": given} if given else {}
    command = {"env": {**environment, **chosen, "AGENTGYM_WORKSPACE": str(settings.workspace)}, "text": True, "timeout": 60}
    assert subprocess.check_output([sys.executable, "-c", COMMAND], **command) == f"{used}\n"  # type: ignore[call-overload]


def test_a_file_that_is_not_what_up_wrote_is_told_and_down_removes_it(settings: Settings) -> None:
    stack_file(settings).write_text("{")
    with pytest.raises(InvalidInput, match="must be what `agentgym up` wrote"):
        read_stack(settings)
    assert prefect_api_url(settings) is None
    end_stack(settings)
    assert not stack_file(settings).exists()


def test_a_second_up_or_down_is_kept_out(settings: Settings) -> None:
    with changing_the_stack(settings), pytest.raises(Unavailable, match="another one is at work"), changing_the_stack(settings):
        pass
    with changing_the_stack(settings):
        pass


def test_a_server_without_a_word_has_said_nothing(settings: Settings) -> None:
    assert last_words(recorded(pid=1, created_at=0)) == "nothing"


def test_a_first_key_that_nobody_has_seen_is_revoked(settings: Settings) -> None:
    wanted, keys = Wanted(servers=(server(FAILING, 9, name="endpoint"),), absent={}), ApiKeys(settings.experience_url)
    with pytest.raises(Unavailable), first_key_for(wanted, settings):
        raise Unavailable("It did not start.")
    assert not keys.digests_in_use()
    with first_key_for(wanted, settings) as key:
        assert key is not None
    with first_key_for(wanted, settings) as second:
        assert second is None
    assert len(keys.digests_in_use()) == 1


def test_without_an_endpoint_nobody_needs_a_key(settings: Settings) -> None:
    with first_key_for(Wanted(servers=(), absent={}), settings) as key:
        assert key is None
    assert list(settings.workspace.iterdir()) == [settings.workspace / "stack"]


def recorded(*, pid: int, created_at: float) -> Service:
    url = "http://127.0.0.1:4200"
    return Service(name="prefect", pid=pid, created_at=created_at, address=url, health_url=f"{url}/api/health", log=Path("absent.log"))
