"""Edge cases of a declared world as they are played: customers who are difficult, tools whose first answer is disturbed."""

import re
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
from pydantic import JsonValue

from agentgym.environments.case import Case
from agentgym.environments.conversation import ToolAnswer, UserTurn
from agentgym.environments.declaration import CustomerRule, Fact, Intent, Persona, World
from agentgym.environments.edge import Edge
from agentgym.environments.user_simulator import ScriptedCustomer
from agentgym.environments.world import WorldTools
from agentgym.episode import JudgedCall, Outcome
from agentgym.messages import Message, ToolCall
from agentgym.tools import Tool

AT_FIRST = "_at_first"
GOALS = "+"
# More than any declared rate can make up for: whatever may be told at once is.
_ALWAYS = 1e6
ANGER: tuple[str, ...] = (
    "[This is|It is] the third time I [write|contact you], [and I am really angry|and nothing happens]!",
    "I am [fed up|furious|done waiting].",
    "[What a terrible service|This is ridiculous|Unbelievable]!",
    "[Nobody|Not one of you] [helps me|does anything] here!",
)


class EdgeTools:
    """A `ToolBackend` over one world that disturbs the first due answer of one tool in edge cases; other cases it plays as `WorldTools`.

    A disturbed call was not made, so it stays due; a note that was slipped into a result comes with the right result.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._inner = WorldTools(world)
        self._edge: Edge | None = None
        self._is_disturbed = False

    def open(self, case: Case) -> tuple[Message, ...]:
        self._edge = case.edge
        self._is_disturbed = False
        self._inner = WorldTools(edge_world(self._world, case))
        return self._inner.open(_as_tools_know_it(case))

    @property
    def tools(self) -> tuple[Tool, ...]:
        return self._inner.tools

    def judge(self, call: ToolCall) -> JudgedCall:
        return self._inner.judge(call)

    def execute(self, call: ToolCall) -> ToolAnswer:
        edge = self._edge
        if edge is None or self._is_disturbed or edge.tool != call.name or not self._inner.judge(call).is_correct:
            return self._inner.execute(call)
        if edge.note:
            return self._with_note(self._inner.execute(call), edge.note)
        self._is_disturbed = True
        return ToolAnswer(result=edge.answer, seconds=self._world.clock.thinking_seconds + self._world.tools[call.name].seconds)

    @property
    def is_closed(self) -> bool:
        return self._inner.is_closed

    def missing_calls(self) -> tuple[str, ...]:
        return self._inner.missing_calls()

    def outcome(self, *, has_abandoned: bool) -> Outcome:
        return self._inner.outcome(has_abandoned=has_abandoned)

    def satisfaction_score(self, *, outcome: Outcome, annoyances: int) -> float:
        return self._inner.satisfaction_score(outcome=outcome, annoyances=annoyances)

    def state_hash(self) -> str:
        inner = self._inner.state_hash()
        return inner if self._edge is None else sha256(f"{inner}/{self._is_disturbed}".encode()).hexdigest()

    def _with_note(self, answer: ToolAnswer, note: str) -> ToolAnswer:
        """A call that failed brings no result to slip anything into: the next one will."""
        if isinstance(answer.result, dict) and "error" in answer.result:
            return answer
        self._is_disturbed = True
        return replace(answer, result=with_note(answer.result, note))


class EdgeCustomer:
    """A `SimulatedUser` of one world, as difficult as the case says."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._inner = ScriptedCustomer(world)

    def open(self, case: Case, rng: np.random.Generator) -> str:
        self._inner = ScriptedCustomer(edge_world(self._world, case))
        return self._inner.open(as_customer_knows_it(case), rng)

    def reply(self, words: str, *, messages: Sequence[Message], is_closed: bool) -> UserTurn:
        return self._inner.reply(words, messages=messages, is_closed=is_closed)

    @property
    def annoyances(self) -> int:
        return self._inner.annoyances


def edge_world(world: World, case: Case) -> World:
    """The world as it is for one case: its customer, and what they may want, changed as the edge asks; the same world without an edge."""
    edge = case.edge
    if edge is None:
        return world
    world = _changed(world, intents={**world.intents, edge.played_as: _intent(world, edge)})
    personas = world.behaviour.personas
    changed = _persona(personas[case.persona], edge, patience=min(persona.patience for persona in personas.values()))
    behaviour = world.behaviour.model_copy(update={"personas": {**personas, case.persona: changed}})
    behaviour = _angry(behaviour) if edge.kind == "angry_customer" else behaviour
    facts = {**world.facts, edge.fact: _fact(world.facts[edge.fact], edge, case)} if edge.fact else world.facts
    return _changed(world, behaviour=behaviour, facts=facts)


