import json
from pathlib import Path
from typing import Any

from agentgym.traces.importers import RejectedLine, import_traces
from agentgym.traces.trace import Trace

USER = {"role": "user", "content": "Where is my order?"}
CALL = {"id": "1", "type": "function", "function": {"name": "find_order", "arguments": '{"number": 7}'}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": '{"status": "sent"}'}
SAID = {"role": "assistant", "content": "It is on its way."}
TOOLS = [{"type": "function", "function": {"name": "find_order", "parameters": {"type": "object", "properties": {}}}}]
BEGAN = 1_715_767_200_000_000_000


def span(second: int, kind: str, inputs: Any, outputs: Any, **attributes: Any) -> dict[str, Any]:
    """A span as MLflow writes it: each attribute is JSON in a text."""
    values = {"mlflow.spanType": kind, "mlflow.spanInputs": inputs, "mlflow.spanOutputs": outputs, **attributes}
    return {
        "trace_id": "YFh+U80nHSBaOQxmqrgtAg==",
        "name": "find_order" if kind == "TOOL" else kind.lower(),
        "start_time_unix_nano": BEGAN + second * 10**9,
        "end_time_unix_nano": BEGAN + (second + 1) * 10**9,
        "status": {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": {name: json.dumps(value) for name, value in values.items()},
    }


def chat(second: int, messages: list[Any], output: Any, **attributes: Any) -> dict[str, Any]:
    return span(second, "CHAT_MODEL", {"messages": messages}, {"choices": [{"message": output}]}, **attributes)


def trace(*spans: dict[str, Any], metadata: Any = None, **info: Any) -> dict[str, Any]:
    known = {
        "trace_id": "tr-1",
        "request_time": "2024-05-15T10:00:00Z",
        "state": "OK",
        "tags": {"queue": "orders", "mlflow.traceName": "x"},
    }
    return {"info": {**known, "trace_metadata": metadata or {}, **info}, "data": {"spans": list(spans)}}


def read(tmp_path: Path, *values: object) -> list[Trace | RejectedLine]:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return list(import_traces(path, "mlflow"))


def trace_of(tmp_path: Path, *values: object) -> Trace:
    (found,) = read(tmp_path, *values)
    assert isinstance(found, Trace), found
    return found


def test_the_last_call_of_the_model_tells_the_conversation(tmp_path: Path) -> None:
    asked = chat(1, [USER], CALLING, **{"mlflow.chat.tools": TOOLS})
    answered = chat(3, [USER, CALLING, RESULT], SAID, **{"mlflow.chat.tools": TOOLS})
    root = span(0, "AGENT", {"question": "Where?"}, "It is.")
    told = trace_of(tmp_path, trace(root, asked, span(2, "TOOL", {"number": 7}, {"status": "sent"}), answered))
    assert [message.role for message in told.messages] == ["user", "assistant", "tool", "assistant"]
    assert (told.messages[2].name, told.messages[2].result) == ("find_order", {"status": "sent"})
    assert (told.conversation_id, told.tools[0].name, told.tags) == ("tr-1", "find_order", {"queue": "orders"})
    assert told.started_at is not None
    assert told.ended_at is not None
    assert (told.ended_at - told.started_at).total_seconds() == 4


def test_a_session_is_a_conversation_of_its_customer(tmp_path: Path) -> None:
    metadata = {"mlflow.trace.session": "s1", "mlflow.trace.user": "ann"}
    later = chat(9, [{"role": "user", "content": "Thanks!"}], {"role": "assistant", "content": "Bye."})
    second = trace(later, metadata=metadata, trace_id="tr-2", request_time="2024-05-15T11:00:00Z")
    told = trace_of(tmp_path, second, trace(chat(1, [USER], SAID), metadata=metadata))
    assert [message.content for message in told.messages] == [USER["content"], SAID["content"], "Thanks!", "Bye."]
    assert (told.conversation_id, told.customer_id) == ("s1", "ann")


def test_runs_of_tools_fill_in_results_that_no_message_holds(tmp_path: Path) -> None:
    failed = span(4, "TOOL", {}, None) | {"status": {"code": "STATUS_CODE_ERROR", "message": "timed out"}}
    both = CALLING | {"tool_calls": [CALL, CALL | {"id": "2"}]}
    told = trace_of(tmp_path, trace(chat(1, [USER], both), span(2, "TOOL", {}, "no such order"), failed))
    assert [message.content for message in told.messages[2:]] == ["no such order", "Error: timed out"]
    assert all(message.is_error is (message.content.startswith("Error")) for message in told.messages[2:])


def test_feedback_becomes_the_score_and_the_outcome(tmp_path: Path) -> None:
    feedback = [
        {"assessment_name": "satisfaction", "feedback": {"value": 4.0}, "valid": True},
        {"assessment_name": "satisfaction", "feedback": {"value": 1.0}, "valid": False},
        {"assessment_name": "outcome", "feedback": {"value": "resolved"}},
        {"assessment_name": "outcome", "expectation": {"value": "escalated"}},
        {"assessment_name": "polite", "feedback": {"value": True}},
    ]
    told = trace_of(tmp_path, trace(chat(1, [USER], SAID), assessments=feedback))
    assert (told.satisfaction_score, told.outcome, told.tags["score.polite"]) == (4.0, "resolved", "True")


def test_an_agent_whose_model_is_not_traced_tells_it_itself(tmp_path: Path) -> None:
    root = span(0, "AGENT", {"messages": [USER]}, {"choices": [{"message": SAID}]})
    assert len(trace_of(tmp_path, trace(root, span(1, "RETRIEVER", {"query": "x"}, [{"page_content": "y"}]))).messages) == 2


def test_responses_items_are_read_too(tmp_path: Path) -> None:
    items = [USER, {"type": "function_call", "call_id": "1", "name": "find_order", "arguments": "{}"}]
    output = {
        "object": "response",
        "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]}],
    }
    told = trace_of(tmp_path, trace(span(1, "CHAT_MODEL", {"input": items}, output), span(2, "TOOL", {}, "sent")))
    assert [message.role for message in told.messages] == ["user", "assistant", "tool"]
    assert told.messages[1].content == "Hi."


def test_the_older_form_of_a_trace_is_read(tmp_path: Path) -> None:
    old = {"info": {"request_id": "tr-9", "timestamp_ms": 1, "request_metadata": {"mlflow.trace.session": "s9"}}, "data": {"spans": []}}
    old["data"]["spans"] = [chat(1, [USER], SAID)]  # type: ignore[index]
    told = trace_of(tmp_path, old)
    assert told.conversation_id == "s9"
    assert told.started_at is not None
    assert told.started_at.timestamp() == BEGAN / 1e9 + 1


def test_what_tells_no_conversation_says_why(tmp_path: Path) -> None:
    found = read(
        tmp_path, trace(chat(1, [USER], SAID)), {"info": {}}, trace(span(1, "TOOL", {}, "x")), {"info": {}, "data": {"spans": [3]}}, []
    )
    assert [reason for item in found if isinstance(item, RejectedLine) for reason in item.reasons] == [
        "The data of a trace must be an object; got nothing.",
        "A trace tells a conversation when a model was asked with messages; in this one none was.",
        "Each of the spans of a trace must be an object; got int.",
        "A trace must be an object; got list.",
    ]
