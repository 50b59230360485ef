"""A real endpoint on Ray Serve with two replicas: the official client, changes while customers talk, and what can go wrong."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import openai
import psutil
import pytest

from agentgym.ab_tests.ab_test import ABTest
from agentgym.ab_tests.test_log import ABTestLog
from agentgym.environments.play import play_episode
from agentgym.episode import Action, Conversation
from agentgym.errors import Unavailable
from agentgym.messages import to_openai_messages
from agentgym.policies.planner import PlannerConfig
from agentgym.registry import Lineage, ModelRegistry, ModelVersion
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.live_customers import LiveCustomers
from agentgym.scenarios.production_log import write_logs
from agentgym.serving.exposure_log import ExposureLog
from agentgym.serving.served import served_traces
from agentgym.serving.steering import steer, wait_until_held
from agentgym.serving.traffic_log import LoggedPlan, TrafficLog
from agentgym.settings import Settings
from agentgym.store import open_store
from agentgym.traces.importers.chat import read_message
from agentgym.training.warm_start import ImitationConfig, imitate
from agentgym.verdicts import Subject
from tasks.artifacts import write_checkpoint
from tasks.registry import open_registry
from tasks.serving import first_key, running_endpoint

pytestmark = pytest.mark.timeout(300)
AGENT = "support"
LINEAGE = Lineage(snapshot_digest="0" * 64, pack_digest="0" * 64, code_version="test")
WORLD = CustomerSupport()


@dataclass
class Served:
    """An endpoint with champion 1 and a version 2 beside it, and what decides its traffic."""

    settings: Settings
    registry: ModelRegistry
    tests: ABTestLog
    traffic: TrafficLog
    url: str
    key: str
    pid: int

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key, max_retries=0)

    def post(self, body: object, *, path: str = "chat/completions") -> httpx.Response:
        content = body if isinstance(body, bytes) else None
        json = None if isinstance(body, bytes) else body
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.post(f"{self.url}/v1/{path}", content=content, json=json, headers=headers, timeout=30)

    def start_test(self, treatment: ModelVersion, weights: dict[str, float], test_id: str) -> None:
        control = self.registry.resolve("@champion")
        subjects = [Subject(name=str(version.version), checkpoint_digest=version.checkpoint.digest) for version in (control, treatment)]
        now = datetime.now(UTC)
        self.tests.start(
            ABTest(
                test_id=test_id,
                agent=AGENT,
                control=subjects[0],
                treatment=subjects[1],
                salt=test_id,
                weights=weights,
                started_at=now,
            )
        )

    def hold(self) -> LoggedPlan:
        """Brings traffic in line and waits for the replicas."""
        steer(self.registry, self.tests, self.traffic, now=datetime.now(UTC))
        latest = self.traffic.latest()
        assert latest is not None
        return wait_until_held(self.traffic, latest.plan.epoch, timeout_seconds=60)

    def version_answering(self, customer: str, **fields: str) -> str:
        answer = self.post({"model": AGENT, "messages": [{"role": "user", "content": "Hello"}], "user": customer, **fields})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["version"])


def register(registry: ModelRegistry, settings: Settings, logs: int, seed: int) -> ModelVersion:
    traces = list(write_logs(WORLD, WORLD.expert(), logs, seed=seed))
    planner = imitate(traces, seed=seed, config=ImitationConfig(planner=PlannerConfig(table_bits=12, hidden=16)))
    return registry.register(write_checkpoint(planner.to_checkpoint(), settings), lineage=LINEAGE)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings().inside(tmp_path_factory.mktemp("served")).model_copy(update={"endpoint_port": port, "endpoint_replicas": 2})
    registry = open_registry(AGENT, settings)
    registry.bootstrap(register(registry, settings, logs=40, seed=1), "The first one.")
    register(registry, settings, logs=10, seed=2)
    key = first_key(settings)
    assert key
    os.environ["AGENTGYM_WORKSPACE"] = str(settings.workspace)
    try:
        with running_endpoint(AGENT, settings) as endpoint:
            tests, traffic = ABTestLog(settings.experience_url, AGENT), TrafficLog(settings.experience_url, AGENT)
            yield Served(settings, registry, tests, traffic, endpoint.url, key, endpoint.job.process.pid)
    finally:
        del os.environ["AGENTGYM_WORKSPACE"]


@pytest.fixture(autouse=True)
def no_test_is_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    served: Served = request.getfixturevalue("served")
    _, latest = served.tests.latest()
    if latest is not None and latest.is_running:
        served.tests.end(latest.test_id, at=datetime.now(UTC), open_conversations="move")
        served.hold()


class OfficialClient:
    """A policy that asks through OpenAI's own client."""

    def __init__(self, client: openai.OpenAI, customer: str) -> None:
        self._client, self._customer = client, customer

    def act(self, conversation: Conversation) -> Action:
        answer = self._client.chat.completions.create(
            model=AGENT,
            messages=to_openai_messages(conversation.messages),  # type: ignore[arg-type]
            tools=[tool.to_openai() for tool in conversation.tools],  # type: ignore[misc]
            user=self._customer,
            extra_body={"conversation_id": conversation.conversation_id},
        )
        assert answer.model == f"{AGENT}:1"
        return Action(message=read_message(answer.choices[0].message.model_dump(exclude_none=True)))


