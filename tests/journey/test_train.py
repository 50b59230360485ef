"""`agentgym train`, as somebody who has never trained anything runs it first: small, for real."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentgym import TrainedAgent, TrainingResult

pytestmark = pytest.mark.timeout(1500)

AGENTGYM = str(Path(sys.executable).parent / "agentgym")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The command's one JSON object, and what it wrote to standard error."""
    folder = tmp_path_factory.mktemp("train")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("AGENTGYM_", "PREFECT_"))}
    command = [AGENTGYM, "train", "customer_support", "-e", "64", "-lr", "0.003", "-s", "1", "--watch", "--json"]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert run.returncode in (0, 4), f"{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
    return {**json.loads(run.stdout), "exit_code": run.returncode, "lines": run.stderr.splitlines(), "cwd": str(folder)}


def test_it_does_what_was_asked(told: dict[str, Any]) -> None:
    config = told["config"]
    assert (config["episodes"], config["learning_rate"], config["seed"]) == (64, 0.003, 1)
    assert told["metrics"]["episodes_completed"] == 64


def test_few_episodes_do_not_make_a_policy_ready_and_the_exit_code_says_so(told: dict[str, Any]) -> None:
    assert told["metrics"]["deployment_readiness"] == "not_ready"
    assert told["exit_code"] == 4
    assert [check["name"] for check in told["checks"] if check["outcome"] == "failed"] == ["tool_reliability"]


def test_without_a_terminal_the_board_is_lines(told: dict[str, Any]) -> None:
    assert any(line.startswith("iteration 1 of 1 ") for line in told["lines"])


def test_its_folder_holds_the_result_and_an_agent_that_acts(told: dict[str, Any]) -> None:
    folder = Path(told["folder"])
    assert folder.parent == Path(told["cwd"]) / "models"
    assert TrainingResult.load(folder).checkpoint_digest == told["checkpoint_digest"]
    assert TrainedAgent.load(folder).act([{"role": "user", "content": "I forgot my password."}]).role == "assistant"
