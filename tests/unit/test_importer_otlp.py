import json
from pathlib import Path
from typing import Any

from agentgym.traces.importers import RejectedLine, import_traces
from agentgym.traces.trace import Trace

BEGAN = 1_715_767_200_000_000_000
USER = {"role": "user", "parts": [{"type": "text", "content": "Where is my order?"}]}
CALL = {"type": "tool_call", "id": "1", "name": "find_order", "arguments": {"number": 7}}
CALLING = {"role": "assistant", "parts": [CALL], "finish_reason": "tool_call"}
RESULT = {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": {"status": "sent"}}]}
SAID = {"role": "assistant", "parts": [{"type": "text", "content": "It is on its way."}], "finish_reason": "stop"}


def wrapped(value: Any) -> dict[str, Any]:
    """A value as OTLP writes it."""
    if isinstance(value, dict):
        return {"kvlistValue": {"values": [{"key": key, "value": wrapped(item)} for key, item in value.items()]}}
    if isinstance(value, list):
        return {"arrayValue": {"values": [wrapped(item) for item in value]}}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}


def attributes(values: dict[str, Any]) -> list[Any]:
    return [{"key": key, "value": wrapped(value)} for key, value in values.items()]


def span(second: int, values: dict[str, Any], *, trace_id: str = "t1", events: list[Any] | None = None, **fields: Any) -> dict[str, Any]:
    moments = {"startTimeUnixNano": str(BEGAN + second * 10**9), "endTimeUnixNano": str(BEGAN + (second + 1) * 10**9)}
    return {"traceId": trace_id, "name": "chat gpt", **moments, "attributes": attributes(values), "events": events or [], **fields}


def chat(
    second: int, messages: list[Any], answer: list[Any], *, is_text: bool = True, trace_id: str = "t1", **values: Any
) -> dict[str, Any]:
    told = {"gen_ai.input.messages": messages, "gen_ai.output.messages": answer}
    written = {name: json.dumps(value) if is_text else value for name, value in told.items()}
    return span(second, {"gen_ai.operation.name": "chat", **written, **values}, trace_id=trace_id)


def batch(*spans: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {"name": "x"}, "spans": list(spans)}]}]}


def event(name: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "timeUnixNano": "1", "attributes": attributes(values)}


def read(tmp_path: Path, *values: object) -> list[Trace | RejectedLine]:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return list(import_traces(path, "otlp"))


def trace_of(tmp_path: Path, *values: object) -> Trace:
    (found,) = read(tmp_path, *values)
    assert isinstance(found, Trace), found
    return found


def test_parts_become_messages_calls_and_results(tmp_path: Path) -> None:
    tools = json.dumps([{"type": "function", "name": "find_order", "parameters": {"type": "object"}}])
    instructions = json.dumps([{"type": "text", "content": "Be kind."}])
    known = {"gen_ai.system_instructions": instructions, "gen_ai.tool.definitions": tools, "gen_ai.conversation.id": "c1", "user.id": "ann"}
    first, last = chat(1, [USER], [CALLING], **known), chat(3, [USER, CALLING, RESULT], [SAID], **known)
    told = trace_of(tmp_path, batch(last), batch(first))
    assert [message.role for message in told.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert told.messages[2].tool_calls[0].arguments == {"number": 7}
    assert (told.messages[3].name, told.messages[3].result) == ("find_order", {"status": "sent"})
    assert (told.conversation_id, told.customer_id, told.tools[0].name) == ("c1", "ann", "find_order")
    assert told.started_at is not None
    assert told.started_at.timestamp() == BEGAN / 1e9 + 1


def test_attributes_may_be_structured_instead_of_text(tmp_path: Path) -> None:
    messages = [USER, CALLING, RESULT]
    assert trace_of(tmp_path, batch(chat(1, messages, [SAID], is_text=False))) == trace_of(tmp_path, batch(chat(1, messages, [SAID])))


def test_runs_of_tools_fill_in_results_that_no_message_holds(tmp_path: Path) -> None:
    both = CALLING | {"parts": [CALL, CALL | {"id": "2"}]}
    run = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "find_order"}
    second = span(2, {**run, "gen_ai.tool.call.id": "2", "gen_ai.tool.call.result": "no such order"})
    first = span(3, {**run, "gen_ai.tool.call.id": "1"}, status={"code": 2, "message": "timed out"})
    told = trace_of(tmp_path, batch(chat(1, [USER], [both]), second, first))
    assert [(message.tool_call_id, message.content) for message in told.messages[2:]] == [("1", "Error: timed out"), ("2", "no such order")]


