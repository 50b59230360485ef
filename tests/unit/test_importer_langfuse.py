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
TOOL = {"type": "function", "function": {"name": "find_order", "parameters": {"type": "object"}}}


def generation(minute: int, given: Any, output: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "GENERATION", "startTime": f"2024-05-15T10:{minute:02}:00.000Z", "input": given, "output": output, **fields}


def run(minute: int, output: Any = None, *, kind: str = "TOOL", **fields: Any) -> dict[str, Any]:
    began = f"2024-05-15T10:{minute:02}:30.000Z"
    return {"type": kind, "name": "find_order", "startTime": began, "input": {"number": 7}, "output": output, **fields}


def trace(*observations: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "tr1", "timestamp": "2024-05-15T10:00:00.000Z", "observations": list(observations), **fields}


def read(tmp_path: Path, *values: object) -> list[Trace | RejectedLine]:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return list(import_traces(path, "langfuse"))


def trace_of(tmp_path: Path, *values: object) -> Trace:
    (found,) = read(tmp_path, *values)
    assert isinstance(found, Trace), found
    return found


def test_the_last_generation_of_a_trace_tells_the_conversation(tmp_path: Path) -> None:
    told = trace_of(
        tmp_path,
        trace(
            generation(2, {"messages": [USER, CALLING, RESULT], "tools": [TOOL]}, SAID, endTime="2024-05-15T10:03:00Z"),
            generation(1, {"messages": [USER]}, CALLING),
            userId="ann",
            release="v7",
            scores=[
                {"name": "satisfaction", "value": 4},
                {"name": "outcome", "value": 1, "stringValue": "resolved"},
                {"name": "tone", "value": 0.5},
            ],
        ),
    )
    assert [message.role for message in told.messages] == ["user", "assistant", "tool", "assistant"]
    assert told.messages[2].result == {"status": "sent"}
    assert (told.conversation_id, told.customer_id, told.agent_version, told.tools[0].name) == ("tr1", "ann", "v7", "find_order")
    assert (told.satisfaction_score, told.outcome, told.tags["score.tone"]) == (4, "resolved", "0.5")
    assert told.started_at is not None
    assert told.ended_at is not None
    assert (told.ended_at - told.started_at).total_seconds() == 180


def test_what_is_asked_beside_the_conversation_does_not_hide_it(tmp_path: Path) -> None:
    title = generation(9, "Give a title.", "Lost order")
    assert len(trace_of(tmp_path, trace(generation(1, [USER, CALLING, RESULT], SAID), title)).messages) == 4


def test_runs_of_tools_fill_in_results_that_no_message_holds(tmp_path: Path) -> None:
    both = {**CALLING, "tool_calls": [CALL, CALL | {"id": "2"}]}
    told = trace_of(tmp_path, trace(generation(1, [USER], both), run(3, "second"), run(2, {"status": "sent"}, kind="SPAN")))
    assert [(message.name, message.content, message.result) for message in told.messages[2:]] == [
        ("find_order", "", {"status": "sent"}),
        ("find_order", "second", None),
    ]


def test_a_run_whose_result_a_message_holds_is_not_told_twice(tmp_path: Path) -> None:
    told = trace_of(tmp_path, trace(generation(1, [USER, CALLING, RESULT], CALLING), run(2, "first"), run(3, "again")))
    assert [message.result or message.content for message in told.messages if message.role == "tool"] == [{"status": "sent"}, "again"]


def test_a_run_that_failed_is_a_result_that_says_so(tmp_path: Path) -> None:
    told = trace_of(tmp_path, trace(generation(1, [USER], CALLING), run(2, {}, level="ERROR", statusMessage="timed out")))
    assert told.messages[2].is_error


def test_the_traces_of_a_session_are_one_conversation(tmp_path: Path) -> None:
    """One agent repeats its history in every trace, another only ever sees the new question."""
    thanks, welcome = {"role": "user", "content": "Thanks!"}, {"role": "assistant", "content": "You are welcome."}
    first = trace(generation(1, [USER, CALLING, RESULT], SAID), sessionId="s1", userId="ann")
    later = {"id": "tr2", "timestamp": "2024-05-15T11:00:00Z", "sessionId": "s1"}
    whole = trace(generation(5, [USER, CALLING, RESULT, SAID, thanks], welcome)) | later
    alone = trace(generation(5, [thanks], welcome)) | later
    end = trace(generation(5, [RESULT, SAID, thanks], welcome)) | later
    told = [trace_of(tmp_path, second, first) for second in (whole, alone, end)]
    assert [[message.content for message in found.messages] for found in told] == [
        ["Where is my order?", "", "", "It is on its way.", "Thanks!", "You are welcome."]
    ] * 3
    assert {found.conversation_id for found in told} == {"s1"}


