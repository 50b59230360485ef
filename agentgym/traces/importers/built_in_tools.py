"""Tools that run at OpenAI, or in its forms of a shell and a screen: items of a response that are calls like any other.

A call's name is its type: `web_search_call` calls `web_search`. Most hold their result, when it was asked for with `include`; the others
are answered by an item of their own. A picture is no result that a conversation needs.
"""

from collections.abc import Iterable
from typing import Any

from agentgym.traces.importers.turns import Turn

_ENDING, _OUTPUT_ENDING = "_call", "_call_output"
# Of a tool that the caller runs, and answers with an item of its own.
_ANSWERED_APART = ("computer", "local_shell", "shell", "apply_patch")
_ARGUMENTS = ("queries", "code", "operation", "input")
_RESULTS = ("results", "outputs", "output")
_OWN_FORMS = ("function_call", "custom_tool_call", "mcp_call")


def built_in_messages(item: dict[str, Any]) -> list[Turn] | None:
    """The item in the chat form; None when it is no call of such a tool, and no output of one."""
    kind, call_id = str(item.get("type")), item.get("call_id") or item.get("id")
    if kind.endswith(_OUTPUT_ENDING):
        return [{"role": "tool", "tool_call_id": call_id, "content": _output(item.get("output"))}]
    name = _name(kind)
    if name is None:
        return None
    call = {"role": "assistant", "tool_calls": [{"id": call_id, "function": {"name": name, "arguments": _arguments(item)}}]}
    return [call] if name in _ANSWERED_APART else [call, {"role": "tool", "tool_call_id": call_id, "content": _result(item)}]


def custom_tool(declaration: dict[str, Any]) -> dict[str, Any]:
    """A tool that takes one text, as a function."""
    parameters = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    return {"name": declaration.get("name"), "description": declaration.get("description"), "parameters": parameters}


def schemaless_tools(items: Iterable[dict[str, Any]], known: Iterable[str]) -> list[dict[str, Any]]:
    """Tools that nobody declares as functions, by the calls of them: any arguments fit. known: names that are declared."""
    called = (item.get("name") if item.get("type") == "mcp_call" else _name(str(item.get("type"))) for item in items)
    names = dict.fromkeys(name for name in called if isinstance(name, str) and name not in set(known))
    return [{"name": name, "parameters": {"type": "object"}} for name in names]


def _name(kind: str) -> str | None:
    return kind.removesuffix(_ENDING) if kind.endswith(_ENDING) and kind not in _OWN_FORMS and kind != _ENDING else None


def _arguments(item: dict[str, Any]) -> dict[str, Any]:
    action = item.get("action")
    if isinstance(action, dict):
        # What was found belongs to the result.
        return {name: value for name, value in action.items() if name != "sources"}
    return {name: item[name] for name in _ARGUMENTS if item.get(name) is not None}


def _result(item: dict[str, Any]) -> Any:
    if item.get("status") == "failed":
        return f"Error: {item.get('error') or 'failed'}"
    action = item.get("action")
    if isinstance(action, dict) and action.get("sources") is not None:
        return {"sources": action["sources"]}
    found = next((item[name] for name in _RESULTS if item.get(name) is not None), None)
    return {"status": item.get("status") or "completed"} if found is None else {"results": found}


def _output(output: Any) -> Any:
    """A screenshot is named, and not kept."""
    return {"type": output["type"]} if isinstance(output, dict) and "image_url" in output and "type" in output else output
