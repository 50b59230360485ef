"""A policy that follows a script: how the expert and the legacy agent of a world are played.

The script knows the case; the policy still says and calls only what the conversation allows: it asks for what the customer has not
told, and tries again what failed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from pydantic import JsonValue

from agentgym.episode import Action, Conversation
from agentgym.messages import Message, ToolCall, assistant


@dataclass(frozen=True, kw_only=True, slots=True)
class SpokenFact:
    """What the customer says for an argument each time they tell it, the last one being right; `question` asks for it."""

    values: tuple[JsonValue, ...]
    question: str
    is_volunteered: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """A call to make; `spoken` are the arguments only the customer can give. One that `must_succeed` is tried until it does."""

    call: ToolCall
    spoken: Mapping[str, SpokenFact] = field(default_factory=dict)
    must_succeed: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """Moves in order, and the words after them."""

    moves: tuple[Move, ...]
    last_words: str


class ScriptedPolicy:
    """Plays the script of each conversation; `script_of` gives it by `conversation_id`."""

    def __init__(self, script_of: Callable[[str], Script]) -> None:
        self._script_of = lru_cache(maxsize=1024)(script_of)

    def act(self, conversation: Conversation) -> Action:
        return Action(message=_next_message(self._script_of(conversation.conversation_id), conversation.messages))


def _next_message(script: Script, messages: tuple[Message, ...]) -> Message:
    attempts = iter(_attempts(messages))
    for move in script.moves:
        failed: ToolCall | None = None
        for call, has_failed in attempts:
            if not (move.must_succeed and has_failed):
                break
            failed = call
        else:
            return _message(move, failed, messages)
    return assistant(script.last_words)


def _attempts(messages: tuple[Message, ...]) -> list[tuple[ToolCall, bool]]:
    """Every call so far, and whether it failed; results follow their message in the order of its calls."""
    calls = [call for message in messages for call in message.tool_calls]
    results = [message for message in messages if message.role == "tool"]
    return [(call, result.is_error) for call, result in zip(calls, results, strict=True)]


def _message(move: Move, failed: ToolCall | None, messages: tuple[Message, ...]) -> Message:
    """The move's call, or the question for an argument that was not told, or not told rightly."""
    arguments = dict(move.call.arguments)
    for name, fact in move.spoken.items():
        times_told = fact.is_volunteered + sum(message.content == fact.question for message in messages)
        value = fact.values[min(times_told, len(fact.values)) - 1]
        may_be_wrong = failed is not None and failed.arguments[name] == value and times_told < len(fact.values)
        if times_told == 0 or may_be_wrong:
            return assistant(fact.question)
        arguments[name] = value
    return assistant("", ToolCall(name=move.call.name, arguments=arguments))
