"""The engine that plays a declared world: its database, its tools, and the judgement of every call."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import numpy as np
import orjson
from pydantic import JsonValue

from agentgym.environments.case import Case
from agentgym.environments.conversation import ToolAnswer
from agentgym.environments.declaration import Effect, Step, ToolRule, World
from agentgym.environments.expressions import Scope, evaluate, fill, resolve
from agentgym.episode import JudgedCall, Outcome
from agentgym.errors import InvalidInput
from agentgym.messages import Message, ToolCall, system
from agentgym.tools import Tool

Row = dict[str, Any]
TIMEOUT = "timeout: the service did not answer, try again"
_TIMEOUT_FACTOR = 3


class Database:
    """Rows by table and key. `rows` holds the case's own row of each table, or None, under the name expressions use."""

    def __init__(self, world: World, case: Case) -> None:
        self._world = world
        self.tables: dict[str, dict[str, Row]] = {}
        self.rows: dict[str, Row | None] = {}
        for name, table in world.tables.items():
            own = [dict(row) for row in case.initial_state.get(name, ())]
            self.tables[name] = {str(row[table.key]): row for row in (*map(dict, table.rows), *own)}
            self.rows[table.row] = own[0] if own else None

    def find(self, table: str, columns: Mapping[str, JsonValue]) -> Row | None:
        matches = (row for row in self.tables[table].values() if all(row.get(name) == value for name, value in columns.items()))
        return next(matches, None)

    def call(self, tool: ToolRule, arguments: Mapping[str, JsonValue]) -> JsonValue:
        """Does what the tool declares; `{"error": …}` when it cannot, and then nothing has changed."""
        scope: dict[str, Any] = {"arguments": arguments, "rules": self._world.rules}
        for name, found in tool.finds.items():
            row = self.find(found.table, resolve(found.where, scope))
            if row is None:
                return {"error": fill(found.missing, scope)}
            scope[name] = row
        for error in tool.errors:
            if evaluate(error.when, scope):
                return {"error": fill(error.message, scope)}
        for effect in tool.effects:
            self._apply(effect, scope)
        result: JsonValue = resolve(tool.returns, scope)
        return result

    def hash(self) -> str:
        return sha256(orjson.dumps(self.tables, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def _apply(self, effect: Effect, scope: dict[str, Any]) -> None:
        if effect.insert is not None:
            row: Row = resolve(effect.row, scope)
            self.tables[effect.insert][str(row[self._world.tables[effect.insert].key])] = row
            scope["inserted"] = row
        elif effect.update is not None:
            scope[effect.update].update(resolve(effect.set, scope))


class WorldTools:
    """A `ToolBackend` over one world. A required call counts as done once it was made with its arguments and went through."""

    def __init__(self, world: World) -> None:
        self._world = world

    def open(self, case: Case) -> tuple[Message, ...]:
        if case.scenario != self._world.name:
            raise InvalidInput(
                f"A world plays its own cases; {case.case_id!r} is of {case.scenario!r}, this is {self._world.name!r}. "
                "Create the environment of the case's scenario."
            )
        self._case = case
        self._database = Database(self._world, case)
        self._required = list(case.expected_calls)
        self._helpful = [call for call in self._calls_at_first(case) if not any(_is_same(call, due) for due in self._required)]
        self._done: list[ToolCall] = []
        self._rng = np.random.default_rng([case.seed, 1])
        self._times_out = {name: bool(self._rng.random() < tool.timeout_rate) for name, tool in self._world.tools.items()}
        return (briefing(self._world, case),)

    @property
    def tools(self) -> tuple[Tool, ...]:
        return self._world.tool_schemas

    def judge(self, call: ToolCall) -> JudgedCall:
        is_right_tool = any(due.name == call.name for due in (*self._required, *self._helpful))
        reason = self._objection(call)
        return JudgedCall(call=call, is_correct=not reason, is_right_tool=is_right_tool, reason=reason)

    def execute(self, call: ToolCall) -> ToolAnswer:
        tool = self._world.tools[call.name]
        seconds = self._world.clock.spread(tool.seconds, self._rng)
        if self._times_out[call.name]:
            self._times_out[call.name] = False
            return ToolAnswer(result={"error": TIMEOUT}, seconds=_TIMEOUT_FACTOR * seconds)
        result = self._database.call(tool, call.arguments)
        self._cross_off(call, went_through=not (isinstance(result, dict) and "error" in result))
        return ToolAnswer(result=result, seconds=seconds)

    @property
    def is_closed(self) -> bool:
        return bool(evaluate(self._world.closed, self._database.rows))

    def missing_calls(self) -> tuple[str, ...]:
        return tuple(call.name for call in self._required)

    def outcome(self, *, has_abandoned: bool) -> Outcome:
        """Resolved or escalated when no required call is missing and the database is as the right solution leaves it; else a failure."""
        if not self._required and self._database.hash() == self._right_end():
            return Outcome.ESCALATED if evaluate(self._world.escalated, self._database.rows) else Outcome.RESOLVED
        return Outcome.ABANDONED if has_abandoned else Outcome.UNRESOLVED

    def satisfaction_score(self, *, outcome: Outcome, annoyances: int) -> float:
        rule = self._world.satisfaction
        return max(1.0, rule.by_outcome[outcome] - rule.annoyance * annoyances)

    def state_hash(self) -> str:
        calls = [[[call.name, call.arguments] for call in calls] for calls in (self._required, self._helpful, self._done)]
        draws = str(self._rng.bit_generator.state)
        return sha256(orjson.dumps([self._database.hash(), calls, self._times_out, draws])).hexdigest()

    def _calls_at_first(self, case: Case) -> list[ToolCall]:
        """The required calls with what the customer says at first, mistakes included: trying that is right, once."""
        spoken = {name: case.facts.get(f"{name}_at_first") or value for name, value in case.facts.items()}
        scope = {**self._database.rows, "facts": spoken, "rules": self._world.rules}
        return due_calls(self._world.intents[case.kind].steps, scope)

    def _objection(self, call: ToolCall) -> str:
        """Why the call is wrong in the present state; empty when it is right."""
        if violated := self._violated_guideline(call):
            return violated
        due = [other for other in (*self._required, *self._helpful) if other.name == call.name]
        if any(_is_same(call, other) for other in due):
            return ""
        if any(_is_same(call, other) for other in self._done):
            return f"{call.name} was already done with these arguments"
        return f"these arguments of {call.name} are wrong here" if due else f"{call.name} is not due here"

    def _violated_guideline(self, call: ToolCall) -> str:
        scope = {
            **self._database.rows,
            "arguments": call.arguments,
            "rules": self._world.rules,
            "done": [done.name for done in self._done],
            "pending": [due.name for due in self._required],
        }
        rules = self._world.guidelines.items()
        broken = (
            f"{name}: {fill(rule.text, scope)}" for name, rule in rules if call.name in rule.tools and not evaluate(rule.requires, scope)
        )
        return next(broken, "")

    def _cross_off(self, call: ToolCall, *, went_through: bool) -> None:
        """A helpful call is used up by trying it; a required one is done only when it went through."""
        self._helpful = [due for due in self._helpful if not _is_same(call, due)]
        match = next((due for due in self._required if _is_same(call, due)), None)
        if match is not None and went_through:
            self._required.remove(match)
            self._done.append(match)

    def _right_end(self) -> str:
        database = Database(self._world, self._case)
        for call in self._case.expected_calls:
            database.call(self._world.tools[call.name], call.arguments)
        return database.hash()


def briefing(world: World, case: Case) -> Message:
    """The system message a case begins with."""
    return system(fill(world.briefing, {**Database(world, case).rows, "rules": world.rules}))


def due_steps(steps: Iterable[Step], scope: Scope) -> list[Step]:
    """The steps whose condition holds, up to a last one."""
    due = []
    for step in steps:
        if evaluate(step.when, scope):
            due.append(step)
            if step.last:
                break
    return due


def due_calls(steps: Iterable[Step], scope: Scope) -> list[ToolCall]:
    """The calls of the steps that are due, with their arguments."""
    return [ToolCall(name=step.call, arguments=resolve(step.arguments, scope)) for step in due_steps(steps, scope)]


def _is_same(call: ToolCall, other: ToolCall) -> bool:
    return call.name == other.name and call.arguments == other.arguments
