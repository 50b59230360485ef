"""The call that each tool would get now: how sure its arguments are, and what of them is new."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentgym.policies.planner.arguments import (
    FROM_RESULT,
    IS_ASKED_FOR,
    IS_GIVEN_AGAIN,
    IS_NEW,
    SAID_BY_AGENT,
    SAID_BY_USER,
    TIMES_SAID,
    WAS_GIVEN,
    Layout,
    Rows,
)
from agentgym.policies.planner.readings import Readings
from agentgym.policies.planner.slots import ToolView
from agentgym.policies.planner.state import Key, State

ASK_FROM: Final = 0.1
"""An argument counts as missing when the probability that nothing fits it yet is at least this."""

# Columns of a tool, in blocks: as declared, its arguments now, what of them is new.
_DECLARED, _ARGUMENTS, _NEWS = 3, 14, 17
PLAN_FEATURES: Final = _DECLARED + _ARGUMENTS + _NEWS


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """For each tool in scope, the call it would get.

    least_known, all_known: of its required arguments, the probability that the least known is there, and that all are, shape (T,).
    sureness: the probability that the whole call is as planned, shape (T,).   changed: that the surest change against its last call is
    one, shape (T,).   lacks, can_call: whether something may be missing, and whether every required argument has a candidate, shape (T,).
    arguments: what would be given, by tool.   features: shape (T, PLAN_FEATURES).
    """

    least_known: Rows
    all_known: Rows
    sureness: Rows
    changed: Rows
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


def plan_of(state: State, readings: Readings) -> Plan:
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
    news = _news(readings, known, all_known)
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
            news,
        ]
    )
    lacks = (required @ (known <= 1 - ASK_FROM)) > 0
    return Plan(
        least_known=least_known,
        all_known=all_known,
        sureness=news[:, _SURENESS],
        changed=news[:, _CHANGED],
        lacks=lacks,
        can_call=can_call,
        arguments=_planned(layout, readings, given),
        features=features.astype(np.float32),
    )


_SUMS = 6
_CHANGED, _SURENESS = _SUMS + 2, 2 * _SUMS + 2


def _news(readings: Readings, known: Rows, all_known: Rows) -> Rows:
    """What of each tool's arguments is new: first said in the customer's last words, said since the last call of any tool, or other than
    in the tool's own last call; shape (T, _NEWS).

    Columns 0 to 5 count arguments, each as far as it is probable, 6 to 11 are of the one that is most so, 12 to 14 say how probable it is
    that all required arguments were there before the last words, that nothing changed, and that the call is as planned; then the least
    known required argument before the last words, and what they added to the chance that all are there.
    """
    layout, dense = readings.table.layout, readings.table.dense
    belongs, required = _membership(layout)
    if not len(known):
        return np.repeat(np.array([[*([0] * 2 * _SUMS), 1, 1, 1, 1, 0]], np.float32), len(layout.views), axis=0)
    is_first = dense[:, SAID_BY_USER] * (dense[:, TIMES_SAID].sum(axis=1) <= 1) * (1 - dense[:, FROM_RESULT])
    fresh, new, again = readings.shares(np.stack([is_first, dense[:, IS_NEW], dense[:, IS_GIVEN_AGAIN]], axis=1)).T
    ends = readings.table.starts[1:] - 1
    unchanged = np.where(dense[ends, WAS_GIVEN] > 0, again, readings.absent)
    is_asked = dense[ends, IS_ASKED_FOR] > 0
    must = layout.is_required
    may = ~must
    changed = 1 - unchanged
    counted = np.stack([must * fresh, may * fresh, must * new, may * new, changed, may * known], axis=1)
    doubt = may * np.minimum(known, readings.absent)
    surest = np.stack([must * fresh, may * fresh, changed, is_asked * fresh, is_asked * known, doubt], axis=1)
    before = known - fresh
    likely = np.stack(
        [np.where(must, before, 1), unchanged, np.where(must, readings.surest, np.maximum(readings.surest, readings.absent))], axis=1
    )
    together = np.exp(belongs @ np.log(np.maximum(likely, 1e-6)))
    least_before = np.where(required > 0, before, 1).min(axis=1, initial=1)
    highest = (belongs[:, :, None] * surest).max(axis=1)
    return np.column_stack([belongs @ counted, highest, together, least_before, all_known - together[:, 0]])


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