def test_an_answer_asked_for_again_replaces_the_first(tmp_path: Path) -> None:
    first = trace(generation(1, [USER], {"role": "assistant", "content": "No idea."}), sessionId="s1")
    second = trace(generation(2, [USER], SAID), sessionId="s1") | {"timestamp": "2024-05-15T11:00:00Z"}
    assert [message.content for message in trace_of(tmp_path, first, second).messages] == ["Where is my order?", "It is on its way."]


def test_traces_whose_ids_collide_are_two_conversations(tmp_path: Path) -> None:
    assert len(read(tmp_path, trace(generation(1, [USER], SAID)), trace(generation(1, [USER], SAID)))) == 2


def test_messages_of_other_clients_are_read(tmp_path: Path) -> None:
    used = {
        "role": "assistant",
        "content": [{"type": "text", "text": "Wait."}, {"type": "tool_use", "id": "1", "name": "find_order", "input": {"number": 7}}],
    }
    result = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": '{"status": "sent"}'}]}],
    }
    anthropic = (
        {"system": "Be kind.", "messages": [USER, used, result]},
        {"role": "assistant", "content": [{"type": "text", "text": "It is."}]},
    )
    called = {
        "type": "ai",
        "content": "Wait.",
        "tool_calls": [{"id": "1", "name": "find_order", "args": {"number": 7}, "type": "tool_call"}],
    }
    system, human = {"type": "system", "content": "Be kind."}, {"type": "human", "content": USER["content"]}
    langchain = (
        [system, human, called, {"type": "tool", "tool_call_id": "1", "content": '{"status": "sent"}'}],
        {"type": "ai", "content": "It is."},
    )
    told = [trace_of(tmp_path, trace(generation(1, *form))) for form in (anthropic, langchain)]
    assert told[0].messages == told[1].messages
    assert [message.role for message in told[0].messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert (told[0].messages[2].content, told[0].messages[3].result) == ("Wait.", {"status": "sent"})


def test_values_written_as_text_and_whole_responses_are_read(tmp_path: Path) -> None:
    asked, answered = json.dumps([USER]), json.dumps({"choices": [{"message": SAID}]})
    assert [message.content for message in trace_of(tmp_path, trace(generation(1, asked, answered))).messages] == [
        USER["content"],
        SAID["content"],
    ]
    items = (
        {"input": [USER], "tools": []},
        {"output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]}]},
    )
    assert trace_of(tmp_path, trace(generation(1, *items))).messages[1].content == "Hi."


def test_a_trace_without_generations_may_hold_the_conversation_itself(tmp_path: Path) -> None:
    told = trace_of(tmp_path, trace(run(2, "sent"), input="Where?", output="On its way."))
    assert [(message.role, message.content) for message in told.messages] == [("user", "Where?"), ("assistant", "On its way.")]


def test_a_page_of_the_api_holds_traces_each_judged_alone(tmp_path: Path) -> None:
    page = {"data": [trace(generation(1, [USER], SAID)), {"id": "tr2", "observations": "none"}, trace(run(1)) | {"id": "tr3"}], "meta": {}}
    told, second, third = sorted(read(tmp_path, page), key=lambda item: item.conversation_id or "")
    assert isinstance(told, Trace)
    assert isinstance(second, RejectedLine)
    assert isinstance(third, RejectedLine)
    assert second.reasons == ("The observations of a trace must be a list; got str.",)
    assert third.reasons == ("A trace tells a conversation when a model was asked with messages; in this one none was.",)


def test_traces_of_a_page_without_sessions_are_conversations_of_their_own(tmp_path: Path) -> None:
    traces = [trace(generation(1, {"messages": [USER]}, SAID), userId=name) | {"id": name} for name in ("ann", "bob", "cid")]
    found = read(tmp_path, {"data": traces})
    assert [(each.conversation_id, each.customer_id) for each in found if isinstance(each, Trace)] == [
        (name, name) for name in ("ann", "bob", "cid")
    ]
