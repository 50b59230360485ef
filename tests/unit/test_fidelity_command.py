"""`agentgym scenarios fidelity` from the command line: its table, its JSON, and what it ends with."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from agentgym.cli import main
from agentgym.scenarios.lookup import Lookup
from agentgym.scenarios.production_log import write_logs
from agentgym.traces.trace import Trace

Tell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tell:
    """Exit code, standard output and standard error of `scenarios fidelity` with these arguments."""
    monkeypatch.setenv("AGENTGYM_WORKSPACE", str(tmp_path / "workspace"))

    def tell(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["agentgym", "scenarios", "fidelity", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return tell


def write_log(path: Path, traces: list[Trace]) -> str:
    path.write_bytes(b"".join(orjson.dumps(trace.model_dump(mode="json", exclude_defaults=True)) + b"\n" for trace in traces))
    return str(path)


def log(count: int) -> list[Trace]:
    return list(write_logs(Lookup(), Lookup().legacy_agent(), count, 5))


def with_all_lost(trace: Trace) -> Trace:
    """The trace as if every order had been lost, which it was not."""
    answers = {"find_order": {"status": "lost", "since": "yesterday"}}
    messages = [m.model_copy(update={"result": answers[m.name]}) if m.role == "tool" and m.name in answers else m for m in trace.messages]
    return trace.model_copy(update={"messages": tuple(messages)})


def test_a_world_that_answers_as_recorded_passes(told: Tell, tmp_path: Path) -> None:
    code, output, _ = told("lookup", "--traces", write_log(tmp_path / "log.jsonl", log(400)), "--json")
    report = json.loads(output)
    assert (code, report["verdict"], report["failed"]) == (0, "passed", [])
    assert report["all_tools"]["result_match"]["estimate"]["mean"] == 1.0


def test_a_tool_that_answers_otherwise_is_named_and_the_answer_is_no(told: Tell, tmp_path: Path) -> None:
    code, output, _ = told("lookup", "--traces", write_log(tmp_path / "log.jsonl", [with_all_lost(trace) for trace in log(500)]), "--json")
    assert code == 4
    assert {failed["subject"] for failed in json.loads(output)["failed"]} == {"find_order"}


def test_people_see_a_row_for_each_tool_and_the_verdict(told: Tell, tmp_path: Path) -> None:
    code, output, _ = told("lookup", "--traces", write_log(tmp_path / "log.jsonl", [with_all_lost(trace) for trace in log(500)]))
    assert code == 4
    assert "find_invoice" in output
    assert "fidelity failed: " in output
    assert "Declare what the tool returns" in output


def test_two_conversations_measure_nothing(told: Tell, tmp_path: Path) -> None:
    two = [trace.model_copy(update={"customer_id": f"c{number}"}) for number, trace in enumerate(log(40)) if trace.messages[2].tool_calls][
        :2
    ]
    code, output, _ = told("recorded", "--traces", write_log(tmp_path / "log.jsonl", two), "--json")
    assert (code, json.loads(output)["verdict"]) == (2, "not_measured")


def test_traces_of_another_world_are_bad_input(told: Tell, tmp_path: Path) -> None:
    code, output, _ = told("customer_support", "--traces", write_log(tmp_path / "log.jsonl", log(40)), "--json")
    assert code == 2
    assert "customer_support" in json.loads(output)["error"]["message"]
