"""The whole story, small: logs, a champion, a challenger judged, a version refused, and the way back where there is one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The demo's one JSON object."""
    folder = tmp_path_factory.mktemp("demo") / "workspace"
    command = [str(Path(sys.executable).parent / "agentgym"), "demo", "--small", "--json", "--workspace", str(folder)]
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


def test_a_rollback_leads_to_the_version_before_the_promoted_one(told: dict[str, Any]) -> None:
    imitation, trained, _ = told["versions"]
    assert told["rollback"] == {"champion_before": trained["version"], "champion_after": imitation["version"]}


def test_what_it_cost_is_told(told: dict[str, Any]) -> None:
    assert [stage["name"] for stage in told["stages"]] == ["logs", "improve", "corrupted_reward", "rollback", "versions"]
    assert told["peak_memory_bytes"] > 0
