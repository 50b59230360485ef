"""The options for what to do next: inform, ask for what a tool still lacks, or call a tool; with their features."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentgym.policies.planner.arguments import FROM_RESULT, IS_NEW, SAID_BY_AGENT, SAID_BY_USER, Layout, Rows
from agentgym.policies.planner.context import full_context
from agentgym.policies.planner.readings import Readings
from agentgym.policies.planner.slots import ToolView
from agentgym.policies.planner.state import CallMade, Key, State
from agentgym.policies.planner.word_weights import WordWeights
from agentgym.policies.planner.words import Ids, content_words, crossed, name_words, word_ids

Kind = Literal["inform", "ask", "call"]
KINDS: Final[tuple[Kind, ...]] = ("inform", "ask", "call")
MAX_REFUSALS: Final = 2
"""How often the same call may be refused before the customer has to speak again."""
ASK_FROM: Final = 0.1
"""An argument counts as missing when the probability that nothing fits it yet is at least this."""

# Columns of an option, in blocks: its kind, the step, the tool as declared, its arguments now, its calls so far, words in common.
_STEP, _DECLARED, _ARGUMENTS, _HISTORY, _ALIKE = 16, 3, 14, 13, 10
_TOOL = _DECLARED + _ARGUMENTS + _HISTORY + _ALIKE
ACT_FEATURES: Final = len(KINDS) + _STEP + _TOOL
_CONFIRMING = ("confirm", "is that right", "is this correct", "correct?", "shall i", "verify", "right?", "check the", "should i")


class ActOption(NamedTuple):
    """Something to do: `inform`, or `ask` or `call` with the tool at this place in scope."""

    kind: Kind
    tool: int = -1


@dataclass(frozen=True, eq=False, slots=True)
class ActOptions:
    """Everything that could be done now: inform, then ask with each tool, then call each tool.

    dense: shape (O, ACT_FEATURES).   cells: of each distinct option word against the context, shape (B, C).
    links: which words belong to which option, as (option, word), shape (L, 2).   is_possible: shape (O,).
    """

    options: tuple[ActOption, ...]
    dense: Rows
    cells: NDArray[np.int32]
    links: NDArray[np.int32]
    is_possible: NDArray[np.bool_]


def act_options(state: State, readings: Readings, weights: WordWeights, *, bits: int) -> ActOptions:
    """The options of this moment, given how sure every argument is."""
    plan = _plan(state, readings)
    count = len(state.scene.views)
    dense = np.zeros((2 * count + 1, ACT_FEATURES), np.float32)
    dense[0, 0] = dense[1 : count + 1, 1] = dense[count + 1 :, 2] = 1
    dense[:, len(KINDS) : len(KINDS) + _STEP] = _step_features(state, plan)
    tools = np.concatenate([plan.features, _history(state, plan), _alikeness(state, weights)], axis=1)
    dense[1 : count + 1, len(KINDS) + _STEP :] = dense[count + 1 :, len(KINDS) + _STEP :] = tools
    cells, links = _words(state, plan, bits)
    is_possible = np.concatenate([[True], plan.lacks, plan.can_call & ~_is_pointless(state, plan)])
    return ActOptions(options=_options(count), dense=dense, cells=cells, links=links, is_possible=is_possible)


@lru_cache(maxsize=256)
def _options(count: int) -> tuple[ActOption, ...]:
    return (ActOption("inform"), *(ActOption("ask", tool) for tool in range(count)), *(ActOption("call", tool) for tool in range(count)))


def _is_pointless(state: State, plan: "_Plan") -> NDArray[np.bool_]:
    """Whether the call each tool would get can bring nothing new: it was answered before and nothing was written or said since, or it was
    refused twice; shape (T,).

    Without this a policy that errs once can err until the turn limit, as nothing in what it sees changes any more.
    """
    pointless = np.zeros(len(plan.arguments), np.bool_)
    recent = [call for call in state.calls if call.turn == state.said.turns]
    if not recent:
        return pointless
    writes = {view.tool.name: view.tool.writes for view in state.scene.views}
    last_write = max((place for place, call in enumerate(recent) if writes.get(call.name) and call.is_error is False), default=0)
    for tool, (view, arguments) in enumerate(zip(state.scene.views, plan.arguments, strict=True)):
        same = [(place, call) for place, call in enumerate(recent) if call.name == view.tool.name and call.arguments == arguments]
        is_answered = any(call.is_error is False and place >= last_write for place, call in same)
        pointless[tool] = is_answered or sum(bool(call.is_error) for _, call in same) >= MAX_REFUSALS
    return pointless


# --- the call each tool would be called with now ---


@dataclass(frozen=True, eq=False, slots=True)
class _Plan:
    """For each tool in scope, the call it would get.

    least_known, all_known: of its required arguments, the probability that the least known is there, and that all are, shape (T,).
    lacks, can_call: whether something may be missing, and whether every required argument has a candidate, shape (T,).
    arguments: what would be given, by tool.   features: shape (T, _DECLARED + _ARGUMENTS).
    """

    least_known: Rows
    all_known: Rows
    lacks: NDArray[np.bool_]
    can_call: NDArray[np.bool_]
    arguments: tuple[dict[str, Key], ...]
    features: Rows


class _Membership(NamedTuple):
    """Which blocks belong to which tool, shape (T, B); and of those, the required ones."""

    all: Rows
    required: Rows


@lru_cache(maxsize=256)
def _membership(layout: Layout) -> _Membership:
    belongs = (np.arange(len(layout.views))[:, None] == layout.tool_of[None, :]).astype(np.float32)
    return _Membership(belongs, belongs * layout.is_required)


@lru_cache(maxsize=256)
def _declared(views: tuple[ToolView, ...]) -> Rows:
    rows = [
        (0.5 if view.tool.writes is None else view.tool.writes, len(view.required), len(view.slots) - len(view.required)) for view in views
    ]
    return np.array(rows, np.float32).reshape(-1, _DECLARED)


def _plan(state: State, readings: Readings) -> _Plan:
    layout = readings.table.layout
    belongs, required = _membership(layout)
    known = 1 - readings.absent
    has_candidate = readings.best >= 0
    given = has_candidate & (layout.is_required | (readings.absent < 0.5))
    least_known = np.where(required > 0, known, 1).min(axis=1, initial=1)
    all_known = np.where(required > 0, known, 1).prod(axis=1)
    can_call = (required @ ~has_candidate) == 0
    best = readings.best_rows()[:, [SAID_BY_USER, SAID_BY_AGENT, FROM_RESULT, IS_NEW]] * given[:, None]
    counts = required.sum(axis=1)
    features = np.column_stack(
        [
            _declared(layout.views),
            least_known,
            np.where(counts > 0, required @ known / np.maximum(counts, 1), 1),
            all_known,
            required @ (known < 0.5),
            np.where(belongs * given > 0, readings.surest, 1).min(axis=1, initial=1),
            np.where(belongs * given > 0, readings.surest, 1).prod(axis=1),
            belongs @ given,
            belongs @ best,
            can_call,
            _questioned(state, layout),
        ]
    )
    lacks = (required @ (known <= 1 - ASK_FROM)) > 0
    return _Plan(least_known, all_known, lacks, can_call, _planned(layout, readings, given), features.astype(np.float32))


def _questioned(state: State, layout: Layout) -> Rows:
    """Words of the agent's question that each tool, and its required arguments, share; shape (T, 2)."""
    question = frozenset(state.said.question)
    if not question:
        return np.zeros((len(layout.views), 2), np.float32)
    rows = [(len(question & view.words), any(view.slots[place].words & question for place in view.required)) for view in layout.views]
    return np.array(rows, np.float32).reshape(-1, 2)