def as_customer_knows_it(case: Case) -> Case:
    """The case as its customer plays it; the case itself without an edge."""
    if case.edge is None:
        return case
    told = {case.edge.fact + AT_FIRST: case.edge.said_instead} if case.edge.fact else {}
    return case.model_copy(update={"kind": case.edge.played_as, "facts": case.facts | told})


def with_note(result: JsonValue, note: str) -> JsonValue:
    """The result with a text slipped in: as a column of its first row, or after its words."""
    if isinstance(result, dict):
        return {**result, "note": note}
    if isinstance(result, list) and result and isinstance(result[0], dict):
        return [with_note(result[0], note), *result[1:]]
    return f"{result} {note}"


def _as_tools_know_it(case: Case) -> Case:
    """Without what the customer says at first: where they change their mind or contradict themselves, it is not worth a try."""
    if case.edge is None:
        return case
    at_first = {case.edge.fact + AT_FIRST: None} if case.edge.fact else {}
    return case.model_copy(update={"kind": case.edge.played_as, "facts": case.facts | at_first})


def _changed(world: World, **parts: Any) -> World:
    return world.model_copy(update=parts)


def _intent(world: World, edge: Edge) -> Intent:
    first, *more = (world.intents[kind] for kind in edge.played_as.split(GOALS))
    for other in more:
        first = _both(first, other)
    return first.model_copy(update={"details": (edge.demand,)}) if edge.demand else first


def _both(first: Intent, second: Intent) -> Intent:
    """Two wishes in one opening. Without steps: what a right solution calls, the case says."""
    openings = tuple(
        f"{one} [Also|And another thing|And then]: {second.openings[place % len(second.openings)]}"
        for place, one in enumerate(first.openings)
    )
    facts = (*first.facts, *(fact for fact in second.facts if fact not in first.facts))
    tables = (*first.tables, *(table for table in second.tables if table not in first.tables))
    return first.model_copy(update={"openings": openings, "facts": facts, "tables": tables, "details": (), "steps": ()})


def _persona(persona: Persona, edge: Edge, *, patience: int) -> Persona:
    changes: dict[str, dict[str, float]] = {
        "missing_fact": {"volunteering": 0.0},
        "contradictory_facts": {"volunteering": _ALWAYS},
        "changing_mind": {"volunteering": _ALWAYS},
        "angry_customer": {"greeting_rate": 1.0, "patience": patience},
        "out_of_policy": {"detail_rate": 1.0},
    }
    return persona.model_copy(update=changes.get(edge.kind, {}))


def _angry(behaviour: CustomerRule) -> CustomerRule:
    def said_angrily(phrases: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"{ANGER[place % len(ANGER)]} {phrase}" for place, phrase in enumerate(phrases))

    parts = {name: said_angrily(getattr(behaviour, name)) for name in ("reminders", "unknowns", "repetitions")}
    return behaviour.model_copy(update={"greetings": ANGER, **parts})


def _fact(fact: Fact, edge: Edge, case: Case) -> Fact:
    """Told with two values: the second takes the first back, or only stands beside it. Asked again, the customer says which is right."""
    right = _in_words(fact, case.facts[edge.fact])
    changed = edge.kind == "changing_mind"
    # Which of the two is right must not show in their order.
    turned = not changed and case.seed % 2 == 0
    between = "[No wait|Sorry], I [changed my mind|want something else]: make that" if changed else "Or:"
    end = "." if changed else ", one of the two."
    says = tuple(f"{right}. {between} {_open(say)}{end}" if turned else f"{_open(say)}. {between} {right}{end}" for say in fact.says)
    return fact.model_copy(update={"says": says, "corrects": fact.corrects or ("{value}", "[It is|It's] {value}")})


def _open(phrase: str) -> str:
    """A sentence that something may follow."""
    return re.sub(r"[.!?]+$", "", phrase)


def _in_words(fact: Fact, value: JsonValue) -> str:
    return fact.words.get(str(value), (str(value),))[0]
