"""What is said in a conversation: messages and the tool calls inside them, in OpenAI's chat form."""

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
