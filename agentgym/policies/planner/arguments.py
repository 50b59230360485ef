"""The options for each argument of each tool in scope: the candidates that fit it, and leaving it out; with their features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from agentgym.policies.planner import state as column
from agentgym.policies.planner.context import brief_context
from agentgym.policies.planner.gazetteer import Gazetteer
from agentgym.policies.planner.mentions import CONTEXT_WORDS
from agentgym.policies.planner.normalisers import DATE, IDENTIFIER, TEXT, TIME
from agentgym.policies.planner.slots import ADMITTED, CHOICE, FLAG, SLOT_KINDS, Slot, ToolView, plain_value, same_value
from agentgym.policies.planner.state import CallMade, Key, State, flag_key
from agentgym.policies.planner.words import STOP_WORDS, Ids, crossed, name_words, word_ids, words_of

Rows = NDArray[np.float32]
_SHARED, _RANKS, _PAIR, _SLOT, _TOOL = 21, 4, 11, 15, 12
_RANK, _OWN, _OF_SLOT = _SHARED, _SHARED + _RANKS, _SHARED + _RANKS + _PAIR
_OF_TOOL = _OF_SLOT + _SLOT
ARGUMENT_FEATURES: Final = _OF_TOOL + _TOOL
GAZETTEER_FEATURES: Final = (_SHARED - 1, _OWN + 9, _OWN + 10)
USUAL_SHARE: Final = _OF_TOOL + 4
_MOST_CANDIDATES, _FRESH_TURNS = 64, 2


@dataclass(frozen=True, eq=False, slots=True)
class SlotOptions:
    """What one argument of a tool can be: each candidate, then (last) nothing.

    dense: shape (O, ARGUMENT_FEATURES).   cells: of the hashed table, shape (O, w).
    """

    slot: Slot
    is_required: bool
    keys: tuple[Key, ...]
    values: tuple[JsonValue, ...]
    dense: Rows
    cells: NDArray[np.int32]


def slot_options(state: State, *, bits: int) -> tuple[tuple[SlotOptions, ...], ...]:
    """The options of every argument of every tool in scope; what tools share is computed once."""
    shared: dict[Slot, SlotOptions] = {}
    return tuple(_tool_options(state, view, shared, bits) for view in state.scene.views)


def tool_slot_options(state: State, view: ToolView, *, bits: int) -> tuple[SlotOptions, ...]:
    """The options of every argument of one tool."""
    return _tool_options(state, view, {}, bits)


def _tool_options(state: State, view: ToolView, shared: dict[Slot, SlotOptions], bits: int) -> tuple[SlotOptions, ...]:
    past = next((call for call in reversed(state.calls) if call.name == view.tool.name), None)
    options = []
    for place, slot in enumerate(view.slots):
        if slot not in shared:
            shared[slot] = _whatever_the_tool(state, slot, bits)
        options.append(_for_tool(shared[slot], state, view, place, past))
    return tuple(options)


def _whatever_the_tool(state: State, slot: Slot, bits: int) -> SlotOptions:
    places, keys, values = _candidates(state, slot)
    dense = np.zeros((len(keys) + 1, ARGUMENT_FEATURES), np.float32)
    candidates = dense[:-1]
    said = places >= 0
    candidates[said, :_SHARED] = _shared_features(state)[places[said]]
    candidates[~said, :_SHARED] = _UNSAID
    _fill_ranks(candidates, slot, keys)
    _fill_own(candidates, state, slot, keys, places)
    dense[:, _OF_SLOT:_OF_TOOL] = _slot_features(state, slot, len(keys))
    return SlotOptions(slot, False, keys, values, dense, _cells(state, slot, keys, places, bits))


def _for_tool(options: SlotOptions, state: State, view: ToolView, place: int, past: CallMade | None) -> SlotOptions:
    is_required = place in view.required
    dense = options.dense.copy()
    dense[:, _OF_TOOL:] = _tool_features(state, view, place, past)
    dense[-1, -2:] = 1, not is_required
    key = past.arguments.get(options.slot.name) if past else None
    if key is not None:
        same = [number for number, (_, other) in enumerate(options.keys) if other == key[1]]
        dense[same, _OF_TOOL + 8] = 1
        dense[same, _OF_TOOL + 9] = bool(past and past.is_error)
    return SlotOptions(options.slot, is_required, options.keys, options.values, dense, options.cells)


# --- which candidates ---


def _candidates(state: State, slot: Slot) -> tuple[NDArray[np.int64], tuple[Key, ...], tuple[JsonValue, ...]]:
    """Places in the state's table (-1: not met there), keys and values; the most recent first where order means something."""
    if slot.kind == FLAG:
        place = state.index.get(flag_key(slot), -1)
        keys = tuple((FLAG, plain_value(choice).lower()) for choice in slot.choices)
        return np.full(len(keys), place), keys, slot.choices
    if slot.kind == CHOICE:
        keys = tuple((CHOICE, same_value(choice)) for choice in slot.choices)
        return np.array([state.index.get(key, -1) for key in keys]), keys, slot.choices
    places = _admitted(state, slot.kind)
    if slot.choices:
        listed = {same_value(choice) for choice in slot.choices}
        places = places[[state.keys[place][1] in listed for place in places]] if len(places) else places
    keys = tuple(state.keys[place] for place in places)
    values = tuple(state.values[place] for place in places)
    return _with_default(slot, places, keys, values)


