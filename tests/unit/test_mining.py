import pytest
from pydantic import JsonValue

from agentgym.errors import InvalidInput
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.tools import Tool
from agentgym.traces.mining import answered_calls, mine_tools
from agentgym.traces.trace import Trace


def trace_of(*calls: tuple[dict[str, JsonValue], JsonValue], tools: tuple[Tool, ...] = (), name: str = "find") -> Trace:
    """One conversation that makes these calls, each given as arguments and result."""
    messages: list[Message] = [user("Hello")]
    for arguments, result in calls:
        call = ToolCall(name=name, arguments=arguments)
        messages += [assistant("", call), tool_result(call, result)]
    return Trace(conversation_id="c", messages=tuple(messages), tools=tools)


def inferred(*calls: dict[str, JsonValue]) -> Tool:
    (tool,) = mine_tools([trace_of(*((arguments, "ok") for arguments in calls))])
    return tool


def test_types_are_those_of_the_values_seen() -> None:
    tool = inferred({"a": "x", "b": 1, "c": 1, "d": True, "e": [1.5]}, {"a": "y", "b": 2.5, "c": 2, "d": False, "e": []})
    types = {name: schema["type"] for name, schema in tool.properties.items()}
    assert types == {"a": "string", "b": "number", "c": "integer", "d": "boolean", "e": "array"}
    assert tool.properties["e"]["items"] == {"type": "number"}


def test_values_of_two_types_keep_both() -> None:
    assert inferred({"a": "x"}, {"a": None}).properties["a"] == {"type": ["null", "string"]}


def test_nested_objects_have_a_schema_of_their_own() -> None:
    tool = inferred({"rows": [{"id": 1, "note": "x"}, {"id": 2}]})
    assert tool.properties["rows"]["items"] == {
        "type": "object",
        "properties": {"id": {"type": "integer"}, "note": {"type": "string"}},
        "required": ["id"],
    }


def test_an_argument_is_required_when_no_accepted_call_left_it_out() -> None:
    refused = ({"city": "Rome"}, {"error": "date is missing"})
    accepted = ({"city": "Rome", "date": "today"}, "ok")
    (tool,) = mine_tools([trace_of(refused, accepted, accepted, ({"date": "today"}, "ok"))])
    assert tool.required == ("date",)


def test_values_become_a_closed_list_only_when_clearly_closed() -> None:
    colours = [{"colour": ("red", "green")[number % 2]} for number in range(60)]
    assert inferred(*colours).properties["colour"]["enum"] == ["green", "red"]
    assert "enum" not in inferred(*colours, {"colour": "blue"}).properties["colour"]
    assert "enum" not in inferred(*colours[:40]).properties["colour"]
    assert "enum" not in inferred(*({"colour": str(number % 9)} for number in range(90))).properties["colour"]


def test_a_declared_tool_is_taken_as_declared() -> None:
    declared = Tool(name="find", description="Finds")
    assert mine_tools([trace_of(({"a": 1}, "ok"), tools=(declared,))]) == (declared,)


def test_conflicting_declarations_are_refused() -> None:
    first = Tool(name="find", parameters={"type": "object", "properties": {"a": {"type": "string"}}})
    second = Tool(name="find", parameters={"type": "object", "properties": {"a": {"type": "integer"}}})
    with pytest.raises(InvalidInput, match="'find' is declared with another one in conversation 'c'"):
        mine_tools([trace_of(tools=(first,)), trace_of(tools=(second,))])


def test_answers_find_their_calls_by_id_then_by_name() -> None:
    one, two = ToolCall(id="x", name="one"), ToolCall(id="y", name="two")
    answers = [Message(role="tool", tool_call_id="y", result=2), Message(role="tool", name="one", result=1)]
    again = [assistant("", ToolCall(id="x", name="two")), Message(role="tool", tool_call_id="x", result=3), assistant("", one)]
    pairs = answered_calls([assistant("", one, two), *answers, *again])
    assert [answer and answer.result for _, answer in pairs] == [1, 2, 3, None]