def _planned(layout: Layout, readings: Readings, given: NDArray[np.bool_]) -> tuple[dict[str, Key], ...]:
    arguments: tuple[dict[str, Key], ...] = tuple({} for _ in layout.views)
    for block in np.flatnonzero(given).tolist():
        arguments[layout.blocks[block].tool][layout.slots[layout.blocks[block].slot].name] = readings.best_key(block)
    return arguments


# --- features ---


def _step_features(state: State, plan: _Plan) -> list[float]:
    said, last_agent = state.said, state.said.last_agent.lower()
    latest = state.calls[-1] if state.calls else None
    is_result = state.last_role == "tool"
    return [
        is_result,
        latest is not None and bool(latest.is_error),
        is_result and state.found.rows == 0,
        min(state.found.rows, 20),
        "?" in last_agent,
        any(cue in last_agent for cue in _CONFIRMING),
        "?" in said.last_user,
        said.turns,
        len(state.calls),
        sum(call.turn == said.turns for call in state.calls),
        min(state.messages - state.last_call_message, 30) if state.calls else 30,
        len(plan.arguments),
        said.has_system,
        plan.all_known.max(initial=0),
        plan.least_known.max(initial=0),
        said.agent_turn == said.turns,
    ]


def _history(state: State, plan: _Plan) -> Rows:
    """What each tool was called with before, shape (T, _HISTORY)."""
    rows = np.zeros((len(plan.arguments), _HISTORY), np.float32)
    rows[:, 11:] = -1
    if not state.calls:
        return rows
    latest = state.calls[-1]
    calls: dict[str, list[CallMade]] = {}
    for call in state.calls:
        calls.setdefault(call.name, []).append(call)
    for tool, (view, arguments) in enumerate(zip(state.scene.views, plan.arguments, strict=True)):
        rows[tool, 0] = latest.name.partition(".")[0] == view.tool.service
        rows[tool, 12] = sum(latest.arguments.get(name) == key for name, key in arguments.items())
        if view.tool.name in calls:
            rows[tool, 1:12] = _past_features(state, calls[view.tool.name], arguments, latest)
    return rows


