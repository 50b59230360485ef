"""Arguments that an agent fills with its own words: a thought, a summary for a colleague. Calls that differ only there ask for the same.

Nobody words a sentence twice alike, so a call with one in it would equal no recorded call, and whoever makes it would always be wrong.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pydantic import JsonValue

from agentgym.messages import Message, ToolCall
from agentgym.traces.matching import call_key, canonical
from agentgym.traces.trace import Trace

# A text of so many words that was not said before is a sentence of its own; an argument is for such texts when nearly all of this many
# values are, and nearly all are different.
FEWEST_WORDS = 4
FEWEST_VALUES = 5
NEARLY_ALL = 0.8
_WORD = re.compile(r"[^\W\d_]{2,}")
_OWN = "in its own words"


@dataclass(frozen=True)
class CallKeys:
    """Texts that are equal for calls of one tool that ask for the same.   own_words: tools and arguments whose wording does not count.

    What an agent writes there is not judged, only that it writes something.
    """

    own_words: frozenset[tuple[str, str]] = frozenset()

    def of(self, call: ToolCall) -> str:
        worded = [name for name, value in call.arguments.items() if (call.name, name) in self.own_words and _is_worded(value)]
        if not worded:
            return call_key(call)
        return call_key(call.model_copy(update={"arguments": call.arguments | dict.fromkeys(worded, _OWN)}))


EXACT = CallKeys()


def learn_call_keys(traces: Iterable[Trace]) -> CallKeys:
    """Which arguments these conversations fill with words of the agent's own."""
    seen: defaultdict[tuple[str, str], _Values] = defaultdict(_Values)
    for trace in traces:
        for call, before in _calls(trace.messages):
            for name, value in call.arguments.items():
                if isinstance(value, str):
                    seen[call.name, name].add(value, before)
    return CallKeys(frozenset(place for place, values in seen.items() if values.are_own_words))


@dataclass(slots=True)
class _Values:
    """The texts of one argument.   own: how many were composed rather than taken from what was said."""

    count: int = 0
    own: int = 0
    distinct: set[str] = field(default_factory=set)

    def add(self, value: str, before: "_Said") -> None:
        self.count += 1
        self.own += len(_WORD.findall(value)) >= FEWEST_WORDS and not before.holds(value)
        self.distinct.add(canonical(value))

    @property
    def are_own_words(self) -> bool:
        return self.count >= FEWEST_VALUES and min(self.own, len(self.distinct)) >= NEARLY_ALL * self.count


class _Said:
    """Everything in a conversation before a call, made one text when it is asked for."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._messages = messages

    def holds(self, value: str) -> bool:
        return canonical(value) in canonical([_told(message) for message in self._messages])


def _told(message: Message) -> JsonValue:
    return [message.content, message.result, [call.arguments for call in message.tool_calls]]


def _calls(messages: tuple[Message, ...]) -> Iterator[tuple[ToolCall, _Said]]:
    for place, message in enumerate(messages):
        for call in message.tool_calls:
            yield call, _Said(messages[:place])


def _is_worded(value: object) -> bool:
    return isinstance(value, str) and _WORD.search(value) is not None
