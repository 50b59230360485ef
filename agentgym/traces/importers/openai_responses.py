"""OpenAI's Responses form: items of input and output instead of messages.

A response that continues another (`previous_response_id`), or belongs to a `conversation`, holds only what is new; such responses are one
conversation, in the order of the log. Reasoning is not speech and is left out.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from agentgym.traces.importers.built_in_tools import built_in_messages, custom_tool, schemaless_tools
from agentgym.traces.importers.chat import read_tools
from agentgym.traces.importers.gathering import Part, gathered
from agentgym.traces.importers.reading import Log, Place, read_each
from agentgym.traces.importers.record import Record, RejectedLine
from agentgym.traces.importers.shapes import NotAConversation, a_list, an_object, identifier, objects, plain_tags
from agentgym.traces.importers.turns import Turn, joined, read_turns

_SILENT = ("reasoning", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "compaction")


def looks_like_openai_responses(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    response = value["response"] if isinstance(value.get("response"), dict) else value
    return response.get("object") == "response" or ("input" in value and isinstance(value.get("output"), list))


def read_openai_responses(log: Log) -> Iterator[Record | RejectedLine]:
    """Objects with the `input` of a request and the `output` of its response, in one object or in `request` and `response`."""
    begun: dict[str, str] = {}
    yield from gathered(read_each(log, partial(_parts, begun)), _conversation)


def response_messages(response: dict[str, Any]) -> list[Turn]:
    """The messages of a response: its instructions, its input, its output. Raises NotAConversation."""
    said = response.get("input")
    asked = [{"role": "user", "content": said}] if isinstance(said, str) else item_messages(said, "The input of a response")
    instructions = response.get("instructions")
    system = [{"role": "system", "content": instructions}] if isinstance(instructions, str) and instructions else []
    return joined(read_turns([*system, *asked, *item_messages(response.get("output"), "The output of a response")]))


def function_tools(declarations: Any) -> list[dict[str, Any]]:
    """The declared tools that the caller runs; those that run at the provider have no schema."""
    return [tool for tool in objects(declarations, "The tools") if tool.get("type", "function") == "function"]


def scope_of(responses: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tools of responses that belong together: the declared ones, and beside them those that ran without a schema."""
    first = function_tools(responses[0].get("tools"))
    customs = [custom_tool(tool) for tool in objects(responses[0].get("tools"), "The tools") if tool.get("type") == "custom"]
    items = [item for response in responses for name in ("input", "output") for item in _items(response.get(name))]
    known = {str(tool.get("function", tool).get("name")) for tool in first if isinstance(tool.get("function", tool), dict)}
    return [*first, *customs, *schemaless_tools(items, known)] if first or customs else []


def _items(listed: Any) -> list[dict[str, Any]]:
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []


def _parts(begun: dict[str, str], value: Any, place: Place) -> Iterator[Part]:
    """begun: the key of the conversation that each response so far belongs to, by the response's id."""
    exchange = an_object(value, "A response")
    nested = [exchange[name] for name in ("response", "request") if isinstance(exchange.get(name), dict)]
    response: dict[str, Any] = {name: field for layer in (exchange, *nested) for name, field in layer.items()}
    if not ({"input", "output"} & response.keys()):
        raise NotAConversation("A response has the input of its request and its output; this has neither.")
    key = _key(response, begun) or str(place)
    if name := identifier(response.get("id")):
        begun[name] = key
    yield Part(key=key, place=place, value=response)


def _key(response: dict[str, Any], begun: dict[str, str]) -> str | None:
    named, previous = _conversation_name(response), identifier(response.get("previous_response_id"))
    if previous and not named and previous not in begun:
        raise NotAConversation(f"A response that continues another comes after it in the log; {previous!r} is not before this one.")
    return f"conversation {named}" if named else begun.get(previous or "")


def _conversation_name(response: dict[str, Any]) -> str | None:
    conversation = response.get("conversation")
    return identifier(conversation.get("id") if isinstance(conversation, dict) else conversation)


def _conversation(parts: list[Part]) -> Iterator[Record]:
    first, messages = parts[0].value, list[Turn]()
    for part in parts:
        if part.value.get("status") not in (None, "completed"):
            raise NotAConversation(f"A response must be complete; the status of {part.value.get('id')!r} is {part.value['status']!r}.")
        # Each response repeats the instructions that all of them had.
        messages += response_messages(part.value if part is parts[0] else {**part.value, "instructions": None})
    metadata = first.get("metadata")
    yield parts[0].place.record(
        messages,
        conversation_id=_conversation_name(first) or identifier(first.get("id")),
        tools=read_tools(scope_of([part.value for part in parts])),
        customer_id=identifier(first.get("safety_identifier") or first.get("user")),
        started_at=first.get("created_at"),
        tags=plain_tags({"model": first.get("model"), **(metadata if isinstance(metadata, dict) else {})}),
    )


def item_messages(items: Any, what: str) -> list[Turn]:
    """Items in the chat form. Raises NotAConversation. what: the list is called so."""
    return [message for item in a_list(items, what) for message in _message(an_object(item, f"An item of {what[0].lower()}{what[1:]}"))]


def _message(item: dict[str, Any]) -> list[dict[str, Any]]:
    """An item in the chat form. Raises NotAConversation for one that is neither said nor done by the caller's tools."""
    kind, call_id = item.get("type", "message"), item.get("call_id") or item.get("id")
    if kind == "message":
        return [{"role": item.get("role", "assistant"), "content": item.get("content")}]
    if kind in ("function_call", "custom_tool_call"):
        return [_call(call_id, item.get("name"), item["arguments"] if "arguments" in item else {"input": item.get("input")})]
    if kind in ("function_call_output", "custom_tool_call_output"):
        return [{"role": "tool", "tool_call_id": call_id, "content": item.get("output")}]
    if kind == "mcp_call":
        result = item.get("output") if item.get("error") is None else f"Error: {item['error']}"
        return [_call(call_id, item.get("name"), item.get("arguments")), {"role": "tool", "tool_call_id": call_id, "content": result}]
    if kind in _SILENT:
        return []
    if (built_in := built_in_messages(item)) is not None:
        return built_in
    raise NotAConversation(f"An item is a message, a call of a function, or its output; {kind!r} is none of them.")


def _call(call_id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [{"id": call_id, "function": {"name": name, "arguments": arguments}}]}
