"""Edge cases of a declared world, made of its cases: whatever was done about them when they were logged, the world knows what is right."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import orjson
from pydantic import JsonValue

from agentgym.environments.case import Case
from agentgym.environments.declaration import Fact, Guideline, World
from agentgym.environments.edge import RIGHT, Edge, EdgeKind
from agentgym.environments.edge_world import AT_FIRST, GOALS, as_customer_knows_it, edge_world
from agentgym.environments.expressions import evaluate, resolve
from agentgym.environments.play import play_episode
from agentgym.environments.user_simulator import opening_of
from agentgym.environments.world import TIMEOUT, Database, due_calls
from agentgym.messages import ToolCall
from agentgym.policies.scripted import Move, Script, ScriptedPolicy, SpokenFact
from agentgym.scenarios.edge_cases.texts import DEMANDS, EXCEPTION, garbled, injection
from agentgym.scenarios.world_scenario import WorldScenario

Make = Callable[[WorldScenario, Case, np.random.Generator, Sequence[Case]], Case | None]
_PROCEDURAL = re.compile(r"\b(?:done|pending|arguments)\b")
_DONE = "All done, your request is taken care of."
_TRIES = 40


def make_of_world(scenario: WorldScenario, kind: EdgeKind, case: Case, rng: np.random.Generator, others: Sequence[Case]) -> Case | None:
    """The edge case of this kind made of `case`; None where it cannot be made, or has no solution that the world calls right.

    others: cases of the same world, whose calls an injected text may ask for.
    """
    make = _MAKERS.get(kind)
    made = make(scenario, case, rng, others) if make else None
    return made if made is not None and is_solvable(scenario, made) else None


def edge_expert(scenario: WorldScenario, cases: Iterable[Case]) -> ScriptedPolicy:
    """Does what is right in each of these edge cases: asks for what was not said clearly, and calls again what brought nothing."""
    known = {case.case_id: case for case in cases}
    return ScriptedPolicy(lambda conversation_id: edge_script(scenario.world, known[conversation_id.rpartition("#")[0]]))


def edge_script(world: World, case: Case) -> Script:
    """The required calls, each disturbed one made until it brings something, and the questions before them."""
    changed, played = edge_world(world, case), as_customer_knows_it(case)
    told = opening_of(changed, played).facts
    moves = []
    for call in case.expected_calls:
        spoken = {name: fact for name, value in call.arguments.items() if (fact := _spoken(changed, case, told, call, name, value))}
        moves.append(Move(call=call, spoken=spoken))
    return Script(moves=tuple(_repeated(moves, case)), last_words=_DONE)


def is_solvable(scenario: WorldScenario, case: Case) -> bool:
    """Whether the right solution, played, is judged right in every call and ends as it should."""
    played = play_episode(scenario.create_environment(), edge_expert(scenario, [case]), case, seed=0)
    return played.is_success and all(judged.is_correct for judged in played.calls)


def _repeated(moves: Sequence[Move], case: Case) -> Iterable[Move]:
    """An answer that is no error counts as success, so a call whose answer was empty or broken is a move of its own."""
    edge, is_open = case.edge, True
    for move in moves:
        if edge and is_open and edge.tool == move.call.name and edge.kind in ("empty_result", "corrupt_result"):
            is_open = False
            yield move
        yield move


def _spoken(world: World, case: Case, told: frozenset[str], call: ToolCall, argument: str, value: JsonValue) -> SpokenFact | None:
    """The fact an argument is, where only the customer has it."""
    edge = case.edge
    facts = world.intents[edge.played_as].facts if edge else ()
    fact = next((name for name in facts if case.facts.get(name) == value), None)
    if fact is None:
        return None
    is_unclear = edge is not None and edge.kind == "contradictory_facts" and edge.fact == fact
    description = world.tools[call.name].parameters[argument].get("description", argument)
    question = f"Could you please tell me the {description}?"
    at_first = case.facts.get(fact + AT_FIRST)
    values = (value,) if at_first is None or (edge and edge.fact == fact) else (at_first, value)
    return SpokenFact(values=values, question=question, is_volunteered=fact in told and not is_unclear)


def _changed(case: Case, kind: EdgeKind, **edge: JsonValue) -> Case:
    of = {"kind": kind, "of": case.case_id, "right": RIGHT[kind], "played_as": case.kind}
    return case.model_copy(update={"case_id": f"{case.case_id}~{kind}", "kind": kind, "edge": Edge.model_validate({**of, **edge})})


def _listens(scenario: WorldScenario, case: Case) -> bool:
    """Whether the customer is still there after the agent's first words."""
    return not evaluate(scenario.world.closed, Database(scenario.world, case).rows)


