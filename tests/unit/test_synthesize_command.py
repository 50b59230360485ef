"""`agentgym synthesize` and `agentgym scenarios regressions`, as a user calls them."""

import gzip
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from agentgym.cli.app import app
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.pack import ScenarioPack
from agentgym.scenarios.production_log import write_logs
from agentgym.traces.importers import import_traces
from agentgym.traces.trace import Trace

WORLD = CustomerSupport()
SERVICES = {tool.name: tool.name for tool in WORLD.tools}


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENTGYM_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "log.jsonl"
    traces = write_logs(WORLD, WORLD.legacy_agent(), 40, 7)
    path.write_bytes(b"".join(orjson.dumps(trace.model_dump(mode="json", exclude_defaults=True)) + b"\n" for trace in traces))
    return path


def call(*arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and the one object on standard output."""
    result = CliRunner().invoke(app, [*arguments, "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_edge_cases_of_a_world_are_written_as_a_pack(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "edge.pack.json.gz"
    code, told = call("synthesize", "--traces", str(log), "--scenario", "customer_support", "--edge", "--per-kind", "2", "--out", str(out))
    pack = ScenarioPack.from_bytes(out.read_bytes())
    assert code == 0
    assert len(pack.edge) == sum(told["edge_cases"].values()) == 20
    assert told["skipped"] == {"other_language": "No model that translates is at hand."}
    assert told["difficulty"]["cases"] == 20
    assert not {case.cluster_id for case in pack.edge} & {case.cluster_id for case in pack.train}


def test_copies_are_written_beside_the_conversations_they_are_of(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "more.jsonl.gz"
    code, told = call("synthesize", "--traces", str(log), "--augment", "1", "--out", str(out))
    written = [trace for trace in import_traces(out, "jsonl") if isinstance(trace, Trace)]
    assert code == 0
    assert len(gzip.decompress(out.read_bytes()).splitlines()) == len(written) == told["read"] + told["copies"]
    assert told["copies"] > 0
    assert told["diversity"]["conversations"] == len(written)


def test_a_mapping_moves_the_log(log: Path, tmp_path: Path) -> None:
    mapping, out = tmp_path / "mapping.json", tmp_path / "moved.jsonl"
    mapping.write_text(json.dumps({"services": SERVICES | {"lookup_user": "find_patient"}, "slots": {"email": "address"}}))
    code, told = call("synthesize", "--traces", str(log), "--business", str(mapping), "--out", str(out))
    assert (code, told["adapted"]) == (0, told["read"])
    calls = [
        made for trace in import_traces(out, "jsonl") if isinstance(trace, Trace) for said in trace.messages for made in said.tool_calls
    ]
    assert {made.name for made in calls} >= {"find_patient"}
    assert all("address" in made.arguments for made in calls if made.name == "find_patient")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "Something must be made of the log"),
        (("--augment", "0"), "Augmentation makes more than 0 and at most 20 copies"),
        (("--augment", "1", "--scenario", "customer_support"), "cannot be rewritten"),
        (("--business", "absent.json"), "cannot be read"),
    ],
)
def test_what_cannot_be_made_is_told_and_nothing_is_written(log: Path, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    out = tmp_path / "out.jsonl"
    code, answer = call("synthesize", "--traces", str(log), "--out", str(out), *arguments)
    assert code == 2
    assert told in answer["error"]["message"]
    assert not out.exists()


def test_failures_of_a_log_are_added_once_listed_and_removed(log: Path) -> None:
    asked = ("scenarios", "regressions", "add", "--traces", str(log), "--scenario", "customer_support", "--reason", "seen")
    code, told = call(*asked)
    assert code == 0
    assert told["in_the_set"] == len(told["added"]) > 0
    assert all(case["messages_after"] <= case["messages_before"] for case in told["added"])
    assert call(*asked)[1]["added"] == []
    first = told["added"][0]["regression_id"]
    assert call("scenarios", "regressions", "remove", first, "--reason", "the rule changed")[0] == 0
    _, listed = call("scenarios", "regressions", "list", "--history")
    assert first not in {case["regression_id"] for case in listed["regressions"]}
    assert listed["history"][-1]["reason"] == "the rule changed"


def test_a_conversation_that_is_not_in_the_log_is_refused(log: Path) -> None:
    code, told = call("scenarios", "regressions", "add", "--traces", str(log), "--reason", "x", "--conversation", "nobody")
    assert code == 2
    assert "'nobody' is not in it" in told["error"]["message"]
