"""Answers put together from rows, by rules that hold in the recordings."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from pydantic import JsonValue

from agentgym.environments.result_rows import RowTable, Told
from agentgym.environments.result_shapes import ResultShape
from agentgym.environments.row_completion import RowCompletion
from agentgym.environments.row_search import RowSearch
from agentgym.environments.write_effects import WriteEffects
from agentgym.messages import ToolCall

# A rule is tried on this many recorded calls of a tool; more would make every start slower and no rule surer.
TRIED_CALLS = 100


class RowRules:
    """Completes rows and filters lists, each where that proved right on the recorded calls of the tool.

    The rules of a tool are tried when it is first asked: an episode uses few tools of a large log.
    """

    def __init__(self, shapes: Mapping[str, ResultShape], told: Sequence[Sequence[Told]], effects: WriteEffects) -> None:
        """told: the calls of each recording that succeeded, oldest first."""
        self._shapes = shapes
        self._recordings = told
        table = RowTable()
        self._completion = RowCompletion(shapes, table)
        self._search = RowSearch(shapes, table)
        self._untried: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        later: list[tuple[int, Told]] = []
        for recording, episode in enumerate(told):
            has_written = False
            for at, each in enumerate(episode):
                self._untried[each.call.name].append((recording, at))
                if has_written:
                    later.append((recording, each))
                else:
                    self._know(table, each, recording)
                has_written |= effects.is_write(each.call.name)
        # What a recording told after it had written something is another state of the world: it counts only where nothing else is known.
        for recording, each in later:
            self._know(table, each, recording)

    def answer(self, call: ToolCall, asked: Mapping[str, str], told_before: Callable[[], Sequence[Told]]) -> JsonValue | None:
        """The result that the rules give, or None.   told_before: what is known in this episode, oldest first; asked for when needed."""
        shape = self._shapes.get(call.name)
        if shape is None or not (shape.is_single or shape.is_search):
            return None
        self._try_rules(call.name)
        told = told_before()
        return self._completion.complete(call, told) if shape.is_single else self._search.find(call, asked, told)

    def _know(self, table: RowTable, told: Told, recording: int) -> None:
        for row in told.rows:
            table.add(row, recording=recording)
        self._search.add(told, recording=recording)

    def _try_rules(self, tool: str) -> None:
        places = self._untried.pop(tool, [])
        for recording, at in places[:: 1 + len(places) // TRIED_CALLS]:
            episode = self._recordings[recording]
            self._completion.learn(episode[at], episode[:at], recording=recording)
            self._search.learn(episode[at], episode[:at], recording=recording)
