"""The live half of the demo: simulated customers talk to the endpoint over HTTP, and decide."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any

from agentgym.ab_tests.ab_test import ABTestCriteria
from agentgym.cli.console import Screen
from agentgym.scenarios.live_customers import LiveCustomers, Tally
from agentgym.scenarios.world_scenario import WorldScenario
from agentgym.settings import Settings
from agentgym.verdicts import ABTestReport

if TYPE_CHECKING:
    from agentgym.environments.case import Case
    from agentgym.registry import ModelVersion

WEIGHT_CHANGES = 20
_CUSTOMERS = 1_000_000
_AT_ONCE = 12


@dataclass(frozen=True, kw_only=True)
class LiveSize:
    """How many customers: at the most until the verdict, how many between two looks, and for the comparison of equals."""

    most_customers: int
    between_looks: int
    equal_customers: int


class LiveHalf:
    """A served agent and its customers. Everything sent to the endpoint is counted, from the first request to the last."""

    def __init__(self, screen: Screen, settings: Settings, world: WorldScenario, *, agent: str, seed: int, base_url: str, key: str) -> None:
        self._screen, self._settings, self._agent, self._seed = screen, settings, agent, seed
        self._customers = LiveCustomers(world, base_url=f"{base_url}/v1", api_key=key, model=agent, at_once=_AT_ONCE)
        self._cases = world.generate_cases(10**9, seed=seed + 500_000, customers=_CUSTOMERS)
        self._drawing = threading.Lock()
        self.tally = Tally()

    def test_until_verdict(self, treatment: "ModelVersion", size: LiveSize) -> ABTestReport:
        """Half of the customers on each version until the test knows; what it knows."""
        return self._test(treatment, self._batches(size.most_customers, size.between_looks), name="better")

    def ship(self) -> int:
        """Carries the verdict out; the champion after it."""
        from flows.ab_test import conclude_ab_test

        conclude_ab_test(self._agent)
        return self._champion()

    def test_equals(self, treatment: "ModelVersion", size: LiveSize) -> ABTestReport:
        """The same with a version that is no better."""
        return self._test(treatment, [self._draw(size.equal_customers)], name="equal")

    def change_weights(self, control: int, treatment: int) -> list[float]:
        """Seconds until each of twenty changes held everywhere, while customers talk; then the test is stopped."""
        from flows.ab_test import stop_ab_test
        from tasks.ab_tests import ramp_ab_test
        from tasks.serving import align_traffic

        before = len(self._seconds_until_held())
        with self._traffic():
            for change in range(WEIGHT_CHANGES):
                share = round(0.05 + 0.9 * (change % 10) / 9, 3)
                # The steps of `agentgym ab ramp`, without a flow run around each of them.
                ramp_ab_test.fn(self._agent, {str(control): 1 - share, str(treatment): share}, self._settings)
                align_traffic.fn(self._agent, self._settings)
            seconds = self._seconds_until_held()[before:]
            stop_ab_test(self._agent)
        return seconds

    def roll_back(self, from_version: int, reason: str) -> tuple[int, str]:
        """The champion after a rollback while customers talk, and who answers those who begin after it."""
        from flows.rollback import rollback

        with self._traffic():
            champion = rollback(reason, agent=self._agent, from_version=from_version).version
        return champion, self._who_answers()

    def copy_of(self, version: "ModelVersion") -> "ModelVersion":
        """A version with the same weights under another digest."""
        from agentgym.registry import Lineage
        from tasks.artifacts import read_checkpoint, write_checkpoint
        from tasks.registry import open_registry

        original = read_checkpoint(version.checkpoint, self._settings)
        lineage = {**original.manifest.lineage, "copy_of": version.checkpoint.digest}
        copy = original.model_copy(update={"manifest": original.manifest.model_copy(update={"lineage": lineage})})
        tags = {name: text for name, text in version.tags.items() if name in Lineage.model_fields}
        registry = open_registry(self._agent, self._settings)
        description = f"Equal to version {version.version}"
        return registry.register(write_checkpoint(copy, self._settings), lineage=Lineage(**tags), description=description)

    def requests(self) -> dict[str, int]:
        return {"sent": self.tally.requests, "failed": self.tally.failed, "conversations": self.tally.conversations}

    def _test(self, treatment: "ModelVersion", batches: "Sequence[list[Case]] | Iterator[list[Case]]", *, name: str) -> ABTestReport:
        from flows.ab_test import start_ab_test
        from tasks.ab_tests import current_report

        weights = {str(self._champion()): 0.5, str(treatment.version): 0.5}
        start_ab_test(self._agent, weights, ABTestCriteria(), salt=f"demo {self._seed} {name}")
        report = current_report(self._agent, self._settings)
        with self._screen.progress() as bars:
            bar = bars.add_task("customers", total=None, note="")
            for batch in batches:
                self._talk(batch)
                report = current_report(self._agent, self._settings)
                bars.update(bar, completed=report.control.outcomes + report.treatment.outcomes, note=report.verdict.replace("_", " "))
                if report.verdict != "keep_running":
                    break
        return report

    def _batches(self, most: int, size: int) -> "Iterator[list[Case]]":
        for _ in range(0, most, size):
            yield self._draw(size)

    def _draw(self, count: int) -> "list[Case]":
        with self._drawing:
            return list(islice(self._cases, count))

    def _talk(self, cases: "list[Case]") -> None:
        self.tally += self._customers.talk(cases, seed=self._seed)

    @contextmanager
    def _traffic(self) -> Iterator[None]:
        """Customers keep talking inside the block; those who are talking at its end may finish."""
        is_over = threading.Event()

        def talk() -> None:
            while not is_over.is_set():
                self._talk(self._draw(_AT_ONCE))

        thread = threading.Thread(target=talk, name="customers")
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def _who_answers(self) -> str:
        """The versions that answer those who begin now."""
        from agentgym.serving.exposure_log import ExposureLog

        began = datetime.now(UTC)
        self._talk(self._draw(_AT_ONCE))
        rows = ExposureLog(self._settings.experience_url, self._agent).rows()
        return ", ".join(sorted({row.variant for row in rows if datetime.fromisoformat(row.started_at) >= began}))

    def _champion(self) -> int:
        from tasks.registry import open_registry

        return open_registry(self._agent, self._settings).resolve("@champion").version

    def _seconds_until_held(self) -> list[float]:
        from agentgym.serving.traffic_log import TrafficLog

        plans = TrafficLog(self._settings.experience_url, self._agent).plans()
        return [(logged.settled_at - logged.at).total_seconds() for logged in plans if logged.settled_at is not None]


@contextmanager
def live_half(screen: Screen, settings: Settings, world: WorldScenario, *, agent: str, seed: int) -> Iterator[LiveHalf]:
    """The agent served on a free port of this machine inside the block."""
    from tasks.serving import first_key, running_endpoint

    key = first_key(settings)
    assert key is not None, "a demo's workspace is new"
    with running_endpoint(agent, settings.model_copy(update={"endpoint_port": _free_port()})) as endpoint:
        screen.show(f"Served at {endpoint.url}/v1, by {settings.endpoint_replicas} replica(s) of Ray Serve.")
        yield LiveHalf(screen, settings, world, agent=agent, seed=seed, base_url=endpoint.url, key=key)


def weight_changes_json(seconds: Sequence[float]) -> dict[str, Any]:
    return {"count": len(seconds), "median_seconds": round(median(seconds), 3), "max_seconds": round(max(seconds), 3)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
