from datetime import UTC, datetime, timedelta

import pytest

from agentgym.errors import InvalidInput
from agentgym.statistics import Estimate
from agentgym.training.config import TrainingConfig
from agentgym.training.result import TrainingMetrics, TrainingResult
from agentgym.verdicts import Check

NOW = datetime(2025, 3, 3, 9, tzinfo=UTC)
CRITERIA = {"tool_reliability": 0.95, "cost_reduction": 0.3}


def metrics(**changes):
    usual = {
        "tool_reliability": 0.96,
        "success_rate": 0.97,
        "final_reward": 29.5,
        "average_tokens": 110.0,
        "cost_reduction": 0.78,
        "cost_reduction_against_logs": None,
        "average_response_seconds": 2.2,
        "time_saving": 0.99,
        "episodes_completed": 64,
        "training_seconds": 12.5,
        "cost_per_episode": 0.1,
        "convergence_episode": None,
        "deployment_readiness": "ready",
    }
    return TrainingMetrics(**{**usual, **changes})


def result(**changes):
    estimate = Estimate(mean=0.96, standard_error=0.01, low=0.94, high=0.98, clusters=50)
    return TrainingResult(
        config=TrainingConfig(episodes=64),
        metrics=metrics(**changes),
        criteria=CRITERIA,
        checks=(Check(name="tool_reliability", outcome="passed", statement="It is."),),
        estimates={"tool_reliability": estimate},
        start={"tool_reliability": estimate},
        device="cpu",
        checkpoint_digest="abc",
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=13),
    )


def test_a_result_is_what_it_was_after_it_was_saved_in_a_folder_that_was_not_there(tmp_path):
    folder = tmp_path / "deep" / "run"
    result().save(folder)
    assert TrainingResult.load(folder) == result().model_copy(update={"folder": folder})
    assert TrainingResult.load(folder / "result.json") == TrainingResult.load(str(folder))


def test_where_a_result_was_saved_is_not_part_of_it(tmp_path):
    written = result().model_copy(update={"folder": tmp_path}).save(tmp_path)
    assert str(tmp_path) not in written.read_text()


@pytest.mark.parametrize(("content", "told"), [(None, "nothing is at"), ("{}", "config: Field required"), ("{", "the file: Invalid JSON")])
def test_what_is_no_result_is_refused_by_name(tmp_path, content, told):
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(InvalidInput, match=told):
        TrainingResult.load(tmp_path)


def test_the_target_is_the_scenarios_unless_another_is_named():
    assert result().meets_target()
    assert not result(tool_reliability=0.949).meets_target()
    assert not result().meets_target({"tool_reliability": 0.97})
    assert result(tool_reliability=0.5).meets_target({"cost_reduction": 0.3})


def test_where_less_is_better_a_threshold_is_the_most_that_may_be():
    assert result().meets_target({"average_tokens": 110, "average_response_seconds": 3, "training_seconds": 60})
    assert not result().meets_target({"average_tokens": 109})


def test_what_is_unknown_has_reached_nothing():
    assert not result().meets_target({"convergence_episode": 1_000_000})
    assert result(convergence_episode=512).meets_target({"convergence_episode": 1_000_000})


def test_a_threshold_for_something_else_is_refused():
    with pytest.raises(InvalidInput, match=r"'accuracy' is none\. Choose of tool_reliability, "):
        result().meets_target({"accuracy": 0.9})


@pytest.mark.parametrize(
    "wrong", [{"tool_reliability": 1.2}, {"cost_reduction": 1.1}, {"episodes_completed": -1}, {"final_reward": float("nan")}]
)
def test_metrics_are_within_what_they_can_be(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        metrics(**wrong)


@pytest.mark.parametrize(("readiness", "is_ready"), [("ready", True), ("not_ready", False), ("not_shown", False)])
def test_only_what_is_shown_to_be_ready_is_ready(readiness, is_ready):
    assert result(deployment_readiness=readiness).is_ready is is_ready