def test_one_trace_is_told_by_spans_of_several_batches(tmp_path: Path) -> None:
    run = span(
        2, {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "find_order", "gen_ai.tool.call.result": '{"status": "sent"}'}
    )
    other = chat(1, [USER], [SAID], trace_id="t2")
    told, second = read(tmp_path, batch(chat(1, [USER], [CALLING]), other), batch(span(0, {"http.method": "GET"}), run))
    assert isinstance(told, Trace)
    assert told.messages[-1].result == {"status": "sent"}
    assert [item.conversation_id for item in (told, second)] == ["t1", "t2"]


def test_traces_of_one_conversation_are_joined_in_time(tmp_path: Path) -> None:
    thanks = {"role": "user", "parts": [{"type": "text", "content": "Thanks!"}]}
    named = {"gen_ai.conversation.id": "c1"}
    later = chat(9, [thanks], [SAID], trace_id="t2", **named)
    told = trace_of(tmp_path, batch(later, chat(1, [USER], [SAID], **named)))
    assert [message.content for message in told.messages] == ["Where is my order?", "It is on its way.", "Thanks!", "It is on its way."]


def test_the_older_form_has_an_event_for_each_message(tmp_path: Path) -> None:
    call = json.dumps([{"id": "1", "type": "function", "function": {"name": "find_order", "arguments": '{"number": 7}'}}])
    events = [
        event("gen_ai.system.message", content="Be kind."),
        event("gen_ai.user.message", content="Where is my order?"),
        event("gen_ai.assistant.message", tool_calls=call),
        event("gen_ai.tool.message", id="1", content='{"status": "sent"}'),
        event("gen_ai.choice", index=0, finish_reason="stop", message=json.dumps({"role": "assistant", "content": "It is on its way."})),
        event("gen_ai.choice", index=1, finish_reason="stop", message=json.dumps({"role": "assistant", "content": "No idea."})),
    ]
    told = trace_of(tmp_path, batch(span(1, {"gen_ai.operation.name": "chat"}, events=events)))
    assert [message.role for message in told.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert told.messages[2].tool_calls[0].arguments == {"number": 7}
    assert (told.messages[3].name, told.messages[3].result) == ("find_order", {"status": "sent"})
    assert told.messages[4].content == "It is on its way."


def test_an_event_may_hold_its_message_as_one_text(tmp_path: Path) -> None:
    told = trace_of(
        tmp_path,
        batch(
            span(
                1,
                {"gen_ai.operation.name": "chat"},
                events=[
                    event("gen_ai.user.message", **{"gen_ai.event.content": json.dumps({"role": "user", "content": "Hello?"})}),
                    event("gen_ai.choice", **{"gen_ai.event.content": json.dumps({"index": 0, "message": {"content": "Hi."}})}),
                ],
            )
        ),
    )
    assert [(message.role, message.content) for message in told.messages] == [("user", "Hello?"), ("assistant", "Hi.")]


def record(name: str, body: Any, *, moment: int, **values: str) -> dict[str, Any]:
    """A log record of the first span."""
    told = attributes({f"gen_ai.{key}": value for key, value in values.items()})
    return {"timeUnixNano": str(moment), "eventName": name, "traceId": "t1", "spanId": "s1", "attributes": told, "body": wrapped(body)}


CALLED = {"id": "1", "type": "function", "function": {"name": "find_order", "arguments": '{"number": 7}'}}
RECORDS = [
    record("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {"content": "It is on its way."}}, moment=5),
    record("gen_ai.choice", {"index": 1, "finish_reason": "stop", "message": {"content": "Another one."}}, moment=6),
    record("gen_ai.system.message", {"content": "Be kind."}, moment=1, system="openai"),
    record("gen_ai.user.message", {"content": "Where is my order?"}, moment=2),
    record("gen_ai.assistant.message", {"tool_calls": [CALLED]}, moment=3),
    record("gen_ai.tool.message", {"id": "1", "content": '{"status": "sent"}'}, moment=4),
    record("http.request", "GET /", moment=7),
]


def logs(*records: dict[str, Any]) -> dict[str, Any]:
    return {"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {"name": "x"}, "logRecords": list(records)}]}]}


def test_events_may_be_log_records_of_their_own(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, logs(*RECORDS))
    assert [message.role for message in trace.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert trace.messages[2].tool_calls[0].arguments == {"number": 7}
    assert (trace.messages[3].result, trace.messages[4].content) == ({"status": "sent"}, "It is on its way.")


def test_log_records_belong_to_the_span_they_name_wherever_they_stand(tmp_path: Path) -> None:
    named = span(1, {"gen_ai.operation.name": "chat", "gen_ai.conversation.id": "c7"}) | {"traceId": "t1", "spanId": "s1"}
    trace = trace_of(tmp_path, logs(*RECORDS[:3]), batch(named), logs(*RECORDS[3:]))
    assert (trace.conversation_id, len(trace.messages)) == ("c7", 5)


def test_a_record_may_tell_all_of_a_request(tmp_path: Path) -> None:
    details = record(
        "gen_ai.client.inference.operation.details",
        "",
        moment=1,
        **{"conversation.id": "c9", "input.messages": json.dumps([USER]), "output.messages": json.dumps([SAID])},
    )
    trace = trace_of(tmp_path, logs({**details, "body": None}))
    assert (trace.conversation_id, [message.role for message in trace.messages]) == ("c9", ["user", "assistant"])


def test_messages_may_stand_in_an_event_that_tells_the_details(tmp_path: Path) -> None:
    details = {"gen_ai.input.messages": json.dumps([USER]), "gen_ai.output.messages": json.dumps([SAID])}
    events = [event("gen_ai.client.inference.operation.details", **details)]
    assert len(trace_of(tmp_path, batch(span(1, {"gen_ai.operation.name": "chat"}, events=events))).messages) == 2


def test_the_oldest_form_is_two_texts(tmp_path: Path) -> None:
    prompt = json.dumps([{"role": "user", "content": "Hello?"}])
    told = trace_of(tmp_path, batch(span(1, {"gen_ai.prompt": prompt, "gen_ai.completion": "Hi."})))
    assert [message.content for message in told.messages] == ["Hello?", "Hi."]


def test_reasoning_is_no_speech(tmp_path: Path) -> None:
    thoughtful = SAID | {"parts": [{"type": "reasoning", "content": "SECRET"}, *SAID["parts"]]}
    assert trace_of(tmp_path, batch(chat(1, [USER], [thoughtful]))).messages[1].content == "It is on its way."


def test_what_tells_no_conversation_says_why(tmp_path: Path) -> None:
    silent, broken = span(1, {"gen_ai.operation.name": "embeddings"}, trace_id="t2"), chat(1, [USER], [SAID], trace_id="t3")
    broken["attributes"][1]["value"] = {"stringValue": "not JSON"}
    found = read(tmp_path, batch(chat(1, [USER], [SAID]), silent, broken), {"resourceSpans": 3}, {"resourceSpans": []})
    assert [reason for item in found if isinstance(item, RejectedLine) for reason in item.reasons] == [
        "The resourceSpans must be a list; got int.",
        "A trace tells a conversation when a model was asked with messages; in this one none was.",
        "The messages of a span must be a list; got str.",
    ]
