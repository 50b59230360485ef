"""What is said in a conversation: messages and the tool calls inside them, in OpenAI's chat form."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, JsonValue

Role = Literal["system", "user", "assistant", "tool"]


class ToolCall(BaseModel):
    """A tool asked for by the assistant, with arguments already parsed from JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = ""
    name: str
    arguments: dict[str, JsonValue] = {}


class Message(BaseModel):
    """One message.

    A tool message carries the tool's `name` and its `result` as JSON; `content` keeps the text when the result is not JSON.
    An assistant message may hold words, calls, or both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    name: str | None = None
    tool_call_id: str | None = None
    result: JsonValue = None

    @property
    def is_error(self) -> bool:
        """Whether this tool message reports a failed call: `{"error": …}`, or text that begins with "Error"."""
        if self.role != "tool":
            return False
        if isinstance(self.result, dict):
            return "error" in self.result
        return (self.result if isinstance(self.result, str) else self.content).startswith("Error")


def user(content: str) -> Message:
    return Message(role="user", content=content)


def system(content: str) -> Message:
    return Message(role="system", content=content)


def assistant(content: str = "", *calls: ToolCall) -> Message:
    return Message(role="assistant", content=content, tool_calls=calls)


def tool_result(call: ToolCall, result: Any) -> Message:
    """The answer to `call`."""
    return Message(role="tool", name=call.name, tool_call_id=call.id or None, result=result)


def token_estimate(message: Message) -> int:
    """What a message costs its writer: one token for every four characters of its words and of each call's JSON, rounded up.

    An estimate that needs no tokenizer and is the same for every policy; a language model's own count differs by its vocabulary.
    """
    calls = (orjson.dumps({"name": call.name, "arguments": call.arguments}).decode() for call in message.tool_calls)
    return -(-(len(message.content) + sum(map(len, calls))) // 4)


def to_openai_messages(messages: Sequence[Message]) -> list[dict[str, JsonValue]]:
    """The conversation in OpenAI's chat form: arguments as JSON text, and every answer with the id of its call.

    A call without an id gets one from its place, so it keeps it as the conversation grows. An answer without one belongs to the oldest open
    call of its name, else to the oldest.
    """
    written: list[dict[str, JsonValue]] = []
    waiting: list[_OpenCall] = []
    for place, message in enumerate(messages):
        if message.role == "tool":
            written.append({"role": "tool", "tool_call_id": _answered(message, waiting, place), "content": _result_text(message)})
            continue
        calls = [_OpenCall(call.id or f"call_{place}_{number}", call) for number, call in enumerate(message.tool_calls)]
        waiting += calls
        # Beside calls, OpenAI writes the absence of words as null.
        said: dict[str, JsonValue] = {"role": message.role, "content": message.content or (None if calls else "")}
        written.append({**said, "tool_calls": [call.to_openai() for call in calls]} if calls else said)
    return written


@dataclass(frozen=True, slots=True)
class _OpenCall:
    """A call that was not answered yet."""

    id: str
    call: ToolCall

    def to_openai(self) -> dict[str, JsonValue]:
        function: dict[str, JsonValue] = {"name": self.call.name, "arguments": orjson.dumps(self.call.arguments).decode()}
        return {"id": self.id, "type": "function", "function": function}


def _answered(answer: Message, waiting: list[_OpenCall], place: int) -> str:
    """The id of the call that is answered, which then waits no longer."""
    named = [call for call in waiting if call.id == answer.tool_call_id] or [call for call in waiting if call.call.name == answer.name]
    found = next(iter(named or waiting), None)
    if found is None:
        return answer.tool_call_id or f"call_{place}"
    waiting.remove(found)
    return found.id


def _result_text(answer: Message) -> str:
    return answer.content if answer.result is None and answer.content else orjson.dumps(answer.result).decode()