def test_the_official_client_plays_whole_conversations_with_tools(served: Served) -> None:
    cases = list(WORLD.generate_cases(4, seed=11))
    played = [play_episode(WORLD.create_environment(), OfficialClient(served.client(), case.cluster_id), case, seed=1) for case in cases]
    calls = [judged for trajectory in played for judged in trajectory.calls]
    assert any(judged.is_correct for judged in calls)
    kept = {trace.conversation_id: trace for trace in served_traces(ExposureLog(served.settings.experience_url, AGENT))}
    of_first = next(trace for name, trace in kept.items() if name.startswith(cases[0].case_id))
    assert of_first.messages == played[0].messages[: len(of_first.messages)]


def test_the_official_client_streams_and_lists_models(served: Served) -> None:
    client = served.client()
    stream = client.chat.completions.create(model=AGENT, messages=[{"role": "user", "content": "Hello"}], stream=True)
    words = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert words
    assert [model.id for model in client.models.list()][:2] == [AGENT, f"{AGENT}:1"]


def test_the_official_client_understands_what_is_wrong(served: Served) -> None:
    hello = [{"role": "user", "content": "Hello"}]
    with pytest.raises(openai.NotFoundError, match="must name a model that is served"):
        served.client().chat.completions.create(model="other", messages=hello)  # type: ignore[arg-type]
    with pytest.raises(openai.AuthenticationError, match="not one in use"):
        served.client().with_options(api_key="ag-wrong").chat.completions.create(model=AGENT, messages=hello)  # type: ignore[arg-type]
    with pytest.raises(openai.BadRequestError, match="JSON Schema"):
        served.client().chat.completions.create(
            model=AGENT,
            messages=hello,  # type: ignore[arg-type]
            tools=[{"type": "function", "function": {"name": "look_up", "parameters": {"type": 7}}}],
        )


@pytest.mark.parametrize(
    ("body", "status", "code"), [(b"{", 400, "invalid_json"), (b'{"model": "' + b"x" * 10 * 2**20 + b'"}', 413, "request_too_large")]
)
def test_a_body_that_cannot_be_read_is_refused_in_openais_form(served: Served, body: bytes, status: int, code: str) -> None:
    refused = served.post(body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)


def test_weights_change_while_customers_talk_and_no_request_fails(served: Served) -> None:
    served.start_test(served.registry.version(2), {"1": 0.5, "2": 0.5}, "ramped")
    customers = LiveCustomers(WORLD, base_url=f"{served.url}/v1", api_key=served.key, model=AGENT, at_once=4)
    is_over, failed = threading.Event(), []

    def talk() -> None:
        cases = WORLD.generate_cases(10_000, seed=21, customers=10_000)
        while not is_over.is_set():
            failed.append(customers.talk([next(cases) for _ in range(4)], seed=1).failed)

    thread = threading.Thread(target=talk)
    thread.start()
    before = replicas_of(served.pid)
    try:
        for share in (0.1, 0.9, 0.3, 0.7, 0.2):
            served.tests.ramp({"1": 1 - share, "2": share}, at=datetime.now(UTC))
            assert served.hold().state == "held"
    finally:
        is_over.set()
        thread.join()
    assert failed
    assert sum(failed) == 0
    assert replicas_of(served.pid) == before


def test_an_open_conversation_finishes_on_its_version_through_a_ramp(served: Served) -> None:
    served.start_test(served.registry.version(2), {"1": 0.0, "2": 1.0}, "stays")
    served.hold()
    assert served.version_answering("ann", conversation_id="open") == "2"
    served.tests.ramp({"1": 1.0, "2": 0.0}, at=datetime.now(UTC))
    served.hold()
    assert {served.version_answering("ann", conversation_id="open") for _ in range(4)} == {"2"}
    assert served.version_answering("ann", conversation_id="new") == "1"


def test_a_version_that_does_not_load_leaves_the_old_one_serving(served: Served) -> None:
    ref = open_store(served.settings.store).write(b"no checkpoint", suffix=".zip")
    broken = served.registry.register(ref, lineage=LINEAGE)
    served.start_test(broken, {"1": 0.5, str(broken.version): 0.5}, "broken")
    refused = served.hold()
    assert refused.state == "refused"
    assert "A checkpoint is a zip" in (refused.problem or "")
    assert {served.version_answering(f"customer {number}") for number in range(8)} == {"1"}


