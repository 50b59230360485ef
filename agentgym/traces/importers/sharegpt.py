"""ShareGPT's form, and chats whose calls and results are marked inside the text.

`<tool_call>{…}</tool_call>` in what the agent says is a call; `<tool_response>` in what the user says is a result that no user wrote; and
`<think>` is no speech.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from agentgym.traces.importers.chat import read_tools
from agentgym.traces.importers.reading import Log, Place, read_each
from agentgym.traces.importers.record import Record, RejectedLine
from agentgym.traces.importers.shapes import NotAConversation, a_list, an_object, identifier, parsed, plain_tags
from agentgym.traces.importers.turns import Turn, joined, read_turns

_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
    "function_call": "function_call",
}
# What follows a tag's name stops at the next bracket, so that text full of opened tags takes no longer than other text.
_TAG = re.compile(r"<(/?)(think|tool_call|tool_response)\b([^<>]*)>")
_NAME = re.compile(r"""\bname\s*=\s*["']([^"']*)["']""")
_OWN_FIELDS = ("conversations", "messages", "tools", "system", "id", "conversation_id", "customer_id", "user_id", "outcome")


def looks_like_sharegpt(value: Any) -> bool:
    """Whether it has ShareGPT's turns, or messages that are text alone and so may have marks in it."""
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("conversations"), list):
        return True
    messages = value.get("messages")
    return isinstance(messages, list) and all(isinstance(message, dict) and set(message) <= {"role", "content"} for message in messages)


def has_marked_calls(messages: list[Any]) -> bool:
    """Whether calls are written into the text of these messages."""
    said = (message.get("content") for message in messages if isinstance(message, dict) and message.get("role") == "assistant")
    return any(isinstance(content, str) and "<tool_call>" in content for content in said)


def read_sharegpt(log: Log) -> Iterator[Record | RejectedLine]:
    yield from read_each(log, _conversation)


def _conversation(value: Any, place: Place) -> Iterator[Record]:
    log = an_object(value, "A conversation")
    turns = a_list(log.get("conversations", log.get("messages")), "The conversations of a ShareGPT object")
    system = [{"role": "system", "content": log["system"]}] if isinstance(log.get("system"), str) and log["system"] else []
    messages = [message for position, turn in enumerate(turns) for message in _messages(turn, position)]
    yield place.record(
        joined(read_turns([*system, *messages])),
        conversation_id=identifier(log.get("conversation_id", log.get("id"))),
        tools=read_tools(parsed(log["tools"])) if log.get("tools") else (),
        customer_id=identifier(log.get("customer_id", log.get("user_id"))),
        outcome=log.get("outcome"),
        tags=plain_tags({key: value for key, value in log.items() if key not in _OWN_FIELDS}),
    )


def _messages(raw: Any, position: int) -> list[Turn]:
    """What one turn says and does, in the chat form."""
    turn = an_object(raw, f"Turn {position}")
    speaker = turn.get("from", turn.get("role"))
    role, text = _ROLES.get(str(speaker)), turn.get("value", turn.get("content"))
    if role is None:
        raise NotAConversation(f"A turn is from one of {', '.join(_ROLES)}; turn {position} is from {speaker!r}.")
    if not isinstance(text, str):
        raise NotAConversation(f"A turn says text; turn {position} holds {type(text).__name__}.")
    if role == "system":
        return [{"role": role, "content": text}]
    if role == "function_call":
        return [{"role": "assistant", "tool_calls": _calls(text, position)}]
    said = _Said(text)
    if role == "tool":
        return said.results or [{"role": "tool", "content": text}]
    if role == "user":
        # Results alone are no turn of the user.
        return [*said.results, *([{"role": "user", "content": said.words}] if said.words or not said.results else [])]
    return [{"role": "assistant", "content": said.words, "tool_calls": [call for text in said.calls for call in _calls(text, position)]}]


class _Said:
    """A text taken apart at its marks; a mark that is not closed reaches to the end."""

    def __init__(self, text: str) -> None:
        self.calls: list[str] = []
        self.results: list[Turn] = []
        words, position, opened = list[str](), 0, None
        for tag in _TAG.finditer(text):
            is_end, name = tag[1] == "/", tag[2]
            if opened is None:
                words.append(text[position : tag.start()])
                opened = None if is_end else tag
                position = tag.end()
            elif is_end and name == opened[2]:
                self._take(opened, text[position : tag.start()].strip())
                opened, position = None, tag.end()
        if opened is None:
            words.append(text[position:])
        else:
            self._take(opened, text[position:].strip())
        self.words = "".join(words).strip()

    def _take(self, opened: re.Match[str], inside: str) -> None:
        if opened[2] == "tool_call":
            self.calls.append(inside)
        elif opened[2] == "tool_response":
            self.results.append(_result(inside, _NAME.search(opened[3])))


def _result(inside: str, name: re.Match[str] | None) -> Turn:
    """A result; some logs name the tool in the mark, others wrap name and content into JSON."""
    answer = parsed(inside)
    if isinstance(answer, dict) and {"name", "content"} <= answer.keys() <= {"name", "content", "tool_call_id"}:
        content = answer["content"]
        said = {"content": content} if isinstance(content, str) else {"result": content}
        return {"role": "tool", "name": answer["name"], **said}
    return {"role": "tool", "content": inside, **({"name": name[1]} if name else {})}


def _calls(text: str, position: int) -> list[dict[str, Any]]:
    """The calls that a text writes as JSON: one, or a list of them. Raises NotAConversation."""
    try:
        written = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise NotAConversation(f"A call is JSON with a name and arguments; the one in turn {position} is not: {error}.") from error
    calls = written if isinstance(written, list) else [written]
    if not all(isinstance(call, dict) and isinstance(call.get("function", call.get("name")), str | dict) for call in calls):
        raise NotAConversation(f"A call is JSON with a name and arguments; the one in turn {position} has no name.")
    return [call if "arguments" in call else {**call, "arguments": call.get("parameters")} for call in calls]
