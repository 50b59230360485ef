"""Recorded calls, found by the arguments they share with another call."""

from collections import Counter
from collections.abc import Iterable

from agentgym.environments.recording import RecordedCall
from agentgym.messages import ToolCall
from agentgym.traces.matching import agreement, canonical_arguments

# Two calls are near when they agree in most arguments: more than this share.
NEAR = 0.5


class NearCalls:
    """Recorded calls, found by what they ask for; of those that ask for the same, the first."""

    def __init__(self, calls: Iterable[RecordedCall]) -> None:
        self._calls: list[RecordedCall] = []
        self._places: dict[str, int] = {}
        self._by_argument: dict[tuple[str, str, str], list[int]] = {}
        for recorded in calls:
            place = self._places.setdefault(recorded.key, len(self._calls))
            if place == len(self._calls):
                self._add(recorded, place)

    def same(self, key: str) -> RecordedCall | None:
        """The recorded call with this key."""
        place = self._places.get(key)
        return None if place is None else self._calls[place]

    def nearest(self, call: ToolCall) -> RecordedCall | None:
        """The recorded call of the same tool that succeeded and agrees in most arguments; None when none agrees in more than half."""
        arguments = canonical_arguments(call.arguments)
        agreements = Counter(index for name, text in arguments.items() for index in self._by_argument.get((call.name, name, text), ()))
        # The most agreements in the smallest call, and the oldest of equals: Counter keeps the order of the recordings.
        index = max(agreements, key=lambda index: (agreements[index], -len(self._calls[index].call.arguments)), default=None)
        return self._calls[index] if index is not None and is_near(call, self._calls[index].call) else None

    def _add(self, recorded: RecordedCall, place: int) -> None:
        self._calls.append(recorded)
        # What a tool refused is no answer to another call.
        if recorded.is_due:
            for name, text in canonical_arguments(recorded.call.arguments).items():
                self._by_argument.setdefault((recorded.call.name, name, text), []).append(place)


def is_near(call: ToolCall, recorded: ToolCall) -> bool:
    return agreement(call, recorded) > NEAR
