import json
from pathlib import Path
from typing import Any

from agentgym.traces.importers import RejectedLine, import_traces
from agentgym.traces.trace import Trace

ASKED = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Where is my order?"}]}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "find_order", "arguments": '{"number": 7}'}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": '{"status": "sent"}'}
SAID = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is on its way."}]}
TOOLS = [{"type": "function", "name": "find_order", "parameters": {"type": "object"}}, {"type": "web_search"}]


def response(**fields: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "input": [ASKED, CALL, RESULT], "output": [SAID], "tools": TOOLS, **fields}


def read(tmp_path: Path, *values: object) -> list[Trace | RejectedLine]:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return list(import_traces(path, "openai_responses"))


def traces(tmp_path: Path, *values: object) -> list[Trace]:
    return [item for item in read(tmp_path, *values) if isinstance(item, Trace)]


def reasons(tmp_path: Path, *values: object) -> list[str]:
    return [reason for item in read(tmp_path, *values) if isinstance(item, RejectedLine) for reason in item.reasons]


def test_items_become_messages_calls_and_results(tmp_path: Path) -> None:
    (trace,) = traces(tmp_path, response(instructions="Be kind.", safety_identifier="ann", model="gpt"))
    assert [message.role for message in trace.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert trace.messages[2].tool_calls[0].arguments == {"number": 7}
    assert (trace.messages[3].name, trace.messages[3].result) == ("find_order", {"status": "sent"})
    assert trace.messages[4].content == "It is on its way."
    assert (trace.conversation_id, trace.customer_id, trace.tags) == ("resp_1", "ann", {"model": "gpt"})
    assert [tool.name for tool in trace.tools] == ["find_order"]


def test_request_and_response_may_be_logged_apart(tmp_path: Path) -> None:
    apart = {
        "request": {"input": [ASKED, CALL, RESULT], "tools": TOOLS},
        "response": {"id": "resp_1", "object": "response", "output": [SAID]},
    }
    assert traces(tmp_path, apart)[0] == traces(tmp_path, response())[0]


def test_a_request_may_be_one_text(tmp_path: Path) -> None:
    (trace,) = traces(tmp_path, response(input="Where is my order?"))
    assert [message.content for message in trace.messages] == ["Where is my order?", "It is on its way."]


def test_calls_made_together_stand_in_one_message_with_the_words_beside_them(tmp_path: Path) -> None:
    """The items of a turn come one by one, and words may follow the calls they announce."""
    second = CALL | {"call_id": "call_2", "arguments": '{"number": 8}'}
    late = {"role": "assistant", "content": "One moment."}
    (trace,) = traces(
        tmp_path, response(input=[ASKED, CALL, second, late, RESULT, RESULT | {"call_id": "call_2", "output": "no such order"}])
    )
    assert [message.role for message in trace.messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert trace.messages[1].content == "One moment."
    assert [call.arguments["number"] for call in trace.messages[1].tool_calls] == [7, 8]
    assert (trace.messages[3].content, trace.messages[3].result) == ("no such order", None)


def test_a_call_id_used_again_is_answered_by_position(tmp_path: Path) -> None:
    again = CALL | {"name": "cancel_order"}
    (trace,) = traces(tmp_path, response(input=[ASKED, CALL, RESULT, again, RESULT]))
    assert [message.name for message in trace.messages if message.role == "tool"] == ["find_order", "cancel_order"]


def test_a_result_of_several_parts_is_one_text(tmp_path: Path) -> None:
    parts = [{"type": "input_text", "text": '{"status":'}, {"type": "input_text", "text": ' "sent"}'}]
    (trace,) = traces(tmp_path, response(input=[ASKED, CALL, RESULT | {"output": parts}]))
    assert trace.messages[2].result == {"status": "sent"}


def test_a_call_at_a_tool_server_holds_its_result(tmp_path: Path) -> None:
    worked = {"type": "mcp_call", "id": "mcp_1", "name": "find_order", "arguments": "{}", "output": '{"status": "sent"}', "error": None}
    failed = worked | {"id": "mcp_2", "output": None, "error": "timed out"}
    (trace,) = traces(tmp_path, response(input=[ASKED, worked, failed]))
    assert [message.role for message in trace.messages] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert trace.messages[2].result == {"status": "sent"}
    assert trace.messages[4].is_error


def test_a_tool_that_runs_at_the_provider_is_called_like_any_other(tmp_path: Path) -> None:
    search = {"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "query": "opening hours", "sources": [{"url": "u"}]}}
    files = {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["hours"], "results": None}
    declared = [{"type": "web_search"}, {"type": "function", "name": "find_order", "parameters": {"type": "object"}}]
    (trace,) = traces(tmp_path, response(input=[ASKED], output=[search, files, SAID], tools=declared))
    assert [call.name for message in trace.messages for call in message.tool_calls] == ["web_search", "file_search"]
    assert trace.messages[1].tool_calls[0].arguments == {"type": "search", "query": "opening hours"}
    assert [message.result for message in trace.messages if message.role == "tool"] == [
        {"sources": [{"url": "u"}]},
        {"status": "completed"},
    ]
    assert [tool.name for tool in trace.tools] == ["find_order", "web_search", "file_search"]


def test_a_tool_that_the_caller_runs_is_answered_by_an_item_of_its_own(tmp_path: Path) -> None:
    shell = {"type": "local_shell_call", "call_id": "sh_1", "action": {"command": ["ls"]}}
    screen = {"type": "computer_call", "call_id": "c_1", "action": {"type": "click", "x": 1, "y": 2}}
    shown = {"type": "computer_call_output", "call_id": "c_1", "output": {"type": "computer_screenshot", "image_url": "data:…"}}
    output = [shell, {"type": "local_shell_call_output", "call_id": "sh_1", "output": "a.txt"}, screen, shown, SAID]
    (trace,) = traces(tmp_path, response(input=[ASKED], output=output))
    assert [call.name for message in trace.messages for call in message.tool_calls] == ["local_shell", "computer"]
    assert [(message.content, message.result) for message in trace.messages if message.role == "tool"] == [
        ("a.txt", None),
        ("", {"type": "computer_screenshot"}),
    ]


def test_a_custom_tool_takes_one_text(tmp_path: Path) -> None:
    call = {"type": "custom_tool_call", "call_id": "1", "name": "run", "input": "print(1)"}
    answer = {"type": "custom_tool_call_output", "call_id": "1", "output": "1"}
    (trace,) = traces(tmp_path, response(input=[ASKED], output=[call, answer, SAID], tools=[{"type": "custom", "name": "run"}]))
    assert trace.tools[0].violations(trace.messages[1].tool_calls[0].arguments) == []
    assert trace.tools[0].required == ("input",)


def test_reasoning_is_no_speech(tmp_path: Path) -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "SECRET"}]}
    (trace,) = traces(tmp_path, response(output=[thought, SAID]))
    assert "SECRET" not in trace.model_dump_json()


