"""The options for each argument of each tool in scope: the candidates that fit it, and leaving it out; with their features.

What an option is like does not depend on the tool, so arguments that tools share are laid out once, then spread over the tools.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from agentgym.policies.planner import state as column
from agentgym.policies.planner.candidates import Candidates, candidates_for, listed_keys
from agentgym.policies.planner.context import brief_context
from agentgym.policies.planner.gazetteer import Gazetteer
from agentgym.policies.planner.normalisers import DATE, IDENTIFIER, TEXT, TIME
from agentgym.policies.planner.slots import CHOICE, FLAG, SLOT_KINDS, SLOT_WORDS, Slot, ToolView, same_value
from agentgym.policies.planner.state import CONTEXT_WIDTH, CallMade, Key, State
from agentgym.policies.planner.words import STOP_WORDS, Ids, crossed, name_words, stems_of, word_ids, words_of

Rows = NDArray[np.float32]
Places = NDArray[np.int64]

# Columns of an option, in blocks: whatever it is for, its rank, for this argument, of the argument, of the argument in this tool.
_COMMON, _RANKS, _OWN, _SLOT, _TOOL = 21, 4, 14, 15, 12
_RANK, _FOR_SLOT, _OF_SLOT = _COMMON, _COMMON + _RANKS, _COMMON + _RANKS + _OWN
_OF_TOOL = _OF_SLOT + _SLOT
ARGUMENT_FEATURES: Final = _OF_TOOL + _TOOL
GAZETTEER_FEATURES: Final = (_COMMON - 1, _FOR_SLOT + 9, _FOR_SLOT + 10)
USUAL_SHARE: Final = _OF_TOOL + 4
TIMES_SAID: Final = slice(2, 4)
SAID_BY_USER, SAID_BY_AGENT, FROM_RESULT, IS_NEW = 4, 5, 10, 18
_FIXED_OF_TOOL, _PAST, _GIVEN_LAST, _LEFT_OUT = 5, 5, 8, 10
IS_ASKED_FOR: Final = _OF_SLOT + len(SLOT_KINDS) + 1
WAS_GIVEN, IS_GIVEN_AGAIN = _OF_TOOL + _PAST + 1, _OF_TOOL + _GIVEN_LAST


class Block(NamedTuple):
    """One argument of one tool, by the places of the tool in scope, of the slot among all, and of the slot in the tool."""

    tool: int
    slot: int
    place: int


@dataclass(frozen=True, eq=False, slots=True)
class Layout:
    """What is fixed for a set of tools: the distinct slots, free ones before those with listed choices, and the arguments that use them.

    slot_of, tool_of, is_required: of each block, shape (B,).   of_slot: fixed features, shape (S, _SLOT).   of_tool: of each block,
    shape (B, _FIXED_OF_TOOL).   choice_ids: hashed names of every listed choice and of leaving it out, shape (R, 2).
    """

    views: tuple[ToolView, ...]
    slots: tuple[Slot, ...]
    free: int
    blocks: tuple[Block, ...]
    slot_of: Places
    tool_of: Places
    is_required: NDArray[np.bool_]
    of_slot: Rows
    of_tool: Rows
    choice_ids: Ids


@lru_cache(maxsize=256)
def layout_of(views: tuple[ToolView, ...], gazetteer: Gazetteer) -> Layout:
    """The layout of these tools; computed once."""
    distinct = dict.fromkeys(slot for view in views for slot in view.slots)
    slots = sorted(distinct, key=lambda slot: slot.kind in (CHOICE, FLAG))
    number = {slot: place for place, slot in enumerate(slots)}
    blocks = tuple(Block(tool, number[slot], place) for tool, view in enumerate(views) for place, slot in enumerate(view.slots))
    of_tool = [_fixed_of_tool(views[block.tool], block.place, gazetteer) for block in blocks]
    return Layout(
        views=views,
        slots=tuple(slots),
        free=sum(slot.kind not in (CHOICE, FLAG) for slot in slots),
        blocks=blocks,
        slot_of=np.array([block.slot for block in blocks], np.int64),
        tool_of=np.array([block.tool for block in blocks], np.int64),
        is_required=np.array([block.place in views[block.tool].required for block in blocks], bool),
        of_slot=np.array([_fixed_of_slot(slot) for slot in slots], np.float32).reshape(-1, _SLOT),
        of_tool=np.array(of_tool, np.float32).reshape(-1, _FIXED_OF_TOOL),
        choice_ids=np.array([ids for slot in slots if slot.kind in (CHOICE, FLAG) for ids in _choice_ids(slot)], np.uint32).reshape(-1, 2),
    )


def _fixed_of_slot(slot: Slot) -> list[float]:
    kind = [float(slot.kind == other) for other in SLOT_KINDS]
    return [*kind, *(0.0 for _ in range(_SLOT - len(kind) - 1)), slot.default is not None]


def _fixed_of_tool(view: ToolView, place: int, gazetteer: Gazetteer) -> tuple[float, ...]:
    shares = gazetteer.usual_share.get(view.tool.name)
    usual_share = -1.0 if shares is None else shares.get(view.slots[place].name, 0.0)
    writes = 0.5 if view.tool.writes is None else float(view.tool.writes)
    return place in view.required, writes, view.peers[place], view.ranks[place], usual_share


def _choice_ids(slot: Slot) -> list[Ids]:
    keys = [*(key for _, key in listed_keys(slot)), "nothing"]
    return [word_ids([f"{slot.name}={key}", f"={key}"]) for key in keys]


@dataclass(frozen=True, eq=False, slots=True)
class ArgumentTable:
    """The options of every argument in one state; the last option of each is leaving it out.

    candidates: of each slot.   dense: of every block's options, shape (Q, ARGUMENT_FEATURES); starts: where each block begins, shape
    (B + 1,).   rows: which row of the cells each option has, shape (Q,).   free_cells: shape (F, w).   choice_cells: shape (R, v).
    """

    layout: Layout
    candidates: tuple[Candidates, ...]
    dense: Rows
    starts: Places
    rows: Places
    free_cells: NDArray[np.int32]
    choice_cells: NDArray[np.int32]

    def keys(self, block: int) -> tuple[Key, ...]:
        return self.candidates[self.layout.blocks[block].slot].keys

    def values(self, block: int) -> tuple[JsonValue, ...]:
        return self.candidates[self.layout.blocks[block].slot].values

    def slot(self, block: int) -> Slot:
        return self.layout.slots[self.layout.blocks[block].slot]

    def evidence(self, block: int) -> tuple[Rows, NDArray[np.int32]]:
        """Features and cells of the options of one block."""
        start, stop = self.starts[block], self.starts[block + 1]
        first, count = int(self.rows[start]), int(stop - start)
        if first < len(self.free_cells):
            return self.dense[start:stop], self.free_cells[first : first + count]
        first -= len(self.free_cells)
        return self.dense[start:stop], self.choice_cells[first : first + count]


def argument_table(state: State, *, bits: int, views: tuple[ToolView, ...] | None = None) -> ArgumentTable:
    """The options of every argument of these tools, or of all in scope."""
    layout = layout_of(views or state.scene.views, state.scene.gazetteer)
    candidates = tuple(candidates_for(state, slot) for slot in layout.slots)
    sizes = np.array([len(found.keys) + 1 for found in candidates], np.int64)
    places = np.array([place for found in candidates for place in (*found.places, -1)], np.int64)
    slot_rows = _slot_rows(state, layout, candidates, sizes, places)
    rows, starts = _spread(layout, sizes)
    dense = slot_rows[rows]
    _fill_tools(dense, state, layout, candidates, starts)
    free_cells, choice_cells = _cells(state, layout, sizes, places, bits)
    return ArgumentTable(layout, candidates, dense, starts, rows, free_cells, choice_cells)


def _spread(layout: Layout, sizes: Places) -> tuple[Places, Places]:
    """For each option of each block its row among the slots' rows, and where the blocks begin."""
    of_block = sizes[layout.slot_of]
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(of_block)])
    first = (np.cumsum(sizes) - sizes)[layout.slot_of]
    return np.arange(starts[-1]) + np.repeat(first - starts[:-1], of_block), starts


