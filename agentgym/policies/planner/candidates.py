"""Which values met so far can be an argument: by kind for free values, by the schema for listed ones."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from pydantic import JsonValue

from agentgym.policies.planner import state as column
from agentgym.policies.planner.normalisers import TEXT
from agentgym.policies.planner.slots import ADMITTED, CHOICE, FLAG, SLOT_KINDS, Slot, plain_value, same_value
from agentgym.policies.planner.state import Key, State, flag_key

_MOST, _FRESH_TURNS = 64, 2


class Candidates(NamedTuple):
    """Values an argument can be given, most recently said first where order means something.

    places: in the state's table, -1 for a value not met there.   order: by value, of each.
    """

    places: Sequence[int]
    keys: tuple[Key, ...]
    values: tuple[JsonValue, ...]
    order: tuple[int, ...] = ()


def candidates_for(state: State, slot: Slot) -> Candidates:
    if slot.kind == FLAG:
        place = state.index.get(flag_key(slot), -1)
        return Candidates([place] * len(slot.choices), listed_keys(slot), slot.choices)
    if slot.kind == CHOICE:
        keys = listed_keys(slot)
        return Candidates([state.index.get(key, -1) for key in keys], keys, slot.choices)
    return _with_default(slot, _among_choices(slot, _of_kind(state, slot.kind)))


@lru_cache(maxsize=16384)
def listed_keys(slot: Slot) -> tuple[Key, ...]:
    """The keys of the values that the schema lists."""
    if slot.kind == FLAG:
        return tuple((FLAG, plain_value(choice).lower()) for choice in slot.choices)
    return tuple((CHOICE, same_value(choice)) for choice in slot.choices)


def _of_kind(state: State, kind: str) -> Candidates:
    """Candidates an argument of this kind can take; computed once for a state."""
    known = state.memo.get(kind)
    if known is None:
        table = state.table
        fits = np.isin(table[:, column.KIND], [SLOT_KINDS.index(admitted) for admitted in ADMITTED[kind]])
        if kind == TEXT:
            fits &= (table[:, column.LOOSE] == 0) | (state.said.turns - table[:, column.USER_TURN] <= _FRESH_TURNS)
        places = np.flatnonzero(fits)
        recent: list[int] = places[np.argsort(-table[places, column.POSITION], kind="stable")][:_MOST].tolist()
        known = state.memo[kind] = _listed(state, recent)
    return known  # type: ignore[return-value]


def _listed(state: State, places: Sequence[int]) -> Candidates:
    keys = tuple(state.keys[place] for place in places)
    order = [0] * len(keys)
    for rank, number in enumerate(sorted(range(len(keys)), key=lambda number: keys[number][1])):
        order[number] = rank
    return Candidates(places, keys, tuple(state.values[place] for place in places), tuple(order))


def _among_choices(slot: Slot, found: Candidates) -> Candidates:
    """Where a schema lists numbers, those of them that were met."""
    if not slot.choices:
        return found
    listed = {same_value(choice) for choice in slot.choices}
    kept = [number for number, key in enumerate(found.keys) if key[1] in listed]
    return Candidates(
        [found.places[number] for number in kept],
        tuple(found.keys[number] for number in kept),
        tuple(found.values[number] for number in kept),
        tuple(found.order[number] for number in kept),
    )


def _with_default(slot: Slot, found: Candidates) -> Candidates:
    key = same_value(slot.default)
    if slot.default is None or any(key == other for _, other in found.keys):
        return found
    return Candidates([*found.places, -1], (*found.keys, (slot.kind, key)), (*found.values, slot.default), (*found.order, -1))