def test_a_replica_that_is_killed_comes_back_with_the_plan_and_the_conversations(served: Served) -> None:
    served.start_test(served.registry.version(2), {"1": 0.0, "2": 1.0}, "killed")
    served.hold()
    assert served.version_answering("ann", conversation_id="before-the-kill") == "2"
    served.tests.ramp({"1": 1.0, "2": 0.0}, at=datetime.now(UTC))
    served.hold()
    killed = replicas_of(served.pid)
    for replica in killed:
        os.kill(replica, signal.SIGKILL)
    wait_for(lambda: len(replicas_of(served.pid) - killed) == 2 and is_answering(served))
    assert served.version_answering("ann", conversation_id="before-the-kill") == "2"
    assert served.version_answering("ann", conversation_id="after-the-kill") == "1"


def test_a_champion_moved_by_somebody_who_died_right_after_is_served_all_the_same(served: Served) -> None:
    """Whoever moves a champion brings traffic in line; the endpoint itself does it for those who could not."""
    epoch = served.traffic.latest().plan.epoch  # type: ignore[union-attr]
    served.start_test(served.registry.version(2), {"1": 0.5, "2": 0.5}, "orphaned")
    assert wait_until_held(served.traffic, epoch + 1, timeout_seconds=60).plan.test_id == "orphaned"


def test_the_registry_being_away_stops_no_answer(served: Served) -> None:
    history = served.settings.workspace / "mlflow-history.db"
    away = history.rename(history.with_suffix(".away"))
    try:
        assert {served.version_answering(f"customer {number}") for number in range(20)} == {"1"}
        log = served.settings.workspace / "jobs" / f"serve-{AGENT}" / "log.txt"
        wait_for(lambda: "The registry's history must be readable" in log.read_text())
    finally:
        away.replace(history)
    assert served.hold().state == "held"


def test_what_was_served_can_be_learned_from(served: Served) -> None:
    served.version_answering("ann", conversation_id="learned-from")
    served.post({"conversation_id": "learned-from", "outcome": "resolved"}, path="feedback")
    traces = {trace.conversation_id: trace for trace in served_traces(ExposureLog(served.settings.experience_url, AGENT))}
    assert (traces["learned-from"].outcome, traces["learned-from"].customer_id) == ("resolved", "ann")


def test_an_agent_has_one_endpoint(served: Served) -> None:
    with pytest.raises(Unavailable, match=f"is served at {served.url} already"), running_endpoint(AGENT, served.settings):
        pass


def test_a_port_that_is_taken_is_told_in_one_message(served: Served) -> None:
    registry = open_registry("other", served.settings)
    registry.bootstrap(registry.register(served.registry.version(1).checkpoint, lineage=LINEAGE), "The same under another name.")
    told = rf"needs its port to itself; 127.0.0.1:{served.settings.endpoint_port} said Address already in use"
    with pytest.raises(Unavailable, match=told), running_endpoint("other", served.settings):
        pass


def test_the_endpoint_listens_on_loopback_alone(served: Served) -> None:
    listening = [
        connection
        for process in [psutil.Process(served.pid), *psutil.Process(served.pid).children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == served.settings.endpoint_port
    ]
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}


def test_nobody_else_can_use_the_ray_it_runs_on(served: Served) -> None:
    """Ray opens ports of its own to the network; without the run's secret they refuse."""
    (gcs,) = [child for child in psutil.Process(served.pid).children(recursive=True) if child.name() == "gcs_server"]
    port = next(c.laddr.port for c in gcs.net_connections("inet") if c.status == psutil.CONN_LISTEN)
    program = f"import ray; ray.init(address='127.0.0.1:{port}', log_to_driver=False)"
    environment = {name: text for name, text in os.environ.items() if not name.startswith("RAY_AUTH")} | {"RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as intruder:
        assert intruder.stdout is not None
        # It would go on asking for twenty seconds.
        refusal = next((line for line in intruder.stdout if "auth" in line.lower()), "")
        intruder.kill()
    assert "Unauthenticated" in refusal


def test_an_endpoint_that_is_told_to_end_signs_out(served: Served) -> None:
    """Ray replaces the handler of SIGTERM when it starts; the endpoint once left without a word. Ends the endpoint: the last test here."""
    assert served.traffic.endpoint() is not None
    psutil.Process(served.pid).terminate()
    wait_for(lambda: served.traffic.endpoint() is None)


def replicas_of(pid: int) -> set[int]:
    children = psutil.Process(pid).children(recursive=True)
    return {child.pid for child in children if "ServeReplica" in " ".join(_command(child))}


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def is_answering(served: Served) -> bool:
    try:
        return served.post({"model": AGENT, "messages": [{"role": "user", "content": "Hello"}]}).status_code == 200
    except httpx.HTTPError:
        return False


def wait_for(condition, *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