# --- what does not depend on the tool ---


def _slot_rows(state: State, layout: Layout, candidates: Sequence[Candidates], sizes: Places, places: Places) -> Rows:
    rows = np.zeros((len(places), ARGUMENT_FEATURES), np.float32)
    rows[:, :_COMMON] = _common_features(state)[places]
    starts = np.cumsum(sizes) - sizes
    rows[:, _RANK] = np.arange(len(places)) - np.repeat(starts, sizes)
    rows[:, _RANK + 1] = np.repeat(sizes - 1, sizes)
    rows[:, _RANK + 2 : _RANK + 4] = -1
    rows[:, _FOR_SLOT + 1 : _FOR_SLOT + 3] = 9
    for slot, found, start in zip(layout.slots, candidates, starts.tolist(), strict=True):
        _fill_slot(rows[start : start + len(found.keys)], state, slot, found)
    rows[starts + sizes - 1, :_OF_SLOT] = 0
    rows[:, _OF_SLOT:_OF_TOOL] = np.repeat(_slot_features(state, layout, sizes), sizes, axis=0)
    return rows


def _common_features(state: State) -> Rows:
    """Features of every candidate, whatever it is for, and (last) of a value that was never met; shape (n + 1, _COMMON)."""
    known = state.memo.get("common")
    if known is None:
        known = state.memo["common"] = np.concatenate([_common(state), _NEVER_MET])
    return known  # type: ignore[return-value]


