"""The options for what to do next: inform, ask for what a tool still lacks, or call a tool; with their features."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentgym.policies.planner.act_plan import PLAN_FEATURES, Plan, plan_of
from agentgym.policies.planner.act_words import OptionWords, is_confirming, option_words
from agentgym.policies.planner.arguments import Rows
from agentgym.policies.planner.readings import Readings
from agentgym.policies.planner.slots import ToolView
from agentgym.policies.planner.state import CallMade, Key, State
from agentgym.policies.planner.word_weights import WordWeights
from agentgym.policies.planner.words import content_words, name_words

Kind = Literal["inform", "ask", "call"]
KINDS: Final[tuple[Kind, ...]] = ("inform", "ask", "call")
MAX_REFUSALS: Final = 2
"""How often the same call may be refused before the customer has to speak again."""

# Columns of an option, in blocks: its kind, the step, the call of the tool as planned, its calls so far, words in common, its lead.
_STEP, _HISTORY, _ALIKE, _LEAD = 17, 13, 12, 6
_TOOL = PLAN_FEATURES + _HISTORY + _ALIKE + _LEAD
ACT_FEATURES: Final = len(KINDS) + _STEP + _TOOL


class ActOption(NamedTuple):
    """Something to do: `inform`, or `ask` or `call` with the tool at this place in scope."""

    kind: Kind
    tool: int = -1


@dataclass(frozen=True, eq=False, slots=True)
class ActOptions:
    """Everything that could be done now: inform, then ask with each tool, then call each tool.

    dense: shape (O, ACT_FEATURES).   is_possible: shape (O,).
    """

    options: tuple[ActOption, ...]
    dense: Rows
    words: OptionWords
    is_possible: NDArray[np.bool_]


def act_options(state: State, readings: Readings, weights: WordWeights, *, bits: int) -> ActOptions:
    """The options of this moment, given how sure every argument is."""
    plan = plan_of(state, readings)
    count = len(state.scene.views)
    dense = np.zeros((2 * count + 1, ACT_FEATURES), np.float32)
    dense[0, 0] = dense[1 : count + 1, 1] = dense[count + 1 :, 2] = 1
    dense[:, len(KINDS) : len(KINDS) + _STEP] = _step_features(state, plan)
    tools = _tool_features(state, plan, weights)
    dense[1 : count + 1, len(KINDS) + _STEP :] = dense[count + 1 :, len(KINDS) + _STEP :] = tools
    words = option_words(state, plan, bits)
    is_possible = np.concatenate([[True], plan.lacks, plan.can_call & ~_is_pointless(state, plan)])
    return ActOptions(options=_options(count), dense=dense, words=words, is_possible=is_possible)


@lru_cache(maxsize=256)
def _options(count: int) -> tuple[ActOption, ...]:
    return (ActOption("inform"), *(ActOption("ask", tool) for tool in range(count)), *(ActOption("call", tool) for tool in range(count)))


def _is_pointless(state: State, plan: Plan) -> NDArray[np.bool_]:
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


# --- features ---


def _step_features(state: State, plan: Plan) -> list[float]:
    said, last_agent = state.said, state.said.last_agent.lower()
    latest = state.calls[-1] if state.calls else None
    is_result = state.last_role == "tool"
    return [
        is_result,
        latest is not None and bool(latest.is_error),
        is_result and state.found.rows == 0,
        min(state.found.rows, 20),
        "?" in last_agent,
        is_confirming(state),
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
        said.turns - state.calls[-1].turn if state.calls else said.turns,
    ]


def _tool_features(state: State, plan: Plan, weights: WordWeights) -> Rows:
    """What there is to say of each tool, shape (T, _TOOL)."""
    alike = _alikeness(state, weights)
    rivals = np.column_stack([plan.least_known, plan.all_known, plan.sureness, plan.changed, alike[:, _BY_USER], alike[:, _BY_WISHES]])
    return np.concatenate([plan.features, _history(state, plan), alike, lead_of(rivals)], axis=1)


def lead_of(values: Rows) -> Rows:
    """How far each tool is ahead of the best other one, its own value where it is alone, shape of `values` (T, K)."""
    if len(values) < 2:
        return values
    best, second = -np.partition(-values, 1, axis=0)[:2]
    lead: Rows = values - np.where(values == best, second, best)
    return lead


def _history(state: State, plan: Plan) -> Rows:
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


_BY_USER, _BY_WISHES = 0, 5


def _alikeness(state: State, weights: WordWeights) -> Rows:
    """How much what was said resembles each tool, as it is and against the other tools, shape (T, _ALIKE)."""
    views, said = state.scene.views, state.said
    columns = [
        *(_resemblance(weights, text, views) for text in (said.last_user, said.last_agent, said.first_user)),
        _verb_resemblance(weights, said.last_user, views),
        _resemblance(weights, " ".join(name_words(state.calls[-1].name)) if state.calls else "", views),
        _resemblance(weights, said.wishes, views),
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
