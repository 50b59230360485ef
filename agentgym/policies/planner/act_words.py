"""Hashed words of the options for what to do next: what describes each, against the words that the choice may depend on."""

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentgym.policies.planner.act_plan import Plan
from agentgym.policies.planner.context import done_context, said_context
from agentgym.policies.planner.slots import ToolView
from agentgym.policies.planner.state import State
from agentgym.policies.planner.words import Ids, crossed, word_ids

_CONFIRMING = ("confirm", "is that right", "is this correct", "correct?", "shall i", "verify", "right?", "check the", "should i")
GENERIC, NAMED, SITUATION = range(3)
"""Words that describe an option: what any tool shares, words of its name, how things stand for it."""
ACT_VOICES: Final = 6
"""Each of these against what was said, and against what was done: six voices that the layers learn to trust one by one."""
NAME_VOICES: Final = slice(2 * NAMED, 2 * NAMED + 2)
"""The two that speak of a tool's name."""


def is_confirming(state: State) -> bool:
    """Whether the agent asked last for a yes to what it is about to do."""
    last_agent = state.said.last_agent.lower()
    return any(cue in last_agent for cue in _CONFIRMING)


class OptionWords(NamedTuple):
    """cells: of each distinct option word against the context, shape (B, C).   cut: how many words of the context were said; the others
    tell what was done.   voices: which voice each half of the words speaks with, shape (2 B,).   links: (option, half), shape (L, 2).
    """

    cells: NDArray[np.int32]
    cut: int
    voices: NDArray[np.int8]
    links: NDArray[np.int32]


class _Vocabulary(NamedTuple):
    """The words that describe the options of some tools, whatever the state: their ids, voices, and (option, half) links."""

    ids: Ids
    voices: NDArray[np.int8]
    links: NDArray[np.int32]


@lru_cache(maxsize=256)
def _vocabulary(views: tuple[ToolView, ...]) -> _Vocabulary:
    described = [{"inform": GENERIC}, *(_named("ask", view) for view in views), *(_named("call", view) for view in views)]
    classes = {word: number for words in described for word, number in words.items()}
    places = {word: place for place, word in enumerate(classes)}
    links = [(option, half) for option, words in enumerate(described) for word in words for half in _halves(places[word])]
    voices = [half for number in classes.values() for half in _halves(number)]
    return _Vocabulary(word_ids(list(places)), np.array(voices, np.int8), np.array(links, np.int32))


def _halves(place: int) -> tuple[int, int]:
    return 2 * place, 2 * place + 1


def _named(kind: str, view: ToolView) -> dict[str, int]:
    return {kind: GENERIC, f"{kind} writes:{view.tool.writes}": GENERIC, **{f"{kind} {word}": NAMED for word in view.verbs}}


def option_words(state: State, plan: Plan, bits: int) -> OptionWords:
    """Every word that describes an option against the context; what describes a call now comes after what always does."""
    fixed = _vocabulary(state.scene.views)
    places: dict[str, int] = {}
    first_call, links = len(plan.arguments) + 1, []
    for tool, words in enumerate(_situations(state, plan)):
        for word in words:
            half = 2 * (len(fixed.ids) + places.setdefault(word, len(places)))
            links += [(first_call + tool, half), (first_call + tool, half + 1)]
    said, done = said_context(state), done_context(state)
    cells = crossed(np.concatenate([fixed.ids, word_ids(list(places))])[:, None], np.concatenate([said, done])[None], bits=bits)
    voices = np.concatenate([fixed.voices, np.tile(np.array(_halves(SITUATION), np.int8), len(places))])
    return OptionWords(cells, len(said), voices, np.concatenate([fixed.links, np.array(links, np.int32).reshape(-1, 2)]))


def _situations(state: State, plan: Plan) -> list[tuple[str, ...]]:
    """For each tool, how things stand for calling it: called before, of the service called last, arguments there, the same call again;
    what the customer's last words added to it.
    """
    latest = state.calls[-1].name.partition(".")[0] if state.calls else None
    past = {call.name: call.arguments for call in state.calls}
    confirming = is_confirming(state)
    situations: list[tuple[str, ...]] = []
    for tool, view in enumerate(state.scene.views):
        before = past.get(view.tool.name)
        is_known = plan.least_known[tool] > 0.4
        now = f"{before is not None}{latest == view.tool.service}{is_known}{before == plan.arguments[tool]}"
        change = f"change {is_known}{plan.changed[tool] > 0.5}{confirming} writes:{view.tool.writes}"
        situations.append((f"call {now}", f"call {now} writes:{view.tool.writes}", f"call {change}"))
    return situations