def _common(state: State) -> Rows:
    table, turns, calls = state.table, state.said.turns, len(state.calls)
    user, agent, result, carried = (
        table[:, name] for name in (column.USER_TURN, column.AGENT_TURN, column.RESULT_CALL, column.CARRIED_CALL)
    )
    common = np.empty((len(table), _COMMON), np.float32)
    common[:, 0] = np.where(user >= 0, np.minimum(turns - user, 20), 20)
    common[:, 1] = np.where(agent >= 0, np.minimum(turns - agent, 20), 20)
    common[:, 2:4] = table[:, column.USER_TIMES : column.AGENT_TIMES + 1]
    common[:, SAID_BY_USER] = user == turns
    common[:, SAID_BY_AGENT] = (agent == state.said.agent_turn) & (agent >= 0)
    common[:, 6:10] = table[:, [column.CAPITALISED, column.LOOSE, column.WORD_COUNT, column.LENGTH]]
    common[:, FROM_RESULT] = result >= 0
    common[:, 11] = table[:, column.RESULT_ROW]
    common[:, 12] = np.where(result >= 0, np.minimum(calls - result, 9), 9)
    common[:, 13] = carried >= 0
    common[:, 14] = np.where(carried >= 0, np.minimum(calls - carried, 9), 9)
    common[:, 15:18] = table[:, column.FROM_SYSTEM : column.NEGATED + 1]
    common[:, IS_NEW] = table[:, column.NEWEST] > state.last_call_message
    common[:, 19] = table[:, column.KIND] == SLOT_KINDS.index(IDENTIFIER)
    common[:, 20] = table[:, column.KNOWN]
    return common


_NEVER_MET = np.zeros((1, _COMMON), np.float32)
_NEVER_MET[0, [0, 1]] = 20
_NEVER_MET[0, [11, 12, 14]] = 9


def _fill_slot(rows: Rows, state: State, slot: Slot, found: Candidates) -> None:
    """Ranks, and what each candidate has to do with this argument."""
    own = rows[:, _FOR_SLOT:_OF_SLOT]
    if slot.kind in (CHOICE, FLAG):
        rows[:, _RANK] = 0
        own[[number for number, key in enumerate(found.keys) if key == (FLAG, "true")], 7] = 1
    elif slot.kind in (DATE, TIME):
        rows[:, _RANK + 2] = found.order
        rows[:, _RANK + 3] = len(found.keys) - 1 - rows[:, _RANK + 2]
    if slot.default is not None:
        default = same_value(slot.default)
        own[[number for number, key in enumerate(found.keys) if key[1] == default], 6] = 1
    number_of = {place: number for number, place in enumerate(found.places)}
    _mark_results(own, state, slot, number_of)
    _mark_given(own, state, slot, number_of)
    _mark_said(own, state, slot, found.places)
    if slot.kind == TEXT:
        _mark_known(own, state.scene.gazetteer, slot, found.keys)


def _mark_said(own: Rows, state: State, slot: Slot, places: Sequence[int]) -> None:
    """Columns 8 and 11 to 13: words around it that describe the slot; the word right before it is of the slot's name, or of all that
    describes it; words around it that begin as such words do.
    """
    for number, place in enumerate(places):
        if place < 0 or not (near := state.near[place]):
            continue
        if shared := slot.words & near:
            own[number, 8] = len(shared)
        if lead_in := state.lead_ins[place]:
            own[number, 11:13] = lead_in in slot.name_words, lead_in in slot.cues
        if alike := slot.stems & stems_of(near):
            own[number, 13] = len(alike)