def _with_default(
    slot: Slot, places: NDArray[np.int64], keys: tuple[Key, ...], values: tuple[JsonValue, ...]
) -> tuple[NDArray[np.int64], tuple[Key, ...], tuple[JsonValue, ...]]:
    key = same_value(slot.default)
    if slot.default is None or any(key == other for _, other in keys):
        return places, keys, values
    return np.append(places, -1), (*keys, (slot.kind, key)), (*values, slot.default)


def _admitted(state: State, kind: str) -> NDArray[np.int64]:
    """Candidates an argument of this kind can take, most recently said first; computed once for a state."""
    known = state.memo.get(kind)
    if known is None:
        table = state.table
        numbers = [SLOT_KINDS.index(admitted) for admitted in ADMITTED[kind]]
        fits = np.isin(table[:, column.KIND], numbers)
        if kind == TEXT:
            fits &= (table[:, column.LOOSE] == 0) | (state.said.turns - table[:, column.USER_TURN] <= _FRESH_TURNS)
        places = np.flatnonzero(fits)
        known = state.memo[kind] = places[np.argsort(-table[places, column.POSITION], kind="stable")][:_MOST_CANDIDATES]
    return known  # type: ignore[return-value]


# --- features of a candidate, whatever it is for ---


def _shared_features(state: State) -> Rows:
    """Shape (n, _SHARED); computed once for a state."""
    known = state.memo.get("shared")
    if known is None:
        known = state.memo["shared"] = _shared(state)
    return known  # type: ignore[return-value]


def _shared(state: State) -> Rows:
    table = state.table
    user, agent, result, carried = (
        table[:, name] for name in (column.USER_TURN, column.AGENT_TURN, column.RESULT_CALL, column.CARRIED_CALL)
    )
    calls = len(state.calls)
    return np.stack(
        [
            np.where(user >= 0, np.minimum(state.said.turns - user, 20), 20),
            np.where(agent >= 0, np.minimum(state.said.turns - agent, 20), 20),
            table[:, column.USER_TIMES],
            table[:, column.AGENT_TIMES],
            user == state.said.turns,
            (agent == state.said.agent_turn) & (agent >= 0),
            table[:, column.CAPITALISED],
            table[:, column.LOOSE],
            table[:, column.WORD_COUNT],
            table[:, column.LENGTH],
            result >= 0,
            table[:, column.RESULT_ROW],
            np.where(result >= 0, np.minimum(calls - result, 9), 9),
            carried >= 0,
            np.where(carried >= 0, np.minimum(calls - carried, 9), 9),
            table[:, column.FROM_SYSTEM],
            table[:, column.PARTIAL],
            table[:, column.NEGATED],
            table[:, column.NEWEST] > state.last_call_message,
            table[:, column.KIND] == SLOT_KINDS.index(IDENTIFIER),
            table[:, column.KNOWN],
        ],
        axis=1,
    ).astype(np.float32)


_UNSAID = np.zeros(_SHARED, np.float32)
_UNSAID[[0, 1]] = 20
_UNSAID[[11, 12, 14]] = 9


def _fill_ranks(rows: Rows, slot: Slot, keys: Sequence[Key]) -> None:
    count = len(keys)
    ranks = rows[:, _RANK : _RANK + _RANKS]
    ranks[:, 1] = count
    ranks[:, 2:] = -1
    if slot.kind in (CHOICE, FLAG):
        return
    ranks[:, 0] = np.arange(count)
    if slot.kind in (DATE, TIME):
        ranks[np.argsort(np.array([key for _, key in keys]), kind="stable"), 2] = np.arange(count)
        ranks[:, 3] = count - 1 - ranks[:, 2]


# --- features of a candidate for this argument ---


def _fill_own(rows: Rows, state: State, slot: Slot, keys: Sequence[Key], places: NDArray[np.int64]) -> None:
    own = rows[:, _OWN : _OWN + _PAIR]
    own[:, 1:3] = 9
    rank = dict(zip(places.tolist(), range(len(places)), strict=True))
    _mark_results(own, state, slot, rank)
    _mark_given(own, state, slot, rank)
    default = None if slot.default is None else same_value(slot.default)
    for number, (place, key) in enumerate(zip(places.tolist(), keys, strict=True)):
        row = own[number]
        if key[1] == default:
            row[6] = 1
        if key == (FLAG, "true"):
            row[7] = 1
        if place >= 0 and state.near[place]:
            row[8] = len(slot.words & state.near[place])
    if slot.kind == TEXT:
        _mark_known(own, state.scene.gazetteer, slot, keys)


