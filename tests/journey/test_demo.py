"""The whole story, small: logs, a challenger, one refused, customers who decide, the way back, and the next turn of the loop."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(1800)


AGENTGYM = str(Path(sys.executable).parent / "agentgym")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The demo's one JSON object."""
    folder = tmp_path_factory.mktemp("demo") / "workspace"
    command = [AGENTGYM, "demo", "--small", "--json", "--workspace", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False)
    assert run.returncode == 0, f"{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
    return dict(json.loads(run.stdout))


def test_the_logs_are_those_of_an_agent_with_faults(told: dict[str, Any]) -> None:
    assert 0.55 <= told["logs"]["tool_reliability"]["mean"] <= 0.75


def test_a_version_trained_on_policy_beats_imitation_and_is_promoted(told: dict[str, Any]) -> None:
    imitation, trained, _ = told["versions"]
    assert trained["tool_reliability"]["low"] > imitation["tool_reliability"]["mean"]
    assert trained["decision"]["promote"]


def test_a_version_trained_on_a_corrupted_reward_is_refused_with_reasons(told: dict[str, Any]) -> None:
    corrupted = told["versions"][2]["decision"]
    assert not corrupted["promote"]
    assert any(reason.startswith("failed") for reason in corrupted["reasons"])


def test_adversaries_tell_the_rewards_apart_before_anything_is_trained(told: dict[str, Any]) -> None:
    improved, corrupted = told["reward_audits"]["improve"], told["reward_audits"]["corrupted_reward"]
    assert (improved["verdict"], improved["waiver"]) == ("sound", None)
    assert corrupted["verdict"] == "refuse"
    assert corrupted["waiver"]
    assert any("spam_tools is paid" in reason for reason in corrupted["reasons"])


def test_another_reward_asks_for_no_second_imitation(told: dict[str, Any]) -> None:
    steps = [step["name"] for step in told["steps"]]
    assert steps.count("imitate agent") == 1
    assert steps.count("train policy") == 2


def test_customers_ship_the_better_version(told: dict[str, Any]) -> None:
    test = told["ab_test"]
    assert test["verdict"] == "ship"
    assert test["difference"]["low"] > 0
    assert min(test[arm]["customers"] for arm in ("control", "treatment")) >= 100


def test_a_version_that_is_no_better_is_not_shipped(told: dict[str, Any]) -> None:
    assert told["equal_version"]["verdict"] != "ship"
    assert told["equal_version"]["difference"]["low"] < 0


def test_no_request_failed_through_twenty_weight_changes_a_promotion_and_a_rollback(told: dict[str, Any]) -> None:
    assert told["weight_changes"]["count"] == 20
    assert told["requests"]["failed"] == 0
    assert told["requests"]["sent"] > 1000


def test_a_rollback_restores_the_version_before_and_its_traffic(told: dict[str, Any]) -> None:
    imitation, trained, _ = told["versions"]
    assert told["rollback"] == {"champion_before": trained["version"], "champion_after": imitation["version"]}
    assert told["rolled_back_traffic"] == {"answered_by": str(imitation["version"]), "after_undo": str(trained["version"])}


def test_what_it_cost_is_told(told: dict[str, Any]) -> None:
    stages = ["logs", "improve", "corrupted_reward", "serve", "live_test", "equal_version", "rollback", "versions"]
    assert [stage["name"] for stage in told["stages"]] == stages
    assert told["peak_memory_bytes"] > 0


def test_what_was_served_is_learned_from_in_the_next_turn(told: dict[str, Any]) -> None:
    """Without --traces, the loop goes on from the conversations that were served."""
    command = [AGENTGYM, "improve", "--agent", "support", "--scenario", "customer_support", "--episodes", "1024", "--json"]
    environment = {**os.environ, "AGENTGYM_WORKSPACE": told["workspace"]}
    for name in ("AGENTGYM_STORE", "AGENTGYM_TRACKING_URI", "PREFECT_HOME", "PREFECT_API_URL"):
        environment.pop(name, None)
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert run.returncode in (0, 4), f"{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
    improved = json.loads(run.stdout)
    assert improved["traces"]["read"] == told["requests"]["conversations"]
    assert improved["traces"]["accepted"] > 0.95 * improved["traces"]["read"]
    assert improved["incumbent"]["version"] == 2
