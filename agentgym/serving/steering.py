"""Brings traffic in line with what was decided: the registry says who is champion, the test log who is compared.

The plan follows from those two and is never set by hand. So whoever moves the champion moves the traffic, whatever they used to do it,
and a process that dies between the two leaves nothing that the next one would not put right.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from agentgym.ab_tests.ab_test import ABTest
from agentgym.ab_tests.test_log import ABTestLog, TestChanges
from agentgym.errors import InvalidInput, Unavailable
from agentgym.registry import HistoryEntry, ModelRegistry, Pointer
from agentgym.serving.plan import TrafficPlan
from agentgym.serving.traffic import Allocation
from agentgym.serving.traffic_log import LoggedPlan, TrafficLog
from agentgym.store import ArtifactRef

_POLL_SECONDS = 0.05


def steer(registry: ModelRegistry, tests: ABTestLog, log: TrafficLog, *, now: datetime) -> TrafficPlan | None:
    """The plan that was appended because what it follows from has changed; None where the last one is in line.

    Raises InvalidInput when there is no champion to serve.
    """
    while True:
        # In this order: what is read last can only be newer than what a plan appended meanwhile has followed.
        latest = log.latest()
        before = latest.plan if latest else None
        history = registry.history()
        changes = tests.changes_since(before.test_revision if before else 0)
        checkpoints = {version.pointer: version.checkpoint for version in registry.versions()}
        plan = next_plan(before, agent=registry.name, history=history, tests=changes, checkpoints=checkpoints)
        if plan is None or log.append(plan, at=now):
            return plan


def next_plan(
    before: TrafficPlan | None,
    *,
    agent: str,
    history: Sequence[HistoryEntry],
    tests: TestChanges,
    checkpoints: Mapping[Pointer, ArtifactRef],
) -> TrafficPlan | None:
    """The plan after `before`; None when there is nothing new to follow.

    history: all of it.   tests: what has changed since `before`; the latest test decides the split as long as it runs and its control is
    champion.
    """
    champion = history[-1].standing.champion if history else None
    if champion is None:
        raise InvalidInput(f"Only a champion can be served; {agent!r} has none. Make one: agentgym improve, or agentgym models upstream.")
    sequence, test = history[-1].sequence, tests.latest
    if is_in_line(before, registry_sequence=sequence, test_revision=tests.revision):
        return None
    is_tested = test is not None and test.is_running and test.control.checkpoint_digest == champion.checkpoint_digest
    epoch = before.epoch + 1 if before else 1
    return TrafficPlan(
        agent=agent,
        epoch=epoch,
        champion=str(champion.version),
        allocation=_allocation(test) if test is not None and is_tested else Allocation(weights={str(champion.version): 1.0}),
        versions=_held(history[-1], test, checkpoints),
        holds_from=0 if before is None else epoch if _moves_open_conversations(before, history, tests) else before.holds_from,
        registry_sequence=sequence,
        test_revision=tests.revision,
        test_id=test.test_id if test is not None and is_tested else None,
        reason=_reason(before, history[-1], test),
    )


def is_in_line(plan: TrafficPlan | None, *, registry_sequence: int, test_revision: int) -> bool:
    """Whether the plan follows all there is."""
    return plan is not None and plan.registry_sequence >= registry_sequence and plan.test_revision >= test_revision


def wait_until_held(log: TrafficLog, epoch: int, *, timeout_seconds: float) -> LoggedPlan:
    """The plan of this epoch, or a later one, once every replica holds it or has refused it.

    Raises Unavailable when that takes longer, for example because no endpoint runs.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        latest = log.latest()
        if latest is not None and latest.plan.epoch >= epoch and latest.state != "pending":
            return latest
        if time.monotonic() > deadline:
            raise Unavailable(
                f"A change of traffic must reach every replica; epoch {epoch} has not within {timeout_seconds:g} s. "
                "It stays written down and takes effect when the endpoint runs: agentgym serve."
            )
        time.sleep(_POLL_SECONDS)


def _allocation(test: ABTest) -> Allocation:
    return Allocation(weights=test.weights, salt=test.salt)


def _held(entry: HistoryEntry, test: ABTest | None, checkpoints: Mapping[Pointer, ArtifactRef]) -> dict[str, ArtifactRef]:
    """Every version that may have to answer: those with an alias, and those of the latest test, whose conversations may be open."""
    standing = entry.standing
    pointers = [pointer for pointer in (standing.champion, standing.previous, standing.challenger) if pointer]
    arms = {test.control.checkpoint_digest, test.treatment.checkpoint_digest} if test else set()
    pointers += [pointer for pointer in checkpoints if pointer.checkpoint_digest in arms]
    missing = [pointer for pointer in pointers if pointer not in checkpoints]
    if standing.champion in missing:
        raise InvalidInput(
            f"A version that is served must be registered; version {missing[0].version} of the history is not in MLflow. "
            "Restore MLflow's database from a backup."
        )
    return {str(pointer.version): checkpoints[pointer] for pointer in pointers if pointer not in missing}


def _moves_open_conversations(before: TrafficPlan, history: Sequence[HistoryEntry], tests: TestChanges) -> bool:
    """Whether the champion was rolled back, or a test stopped, since the plan before, and conversations were not left to drain."""
    has_rolled_back = any(entry.open_conversations == "move" for entry in history if entry.sequence > before.registry_sequence)
    return has_rolled_back or any(not test.is_running and test.open_conversations == "move" for test in tests.changed)


def _reason(before: TrafficPlan | None, entry: HistoryEntry, test: ABTest | None) -> str:
    if before is None or entry.sequence > before.registry_sequence or test is None:
        return f"{entry.change}: {entry.reason}"
    return f"test {test.test_id} {'runs with ' + str(test.weights) if test.is_running else 'has ended'}"
