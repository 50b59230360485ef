"""A world as data: what exists, which tools act on it, what customers want, and what a right solution calls.

Text that begins with `=` is an expression, conditions are always expressions (`environments/expressions.py`), `{row.column}` inside
text is filled in, and `[this|that]` inside phrases is one of the alternatives (`environments/phrasing.py`).

What expressions see: generators the rows made before them, `customer`, `lists` and `rules`; steps the case's rows by name, `facts` and
`rules`; habits these and `case.kind`, `case.persona` and `lists`; tools their `arguments`, the rows they found and `rules`.
"""

from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from agentgym.environments.conversation import SimulatedClock
from agentgym.environments.expressions import compiled
from agentgym.episode import Outcome
from agentgym.errors import InvalidInput
from agentgym.reward import RewardWeights
from agentgym.tools import Tool

Rate = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0)]


def _is_condition(source: str) -> str:
    try:
        compiled(source)
    except InvalidInput as error:
        raise ValueError(str(error)) from error  # what pydantic collects, with its place in the declaration
    return source


def _is_value(value: JsonValue) -> JsonValue:
    for source in _expressions(value):
        _is_condition(source)
    return value


def _expressions(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("="):
        yield value[1:]
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _expressions(item)


Condition = Annotated[str, AfterValidator(_is_condition)]
Value = Annotated[JsonValue, AfterValidator(_is_value)]
Columns = dict[str, Value]
Phrases = Annotated[tuple[str, ...], Field(min_length=1)]


class Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class Table(Declared):
    """row: what expressions call the case's own row.   columns: its generator, in order.   rows: those every case has."""

    key: str
    row: str
    columns: Columns = {}
    rows: tuple[dict[str, JsonValue], ...] = ()


class Found(Declared):
    """The row of a table whose columns equal these values; `missing` is the tool's error when there is none."""

    table: str
    where: Columns
    missing: str


class ToolError(Declared):
    when: Condition
    message: str


class Effect(Declared):
    """Either sets columns of a row that was found, or inserts a row, in place of one with the same key."""

    update: str | None = None
    set: Columns = {}
    insert: str | None = None
    row: Columns = {}

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.update is None) == (self.insert is None):
            raise ValueError(f"an effect either updates a row or inserts into a table; got update={self.update!r}, insert={self.insert!r}")
        return self


class ToolRule(Declared):
    """A tool and what it does. Every parameter is required. In order: rows are found, errors checked, effects made, the result given.

    seconds: on the simulated clock.   timeout_rate: share of the cases in which its first call fails once.
    """

    description: str
    parameters: dict[str, dict[str, JsonValue]]
    seconds: float = Field(ge=0)
    timeout_rate: Rate = 0.0
    finds: dict[str, Found] = {}
    errors: tuple[ToolError, ...] = ()
    effects: tuple[Effect, ...] = ()
    returns: Columns

    @model_validator(mode="after")
    def _tells_success_from_error(self) -> Self:
        if "error" in self.returns:
            raise ValueError("a result with the column 'error' reads as a failed call; give it another name")
        return self


class Guideline(Declared):
    """A rule of the company: calls of `tools` need `requires` to hold when they are made.

    The condition sees the case's rows as they are now, `arguments`, `rules`, and the names of required tools `done` and `pending`.
    """

    text: str
    tools: tuple[str, ...]
    requires: Condition


class Step(Declared):
    """A call that is due when the condition holds at the start; after a `last` one nothing more is."""

    call: str
    arguments: Columns = Field(alias="with")
    when: Condition = "True"
    last: bool = False


class Situation(Declared):
    """How cases of one intent differ: columns that replace those of the tables' generators."""

    share: Share = 1.0
    set: dict[str, Columns] = {}


class Intent(Declared):
    """What a customer may want.

    openings: how they say it.   details: what they may add.   steps: the calls a right solution makes, in an order that works.
    """

    difficulty: Literal["easy", "medium", "hard"]
    share: Share = 1.0
    goal: str
    tables: tuple[str, ...]
    facts: tuple[str, ...]
    openings: Phrases
    details: tuple[str, ...] = ()
    situations: Annotated[dict[str, Situation], Field(min_length=1)]
    steps: tuple[Step, ...]


class Mistake(Declared):
    """What the customer says at first in a share of the cases, until asked again; a tool must fail on it, or nobody would ask."""

    rate: Rate
    value: Value


class Fact(Declared):
    """Something the customer knows and tells when asked.

    cues: words of a question that asks for it.   says: phrases around `{value}`.   words: phrases in place of a value.
    corrects: phrases that take back a mistake.   volunteer_rate: how often the opening tells it already.
    """

    value: Value
    cues: tuple[str, ...]
    says: Phrases
    words: dict[str, Phrases] = {}
    mistake: Mistake | None = None
    corrects: tuple[str, ...] = ()
    volunteer_rate: Rate = 0.0


