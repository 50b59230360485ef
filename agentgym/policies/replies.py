"""The words of a turn, from a frozen generator: training chooses what to do, never how to say it."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from pydantic import JsonValue

from agentgym.episode import Conversation
from agentgym.messages import Message
from agentgym.tools import Tool

_FACTS_TOLD = 3
_LONGEST_FACT = 40


class Replies(Protocol):
    """Puts a decision into words; equal decisions in equal conversations get equal words."""

    def ask(self, conversation: Conversation, tool: Tool, arguments: Sequence[str]) -> str:
        """A question for these arguments of the tool."""
        ...

    def inform(self, conversation: Conversation) -> str:
        """What there is to say when nothing is asked and nothing is called."""
        ...


class TemplateReplies:
    """Short sentences filled from the tools' descriptions and the latest result; words cost tokens."""

    def ask(self, conversation: Conversation, tool: Tool, arguments: Sequence[str]) -> str:
        wanted = [described(tool, name) for name in arguments]
        *first, last = wanted
        return f"Could you please tell me {', '.join(first) + ' and ' if first else ''}{last}?"

    def inform(self, conversation: Conversation) -> str:
        latest = conversation.messages[-1] if conversation.messages else None
        if latest is None:
            return "Hello, I am here to help."
        if latest.role == "tool":
            return _told(latest)
        return "All right. I am glad to help." if _has_result(conversation) else "Please tell me more about what you need."


def described(tool: Tool, argument: str) -> str:
    """An argument as a question names it: its description, else the words of its name."""
    schema = tool.properties.get(argument, {})
    words = str(schema.get("description") or "").strip().rstrip(".") or argument.replace("_", " ")
    words = words[0].lower() + words[1:] if words[1:2].islower() else words
    return (
        words
        if words.startswith(("the ", "a ", "an ", "your ", "whether ", "which ", "how ", "what ", "when ", "where "))
        else f"the {words}"
    )


def _told(message: Message) -> str:
    content = message.content if message.result is None else message.result
    if message.is_error:
        return f"I am sorry, that did not work: {_error(content)}."
    if isinstance(content, list) and not content:
        return "I am sorry, I found nothing that fits."
    facts = list(_facts(content))
    if isinstance(content, list) and len(content) > 1:
        return f"I found {len(content)}, the first is: {', '.join(facts)}."
    return f"Done: {', '.join(facts)}." if facts else "That is done."


def _error(content: JsonValue) -> str:
    error = content.get("error") if isinstance(content, dict) else content
    return str(error).removeprefix("Error").strip(" :.")[:80] or "the tool refused"


def _facts(content: JsonValue) -> Iterator[str]:
    row = content[0] if isinstance(content, list) and content else content
    if not isinstance(row, dict):
        yield str(row)[:_LONGEST_FACT]
        return
    facts = [(name, value) for name, value in row.items() if isinstance(value, (str, int, float)) and len(str(value)) <= _LONGEST_FACT]
    yield from (f"{name.replace('_', ' ')} {value}" for name, value in facts[:_FACTS_TOLD])


def _has_result(conversation: Conversation) -> bool:
    return any(message.role == "tool" for message in conversation.messages)
