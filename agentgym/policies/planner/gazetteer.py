"""Values already met in recorded calls and results, by argument: a hint that a stretch of text is a value.

A gazetteer built from the conversations it is then trained on gives the answers away, so training uses one made from other conversations.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import JsonValue

from agentgym.messages import Message, ToolCall
from agentgym.policies.planner.normalisers import TEXT
from agentgym.policies.planner.slots import Slot, same_value, tool_view
from agentgym.policies.planner.words import name_words
from agentgym.tools import Tool

_ROWS_READ = 3
_LONGEST_VALUE = 60


@dataclass(frozen=True, eq=False)
class Gazetteer:
    """Known values of text arguments.

    names: how a value is written, by its key.   by_slot: how often a value was given to an argument of that name.
    usual_share: how often an optional argument was given, by tool and argument, where calls were enough to tell.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    by_slot: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    usual_share: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @cached_property
    def by_word(self) -> Mapping[str, Mapping[str, int]]:
        """How often a value was given to arguments with this word in their name."""
        by_word: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for slot, counts in self.by_slot.items():
            for word in name_words(slot):
                by_word[word].update(counts)
        return dict(by_word)

    def times_given(self, slot: str, key: str) -> int:
        """How often this value was given to an argument of this name."""
        return self.by_slot.get(slot, {}).get(key, 0)

    def times_given_alike(self, slot: str, key: str) -> int:
        """How often this value was given to arguments that share a word with this name."""
        return sum(self.by_word.get(word, {}).get(key, 0) for word in name_words(slot))

    def to_json(self) -> dict[str, JsonValue]:
        return {
            "names": dict(self.names),
            "by_slot": {slot: dict(counts) for slot, counts in self.by_slot.items()},
            "usual_share": {tool: dict(shares) for tool, shares in self.usual_share.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Gazetteer":
        return cls(**{name: content[name] for name in ("names", "by_slot", "usual_share")})


_ENOUGH_CALLS = 10


def learn_gazetteer(conversations: Iterable[tuple[tuple[Message, ...], Mapping[str, Tool]]]) -> Gazetteer:
    """The values in the calls and results of these conversations, each given as messages and tools by name."""
    names: dict[str, str] = {}
    by_slot: defaultdict[str, Counter[str]] = defaultdict(Counter)
    calls: Counter[str] = Counter()
    given: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for messages, tools in conversations:
        for call in (call for message in messages for call in message.tool_calls if call.name in tools):
            calls[call.name] += 1
            given[call.name].update(call.arguments.keys())
            for slot, value in _text_arguments(call, tools[call.name]):
                names.setdefault(same_value(value), value)
                by_slot[slot.name][same_value(value)] += 1
        for value in (value for message in messages for value in _text_results(message)):
            names.setdefault(same_value(value), value)
    shares = {tool: {slot: count / calls[tool] for slot, count in given[tool].items()} for tool in calls if calls[tool] >= _ENOUGH_CALLS}
    return Gazetteer(names=names, by_slot=by_slot, usual_share=shares)


def _text_arguments(call: ToolCall, tool: Tool) -> Iterator[tuple[Slot, str]]:
    for slot in tool_view(tool).slots:
        value = call.arguments.get(slot.name)
        if slot.kind == TEXT and isinstance(value, str) and len(value) <= _LONGEST_VALUE:
            yield slot, value


def _text_results(message: Message) -> Iterator[str]:
    rows = message.result if isinstance(message.result, list) else [message.result]
    for row in rows[:_ROWS_READ]:
        for key, value in row.items() if isinstance(row, dict) else ():
            if isinstance(value, str) and _is_name(value) and not {"address", "phone", "email", "id"} & set(name_words(key)):
                yield value


def _is_name(value: str) -> bool:
    return 1 < len(value) <= _LONGEST_VALUE and any(character.isalpha() for character in value) and value not in ("True", "False")