def test_responses_that_continue_each_other_are_one_conversation(tmp_path: Path) -> None:
    first = response(input=[ASKED], output=[CALL], instructions="Be kind.")
    second = response(id="resp_2", previous_response_id="resp_1", input=[RESULT], instructions="Be kind.")
    third = response(id="resp_3", previous_response_id="resp_2", input="Thanks!", output=[SAID])
    (trace,) = traces(tmp_path, first, second, third)
    assert [message.role for message in trace.messages] == ["system", "user", "assistant", "tool", "assistant", "user", "assistant"]
    assert trace.conversation_id == "resp_1"


def test_responses_of_a_named_conversation_are_one(tmp_path: Path) -> None:
    first, second = response(conversation={"id": "conv_1"}), response(id="resp_2", conversation="conv_1", input="Thanks!")
    (trace,) = traces(tmp_path, first, response(id="resp_9"), second)[:1]
    assert trace.conversation_id == "conv_1"
    assert trace.messages[-2].content == "Thanks!"


def test_a_response_that_continues_what_is_not_in_the_log_says_so(tmp_path: Path) -> None:
    (reason,) = reasons(tmp_path, response(id="resp_2", previous_response_id="resp_1"))
    assert reason == "A response that continues another comes after it in the log; 'resp_1' is not before this one."


def test_an_id_that_collides_joins_nothing(tmp_path: Path) -> None:
    assert [len(trace.messages) for trace in traces(tmp_path, response(), response(input="Again?"))] == [4, 2]


def test_what_is_no_whole_response_says_why(tmp_path: Path) -> None:
    assert reasons(
        tmp_path,
        response(status="incomplete"),
        response(output=[{"type": "item_reference", "id": "x"}]),
        response(output="Hello"),
        {"id": "resp_4"},
        "text",
    ) == [
        "A response has the input of its request and its output; this has neither.",
        "A response must be an object; got str.",
        "A response must be complete; the status of 'resp_1' is 'incomplete'.",
        "An item is a message, a call of a function, or its output; 'item_reference' is none of them.",
        "The output of a response must be a list; got str.",
    ]