def _mark_results(own: Rows, state: State, slot: Slot, rank: Mapping[int, int]) -> None:
    """Columns 0 to 3: given by a result under this very name, in which row, how many calls ago; words shared with its name there."""
    for name, found in state.result_keys.items():
        if not (alike := _alike(slot, name)):
            continue
        for place, (call, row) in found.items():
            if (number := rank.get(place)) is not None:
                own[number, 3] = max(own[number, 3], alike)
                if name == slot.name:
                    own[number, 0] = 1
                    own[number, 1:3] = np.minimum(own[number, 1:3], (row, len(state.calls) - call))


def _mark_given(own: Rows, state: State, slot: Slot, rank: Mapping[int, int]) -> None:
    """Columns 4 and 5: an earlier call had it under this very name, the latest; words shared with its name there."""
    for name, given in state.carried.items():
        if not (alike := _alike(slot, name)):
            continue
        latest = max(given.values())
        for place, call in given.items():
            if (number := rank.get(place)) is not None:
                own[number, 5] = max(own[number, 5], alike)
                if name == slot.name:
                    own[number, 4] = 2 if call == latest else 1


def _mark_known(own: Rows, gazetteer: Gazetteer, slot: Slot, keys: Sequence[Key]) -> None:
    """Columns 9 and 10: how often it was given to arguments of this name, and of similar names."""
    for number, (_, key) in enumerate(keys):
        if key in gazetteer.names:
            own[number, 9:11] = gazetteer.times_given(slot.name, key), gazetteer.times_given_alike(slot.name, key)


@lru_cache(maxsize=65536)
def _alike(slot: Slot, name: str) -> int:
    """How many words an argument shares with the name of a value; at least 1 where the names are equal."""
    return max(len(slot.words & set(name_words(name))), int(name == slot.name))


def _slot_features(state: State, slot: Slot, count: int) -> Rows:
    row = np.zeros(_SLOT, np.float32)
    row[SLOT_KINDS.index(slot.kind)] = 1
    row[len(SLOT_KINDS) :] = (
        bool(state.said.question),
        len(slot.words & set(state.said.question)),
        slot.default is not None,
        slot.name in state.carried,
        min(count, 20),
        count == 0,
    )
    return row


def _tool_features(state: State, view: ToolView, place: int, past: CallMade | None) -> tuple[float, ...]:
    shares = state.scene.gazetteer.usual_share.get(view.tool.name)
    name = view.slots[place].name
    return (
        place in view.required,
        0.5 if view.tool.writes is None else view.tool.writes,
        view.peers[place],
        view.ranks[place],
        -1 if shares is None else shares.get(name, 0.0),
        past is not None,
        past is not None and name in past.arguments,
        past is not None and bool(past.is_error),
        0,
        0,
        0,
        0,
    )


# --- hashed words ---


def _cells(state: State, slot: Slot, keys: Sequence[Key], places: NDArray[np.int64], bits: int) -> NDArray[np.int32]:
    contexts = np.concatenate([_contexts(state, places), _absent_context(state)])
    cells = crossed(contexts, slot.ids, bits=bits)
    if slot.kind not in (CHOICE, FLAG):
        return cells
    return np.concatenate([cells, _choice_cells(brief_context(state), slot, keys, bits)], axis=1)


def _contexts(state: State, places: NDArray[np.int64]) -> Ids:
    contexts = state.contexts[places] if len(state.contexts) else np.zeros((len(places), CONTEXT_WORDS), np.uint32)
    contexts[places < 0] = 0
    return contexts


def _choice_cells(context: Ids, slot: Slot, keys: Sequence[Key], bits: int) -> NDArray[np.int32]:
    """Every choice against what was said and found so far, and so leaving it out; shape (O, 2C)."""
    return crossed(_choice_ids(slot, tuple(key for _, key in keys)), context, bits=bits)


@lru_cache(maxsize=16384)
def _choice_ids(slot: Slot, keys: tuple[str, ...]) -> Ids:
    return np.stack([word_ids([f"{slot.name}={key}", f"={key}"]) for key in (*keys, "nothing")])


def _absent_context(state: State) -> Ids:
    known = state.memo.get("absent")
    if known is None:
        said = [word for word in words_of(state.said.last_user) if word not in STOP_WORDS][:7]
        words = ["nothing", *(f"nothing asked:{word}" for word in state.said.question[-5:]), *(f"nothing said:{word}" for word in said)]
        known = state.memo["absent"] = word_ids(words, width=CONTEXT_WORDS)[None]
    return known  # type: ignore[return-value]
