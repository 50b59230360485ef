"""The recorded agents of real dialogues, played in the scenario made from them."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from agentgym.environments.case import Case
from agentgym.environments.conversation import ConversationEnv
from agentgym.episode import Outcome, Trajectory
from agentgym.reward import trajectory_metrics
from agentgym.scenarios.from_traces import RecordedScenario, make_recorded_pack
from agentgym.traces.importers import TraceFormat, import_traces
from agentgym.traces.trace import Trace

SHARED_DATA = Path(os.environ.get("AGENTGYM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))

pytestmark = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"real dialogues are not at {SHARED_DATA}; set AGENTGYM_SHARED_DATA")


def fitting_traces(name: str, format: TraceFormat) -> list[Trace]:
    """Traces whose calls fit their schemas; two dialogues of SGD's training part hold a call that does not."""
    traces = [item for item in import_traces(SHARED_DATA / name, format) if isinstance(item, Trace)]
    return [trace for trace in traces if not any(violations(trace))]


def violations(trace: Trace) -> list[str]:
    tools = {tool.name: tool for tool in trace.tools}
    return [fault for message in trace.messages for call in message.tool_calls for fault in tools[call.name].violations(call.arguments)]


def replay(environment: ConversationEnv, case: Case) -> Trajectory:
    assert case.recording is not None
    environment.reset(seed=0, options={"case": case})
    for message in case.recording.messages:
        if message.role == "assistant":
            _, _, is_terminated, is_truncated, _ = environment.step(message)
            if is_terminated or is_truncated:
                break
    return environment.trajectory(())


def replay_all(cases: Sequence[Case], scenario: RecordedScenario) -> list[Trajectory]:
    environment = scenario.create_environment()
    return [replay(environment, case) for case in cases]


def test_the_recorded_agents_of_sgd_are_right_in_every_call() -> None:
    pack = make_recorded_pack(fitting_traces("sgd/train", "sgd"), fitting_traces("sgd/dev", "sgd"), "digest")
    trajectories = replay_all(pack.train + pack.held_out, RecordedScenario(pack))
    assert trajectory_metrics(trajectories)["tool_reliability"] == 1.0
    recorded = [case.recording.outcome for case in pack.train + pack.held_out if case.recording]
    assert [trajectory.outcome for trajectory in trajectories] == recorded
    assert Counter(recorded) == {Outcome.RESOLVED: 1_418 + 290, Outcome.UNRESOLVED: 10}


def test_a_replay_of_sgd_says_what_was_said() -> None:
    pack = make_recorded_pack(fitting_traces("sgd/dev", "sgd"), (), "digest")
    for case, trajectory in zip(pack.train, replay_all(pack.train, RecordedScenario(pack)), strict=True):
        assert case.recording is not None
        assert trajectory.messages == case.recording.messages


def test_the_recorded_agents_of_tau_bench_are_right_also_in_chains_of_calls() -> None:
    pack = make_recorded_pack(fitting_traces("tau_bench/airline/gpt-4o-airline.json.gz", "openai"), (), "digest")
    metrics = trajectory_metrics(replay_all(pack.train, RecordedScenario(pack)))
    assert len(pack.train) == 84
    assert (metrics["tool_reliability"], metrics["success_rate"]) == (1.0, 1.0)
