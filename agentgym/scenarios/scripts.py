"""Scripts for a world's cases: what the expert does, and what the legacy agent did instead."""

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import numpy as np
from pydantic import JsonValue

from agentgym.environments.case import Case
from agentgym.environments.declaration import Habit, World
from agentgym.environments.expressions import evaluate
from agentgym.environments.user_simulator import opening_of
from agentgym.environments.world import Database, due_calls, due_steps
from agentgym.messages import ToolCall
from agentgym.policies.scripted import Move, Script, SpokenFact

_SPOKEN = re.compile(r"=facts\.(\w+)")
_DONE = "All done, your request is taken care of."
_HELPLESS = "I am afraid there is nothing more I can do here."


def expert_script(world: World, case: Case) -> Script:
    """The required calls, in their order."""
    return Script(moves=tuple(_right_moves(world, case)), last_words=_DONE)


def legacy_script(world: World, case: Case, *, conversation_id: str) -> Script:
    """The expert's moves with the declared habits in between; which of them show follows from the conversation's id."""
    rng = np.random.default_rng(int.from_bytes(sha256(conversation_id.encode()).digest()[:8]))
    scope = _scope(world, case) | {"rng": rng}
    moves: list[Move] = []
    for right_move in _right_moves(world, case):
        shown = [habit for habit in world.habits.values() if _shows(habit, right_move.call, scope, rng)]
        moves += [Move(call=slip, must_succeed=False) for habit in shown for slip in due_calls(habit.does, scope)]
        if any(habit.then == "ends" for habit in shown):
            return Script(moves=tuple(moves), last_words=_HELPLESS)
        if not any(habit.then == "leaves_out" for habit in shown):
            moves.append(right_move)
    return Script(moves=tuple(moves), last_words=_DONE)


def _right_moves(world: World, case: Case) -> Iterator[Move]:
    steps = due_steps(world.intents[case.kind].steps, _scope(world, case))
    for step, call in zip(steps, case.expected_calls, strict=True):
        facts = {name: _SPOKEN.fullmatch(value) for name, value in step.arguments.items() if isinstance(value, str)}
        spoken = {name: _spoken_fact(world, case, match[1], call, name) for name, match in facts.items() if match}
        yield Move(call=call, spoken=spoken)


def _spoken_fact(world: World, case: Case, fact: str, call: ToolCall, argument: str) -> SpokenFact:
    at_first = case.facts.get(f"{fact}_at_first")
    description = world.tools[call.name].parameters[argument].get("description", argument)
    return SpokenFact(
        values=(case.facts[fact],) if at_first is None else (at_first, case.facts[fact]),
        question=f"Could you please tell me the {description}?",
        is_volunteered=fact in opening_of(world, case).facts,
    )


def _shows(habit: Habit, call: ToolCall, scope: dict[str, Any], rng: np.random.Generator) -> bool:
    return habit.before == call.name and bool(evaluate(habit.when, scope)) and rng.random() < habit.rate


def _scope(world: World, case: Case) -> dict[str, Any]:
    own: dict[str, JsonValue] = {"kind": case.kind, "persona": case.persona}
    return {**Database(world, case).rows, "facts": case.facts, "rules": world.rules, "lists": world.lists, "case": own}
