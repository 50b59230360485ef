"""What `agentgym train`, `list` and `info` ask and refuse; nothing is trained here."""

import json
import sys

import pytest

from agentgym.cli import main
from agentgym.scenarios.registry import ScenarioRegistry


@pytest.fixture
def tell(capsys, monkeypatch, tmp_path):
    """Runs a command line in an empty folder; its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["agentgym", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def asked(monkeypatch):
    """What the command would have been run with."""
    given = {}
    monkeypatch.setattr("agentgym.cli.train.run_train", lambda scenarios, fields, **rest: given.update(fields, scenarios=scenarios, **rest))
    return given


@pytest.mark.parametrize("rate", [["-lr", "0.0003"], ["-lr=0.0003"], ["--learning-rate", "0.0003"], ["--learning-rate=0.0003"]])
def test_the_learning_rate_can_be_written_in_each_of_these_ways(tell, asked, rate):
    assert tell("train", "customer_support", "-e", "200", *rate, "-s", "42", "-v")[0] == 0
    assert (asked["learning_rate"], asked["episodes"], asked["seed"], asked["is_verbose"]) == (0.0003, 200, 42, True)


def test_a_rate_that_is_written_together_with_its_option_is_refused_rather_than_read_as_others(tell):
    assert tell("train", "customer_support", "-lr0.0003")[0] == 2


def test_what_is_not_asked_for_is_left_to_the_configuration(tell, asked):
    assert tell("train", "--scenario", "customer_support")[0] == 0
    assert asked["scenarios"] == {"customer_support"}
    assert not {"episodes", "learning_rate", "seed", "method", "policy"} & asked.keys()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["Customer_Support"], "lowercase letters and underscores"),
        (["customer_support", "-lr", "0"], "learning_rate: Input should be greater than 0, got 0.0"),
        (["customer_suport"], "Did you mean 'customer_support'?"),
        (["recorded"], "Use improve with --traces"),
        (["customer_support", "--policy", "causal_lm"], "causal_lm needs a base_model"),
        (["lookup", "--policy", "causal_lm", "--base-model", "./nothing"], "there is nothing at './nothing'"),
        (["customer_support", "--gpu", "cuda"], "learns on the processor"),
        (["customer_support", "--scenario", "other"], "one scenario; got 'customer_support' and 'other'"),
        ([], "one scenario; got none"),
        (["customer_support", "--from", "nowhere"], "'nowhere' is none"),
        (["--resume", "nowhere"], "there is none at 'nowhere'"),
        (["customer_support", "--resume", "nowhere"], "got --resume and customer_support"),
        (["customer_support", "-e", "many"], "'--episodes'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(tell, tmp_path, arguments, told):
    code, output, errors = tell("train", *arguments)
    assert (code, output) == (2, "")
    assert told in errors
    assert errors.count("\n") == 1
    assert not list(tmp_path.glob("models/*"))


def test_bad_input_with_json_is_one_object(tell):
    code, output, _ = tell("train", "customer_support", "-lr", "0", "--json")
    assert code == 2
    assert json.loads(output)["error"]["kind"] == "InvalidInput"


def test_the_help_says_what_few_episodes_are_worth(tell):
    code, output, _ = tell("train", "--help")
    assert code == 0
    assert "50 teach nothing" in " ".join(output.replace("│", " ").split())


def test_the_list_counts_and_names_every_scenario(tell):
    code, output, _ = tell("list")
    assert code == 0
    assert f"{len(ScenarioRegistry().list())} scenario" in output
    assert all(name in output for name in ScenarioRegistry().list())
    assert "≥" not in output


def test_the_detailed_list_says_when_a_policy_is_ready(tell):
    _, output, _ = tell("list", "-d")
    assert "tool reliability ≥ 95%" in " ".join(output.split())


def test_the_list_as_json_has_criteria_and_tools(tell):
    listed = json.loads(tell("list", "--json")[1])["scenarios"]
    (support,) = [scenario for scenario in listed if scenario["name"] == "customer_support"]
    assert support["success_criteria"]["tool_reliability"] == 0.95
    assert "refund" in support["tools"]


def test_info_says_what_it_is_and_where_to_begin(tell):
    told = json.loads(tell("info", "--json")[1])
    assert told["version"].count(".") == 2
    assert all(command.startswith("agentgym ") for command in told["quick_start"])
    code, output, _ = tell("info")
    assert code == 0
    assert "agentgym demo" in output
