"""Rules of conduct: what the agent must or must not say and call, declared and checked without a judge."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from agentgym.messages import Message


def _is_pattern(pattern: str) -> str:
    try:
        _compiled(pattern)
    except re.error as error:
        raise ValueError(f"a pattern is a regular expression; {pattern!r} is none: {error}") from error
    return pattern


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_is_pattern)]


class ConductRule(BaseModel):
    """One rule; exactly one of its four demands is set.

    says, never_says: a pattern, searched for in the agent's words whatever its case.   calls, never_calls: a tool.
    until: a tool; what must never be binds only before that tool has answered without an error. `never_says: "refund is approved",
    until: check_payment` is "promise no refund before checking", `never_calls: refund, until: check_payment` is "check, then refund".
    once: a tool; what must be binds only where that tool has answered without an error, and from there on: `says: "working days",
    once: refund` is "after a refund, say how long it takes".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    says: Pattern | None = None
    never_says: Pattern | None = None
    calls: str | None = None
    never_calls: str | None = None
    until: str | None = None
    once: str | None = None

    @model_validator(mode="after")
    def _is_one_demand(self) -> Self:
        demands = [name for name in ("says", "never_says", "calls", "never_calls") if getattr(self, name) is not None]
        if len(demands) != 1:
            raise ValueError(f"a rule makes one demand of says, never_says, calls, never_calls; {self.name!r} has {demands!r}")
        if self.until is not None and not demands[0].startswith("never"):
            raise ValueError(f"until is for never_says and never_calls; {self.name!r} has {demands[0]}, which takes once")
        if self.once is not None and demands[0].startswith("never"):
            raise ValueError(f"once is for says and calls; {self.name!r} has {demands[0]}, which takes until")
        return self

    def is_broken_by(self, messages: Sequence[Message]) -> bool:
        """Whether the agent of this conversation broke the rule; a demand that never came to bind is kept."""
        if self.never_says is not None or self.never_calls is not None:
            return any(self._offends(message) for message in _before(messages, self.until))
        bound = list(_after(messages, self.once)) if self.once is not None else list(messages)
        # Without a word or a call of the agent there is nobody yet to hold to it.
        has_acted = any(message.role == "assistant" for message in messages)
        is_bound = bool(bound) if self.once is not None else has_acted
        return is_bound and not any(self._satisfies(message) for message in bound)

    def _offends(self, message: Message) -> bool:
        return _says(message, self.never_says) or _calls(message, self.never_calls)

    def _satisfies(self, message: Message) -> bool:
        return _says(message, self.says) or _calls(message, self.calls)


def broken_rules(rules: Sequence[ConductRule], messages: Sequence[Message]) -> tuple[str, ...]:
    """Names of the rules the agent broke, in the order of the rules."""
    return tuple(rule.name for rule in rules if rule.is_broken_by(messages))


def _says(message: Message, pattern: str | None) -> bool:
    return pattern is not None and message.role == "assistant" and _compiled(pattern).search(message.content) is not None


def _calls(message: Message, tool: str | None) -> bool:
    return tool is not None and any(call.name == tool for call in message.tool_calls)


def _before(messages: Sequence[Message], tool: str | None) -> Iterator[Message]:
    """Messages up to the first answer of `tool` that is no error; all of them without a tool."""
    for message in messages:
        if tool is not None and _is_answer(message, tool):
            return
        yield message


def _after(messages: Sequence[Message], tool: str) -> Iterator[Message]:
    """That answer and everything that follows it; nothing where it never came."""
    has_come = False
    for message in messages:
        has_come = has_come or _is_answer(message, tool)
        if has_come:
            yield message


def _is_answer(message: Message, tool: str) -> bool:
    return message.role == "tool" and message.name == tool and not message.is_error
