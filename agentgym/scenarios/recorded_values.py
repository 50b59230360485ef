"""Where the values of recorded calls come from: what the customer told, word for word, and how it can be left out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from agentgym.messages import Message, ToolCall
from agentgym.tools import Tool
from agentgym.traces.matching import canonical
from agentgym.traces.trace import Trace

_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?\n]+|$)")
_READING = re.compile(r"^(?:find|get|search|list|look|check|show|read|query|fetch|view|calculate|count|describe|lookup)", re.IGNORECASE)
_PREPOSITION = r"(?:in|at|for|on|from|to|with|by|near|of|called|named)"


@dataclass(frozen=True, kw_only=True)
class Told:
    """An argument whose value only the customer told, and told once, before the call.

    said_at, called_at: places of the messages.   text: the value as it was said.
    """

    said_at: int
    called_at: int
    call: ToolCall
    argument: str
    text: str


def told_values(trace: Trace) -> Iterator[Told]:
    """Every argument of every call whose value stands in one message of the customer and nowhere else before the call."""
    for called_at, message in enumerate(trace.messages):
        for call in message.tool_calls:
            for argument, value in call.arguments.items():
                if isinstance(value, str) and value.strip():
                    yield from _told(trace, called_at, call, argument, value)


def holds(text: str, value: str) -> re.Match[str] | None:
    """Where a text holds a value as words of their own, however they are cased."""
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE)


def without_value(words: str, value: str) -> str | None:
    """The words without their sentence about the value, or without the phrase it stands in; None where nothing would be left to say."""
    sentences = _SENTENCE.findall(words)
    others = [sentence for sentence in sentences if not holds(sentence, value)]
    phrase = re.compile(rf"\s+{_PREPOSITION}\s+(?:the\s+)?{re.escape(value)}(?!\w)", re.IGNORECASE)
    shorter = phrase.sub("", words)
    if shorter != words and not holds(shorter, value):
        return shorter
    return "".join(others).strip() or None if len(others) < len(sentences) else None


def is_reading(tool: Tool) -> bool:
    """Whether a tool changes nothing: as it is declared, else as the verb its name begins with says."""
    return not tool.writes if tool.writes is not None else bool(_READING.match(tool.name.rpartition(".")[2]))


def _told(trace: Trace, called_at: int, call: ToolCall, argument: str, value: str) -> Iterator[Told]:
    before = trace.messages[:called_at]
    saying = [at for at, message in enumerate(before) if _mentions(message, value)]
    if len(saying) == 1 and before[saying[0]].role == "user" and (match := holds(before[saying[0]].content, value)):
        yield Told(said_at=saying[0], called_at=called_at, call=call, argument=argument, text=match[0])


def _mentions(message: Message, value: str) -> bool:
    given: list[JsonValue] = [message.content, message.result, *(call.arguments for call in message.tool_calls)]
    return canonical(value) in canonical(given)
