"""Held-out calls put to the tools of an environment, beside what the record answers: the rows that fidelity is counted from."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from agentgym.environments.recorded_answers import Answered, Basis
from agentgym.environments.world import WorldTools
from agentgym.messages import ToolCall
from agentgym.scenarios.fidelity.answering import Mock
from agentgym.scenarios.fidelity.likeness import Field, field_match, fields, is_error, is_same
from agentgym.scenarios.fidelity.training_calls import TrainingCalls, recorded_calls
from agentgym.scenarios.world_scenario import WorldScenario
from agentgym.tools import Tool
from agentgym.traces.matching import call_key
from agentgym.traces.trace import Trace


@dataclass(frozen=True, kw_only=True, slots=True)
class PutCall:
    """One recorded call, and what the environment answered to it.

    basis: None for a world, which computes its answers.   found, chance, replayed: as `TrainingCalls` says, for the environment's answer,
    for a random one, and for the recorded ones to this very call; None where there is nothing to compare.
    is_accepted: by the schema known from training; None without one.   is_known: whether training has seen its entities.
    """

    tool: str
    cluster_id: str
    basis: Basis | None
    is_same: bool
    field_match: float
    was_error: bool
    is_error: bool
    found: float | None = None
    chance: float | None = None
    replayed: float | None = None
    is_accepted: bool | None = None
    is_known: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """A read made again after a write. shown: of the fields new in the record, the share that the environment shows as well, 0–1.

    writer: the tool called in between, the last one.
    """

    writer: str
    cluster_id: str
    shown: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Recall:
    """A training call put to the mock. is_recorded: whether what came back is one of the recorded answers to it."""

    tool: str
    cluster_id: str
    is_recorded: bool


@dataclass(frozen=True, kw_only=True)
class PutCalls:
    """training_calls, training_errors: by tool; empty for a world, which learns nothing from them."""

    rows: tuple[PutCall, ...]
    effects: tuple[Effect, ...]
    recalls: tuple[Recall, ...] = ()
    training_calls: Mapping[str, int] = field(default_factory=dict)
    training_errors: Mapping[str, int] = field(default_factory=dict)


def put_to_mock(mock: Mock, train: Sequence[Trace], held_out: Sequence[Trace]) -> PutCalls:
    """Every held-out call answered from training recordings alone; the history of a call is of the mock's own answers, as in play.

    train: what the mock was made from. Its calls are put to it as well: what was recorded must come back.
    """
    known = TrainingCalls(train)
    rows: list[PutCall] = []
    effects: list[Effect] = []
    for trace in held_out:
        calls = recorded_calls(trace)
        answers = _answers(mock, calls)
        rows += (_row(known, trace, call, recorded, given) for (call, recorded), given in zip(calls, answers, strict=True))
        effects += _effects(trace, calls, [answered.result for answered in answers], known)
    return PutCalls(
        rows=tuple(rows),
        effects=tuple(effects),
        recalls=tuple(recall for trace in train for recall in _recalls(mock, known, trace)),
        training_calls=known.calls,
        training_errors=known.errors,
    )


def put_to_world(scenario: WorldScenario, held_out: Iterable[Trace]) -> PutCalls:
    """Every held-out call made in the world of the case its conversation was about, after the calls before it.

    Raises InvalidInput for a conversation that is not of this world.
    """
    tools, schemas = WorldTools(scenario.world), {tool.name: tool for tool in scenario.tools}
    rows: list[PutCall] = []
    effects: list[Effect] = []
    for trace in held_out:
        tools.open(scenario.case_from_trace(trace))
        calls = recorded_calls(trace)
        results = [_made(tools, schemas, call) for call, _ in calls]
        rows += (_compared(trace, call, recorded, given) for (call, recorded), given in zip(calls, results, strict=True))
        effects += _effects(trace, calls, results, None)
    return PutCalls(rows=tuple(rows), effects=tuple(effects))


def _answers(mock: Mock, calls: Sequence[tuple[ToolCall, JsonValue]]) -> list[Answered]:
    history: list[tuple[ToolCall, JsonValue]] = []
    answers: list[Answered] = []
    for call, _ in calls:
        answers.append(mock(call, tuple(history)))
        history.append((call, answers[-1].result))
    return answers


def _row(known: TrainingCalls, trace: Trace, call: ToolCall, recorded: JsonValue, answered: Answered) -> PutCall:
    is_success = not is_error(recorded)
    return PutCall(
        tool=call.name,
        cluster_id=trace.cluster_id,
        basis=answered.basis,
        is_same=is_same(recorded, answered.result),
        field_match=field_match(recorded, answered.result),
        was_error=not is_success,
        is_error=is_error(answered.result),
        found=known.found(call, recorded, answered.result) if is_success else None,
        chance=known.chance(call, recorded) if is_success else None,
        replayed=known.replayed(call, recorded) if is_success else None,
        # Which arguments a tool refuses, its schema need not know.
        is_accepted=known.are_accepted(call) if is_success else None,
        is_known=known.are_known(call),
    )


def _compared(trace: Trace, call: ToolCall, recorded: JsonValue, given: JsonValue) -> PutCall:
    return PutCall(
        tool=call.name,
        cluster_id=trace.cluster_id,
        basis=None,
        is_same=is_same(recorded, given),
        field_match=field_match(recorded, given),
        was_error=is_error(recorded),
        is_error=is_error(given),
    )


def _made(tools: WorldTools, schemas: Mapping[str, Tool], call: ToolCall) -> JsonValue:
    tool = schemas.get(call.name)
    if tool is None:
        return {"error": f"There is no tool {call.name!r}."}
    violations = tool.violations(call.arguments)
    return {"error": "; ".join(violations)} if violations else tools.execute(call).result


def _recalls(mock: Mock, known: TrainingCalls, trace: Trace) -> Iterator[Recall]:
    """Failed calls are left out: a mock may give any of a tool's errors."""
    calls = recorded_calls(trace)
    for (call, recorded), answered in zip(calls, _answers(mock, calls), strict=True):
        if not is_error(recorded):
            yield Recall(tool=call.name, cluster_id=trace.cluster_id, is_recorded=known.is_recorded(call, answered.result))


def _effects(
    trace: Trace, calls: Sequence[tuple[ToolCall, JsonValue]], given: Sequence[JsonValue], known: TrainingCalls | None
) -> Iterator[Effect]:
    """Every call that the record makes again and that then gets something new, with another call in between.

    New fields that no training answer holds and no call in between gave are left out: nobody can show a number made up elsewhere.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, (call, recorded) in enumerate(calls):
        earlier = places[call_key(call)]
        between = [at for at in range(earlier[-1] + 1, place) if calls[at][0].name != call.name] if earlier else []
        if between and not is_error(recorded):
            new = frozenset(fields(recorded)) - frozenset(fields(calls[earlier[-1]][1]))
            if known is not None:
                new = _attainable(new, call.name, known, [calls[at][0] for at in between])
            if new:
                shown = len(new & frozenset(fields(given[place]))) / len(new)
                yield Effect(writer=calls[between[-1]][0].name, cluster_id=trace.cluster_id, shown=shown)
        earlier.append(place)


def _attainable(new: frozenset[Field], tool: str, known: TrainingCalls, between: Sequence[ToolCall]) -> frozenset[Field]:
    given = {text for call in between for _, text in fields(dict(call.arguments))}
    return frozenset(field for field in new if known.has_told(tool, field) or field[1] in given)