def _past_features(state: State, calls: list[CallMade], arguments: Mapping[str, Key], latest: CallMade) -> tuple[float, ...]:
    past = calls[-1]
    is_same = arguments == past.arguments
    return (
        len(calls),
        1,
        bool(past.is_error),
        past.is_error is False,
        past.turn == state.said.turns,
        latest is past,
        is_same,
        sum(call.arguments == arguments and call.is_error is False for call in calls),
        sum(call.arguments == arguments and call.is_error is True for call in calls),
        is_same and bool(past.is_error),
        sum(past.arguments.get(name) != key for name, key in arguments.items()),
    )


def _alikeness(state: State, weights: WordWeights) -> Rows:
    """How much what was said resembles each tool, as it is and against the other tools, shape (T, _ALIKE)."""
    views, said = state.scene.views, state.said
    columns = [
        *(_resemblance(weights, text, views) for text in (said.last_user, said.last_agent, said.first_user)),
        _verb_resemblance(weights, said.last_user, views),
        _resemblance(weights, " ".join(name_words(state.calls[-1].name)) if state.calls else "", views),
    ]
    alike = np.column_stack(columns)
    return np.concatenate([alike, alike - alike.mean(axis=0)] if len(views) else [alike, alike], axis=1)


@lru_cache(maxsize=16384)
def _resemblance(weights: WordWeights, text: str, views: tuple[ToolView, ...]) -> Rows:
    words = content_words(text)
    return np.array([weights.alike(words, view.words) for view in views], np.float32)


@lru_cache(maxsize=16384)
def _verb_resemblance(weights: WordWeights, text: str, views: tuple[ToolView, ...]) -> Rows:
    words = content_words(text)
    return np.array([weights.alike(words, frozenset(view.verbs)) for view in views], np.float32)


# --- hashed words ---


class _Vocabulary(NamedTuple):
    """The words that describe the options of some tools, whatever the state: their ids, and (option, word) links."""

    ids: Ids
    links: NDArray[np.int32]


@lru_cache(maxsize=256)
def _vocabulary(views: tuple[ToolView, ...]) -> _Vocabulary:
    described = [("inform",), *(_named("ask", view) for view in views), *(_named("call", view) for view in views)]
    places = {word: place for place, word in enumerate(dict.fromkeys(word for words in described for word in words))}
    links = [(option, places[word]) for option, words in enumerate(described) for word in words]
    return _Vocabulary(word_ids(list(places)), np.array(links, np.int32))


def _named(kind: Kind, view: ToolView) -> tuple[str, ...]:
    return (kind, f"{kind} writes:{view.tool.writes}", *dict.fromkeys(f"{kind} {word}" for word in view.verbs))


def _words(state: State, plan: _Plan, bits: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Every word that describes an option against the context; what describes a call now comes after what always does."""
    fixed = _vocabulary(state.scene.views)
    places: dict[str, int] = {}
    first_call, links = len(plan.arguments) + 1, []
    for tool, words in enumerate(_situations(state, plan)):
        links += [(first_call + tool, len(fixed.ids) + places.setdefault(word, len(places))) for word in words]
    ids = np.concatenate([fixed.ids, word_ids(list(places))])
    cells = crossed(ids[:, None], full_context(state)[None], bits=bits)
    return cells, np.concatenate([fixed.links, np.array(links, np.int32).reshape(-1, 2)])


def _situations(state: State, plan: _Plan) -> list[tuple[str, str]]:
    """For each tool, how things stand for calling it: called before, of the service called last, arguments there, the same call again."""
    latest = state.calls[-1].name.partition(".")[0] if state.calls else None
    past = {call.name: call.arguments for call in state.calls}
    situations = []
    for tool, view in enumerate(state.scene.views):
        before = past.get(view.tool.name)
        now = f"{before is not None}{latest == view.tool.service}{plan.least_known[tool] > 0.4}{before == plan.arguments[tool]}"
        situations.append((f"call {now}", f"call {now} writes:{view.tool.writes}"))
    return situations
