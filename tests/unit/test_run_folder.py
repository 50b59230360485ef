import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest

from agentgym.episode import Action, Decision, JudgedCall, Outcome, Trajectory
from agentgym.errors import InvalidInput, Unavailable
from agentgym.messages import ToolCall, assistant, user
from agentgym.training.config import TrainingConfig
from agentgym.training.run_folder import START, RunFolder

NOW = datetime(2025, 3, 3, 9, 1, 2, tzinfo=UTC)


@pytest.fixture
def config(tmp_path):
    return TrainingConfig(output_dir=tmp_path / "models", episodes=64, seed=7)


def test_runs_of_one_second_get_folders_of_their_own(config):
    folders = [RunFolder.create(config, now=NOW).path for _ in range(3)]
    assert [folder.name for folder in folders] == [
        "customer_support-20250303T090102Z",
        "customer_support-20250303T090102Z-2",
        "customer_support-20250303T090102Z-3",
    ]


def test_a_folder_holds_the_whole_configuration(config):
    folder = RunFolder.create(config, now=NOW)
    assert RunFolder.of_interrupted(folder.path).read_config() == config


def test_the_environment_names_versions_and_device(config):
    folder = RunFolder.create(config, now=NOW)
    assert folder.write_environment(device="cpu", now=NOW) == NOW
    assert folder.write_environment(device="cpu", now=NOW + timedelta(hours=1)) == NOW
    told = json.loads((folder.path / "environment.json").read_text())
    assert told["device"] == "cpu"
    assert {"agentgym", "torch", "ray"} <= told["packages"].keys()


def test_a_place_that_cannot_be_written_is_told_before_anything_is_trained(tmp_path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(Unavailable, match=r"writes a folder into .*models'; it said"):
        RunFolder.create(TrainingConfig(output_dir=tmp_path / "models"), now=NOW)


def test_a_run_that_is_over_or_never_was_does_not_go_on(config, tmp_path):
    folder = RunFolder.create(config, now=NOW)
    (folder.path / "result.json").write_text("{}")
    with pytest.raises(InvalidInput, match="is over"):
        RunFolder.of_interrupted(folder.path)
    with pytest.raises(InvalidInput, match=r"holds no config\.json"):
        RunFolder.of_interrupted(tmp_path)


def test_a_configuration_that_was_edited_badly_is_told_by_its_field(config):
    folder = RunFolder.create(config, now=NOW)
    (folder.path / "config.json").write_text(config.model_dump_json().replace('"episodes":64', '"episodes":0'))
    with pytest.raises(InvalidInput, match="episodes"):
        folder.read_config()


def test_what_was_not_reached_is_none(config):
    folder = RunFolder.create(config, now=NOW)
    assert folder.read_checkpoint() is None
    assert folder.read_resume_point() is None
    folder.remove_resume_point()


def test_trajectories_are_json_lines_with_every_decision_and_reason(config):
    folder = RunFolder.create(config, now=NOW)
    call = ToolCall(name="refund", arguments={"amount": 10})
    decisions = (Decision(name="act", choice="refund", log_probability=-0.5, evidence=object()),)
    trajectory = Trajectory(
        case_id="refund/CUS-1/1",
        kind="refund",
        cluster_id="CUS-1",
        messages=(user("I want my money back."), assistant("", call)),
        actions=(Action(message=assistant("", call), decisions=decisions),),
        calls=(JudgedCall(call=call, is_correct=False, is_right_tool=True, reason="the amount is 12"),),
        missing_calls=("close_ticket",),
        outcome=Outcome.UNRESOLVED,
        satisfaction_score=None,
        agent_tokens=12,
        simulated_seconds=0.2,
        reward_terms={"outcome": -5.0, "tools": -10.0},
    )
    folder.write_trajectories("held-out.jsonl.gz", [trajectory, trajectory])
    lines = gzip.decompress((folder.path / "held-out.jsonl.gz").read_bytes()).splitlines()
    told = json.loads(lines[0])
    assert len(lines) == 2
    assert told["reward"] == -15.0
    assert told["calls"] == [{"name": "refund", "is_correct": False, "is_error": False, "reason": "the amount is 12"}]
    assert told["decisions"] == [[{"name": "act", "choice": "refund", "log_probability": -0.5}]]
    assert told["messages"][1]["tool_calls"][0]["arguments"] == {"amount": 10}


def test_a_run_without_a_policy_to_begin_as_leaves_nothing(config):
    never, begun = RunFolder.create(config, now=NOW), RunFolder.create(config, now=NOW)
    (begun.path / START).write_bytes(b"a policy")
    never.remove_unless_begun()
    begun.remove_unless_begun()
    assert not never.path.exists()
    assert begun.path.exists()
