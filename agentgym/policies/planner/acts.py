"""The options for what to do next: inform, ask for what a tool still lacks, or call a tool; with their features."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from agentgym.policies.planner import state as column
from agentgym.policies.planner.arguments import SlotOptions
from agentgym.policies.planner.context import full_context
from agentgym.policies.planner.slots import ToolView
from agentgym.policies.planner.state import CallMade, Key, State
from agentgym.policies.planner.words import Ids, content_words, crossed, word_ids, words_of

Kind = Literal["inform", "ask", "call"]
KINDS: Final[tuple[Kind, ...]] = ("inform", "ask", "call")
_STEP, _TOOL, _ALIKE = 16, 32, 10
ACT_FEATURES: Final = len(KINDS) + _STEP + _TOOL + _ALIKE
ASK_FROM = 0.1
"""An argument counts as missing when the probability that nothing fits it yet is at least this."""

_CONFIRMING = (
    "confirm",
    "is that right",
    "is this correct",
    "correct?",
    "shall i",
    "verify",
    "right?",
    "check the",
    "should i",
    "would you like me to",
)


class SlotReading:
    """What the network makes of one argument now: a score for each of its options, the last of them for nothing."""

    def __init__(self, options: SlotOptions, scores: NDArray[np.float32]) -> None:
        self.options, self.scores = options, scores
        weights = np.exp(scores - scores.max())
        self.probabilities = weights / weights.sum()
        self.absent = float(self.probabilities[-1])
        self.best = int(scores[:-1].argmax()) if len(options.keys) else None
        self.surest = 0.0 if self.best is None else float(self.probabilities[self.best])

    def possible(self, taken: Collection[Key]) -> NDArray[np.intp]:
        """Places of the options left: not nothing where a value is required, not what another argument took unless only that is left."""
        count = len(self.options.keys)
        free = [place for place, key in enumerate(self.options.keys) if key not in taken] if taken else range(count)
        places = list(free) or list(range(count))
        return np.array(places if self.options.is_required and count else [*places, count], np.intp)


@dataclass(frozen=True, eq=False, slots=True)
class ActOption:
    """Something to do: `inform`, or `ask` or `call` with a tool."""

    kind: Kind
    view: ToolView | None = None

    @property
    def name(self) -> str:
        return self.kind if self.view is None else f"{self.kind} {self.view.tool.name}"


@dataclass(frozen=True, eq=False, slots=True)
class ActOptions:
    """Everything that could be done now.

    dense: shape (O, ACT_FEATURES).   cells: of each distinct option word against the context, shape (B, C).
    links: which words belong to which option, as (option, word), shape (L, 2).   is_possible: shape (O,).
    """

    options: tuple[ActOption, ...]
    dense: NDArray[np.float32]
    cells: NDArray[np.int32]
    links: NDArray[np.int32]
    is_possible: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class WordWeights:
    """How telling a word is: the logarithm of how few conversations have it."""

    weights: Mapping[str, float] = field(default_factory=dict)
    unseen: float = 3.0

    def alike(self, words: frozenset[str], others: frozenset[str]) -> float:
        """Cosine of two sets of words, each word weighing as much as it tells."""
        shared = words & others
        if not shared:
            return 0.0
        return self._length(shared) ** 2 / (self._length(words) * self._length(others))

    def _length(self, words: frozenset[str]) -> float:
        return math.sqrt(sum(self.weights.get(word, self.unseen) ** 2 for word in words)) or 1.0


def act_options(state: State, readings: Sequence[Sequence[SlotReading]], weights: WordWeights, *, bits: int) -> ActOptions:
    """The options of this moment; `readings` of the arguments of each tool in scope, in order."""
    views = state.scene.views
    plans = [_Plan.of(state, view, reading) for view, reading in zip(views, readings, strict=True)]
    options = [ActOption("inform"), *(ActOption("ask", view) for view in views), *(ActOption("call", view) for view in views)]
    dense = np.zeros((len(options), ACT_FEATURES), np.float32)
    count = len(views)
    dense[0, 0] = dense[1 : count + 1, 1] = dense[count + 1 :, 2] = 1
    first = len(KINDS)
    dense[:, first : first + _STEP] = _step_features(state, plans)
    if views:
        tools = np.concatenate([np.array([_tool_features(state, plan) for plan in plans], np.float32), _alikeness(state, weights)], axis=1)
        dense[1 : count + 1, first + _STEP :] = dense[count + 1 :, first + _STEP :] = tools
    cells, links = _words(state, plans, bits)
    is_possible = np.array([True, *(plan.lacks for plan in plans), *(plan.can_call for plan in plans)])
    return ActOptions(options=tuple(options), dense=dense, cells=cells, links=links, is_possible=is_possible)


@dataclass(frozen=True, eq=False, slots=True)
class _Plan:
    """The call that a tool would be called with now.

    known: for each required argument, the probability that its value is there.   arguments: what would be given.
    """

    view: ToolView
    known: tuple[float, ...]
    certainty: tuple[float, ...]
    arguments: dict[str, Key]
    places: tuple[int, ...]
    lacks: bool
    can_call: bool
    past: CallMade | None

    @classmethod
    def of(cls, state: State, view: ToolView, readings: Sequence[SlotReading]) -> "_Plan":
        known = tuple(1 - readings[number].absent for number in sorted(view.required))
        given = [reading for reading in readings if reading.options.keys and (reading.options.is_required or reading.absent < 0.5)]
        arguments = {reading.options.slot.name: reading.options.keys[reading.best or 0] for reading in given}
        return cls(
            view=view,
            known=known,
            certainty=tuple(reading.surest for reading in given),
            arguments=arguments,
            places=tuple(state.index[key] for key in arguments.values() if key in state.index),
            lacks=any(probability <= 1 - ASK_FROM for probability in known),
            can_call=all(readings[number].best is not None for number in view.required),
            past=next((call for call in reversed(state.calls) if call.name == view.tool.name), None),
        )

    @property
    def all_known(self) -> float:
        return math.prod(self.known)


def _step_features(state: State, plans: Sequence[_Plan]) -> list[float]:
    last_agent = state.said.last_agent.lower()
    latest = state.calls[-1] if state.calls else None
    is_result = state.last_role == "tool"
    return [
        is_result,
        latest is not None and bool(latest.is_error),
        is_result and state.found.rows == 0,
        min(state.found.rows, 20),
        "?" in last_agent,
        any(cue in last_agent for cue in _CONFIRMING),
        "?" in state.said.last_user,
        state.said.turns,
        len(state.calls),
        sum(call.turn == state.said.turns for call in state.calls),
        min(state.messages - state.last_call_message, 30) if state.calls else 30,
        len(plans),
        state.said.has_system,
        max((plan.all_known for plan in plans), default=0.0),
        max((min(plan.known, default=1.0) for plan in plans), default=0.0),
        state.said.agent_turn == state.said.turns,
    ]


def _tool_features(state: State, plan: _Plan) -> list[float]:
    view, past = plan.view, plan.past
    latest = state.calls[-1] if state.calls else None
    known = sorted(plan.known) or [1.0]
    calls = [call for call in state.calls if call.name == view.tool.name]
    changed = [name for name, key in plan.arguments.items() if past is not None and past.arguments.get(name) != key]
    table = state.table
    return [
        0.5 if view.tool.writes is None else view.tool.writes,
        len(calls),
        past is not None,
        past is not None and bool(past.is_error),
        past is not None and past.is_error is False,
        past is not None and past.turn == state.said.turns,
        latest is not None and latest.name == view.tool.name,
        latest is not None and latest.name.partition(".")[0] == view.tool.service,
        len(plan.known),
        len(view.slots) - len(plan.known),
        known[0],
        sum(known) / len(known),
        plan.all_known,
        known[1] if len(known) > 1 else 1.0,
        sum(probability < 0.5 for probability in known),
        min(plan.certainty, default=1.0),
        math.prod(plan.certainty),
        len(plan.arguments),
        past is not None and plan.arguments == past.arguments,
        sum(call.arguments == plan.arguments and call.is_error is False for call in calls),
        sum(call.arguments == plan.arguments and call.is_error is True for call in calls),
        len(changed) if past is not None else -1,
        sum(bool(table[place, column.USER_TURN] == state.said.turns) for place in plan.places),
        sum(bool(table[place, column.AGENT_TURN] == state.said.agent_turn >= 0) for place in plan.places),
        sum(bool(table[place, column.RESULT_CALL] >= 0) for place in plan.places),
        sum(bool(table[place, column.NEWEST] > state.last_call_message) for place in plan.places),
        sum(latest.arguments.get(name) == key for name, key in plan.arguments.items()) if latest is not None else -1,
        len(plan.places) / max(1, len(plan.arguments)),
        len(set(state.said.question) & view.words),
        any(view.slots[place].words & set(state.said.question) for place in view.required),
        any(call.arguments == plan.arguments for call in state.calls if call.name != view.tool.name),
        plan.can_call,
    ]


def _alikeness(state: State, weights: WordWeights) -> NDArray[np.float32]:
    """How much what was said resembles each tool, as it is and against the other tools, shape (tools, _ALIKE)."""
    said = [content_words(text) for text in (state.said.last_user, state.said.last_agent, state.said.first_user)]
    latest = frozenset(words_of(state.calls[-1].name)) if state.calls else frozenset[str]()
    rows = [
        [
            *(_alike(weights, words, view.words) for words in said),
            _alike(weights, said[0], frozenset(view.verbs)),
            _alike(weights, latest, view.words),
        ]
        for view in state.scene.views
    ]
    alike = np.array(rows, np.float32)
    return np.concatenate([alike, alike - alike.mean(axis=0)], axis=1)


def _alike(weights: WordWeights, words: frozenset[str], others: frozenset[str]) -> float:
    return weights.alike(words, others)


# --- hashed words ---


def _words(state: State, plans: Sequence[_Plan], bits: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    described = [("inform",), *(_ask_words(plan) for plan in plans), *(_call_words(state, plan) for plan in plans)]
    places = {word: place for place, word in enumerate(dict.fromkeys(word for words in described for word in words))}
    links = [(option, places[word]) for option, words in enumerate(described) for word in words]
    return _crossed_words(full_context(state), word_ids(list(places)), bits), np.array(links, np.int32)


def _crossed_words(context: Ids, words: Ids, bits: int) -> NDArray[np.int32]:
    return crossed(words[:, None], context, bits=bits)


@lru_cache(maxsize=4096)
def _named(kind: str, view: ToolView) -> tuple[str, ...]:
    return (kind, f"{kind} writes:{view.tool.writes}", *(f"{kind} {word}" for word in view.verbs))


def _ask_words(plan: _Plan) -> tuple[str, ...]:
    return _named("ask", plan.view)


def _call_words(state: State, plan: _Plan) -> tuple[str, ...]:
    latest = state.calls[-1] if state.calls else None
    is_same_service = latest is not None and latest.name.partition(".")[0] == plan.view.tool.service
    situation = (
        f"{plan.past is not None}{is_same_service}{min(plan.known, default=1.0) > 0.4}"
        f"{plan.past is not None and plan.past.arguments == plan.arguments}"
    )
    return (*_named("call", plan.view), f"call {situation}", f"call {situation} writes:{plan.view.tool.writes}")