class Persona(Declared):
    """share: of the customers.   patience: turns in vain before they leave.   volunteering: factor on every fact's volunteer rate."""

    share: Share = 1.0
    patience: int = Field(ge=1)
    greeting_rate: Rate
    detail_rate: Rate
    typo_rate: Rate
    volunteering: float = Field(ge=0)


class CustomerRule(Declared):
    """How customers behave. asking: what makes a sentence a question.   The rest are phrases, by what the customer reacts to."""

    personas: Annotated[dict[str, Persona], Field(min_length=1)]
    asking: tuple[str, ...]
    greetings: Phrases
    reminders: Phrases
    unknowns: Phrases
    repetitions: Phrases
    farewells: Phrases
    walkouts: Phrases


class Habit(Declared):
    """A fault of the agent the logs come from, in a share of the cases in which it can happen.

    before: the required tool it happens before.   does: what it calls there.   then: whether it goes on as it should, leaves that
    required call out, or ends there with nothing but words.
    """

    before: str
    rate: Rate
    when: Condition = "True"
    does: tuple[Step, ...] = ()
    then: Literal["goes_on", "leaves_out", "ends"] = "goes_on"


class SatisfactionRule(Declared):
    """Score by outcome, less `annoyance` for each annoyance, not below 1."""

    by_outcome: dict[Outcome, Annotated[float, Field(ge=1, le=5)]]
    annoyance: float = Field(ge=0)


class World(Declared):
    """A world. briefing: the system message of a case.   closed: when nothing more is expected of the agent but words.

    escalated: whether a case that ended rightly ended with an escalation.   rules: constants of the company.
    lists: what generators choose from.   customer: columns drawn once for each customer.   habits: the legacy agent's faults.
    """

    name: str
    description: str
    difficulty: Literal["easy", "medium", "hard"]
    briefing: str
    closed: Condition
    escalated: Condition = "False"
    max_turns: int = Field(ge=1)
    clock: SimulatedClock = SimulatedClock()
    reward: RewardWeights = RewardWeights()
    criteria: dict[str, Rate]
    satisfaction: SatisfactionRule
    rules: dict[str, JsonValue] = {}
    lists: dict[str, list[JsonValue]] = {}
    customer: Columns
    tables: dict[str, Table]
    tools: dict[str, ToolRule]
    guidelines: dict[str, Guideline] = {}
    facts: dict[str, Fact]
    behaviour: CustomerRule
    intents: Annotated[dict[str, Intent], Field(min_length=1)]
    habits: dict[str, Habit] = {}

    @cached_property
    def tool_schemas(self) -> tuple[Tool, ...]:
        return tuple(_schema(name, rule) for name, rule in self.tools.items())

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        known: dict[str, Collection[str]] = {"table": self.tables, "tool": self.tools, "fact": self.facts}
        for sort, place, name in self._references():
            if name not in known[sort]:
                raise ValueError(f"{place} names the {sort} {name!r}, which the world does not declare; it has {', '.join(known[sort])}")
        return self

    def _references(self) -> Iterator[tuple[str, str, str]]:
        """Every (sort, place, name) at which one part of the declaration names another."""
        for tool, rule in self.tools.items():
            yield from (("table", f"tool {tool}", found.table) for found in rule.finds.values())
            yield from (("table", f"tool {tool}", effect.insert) for effect in rule.effects if effect.insert is not None)
        for name, guideline in self.guidelines.items():
            yield from (("tool", f"guideline {name}", tool) for tool in guideline.tools)
        for conduct in self.reward.rules:
            named = (conduct.calls, conduct.never_calls, conduct.until, conduct.once)
            yield from (("tool", f"rule {conduct.name!r}", tool) for tool in named if tool is not None)
        for name, habit in self.habits.items():
            yield from (("tool", f"habit {name}", tool) for tool in (habit.before, *(step.call for step in habit.does)))
        for kind, intent in self.intents.items():
            yield from (("table", f"intent {kind}", table) for table in intent.tables)
            yield from (("fact", f"intent {kind}", fact) for fact in intent.facts)
            yield from (("tool", f"intent {kind}", step.call) for step in intent.steps)
            changed = (table for situation in intent.situations.values() for table in situation.set)
            yield from (("table", f"intent {kind}", table) for table in changed)


def _schema(name: str, rule: ToolRule) -> Tool:
    parameters: dict[str, JsonValue] = {
        "type": "object",
        "properties": dict(rule.parameters),
        "required": list(rule.parameters),
        "additionalProperties": False,
    }
    return Tool(name=name, description=rule.description, parameters=parameters, writes=bool(rule.effects))
