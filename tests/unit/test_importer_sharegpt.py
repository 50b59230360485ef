import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from agentgym.traces.importers import RejectedLine, import_traces
from agentgym.traces.trace import Trace

SHARED_DATA = Path(os.environ.get("AGENTGYM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
CALL = {"name": "find_order", "arguments": {"number": 7}}


def read(tmp_path: Path, *values: object) -> list[Trace | RejectedLine]:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return list(import_traces(path, "sharegpt"))


def trace_of(tmp_path: Path, *turns: tuple[str, str], **fields: Any) -> Trace:
    (trace,) = read(tmp_path, {"conversations": [{"from": speaker, "value": text} for speaker, text in turns], **fields})
    assert isinstance(trace, Trace)
    return trace


def test_turns_of_calls_and_observations_are_calls_and_results(tmp_path: Path) -> None:
    tools = json.dumps([{"name": "find_order", "parameters": {"type": "object"}}])
    trace = trace_of(
        tmp_path,
        ("human", "Where is my order?"),
        ("function_call", json.dumps(CALL)),
        ("observation", '{"status": "sent"}'),
        ("gpt", "It is on its way."),
        system="Be kind.",
        tools=tools,
        id=17,
        source="mail",
    )
    assert [message.role for message in trace.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert trace.messages[2].tool_calls[0].arguments == {"number": 7}
    assert (trace.messages[3].name, trace.messages[3].result) == ("find_order", {"status": "sent"})
    assert (trace.conversation_id, trace.tools[0].name, trace.tags) == ("17", "find_order", {"source": "mail"})


def test_calls_marked_in_the_text_are_calls_and_thoughts_are_left_out(tmp_path: Path) -> None:
    marked = f"<tool_call>\n{json.dumps(CALL)}\n</tool_call>"
    text = f'<think type="quick">SECRET</think>\nOne moment.\n{marked}\n{marked}'
    trace = trace_of(tmp_path, ("human", "Where?"), ("gpt", text), ("tool", "sent"), ("tool", "sent"), ("gpt", "It is on its way."))
    assert trace.messages[1].content == "One moment."
    assert [call.name for call in trace.messages[1].tool_calls] == ["find_order", "find_order"]
    assert trace.messages[2].content == "sent"
    assert "SECRET" not in trace.model_dump_json()


def test_marked_results_are_no_turns_of_the_user(tmp_path: Path) -> None:
    said = f"<tool_call>{json.dumps(CALL)}</tool_call>"
    answered = '<tool_response name="find_order">{"status": "sent"}\n</tool_response>'
    (trace,) = read(
        tmp_path,
        {
            "messages": [
                {"role": "user", "content": "Where?"},
                {"role": "assistant", "content": said},
                {"role": "user", "content": answered},
            ]
        },
    )
    assert isinstance(trace, Trace)
    assert [message.role for message in trace.messages] == ["user", "assistant", "tool"]
    assert (trace.messages[2].name, trace.messages[2].result) == ("find_order", {"status": "sent"})


def test_what_the_user_says_beside_a_result_is_kept(tmp_path: Path) -> None:
    trace = trace_of(
        tmp_path, ("gpt", f"<tool_call>{json.dumps(CALL)}</tool_call>"), ("human", "<tool_response>7</tool_response> And now?")
    )
    assert [(message.role, message.content) for message in trace.messages[1:]] == [("tool", ""), ("user", "And now?")]


@pytest.mark.parametrize(
    ("content", "result"), [({"status": "sent"}, {"status": "sent"}), ('{"status": "sent"}', {"status": "sent"}), ("no", None)]
)
def test_a_result_wrapped_with_its_name_is_unwrapped(tmp_path: Path, content: object, result: object) -> None:
    wrapped = json.dumps({"name": "find_order", "content": content})
    trace = trace_of(tmp_path, ("function_call", json.dumps(CALL)), ("tool", f"<tool_response>{wrapped}</tool_response>"))
    assert (trace.messages[1].name, trace.messages[1].result) == ("find_order", result)


def test_several_calls_at_once_and_arguments_as_text(tmp_path: Path) -> None:
    calls = [CALL | {"arguments": '{"number": 7}'}, {"name": "cancel_order", "parameters": {"numbers": [{"nested": 1}]}}]
    trace = trace_of(tmp_path, ("human", "Cancel it."), ("function_call", json.dumps(calls)), ("observation", "1"), ("observation", "2"))
    assert [call.arguments for call in trace.messages[1].tool_calls] == [{"number": 7}, {"numbers": [{"nested": 1}]}]
    assert [message.name for message in trace.messages[2:]] == ["find_order", "cancel_order"]


def test_a_call_before_the_words_of_the_same_turn_is_made_with_them(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, ("human", "Where?"), ("function_call", json.dumps(CALL)), ("gpt", "I am looking."), ("observation", "sent"))
    assert [message.role for message in trace.messages] == ["user", "assistant", "tool"]
    assert trace.messages[1].content == "I am looking."


def test_a_mark_that_is_not_closed_reaches_to_the_end(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, ("human", "Where?"), ("gpt", f"Wait. <tool_call>{json.dumps(CALL)}"), ("gpt", "Well. <think>hm"))
    assert trace.messages[1].tool_calls[0].name == "find_order"
    assert trace.messages[1].content == "Wait.\nWell."


def test_text_full_of_marks_takes_time_in_proportion_to_it(tmp_path: Path) -> None:
    """Each opened mark searched the whole rest of the text for its end: four times the text took sixteen times as long."""

    def seconds(marks: int) -> float:
        begun = time.process_time()
        trace_of(tmp_path, ("gpt", "<think " * marks))
        return time.process_time() - begun

    assert seconds(40_000) < 10 * seconds(10_000) + 0.1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (3, "A conversation must be an object; got int."),
        ({"conversations": "hello"}, "The conversations of a ShareGPT object must be a list; got str."),
        ({"conversations": ["hello"]}, "Turn 0 must be an object; got str."),
        ({"conversations": [{"from": "clerk", "value": "hello"}]}, "A turn is from one of "),
        ({"conversations": [{"from": "gpt", "value": None}]}, "A turn says text; turn 0 holds NoneType."),
        (
            {"conversations": [{"from": "gpt", "value": "<tool_call>find</tool_call>"}]},
            "A call is JSON with a name and arguments; the one in",
        ),
        (
            {"conversations": [{"from": "function_call", "value": "{}"}]},
            "A call is JSON with a name and arguments; the one in turn 0 has no",
        ),
        ({"conversations": [{"from": "function_call", "value": '{"function": "f"}'}]}, "Every tool call must be an object with a function"),
        ({"conversations": [], "tools": "find_order"}, "Tools are declared as a list"),
        ({"conversations": []}, "messages: "),
    ],
)
def test_what_is_no_conversation_says_why(tmp_path: Path, value: object, reason: str) -> None:
    (rejected,) = read(tmp_path, value)
    assert isinstance(rejected, RejectedLine)
    assert rejected.reasons[0].startswith(reason)


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"real dialogues are not at {SHARED_DATA}; set AGENTGYM_SHARED_DATA")
def test_a_real_log_with_marks_is_read(tmp_path: Path) -> None:
    """Its README counts seven messages: the results of two calls are written as the user's."""
    (trace,) = import_traces(SHARED_DATA / "seed_agent_gym" / "data_example.json.gz", "sharegpt")
    assert isinstance(trace, Trace)
    assert [message.role for message in trace.messages] == ["system", "user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert [call.name for message in trace.messages for call in message.tool_calls] == ["execute_shell", "read_file"]
    assert trace.messages[5].result == 24
    assert "<think" not in "".join(message.content for message in trace.messages[1:])
