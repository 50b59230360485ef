"""The endpoint started and ended, and its traffic brought in line with what was decided."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import orjson

from agentgym.ab_tests.test_log import ABTestLog
from agentgym.errors import InvalidInput, Unavailable
from agentgym.serving.api_keys import ApiKeys
from agentgym.serving.exposure_log import ExposureLog
from agentgym.serving.plan import TrafficPlan
from agentgym.serving.served import served_traces
from agentgym.serving.steering import steer, wait_until_held
from agentgym.serving.traffic_log import LoggedPlan, TrafficLog
from agentgym.settings import Settings
from agentgym.store import write_atomically
from agentgym.traces.source import TraceSource
from tasks.ray_job import StartedJob, start_ray_job
from tasks.registry import open_registry
from tasks.step import step

HOLD_SECONDS = 120.0
FIRST_KEY = "first"
# An endpoint signs in every five seconds.
_ALIVE_FOR = timedelta(seconds=20)
_DYING_SECONDS = 40.0


@dataclass(frozen=True)
class RunningEndpoint:
    """An endpoint that answers at `url`, such as http://127.0.0.1:8000."""

    url: str
    job: StartedJob


@step
def align_traffic(agent: str, settings: Settings) -> TrafficPlan | None:
    """The plan that traffic follows now, held by every replica where an endpoint runs; None when nothing was ever served.

    Raises InvalidInput when a version of it does not load; what was served before is still served then.
    """
    traffic = TrafficLog(settings.experience_url, agent)
    if traffic.latest() is None:
        return None
    steer(open_registry(agent, settings), ABTestLog(settings.experience_url, agent), traffic, now=datetime.now(UTC))
    latest = traffic.latest()
    assert latest is not None
    if not is_endpoint_alive(traffic):
        return latest.plan
    return _held(wait_until_held(traffic, latest.plan.epoch, timeout_seconds=HOLD_SECONDS))


@step
def collect_served(agent: str, settings: Settings) -> TraceSource:
    """The conversations served so far as a log to learn from. Raises InvalidInput when there are none."""
    traces = served_traces(ExposureLog(settings.experience_url, agent))
    lines = b"".join(orjson.dumps(trace.model_dump(mode="json", exclude_defaults=True)) + b"\n" for trace in traces)
    if not lines:
        raise InvalidInput(f"Without traces, the loop learns from what was served; {agent!r} has served nobody. Give --traces.")
    log = settings.workspace / "served" / f"{agent}.jsonl"
    write_atomically(log, lines)
    return TraceSource(path=log)


@contextmanager
def running_endpoint(agent: str, settings: Settings) -> Iterator[RunningEndpoint]:
    """The agent's champion, and what is tested against it, served inside the block where the settings say.

    Raises InvalidInput when there is no champion, Unavailable when the agent is served already, the port is taken or Ray does not start.
    """
    traffic = TrafficLog(settings.experience_url, agent)
    _require_alone(agent, traffic)
    steer(open_registry(agent, settings), ABTestLog(settings.experience_url, agent), traffic, now=datetime.now(UTC))
    spec = {
        "agent": agent,
        "host": settings.endpoint_host,
        "port": settings.endpoint_port,
        "replicas": settings.endpoint_replicas,
    }
    job = start_ray_job("serve_agent", orjson.dumps(spec), job_id=f"serve-{agent}", settings=settings)
    try:
        yield RunningEndpoint(url=orjson.loads(job.first_line)["url"], job=job)
    finally:
        job.end()


def is_endpoint_alive(traffic: TrafficLog) -> bool:
    """Whether an endpoint has said lately that it answers."""
    sign = traffic.endpoint()
    return sign is not None and datetime.now(UTC) - sign.seen_at < _ALIVE_FOR


def _require_alone(agent: str, traffic: TrafficLog) -> None:
    """Two endpoints of one agent would sign each other out, so a second one is refused.

    One that was killed signs in no more, while its Ray goes on answering for some twenty seconds: that is waited for.
    """
    sign, deadline = traffic.endpoint(), time.monotonic() + _DYING_SECONDS
    while sign is not None and time.monotonic() < deadline and _answers(sign.url):
        time.sleep(0.2)
        latest = traffic.endpoint()
        if latest is not None and latest.seen_at > sign.seen_at:
            raise Unavailable(
                f"An agent has one endpoint, with as many replicas as it needs; {agent!r} is served at {sign.url} already. "
                "End that one, or give it more replicas."
            )


def _answers(url: str) -> bool:
    """Whether anybody accepts connections there."""
    address = httpx.URL(url)
    try:
        with socket.create_connection((address.host, address.port or 80), timeout=1):
            return True
    except OSError:
        return False


def first_key(settings: Settings) -> str | None:
    """A new key where nobody has one yet; None where somebody has."""
    keys = ApiKeys(settings.experience_url)
    return None if keys.digests_in_use() else keys.create(FIRST_KEY, now=datetime.now(UTC))


def _held(logged: LoggedPlan) -> TrafficPlan:
    if logged.state == "refused":
        raise InvalidInput(
            f"Every version that is served must load; the endpoint said of epoch {logged.plan.epoch}: {logged.problem} "
            "What was served before is still served. Take the version out, or restore its checkpoint."
        )
    return logged.plan
