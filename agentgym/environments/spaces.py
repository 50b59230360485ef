"""The spaces of a conversation environment: assistant messages as actions, conversations as observations."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import gymnasium
import numpy as np
from pydantic import JsonValue

from agentgym.episode import Conversation
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.tools import Tool

_LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))
_LARGEST = 100


class MessageSpace(gymnasium.Space[Message]):
    """Assistant messages: words, or a call of one of `tools`. A sample is one or the other, with arguments of its schema's types."""

    def __init__(self, tools: Sequence[Tool], seed: int | np.random.Generator | None = None) -> None:
        super().__init__(seed=seed)
        self.tools = tuple(tools)

    def sample(self, mask: Any = None, probability: Any = None) -> Message:
        if not self.tools or self.np_random.random() < 0.5:
            return assistant(_words(self.np_random))
        tool = self.tools[self.np_random.integers(len(self.tools))]
        return assistant("", ToolCall(name=tool.name, arguments=_arguments(tool, self.np_random)))

    def contains(self, x: Any) -> bool:
        return isinstance(x, Message) and x.role == "assistant"


class ConversationSpace(gymnasium.Space[Conversation]):
    """Conversations in which somebody has spoken. A sample opens with the customer and holds up to four turns."""

    def __init__(self, tools: Sequence[Tool], seed: int | np.random.Generator | None = None) -> None:
        super().__init__(seed=seed)
        self.tools = tuple(tools)

    def sample(self, mask: Any = None, probability: Any = None) -> Conversation:
        turns = MessageSpace(self.tools, seed=self.np_random)
        messages = [user(_words(self.np_random))]
        for _ in range(self.np_random.integers(4)):
            said = turns.sample()
            answers = [tool_result(call, {"result": _words(self.np_random)}) for call in said.tool_calls]
            messages += [said, *(answers or [user(_words(self.np_random))])]
        identity = f"sample-{self.np_random.integers(2**32)}"
        now = datetime.fromtimestamp(int(self.np_random.integers(2**31)), tz=UTC)
        return Conversation(conversation_id=identity, messages=tuple(messages), tools=self.tools, now=now)

    def contains(self, x: Any) -> bool:
        return isinstance(x, Conversation) and bool(x.messages)


def _arguments(tool: Tool, rng: np.random.Generator) -> dict[str, JsonValue]:
    return {name: _value(schema, rng) for name, schema in tool.properties.items() if name in tool.required or rng.random() < 0.5}


def _value(schema: dict[str, JsonValue], rng: np.random.Generator) -> JsonValue:
    choices = schema.get("enum")
    if isinstance(choices, list):
        return choices[rng.integers(len(choices))]
    match schema.get("type"):
        case "integer":
            return int(rng.integers(_LARGEST))
        case "number":
            return round(float(rng.random() * _LARGEST), 2)
        case "boolean":
            return bool(rng.integers(2))
        case "array":
            return []
        case "object":
            return {}
    return _words(rng)


def _words(rng: np.random.Generator) -> str:
    return " ".join("".join(rng.choice(_LETTERS, size=rng.integers(2, 9))) for _ in range(rng.integers(1, 6)))
