"""What a model was asked and what it answered, as traced calls hold it: in OpenAI's two forms, Anthropic's, LangChain's, or as text."""

from typing import Any

from agentgym.traces.importers.openai_responses import item_messages
from agentgym.traces.importers.shapes import parsed
from agentgym.traces.importers.turns import Turn, words

# What has none of these is no message but some other value that a call was given or gave.
_SPOKEN = {"role", "content", "tool_calls"}
_ROLES = {"human": "user", "ai": "assistant", "model": "assistant"}


def asked(given: Any) -> list[Turn]:
    """The messages a model was given, in the chat form; none when what was given is no conversation. Raises NotAConversation."""
    value = parsed(given)
    if isinstance(value, dict):
        system = value["system"] if isinstance(value.get("system"), str | list) else value.get("instructions")
        said = value.get("messages", value.get("input", value if "role" in value else None))
        return [*([{"role": "system", "content": words(system)}] if system else []), *_messages(parsed(said), "user")]
    return _messages(value, "user")


def answered(given: Any) -> list[Turn]:
    """What a model answered, in the chat form. Raises NotAConversation."""
    value = parsed(given)
    if not isinstance(value, dict):
        return _messages(value, "assistant")
    choices = value.get("choices", value.get("generations"))
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return _messages(choices[0].get("message", choices[0].get("text")), "assistant")
    said = value.get("output", value.get("messages"))
    return _messages(said if isinstance(said, list | str) else value, "assistant")


def _messages(value: Any, role: str) -> list[Turn]:
    """role: whose the words are when nobody is named."""
    if isinstance(value, str):
        return [{"role": role, "content": value}] if value else []
    listed = value if isinstance(value, list) else [value]
    if any(isinstance(item, dict) and _is_item(item) for item in listed):
        return item_messages(listed, "The items of a response")
    return [turn for item in listed if isinstance(item, dict) and _SPOKEN & item.keys() for turn in _message(item, role)]


def _is_item(item: dict[str, Any]) -> bool:
    kind = str(item.get("type"))
    return kind in ("message", "reasoning") or kind.endswith(("_call", "_call_output"))


def _message(raw: dict[str, Any], role: str) -> list[Turn]:
    """A message in OpenAI's, LangChain's or Anthropic's form, in OpenAI's; the last writes results as parts of what the user says."""
    speaker = str(raw.get("role") or raw.get("type") or role)
    added = raw.get("additional_kwargs")
    calls = raw.get("tool_calls") or (added.get("tool_calls") if isinstance(added, dict) else None) or []
    blocks = [part for part in raw["content"] if isinstance(part, dict)] if isinstance(raw.get("content"), list) else []
    used = [_call(part, "input") for part in blocks if part.get("type") == "tool_use"]
    results = [_result(part) for part in blocks if part.get("type") == "tool_result"]
    made = [_call(call, "args") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else calls
    message = {**raw, "role": _ROLES.get(speaker, speaker), "tool_calls": [*made, *used] if isinstance(made, list) else made}
    if raw.get("name") is None:
        message.pop("name", None)
    is_said = bool(words(raw.get("content")) or message["tool_calls"] or not results)
    return [*results, *([message] if is_said else [])]


def _call(raw: dict[str, Any], arguments: str) -> dict[str, Any]:
    """arguments: what this form calls them."""
    if "function" in raw or "arguments" in raw:
        return raw
    return {"id": raw.get("id"), "function": {"name": raw.get("name"), "arguments": raw.get(arguments)}}


def _result(part: dict[str, Any]) -> Turn:
    return {"role": "tool", "tool_call_id": part.get("tool_use_id"), "content": words(part.get("content"))}