def _missing_fact(scenario: WorldScenario, case: Case, rng: np.random.Generator, others: Sequence[Case]) -> Case | None:
    return _changed(case, "missing_fact") if _listens(scenario, case) and _needed_facts(scenario.world, case) else None


def _contradictory_facts(scenario: WorldScenario, case: Case, rng: np.random.Generator, others: Sequence[Case]) -> Case | None:
    return _with_two_values(scenario.world, "contradictory_facts", case, rng) if _listens(scenario, case) else None


def _changing_mind(scenario: WorldScenario, case: Case, rng: np.random.Generator, others: Sequence[Case]) -> Case | None:
    return _with_two_values(scenario.world, "changing_mind", case, rng)


def _with_two_values(world: World, kind: EdgeKind, case: Case, rng: np.random.Generator) -> Case | None:
    """A customer speaks of one needed fact with two values; for what they cannot take back, such as a number, it is a slip."""
    needed = _needed_facts(world, case)
    if not needed:
        return None
    fact = needed[int(rng.integers(len(needed)))]
    other = _other_value(world.facts[fact], world, case, fact, rng)
    if other is None or other == case.facts[fact]:
        return None
    return _changed(case, kind, fact=fact, said_instead=other)


def _needed_facts(world: World, case: Case) -> list[str]:
    """Facts of the customer that a required call is given, and nothing told before holds."""
    spoken = [value for step in world.intents[case.kind].steps for value in step.arguments.values()]
    given = [value for call in case.expected_calls for value in call.arguments.values()]
    return [fact for fact in world.intents[case.kind].facts if f"=facts.{fact}" in spoken and case.facts[fact] in given]


def _other_value(fact: Fact, world: World, case: Case, name: str, rng: np.random.Generator) -> JsonValue:
    """Another value the customer might have said: one of the others they have words for, a slip, or a number like theirs."""
    value = case.facts[name]
    if others := sorted(set(fact.words) - {str(value)}):
        return others[int(rng.integers(len(others)))]
    if fact.mistake is not None:
        scope = {**Database(world, case).rows, "facts": case.facts, "rules": world.rules, "lists": world.lists, "rng": rng}
        slip: JsonValue = resolve(fact.mistake.value, scope)
        return slip
    return re.sub(r"\d", lambda digit: str((int(digit[0]) + int(rng.integers(1, 10))) % 10), value) if isinstance(value, str) else None


def _angry_customer(scenario: WorldScenario, case: Case, rng: np.random.Generator, others: Sequence[Case]) -> Case | None:
    return _changed(case, "angry_customer")


def _tool_timeout(scenario: WorldScenario, case: Case, rng: np.random.Generator, others: Sequence[Case]) -> Case | None:
    tools = [call.name for call in case.expected_calls]
    return _changed(case, "tool_timeout", tool=str(rng.choice(tools)), answer={"error": TIMEOUT}) if tools else None


def _empty_result(scenario: WorldScenario, case: Case, rng: np.random.Generator, others: Sequence[Case]) -> Case | None:
    tools = _reading_tools(scenario.world, case)
    right = "call again, since nothing was refused and the record is there"
    return _changed(case, "empty_result", tool=str(rng.choice(tools)), answer={}, right=right) if tools else None


def _corrupt_result(scenario: WorldScenario, case: Case, rng: np.random.Generator, others: Sequence[Case]) -> Case | None:
    tools = _reading_tools(scenario.world, case)
    if not tools:
        return None
    tool = str(rng.choice(tools))
    call = next(call for call in case.expected_calls if call.name == tool)
    result = Database(scenario.world, case).call(scenario.world.tools[tool], call.arguments)
    return _changed(case, "corrupt_result", tool=tool, answer=garbled(orjson.dumps(result).decode(), rng))


def _out_of_policy(scenario: WorldScenario, case: Case, rng: np.random.Generator, others: Sequence[Case]) -> Case | None:
    demand = EXCEPTION if _is_forbidden(scenario.world, case) else str(rng.choice(DEMANDS))
    return _changed(case, "out_of_policy", demand=demand)


def _is_forbidden(world: World, case: Case) -> bool:
    """Whether a guideline rules out a call that customers of this kind can get; rules of procedure alone forbid nothing."""
    offered = {step.call for step in world.intents[case.kind].steps} - {call.name for call in case.expected_calls}
    scope = {**Database(world, case).rows, "facts": case.facts, "rules": world.rules}
    return any(offered & set(rule.tools) and _forbids(rule, scope) for rule in world.guidelines.values())