def _mark_results(own: Rows, state: State, slot: Slot, number_of: Mapping[int, int]) -> None:
    """Columns 0 to 3: given by a result under this very name, in which row, how many calls ago; words shared with its name there."""
    for name, places in state.result_keys.items():
        if not (alike := _alike(slot, name)):
            continue
        for place, (call, row) in places.items():
            if (number := number_of.get(place)) is not None:
                own[number, 3] = max(own[number, 3], alike)
                if name == slot.name:
                    own[number, 0] = 1
                    own[number, 1], own[number, 2] = min(own[number, 1], row), min(own[number, 2], len(state.calls) - call)


def _mark_given(own: Rows, state: State, slot: Slot, number_of: Mapping[int, int]) -> None:
    """Columns 4 and 5: an earlier call had it under this very name (2: the latest to have one); words shared with its name there."""
    for name, places in state.carried.items():
        if not (alike := _alike(slot, name)):
            continue
        latest = max(places.values())
        for place, call in places.items():
            if (number := number_of.get(place)) is not None:
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


def _slot_features(state: State, layout: Layout, sizes: Places) -> Rows:
    """Shape (S, _SLOT)."""
    question = set(state.said.question)
    features = layout.of_slot.copy()
    first = len(SLOT_KINDS)
    features[:, first] = bool(question)
    features[:, first + 1] = [len(slot.words & question) for slot in layout.slots] if question else 0
    features[:, first + 2] = [slot.name in state.carried for slot in layout.slots]
    features[:, first + 3] = np.minimum(sizes - 1, 20)
    features[:, first + 4] = sizes == 1
    return features


# --- what depends on the tool ---


def _fill_tools(dense: Rows, state: State, layout: Layout, candidates: Sequence[Candidates], starts: Places) -> None:
    ends = starts[1:] - 1
    of_tool = np.zeros((len(layout.blocks), _TOOL), np.float32)
    of_tool[:, :_FIXED_OF_TOOL] = layout.of_tool
    past = {call.name: call for call in state.calls}
    called = [number for number, block in enumerate(layout.blocks) if layout.views[block.tool].tool.name in past]
    for number in called:
        call = past[layout.views[layout.blocks[number].tool].tool.name]
        of_tool[number, _PAST : _PAST + 3] = 1, layout.slots[layout.blocks[number].slot].name in call.arguments, bool(call.is_error)
    dense[:, _OF_TOOL:] = np.repeat(of_tool, np.diff(starts), axis=0)
    for number in called:
        block = layout.blocks[number]
        call = past[layout.views[block.tool].tool.name]
        _mark_repeated(dense[starts[number] : ends[number]], call, layout.slots[block.slot], candidates[block.slot].keys)
    dense[ends, _OF_TOOL + _LEFT_OUT] = 1
    dense[ends, _OF_TOOL + _LEFT_OUT + 1] = ~layout.is_required


def _mark_repeated(rows: Rows, call: CallMade, slot: Slot, keys: Sequence[Key]) -> None:
    """The candidate that the last call of this tool was given, and whether that call failed."""
    given = call.arguments.get(slot.name)
    for number, key in enumerate(keys):
        if given is not None and key[1] == given[1]:
            rows[number, _OF_TOOL + _GIVEN_LAST : _OF_TOOL + _GIVEN_LAST + 2] = 1, bool(call.is_error)


# --- hashed words ---


def _cells(state: State, layout: Layout, sizes: Places, places: Places, bits: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Words around each option against words of its slot; listed choices also against everything said and found so far."""
    contexts = np.concatenate([state.contexts, np.zeros((1, CONTEXT_WIDTH), np.uint32)])[places]
    contexts[np.cumsum(sizes) - 1] = _absent_context(state)
    ids = np.repeat(_slot_ids(layout), sizes, axis=0)
    cells = crossed(contexts, ids, bits=bits)
    free = int(sizes[: layout.free].sum())
    choices = crossed(layout.choice_ids, brief_context(state)[None], bits=bits)
    return cells[:free], np.concatenate([cells[free:], choices], axis=1)


@lru_cache(maxsize=256)
def _slot_ids(layout: Layout) -> Ids:
    return np.array([slot.ids for slot in layout.slots], np.uint32).reshape(-1, SLOT_WORDS)


def _absent_context(state: State) -> Ids:
    said = [word for word in words_of(state.said.last_user) if word not in STOP_WORDS][:7]
    words = ["nothing", *(f"nothing asked:{word}" for word in state.said.question[-5:]), *(f"nothing said:{word}" for word in said)]
    return word_ids(words, width=CONTEXT_WIDTH)
