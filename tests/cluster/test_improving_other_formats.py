"""One turn of the loop on logs in other formats: what a declared world's agent said, exported as CSV and as spans."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prefect.testing.utilities import prefect_test_harness

from agentgym.messages import Message
from agentgym.policies.planner import PlannerConfig
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.production_log import write_logs
from agentgym.settings import Settings
from agentgym.store import FileStore
from agentgym.traces.snapshot import DatasetSnapshot
from agentgym.traces.source import TraceSource
from agentgym.traces.trace import Trace
from agentgym.training.config import TrainingConfig
from agentgym.training.flow_grpo.settings import FlowGRPOSettings
from agentgym.training.warm_start import ImitationConfig
from flows.improve_agent import improve_agent

pytestmark = pytest.mark.timeout(900)

HEADER = ["ticket", "customer", "author", "text", "tool", "call", "args", "answer", "state"]
NAMES = ("conversation_id", "customer_id", "role", "content", "tool_name", "tool_call_id", "arguments", "result")
STATES = {"resolved": "solved", "escalated": "passed on", "unresolved": "open", "abandoned": "left"}


def write_csv(folder: Path, traces: Sequence[Trace]) -> TraceSource:
    """A row for each message, and one for each call of it."""
    with (folder / "log.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for trace in traces:
            for message in trace.messages:
                state = STATES[trace.outcome] if trace.outcome else ""
                writer.writerows([trace.conversation_id, trace.customer_id, message.role, *cells, state] for cells in cells_of(message))
    outcome = {"column": "state", "values": {theirs: ours for ours, theirs in STATES.items()}}
    columns = dict(zip(NAMES, HEADER, strict=False)) | {"outcome": outcome}
    (folder / "mapping.json").write_text(json.dumps({"columns": columns}))
    return TraceSource(path=folder / "log.csv", format="csv", mapping=folder / "mapping.json")


def cells_of(message: Message) -> Iterator[list[str]]:
    if message.role == "tool":
        yield ["", message.name or "", message.tool_call_id or "", "", message.content or json.dumps(message.result)]
    elif message.content or not message.tool_calls:
        yield [message.content, "", "", "", ""]
    for call in message.tool_calls:
        yield ["", call.name, call.id, json.dumps(call.arguments), ""]


def write_spans(folder: Path, traces: Sequence[Trace]) -> TraceSource:
    """A span for each conversation."""
    with (folder / "log.jsonl").open("w") as file:
        for number, trace in enumerate(traces):
            said = json.dumps([{"role": message.role, "parts": list(parts_of(message))} for message in trace.messages])
            tools = json.dumps([tool.to_openai() for tool in trace.tools])
            told = {"gen_ai.conversation.id": trace.conversation_id, "user.id": trace.customer_id, "gen_ai.input.messages": said}
            attributes = [{"key": key, "value": {"stringValue": text}} for key, text in (told | {"gen_ai.tool.definitions": tools}).items()]
            span = {"traceId": f"{number:032x}", "name": "chat", "startTimeUnixNano": str(10**18), "attributes": attributes}
            file.write(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}) + "\n")
    return TraceSource(path=folder / "log.jsonl", format="otlp")


def parts_of(message: Message) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        yield {"type": "tool_call_response", "id": message.tool_call_id, "response": message.content or message.result}
    elif message.content:
        yield {"type": "text", "content": message.content}
    for call in message.tool_calls:
        yield {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}


@pytest.fixture(scope="module", autouse=True)
def prefect_api() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.mark.parametrize("write", [write_csv, write_spans])
def test_a_log_in_another_format_is_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, Sequence[Trace]], TraceSource]
) -> None:
    settings = Settings().inside(tmp_path / "workspace")
    settings.workspace.mkdir()
    monkeypatch.setenv("AGENTGYM_WORKSPACE", str(settings.workspace))
    world = CustomerSupport()
    traces = list(write_logs(world, world.expert(), 60, seed=3))
    improvement = improve_agent(
        write(tmp_path, traces).model_copy(update={"redact": False}),
        imitation=ImitationConfig(planner=PlannerConfig(table_bits=12, hidden=16)),
        training=TrainingConfig.suited_to("recorded", episodes=16, batch_size=2, flow_grpo=FlowGRPOSettings(group_size=4)),
    )
    assert (improvement.ingested.quality.accepted, improvement.ingested.quality.quarantined) == (60, 0)
    assert improvement.challenger.version > improvement.incumbent.version
    snapshot = DatasetSnapshot.read(FileStore(tmp_path / "workspace" / "store"), improvement.ingested.snapshot)
    imported = {trace.conversation_id: trace for trace in (*snapshot.train, *snapshot.held_out)}
    assert [told(imported[trace.conversation_id].messages) for trace in traces] == [told(trace.messages) for trace in traces]


def told(messages: Sequence[Message]) -> list[tuple[object, ...]]:
    """What was said and done, however it was written."""
    return [(each.role, each.content, [(call.name, call.arguments) for call in each.tool_calls], each.result) for each in messages]
