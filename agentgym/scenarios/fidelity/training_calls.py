"""What the training calls of a log tell: the yardstick that answers to held-out calls are measured by."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from pydantic import JsonValue

from agentgym.environments.recording import result_of
from agentgym.messages import ToolCall
from agentgym.scenarios.fidelity.likeness import Field, fields, is_error
from agentgym.traces.matching import call_key
from agentgym.traces.mining import answered_calls, mine_tools
from agentgym.traces.trace import Trace


class TrainingCalls:
    """The answered calls of training traces, counted.   calls, errors: by tool."""

    def __init__(self, traces: Sequence[Trace]) -> None:
        self._schemas = {tool.name: tool for tool in mine_tools(traces)}
        self.calls, self.errors = Counter[str](), Counter[str]()
        self._held: dict[str, Counter[Field]] = defaultdict(Counter)
        self._answers: dict[str, list[frozenset[Field]]] = defaultdict(list)
        self._values: dict[str, set[str]] = defaultdict(set)
        self._told: set[str] = set()
        for trace in traces:
            for call, result in recorded_calls(trace):
                self._observe(call, result)

    def are_accepted(self, call: ToolCall) -> bool | None:
        """Whether the schema known from training takes these arguments; None where training does not know the tool."""
        tool = self._schemas.get(call.name)
        return None if tool is None else not tool.violations(call.arguments)

    def are_known(self, call: ToolCall) -> bool:
        """Whether training has seen the entities this call is about: of each argument whose values tools tell, this value."""
        return all(text in self._values[place] or text in self._told for place, text in _arguments(call) if self._names_entities(place))

    def found(self, call: ToolCall, recorded: JsonValue, given: JsonValue) -> float | None:
        """Of the recorded fields that some training answer of this tool holds, the share in `given`, 0–1.

        No mock made from recordings could give the others: an order number is new each time. None where no field is left.
        """
        attainable = self.attainable(call.name, recorded)
        return len(attainable & set(fields(given))) / len(attainable) if attainable else None

    def chance(self, call: ToolCall, recorded: JsonValue) -> float | None:
        """What `found` is on average for a training answer of this tool, drawn at random."""
        attainable, held = self.attainable(call.name, recorded), self._held[call.name]
        successes = self.calls[call.name] - self.errors[call.name]
        return sum(held[each] for each in attainable) / successes / len(attainable) if attainable else None

    def replayed(self, call: ToolCall, recorded: JsonValue) -> float | None:
        """What `found` is on average for the training answers to this very call; None where training never made it."""
        attainable, answers = self.attainable(call.name, recorded), self._answers.get(call_key(call), ())
        return sum(len(attainable & answer) for answer in answers) / len(answers) / len(attainable) if attainable and answers else None

    def is_recorded(self, call: ToolCall, given: JsonValue) -> bool:
        """Whether training got this answer to this very call."""
        return frozenset(fields(given)) in self._answers.get(call_key(call), ())

    def attainable(self, tool: str, recorded: JsonValue) -> frozenset[Field]:
        """The recorded fields that some training answer of this tool holds."""
        return frozenset(field for field in fields(recorded) if self.has_told(tool, field))

    def has_told(self, tool: str, field: Field) -> bool:
        """Whether some training answer of this tool holds this field."""
        return field in self._held[tool]

    def _observe(self, call: ToolCall, result: JsonValue) -> None:
        self.calls[call.name] += 1
        for place, text in _arguments(call):
            self._values[place].add(text)
        if is_error(result):
            self.errors[call.name] += 1
            return
        held = frozenset(fields(result))
        self._held[call.name].update(held)
        self._answers[call_key(call)].append(held)
        self._told.update(text for _, text in held)

    def _names_entities(self, place: str) -> bool:
        """Whether tools tell at least half of the values of this argument: what people make up has no record to be known by."""
        values = self._values[place]
        return bool(values) and 2 * len(values & self._told) >= len(values)


def recorded_calls(trace: Trace) -> list[tuple[ToolCall, JsonValue]]:
    """The calls of a trace with what they got; one that nothing answers is left out."""
    return [(call, result_of(answer)) for call, answer in answered_calls(trace.messages) if answer is not None]


def _arguments(call: ToolCall) -> list[Field]:
    """Every value in the arguments, its place beginning with the tool."""
    return [(f"{call.name}{place}", text) for place, text in fields(dict(call.arguments))]
