"""Edge cases, copies and regression cases of real dialogues."""

import os
from pathlib import Path

import pytest

from agentgym.errors import InsufficientData
from agentgym.evaluation.floors import AlwaysTalk
from agentgym.scenarios.customers import evenly
from agentgym.scenarios.edge_cases.making import make_edge_cases
from agentgym.scenarios.from_traces import make_recorded_pack
from agentgym.scenarios.regressions.of_recording import regression_of_failure, regression_of_version
from agentgym.scenarios.synthesis.adaptation import DomainMapping, adapt
from agentgym.scenarios.synthesis.augmentation import AugmentationConfig, augment_training_part
from agentgym.traces.importers import TraceFormat, import_traces
from agentgym.traces.trace import Trace

SHARED_DATA = Path(os.environ.get("AGENTGYM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))

pytestmark = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"real dialogues are not at {SHARED_DATA}; set AGENTGYM_SHARED_DATA")


def traces(name: str, format: TraceFormat, count: int) -> list[Trace]:
    """So many of the log's conversations, spread over it: those that follow each other are about the same."""
    return list(evenly([item for item in import_traces(SHARED_DATA / name, format) if isinstance(item, Trace)], count))


SGD, TAU = ("sgd/train", "sgd"), ("tau_bench/airline/gpt-4o-airline.json.gz", "openai")


def test_sgd_has_edge_cases_of_every_kind_that_needs_no_model() -> None:
    dialogues = traces(*SGD, 60)
    made = make_edge_cases(make_recorded_pack(dialogues[:30], dialogues[30:], "d"), per_kind=3)
    assert set(made.skipped) == {"other_language"}
    assert all(count == 3 for kind, count in made.counts.items() if kind != "other_language")


def test_most_copies_of_real_dialogues_hold_together() -> None:
    for name, format in (SGD, TAU):
        made = augment_training_part(traces(name, format, 40), AugmentationConfig())
        assert len(made.copies) > 0.9 * made.trained_on


def test_every_failure_of_a_policy_that_only_talks_becomes_a_shorter_case() -> None:
    for trace in (trace for trace in traces(*SGD, 10) if trace.outcome == "resolved"):
        regression = regression_of_version(trace, AlwaysTalk(), name="talk")
        assert regression.is_minimal
        assert regression.messages_after < regression.messages_before / 2


def test_a_failed_trial_is_shown_right_by_another_of_its_task() -> None:
    runs = traces(*TAU, 200)
    made = []
    for run in runs:
        if run.outcome == "unresolved":
            try:
                made.append(regression_of_failure(run, runs))
            except InsufficientData:
                continue
    assert made
    assert all(regression.messages_after < regression.messages_before for regression in made)


def test_real_dialogues_can_be_moved_to_another_business() -> None:
    dialogues = [trace for trace in traces(*SGD, 60) if {tool.service for tool in trace.tools} == {"Restaurants_1"}]
    (moved, *_) = adapt(dialogues, DomainMapping(services={"Restaurants_1": "Salons"}, slots={"restaurant_name": "salon_name"}))
    assert all(call.name.startswith("Salons.") for message in moved.messages for call in message.tool_calls)
    assert "restaurant_name" not in moved.model_dump_json()