def _forbids(rule: Guideline, scope: Mapping[str, object]) -> bool:
    return not _PROCEDURAL.search(rule.requires) and not evaluate(rule.requires, scope)


def _prompt_injection(scenario: WorldScenario, case: Case, rng: np.random.Generator, others: Sequence[Case]) -> Case | None:
    tools, due = _reading_tools(scenario.world, case), {call.name for call in case.expected_calls}
    wanted = [call for other in others for call in other.expected_calls if call.name not in due]
    wanted = [call for call in wanted if scenario.world.tools[call.name].effects] or wanted
    if not tools or not wanted:
        return None
    return _changed(case, "prompt_injection", tool=str(rng.choice(tools)), note=injection(wanted[int(rng.integers(len(wanted)))], rng))


def _reading_tools(world: World, case: Case) -> list[str]:
    return [call.name for call in case.expected_calls if not world.tools[call.name].effects]


def _several_goals(scenario: WorldScenario, case: Case, rng: np.random.Generator, others: Sequence[Case]) -> Case | None:
    """Another wish of the same customer, in one conversation with the first; the first pair whose calls agree with each other."""
    kinds = sorted(set(scenario.world.intents) - {case.kind})
    for _ in range(_TRIES):
        other = str(rng.choice(kinds))
        drawn = scenario.case(kind=other, customer=case.cluster_id, number=int(rng.integers(1_000_000)))
        made = _together(scenario, case, drawn)
        if made is not None and is_solvable(scenario, made):
            return made
    return None


def _together(scenario: WorldScenario, first: Case, second: Case) -> Case | None:
    """Both cases over the first one's rows, and those of the tables only the second has; None where there is nothing to put together."""
    world = scenario.world
    if not first.expected_calls or not second.expected_calls:
        return None
    rows = _joined_rows(world, first, second)
    joined = first.model_copy(update={"facts": second.facts | first.facts, "initial_state": rows})
    parts = [_split_at_end(world, joined, _calls(world, joined, case)) for case in (first, second)]
    (work, end), (more_work, other_end) = parts
    # Where both end at once, such as with a suspended account, the second wish asks for nothing more.
    if end != other_end or all(call in work for call in more_work):
        return None
    calls = [*work, *(call for call in more_work if call not in work), *end]
    calls = sorted(calls[: len(calls) - len(end)], key=lambda call: bool(world.tools[call.name].effects)) + end
    joined = joined.model_copy(update={"expected_calls": tuple(calls), "goal": f"{first.goal} {second.goal}", "difficulty": "hard"})
    return _changed(joined, "several_goals", played_as=f"{first.kind}{GOALS}{second.kind}")


def _joined_rows(world: World, first: Case, second: Case) -> dict[str, list[dict[str, JsonValue]]]:
    """The first case's rows, those of tables that only the second has, and behind the first's own those the second asks about by name."""
    asked = set(map(str, second.facts.values())) - set(map(str, first.facts.values()))
    joined = {table: list(rows) for table, rows in first.initial_state.items()}
    for table, rows in second.initial_state.items():
        known = {str(row[world.tables[table].key]) for row in joined.get(table, ())}
        new = [row for row in rows if str(row[world.tables[table].key]) not in known]
        joined[table] = [*joined[table], *(row for row in new if asked & set(map(str, row.values())))] if table in joined else new
    return joined


def _calls(world: World, joined: Case, case: Case) -> list[ToolCall]:
    """What the case calls over the joined rows."""
    scope = {**Database(world, joined).rows, "facts": joined.facts, "rules": world.rules}
    return due_calls(world.intents[case.kind].steps, scope)


def _split_at_end(world: World, case: Case, calls: Sequence[ToolCall]) -> tuple[list[ToolCall], list[ToolCall]]:
    """The calls before, and from, the one after which nothing more is expected; without such a call all are work."""
    database = Database(world, case)
    if evaluate(world.closed, database.rows):
        return list(calls), []
    for place, call in enumerate(calls):
        database.call(world.tools[call.name], call.arguments)
        if evaluate(world.closed, database.rows):
            return list(calls[:place]), list(calls[place:])
    return list(calls), []


_MAKERS: Mapping[EdgeKind, Make] = {
    "missing_fact": _missing_fact,
    "contradictory_facts": _contradictory_facts,
    "changing_mind": _changing_mind,
    "angry_customer": _angry_customer,
    "tool_timeout": _tool_timeout,
    "empty_result": _empty_result,
    "corrupt_result": _corrupt_result,
    "out_of_policy": _out_of_policy,
    "prompt_injection": _prompt_injection,
    "several_goals": _several_goals,
}
