"""What a recorded call, or a recorded sentence, is in another conversation: the same, with what is true there.

A value is looked for where the record had its own: among known values of the argument that somebody mentions, among values of the same kind
and shape that the customer told, in results and calls under the same name. What nobody had told the recorded agent is its own choice, and
is kept.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from agentgym.episode import Conversation
from agentgym.messages import Message, ToolCall
from agentgym.policies.planner.normalisers import found_values
from agentgym.tools import Tool
from agentgym.traces.matching import canonical

_SHORTEST_FACT = 3
_LETTERS, _DIGITS = re.compile(r"[^\W\d_]+"), re.compile(r"\d+")

Facts = Mapping[str, Sequence[JsonValue]]
"""Values by the name they stand under in calls and results, the latest first."""


@dataclass(frozen=True)
class KnownValues:
    """Every value an argument had in the record, by tool and argument."""

    by_argument: Mapping[tuple[str, str], Sequence[str]]

    @classmethod
    def of(cls, answers: Iterable[Message]) -> "KnownValues":
        known = defaultdict[tuple[str, str], dict[str, None]](dict)
        for answer in answers:
            for call in answer.tool_calls:
                for name, value in call.arguments.items():
                    if isinstance(value, str) and not _DIGITS.search(value):
                        known[call.name, name][value] = None
        return cls({place: tuple(values) for place, values in known.items()})


def copied_call(
    call: ToolCall, prefix: Sequence[Message], conversation: Conversation, scope: Mapping[str, Tool], known: KnownValues
) -> ToolCall | None:
    """The recorded call as this conversation would make it.

    prefix: what had been said where it was recorded.   None when its tool is not in scope, or a required argument is not known here.
    """
    tool = scope.get(call.name)
    if tool is None:
        return None
    there, here = _Told(prefix), _Told(conversation.messages)
    arguments: dict[str, JsonValue] = {}
    for name, value in call.arguments.items():
        copied = _copied(name, value, call.name, there, here, conversation, tool, known)
        if copied is not None:
            arguments[name] = copied
        elif name in tool.required:
            return None
    return None if tool.violations(arguments) else ToolCall(name=call.name, arguments=arguments)


def facts_in(messages: Sequence[Message]) -> Facts:
    """What calls gave and results told."""
    facts = defaultdict[str, list[JsonValue]](list)
    for message in reversed(messages):
        for name, value in _leaves(message.result if message.role == "tool" else None):
            facts[name].append(value)
        for call in message.tool_calls:
            for name, value in _leaves(call.arguments):
                facts[name].append(value)
    return facts


def retold(words: str, there: Facts, here: Facts) -> str | None:
    """The words with each fact of the record replaced by this conversation's fact of the same name; None where it has none."""
    said = {str(value): name for name, values in there.items() for value in values if _is_telling(value) and _mentions(words, str(value))}
    for value in sorted(said, key=len, reverse=True):
        others = here.get(said[value], ())
        if not others or isinstance(others[0], dict | list):
            return None
        words = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", lambda _, other=others[0]: str(other), words, flags=re.IGNORECASE)  # type: ignore[misc]
    return words


class _Told:
    """What was said in a conversation, and the facts of its calls and results."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.spoken = [message.content for message in reversed(messages) if message.role == "user" and message.content]
        self.words = [message.content for message in reversed(messages) if message.role in ("user", "assistant") and message.content]
        self.facts = facts_in(messages)
        self.everything = canonical([*self.words, *(value for values in self.facts.values() for value in values)])


def _copied(
    name: str, value: JsonValue, tool_name: str, there: _Told, here: _Told, conversation: Conversation, tool: Tool, known: KnownValues
) -> JsonValue:
    """The value of one argument here; None where it is not known."""
    # The record took it from what tools had told, or had been told, under this name.
    if here.facts.get(name) and any(canonical(value) == canonical(fact) for fact in there.facts.get(name, ())):
        return here.facts[name][0]
    listed = tool.properties.get(name, {}).get("enum")
    choices = [str(each) for each in listed] if isinstance(listed, list) else known.by_argument.get((tool_name, name), ())
    if (mentioned := _mentioned(choices, here.words)) is not None:
        return mentioned
    if (told := _of_its_kind(value, here.spoken, conversation)) is not None:
        return told
    if here.facts.get(name):
        return here.facts[name][0]
    was_told = isinstance(value, bool | None) or canonical(value) in there.everything
    return None if was_told and not isinstance(value, bool) else value


def _mentioned(choices: Sequence[str], words: Sequence[str]) -> str | None:
    """The choice that was mentioned last; of several at once the longest."""
    for text in words:
        found = [choice for choice in choices if _mentions(text, choice.replace("_", " ")) or _mentions(text, choice)]
        if found:
            return max(found, key=len)
    return None


def _of_its_kind(value: JsonValue, spoken: Sequence[str], conversation: Conversation) -> JsonValue:
    """What the customer told last that is of the value's kind and shape: another e-mail, order number or date for this one."""
    text, today = str(value), conversation.now.date()
    kinds = {found.kind for found in found_values(text, today) if found.end - found.start == len(text)}
    for words in spoken:
        found = [each.value for each in found_values(words, today) if each.kind in kinds and _shape(each.value) == _shape(text)]
        if found:
            return _as_type_of(value, found[-1])
    return None


def _shape(text: str) -> str:
    """`ord-0042` and `ORD-7` have one shape, a date and a telephone number have two."""
    return _DIGITS.sub("9", _LETTERS.sub("a", text))


def _as_type_of(value: JsonValue, text: str) -> JsonValue:
    if isinstance(value, int) and text.isdecimal():
        return int(text)
    try:
        return float(text) if isinstance(value, float) else text
    except ValueError:
        return text


def _is_telling(value: JsonValue) -> bool:
    """Whether repeating it would tell somebody's facts: a flag or a short word would not."""
    return isinstance(value, str | int | float) and not isinstance(value, bool) and len(str(value)) >= _SHORTEST_FACT


def _mentions(text: str, value: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE) is not None


def _leaves(value: JsonValue, name: str = "") -> Iterator[tuple[str, JsonValue]]:
    """Every value with the name it stands under; of a list the first items first."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(item, dict | list):
                yield key, item
            else:
                yield from _leaves(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, name) if isinstance(item, dict | list) else ((name, item),)
