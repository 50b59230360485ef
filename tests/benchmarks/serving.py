"""The endpoint in its first form, on this machine: requests/s and latency, a weight change, memory; and what the proxy costs.

One run, everything interleaved: rounds of the Serve endpoint and of the same gateway behind uvicorn alone, at 1 and at 16 at once.
"""

import asyncio
import json
import os
import platform
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import uvicorn

from agentgym.ab_tests.ab_test import ABTest
from agentgym.ab_tests.test_log import ABTestLog
from agentgym.policies.planner import PlannerConfig
from agentgym.registry import Lineage, ModelVersion
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.production_log import write_logs
from agentgym.serving.endpoint import build_endpoint
from agentgym.serving.gateway import Gateway
from agentgym.serving.loading import engine_loader
from agentgym.serving.steering import steer, wait_until_held
from agentgym.serving.traffic_log import TrafficLog
from agentgym.settings import Settings, silence
from agentgym.training.warm_start import ImitationConfig, imitate
from agentgym.verdicts import Subject
from tasks.artifacts import write_checkpoint
from tasks.registry import open_registry
from tasks.serving import first_key, running_endpoint

AGENT = "support"
WORLD = CustomerSupport()
ROUNDS, SECONDS, CHANGES = 3, 4.0, 20
AT_ONCE = (1, 16)


def main() -> None:
    workspace = Path(tempfile.mkdtemp(prefix="agentgym-bench-"))
    settings = Settings().inside(workspace).model_copy(update={"endpoint_port": free_port(), "endpoint_replicas": 2})
    os.environ["AGENTGYM_WORKSPACE"] = str(workspace)
    silence(settings, os.environ)
    champion, other = make_versions(settings)
    key = first_key(settings)
    assert key
    before = psutil.Process().memory_full_info().pss
    with running_endpoint(AGENT, settings) as endpoint, bare_gateway(settings) as bare:
        rounds: dict[str, list[dict[str, float]]] = {}
        for _ in range(ROUNDS):
            for at_once in AT_ONCE:
                for name, url in (("serve", endpoint.url), ("bare", bare)):
                    rounds.setdefault(f"{name}_{at_once}", []).append(asyncio.run(load(url, key, at_once)))
        memory = stack_memory(endpoint.job.process.pid)
        changes = change_weights(settings, champion, other)
        result = {
            "figures": {name: medians(of_round) for name, of_round in rounds.items()}
            | {
                "weight_change_seconds": {"median": round(statistics.median(changes), 3), "max": round(max(changes), 3)},
                "replicas": settings.endpoint_replicas,
                "endpoint_memory_bytes": memory,
                "this_process_before_bytes": before,
            },
            "ratios": {
                f"serve_vs_bare_{at_once}": round(
                    medians(rounds[f"serve_{at_once}"])["requests_per_second"] / medians(rounds[f"bare_{at_once}"])["requests_per_second"],
                    3,
                )
                for at_once in AT_ONCE
            },
            "machine": {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()},
        }
    json.dump(result, sys.stdout, indent=1)


def make_versions(settings: Settings) -> tuple[ModelVersion, ModelVersion]:
    """A champion and another version, each a planner of the size that `improve` makes."""
    registry = open_registry(AGENT, settings)
    lineage = Lineage(snapshot_digest="0" * 64, pack_digest="0" * 64, code_version="bench")
    made = []
    for seed in (1, 2):
        planner = imitate(
            list(write_logs(WORLD, WORLD.expert(), 60, seed=seed)), seed=seed, config=ImitationConfig(planner=PlannerConfig())
        )
        made.append(registry.register(write_checkpoint(planner.to_checkpoint(), settings), lineage=lineage))
    registry.bootstrap(made[0], "The first one.")
    return made[0], made[1]


@contextmanager
def bare_gateway(settings: Settings) -> Iterator[str]:
    """The same gateway, champion and database, behind uvicorn in this process: what it costs without Serve."""
    plan = TrafficLog(settings.experience_url, AGENT).latest()
    assert plan is not None
    port = free_port()
    gateway = Gateway(AGENT, settings.experience_url, engine_loader(os.environ), clock=lambda: datetime.now(UTC))
    server = uvicorn.Server(uvicorn.Config(build_endpoint(lambda: gateway), host="127.0.0.1", port=port, log_level="error"))

    async def run() -> None:
        await gateway.follow(plan.plan)
        await server.serve()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


async def load(url: str, key: str, at_once: int) -> dict[str, float]:
    """First turns of new conversations, `at_once` in flight."""
    tools = [tool.to_openai() for tool in WORLD.tools]
    openings = [trace.messages[:2] for trace in write_logs(WORLD, WORLD.expert(), 40, seed=9)]
    latencies: list[float] = []
    deadline = time.perf_counter() + SECONDS
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:

        async def ask(worker: int) -> None:
            number = worker
            while time.perf_counter() < deadline:
                messages = [{"role": message.role, "content": message.content} for message in openings[number % len(openings)]]
                body: dict[str, Any] = {"model": AGENT, "messages": messages, "tools": tools, "user": f"customer {number}"}
                started = time.perf_counter()
                answer = await client.post("/v1/chat/completions", json=body)
                assert answer.status_code == 200, answer.text
                latencies.append(time.perf_counter() - started)
                number += at_once

        await asyncio.gather(*(ask(worker) for worker in range(at_once)))
    ordered = sorted(latencies)
    return {
        "requests_per_second": len(ordered) / SECONDS,
        "p50_ms": 1000 * ordered[len(ordered) // 2],
        "p99_ms": 1000 * ordered[int(len(ordered) * 0.99)],
    }


def change_weights(settings: Settings, champion: ModelVersion, other: ModelVersion) -> list[float]:
    """Seconds from the decision until both replicas hold it."""
    registry, tests = open_registry(AGENT, settings), ABTestLog(settings.experience_url, AGENT)
    traffic = TrafficLog(settings.experience_url, AGENT)
    control, treatment = (Subject(name=str(version.version), checkpoint_digest=version.checkpoint.digest) for version in (champion, other))
    now, weights = datetime.now(UTC), {control.name: 0.5, treatment.name: 0.5}
    tests.start(ABTest(test_id="bench", agent=AGENT, control=control, treatment=treatment, salt="bench", weights=weights, started_at=now))
    seconds = []
    for change in range(CHANGES + 1):
        share = 0.1 + 0.8 * (change % 2)
        started = time.perf_counter()
        tests.ramp({control.name: 1 - share, treatment.name: share}, at=datetime.now(UTC))
        plan = steer(registry, tests, traffic, now=datetime.now(UTC))
        assert plan is not None
        assert wait_until_held(traffic, plan.epoch, timeout_seconds=60).state == "held"
        seconds.append(time.perf_counter() - started)
    # The first one loads the other version.
    return seconds[1:]


def stack_memory(pid: int) -> int:
    """Bytes that the endpoint's processes hold; pages that they share count once."""
    root = psutil.Process(pid)
    return sum(process.memory_full_info().pss for process in (root, *root.children(recursive=True)))


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(figures[name] for figures in rounds), 2) for name in rounds[0]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
