"""What recorded conversations teach: at each assistant turn, what was done, and which candidate each argument was."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from pydantic import JsonValue

from agentgym.messages import Message, ToolCall
from agentgym.policies.planner.acts import ActOptions, Kind
from agentgym.policies.planner.arguments import ArgumentTable, argument_table
from agentgym.policies.planner.batch import Options
from agentgym.policies.planner.gazetteer import Gazetteer
from agentgym.policies.planner.slots import CHOICE, FLAG, Slot, ToolView, same_value, tool_views
from agentgym.policies.planner.state import Key, State, flag_key, opening_state
from agentgym.policies.planner.vocabulary import Vocabulary
from agentgym.tools import Tool
from agentgym.traces.trace import Trace

UNKNOWN_START = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Turn:
    """One assistant turn of a record: the state it was taken in, its call (None when it talked), and the next call of the conversation.

    is_accepted: False where the call it made was refused with an error.
    """

    state: State
    call: ToolCall | None
    next_call: ToolCall | None
    is_accepted: bool


def read_turns(trace: Trace, tools: Sequence[Tool], gazetteer: Gazetteer, vocabulary: Vocabulary | None = None) -> list[Turn]:
    """The assistant turns of a trace, one call each; `tools` are in scope where the trace names none."""
    messages = list(one_call_at_a_time(trace.messages))
    scope = trace.tools or tuple(tools)
    state = opening_state(tool_views(scope), (trace.started_at or UNKNOWN_START).date(), gazetteer, vocabulary)
    names = {tool.name for tool in scope}
    turns: list[Turn] = []
    upcoming = upcoming_calls(messages)
    for place, message in enumerate(messages):
        if message.role == "assistant":
            call = message.tool_calls[0] if message.tool_calls else None
            is_refused = call is not None and place + 1 < len(messages) and messages[place + 1].is_error
            is_known = call is None or call.name in names
            turns.append(Turn(state=state, call=call, next_call=upcoming[place], is_accepted=is_known and not is_refused))
        state = state.extended(message)
    return turns


def one_call_at_a_time(messages: Sequence[Message]) -> Iterator[Message]:
    """The same conversation with every call in a message of its own, followed by its result."""
    for place, message in enumerate(messages):
        if message.role == "tool" and len(_calls_before(messages, place)) > 1:
            continue
        if len(message.tool_calls) <= 1:
            yield message
            continue
        results = [later for later in messages[place + 1 : place + 1 + len(message.tool_calls)] if later.role == "tool"]
        for number, call in enumerate(message.tool_calls):
            yield message.model_copy(update={"content": "", "tool_calls": (call,)})
            yield from results[number : number + 1]


def _calls_before(messages: Sequence[Message], place: int) -> tuple[ToolCall, ...]:
    """The calls that the tool message at `place` belongs to."""
    asking = next((message for message in reversed(messages[:place]) if message.role != "tool"), None)
    return asking.tool_calls if asking is not None else ()


def is_refused_at(messages: Sequence[Message], place: int) -> bool:
    """Whether the message at `place` makes a call that was answered with an error."""
    return bool(messages[place].tool_calls) and place + 1 < len(messages) and messages[place + 1].is_error


def upcoming_calls(messages: Sequence[Message]) -> list[ToolCall | None]:
    """At each message the call that it makes, else the next one after it."""
    upcoming: list[ToolCall | None] = []
    following: ToolCall | None = None
    for message in reversed(messages):
        following = message.tool_calls[0] if message.tool_calls else following
        upcoming.append(following)
    return upcoming[::-1]


# --- arguments ---


class ArgumentExample(NamedTuple):
    """What one argument was.   is_due: at the call itself, and not at an earlier turn."""

    options: Options
    is_due: bool


def argument_examples(turns: Sequence[Turn], rng: np.random.Generator, *, bits: int) -> Iterator[ArgumentExample]:
    """For each accepted call, what each argument was; and for one earlier turn, what of it could be known by then.

    The earlier turn makes the probability of an argument mean that its value is there now, which tells whether it is time to call.
    """
    begun = 0
    for place, turn in enumerate(turns):
        if turn.call is None:
            continue
        if turn.is_accepted:
            yield from _labelled(turn.state, turn.call, is_due=True, bits=bits)
            earlier = [other for other in turns[begun:place] if other.call is None]
            if earlier:
                yield from _labelled(earlier[int(rng.integers(len(earlier)))].state, turn.call, is_due=False, bits=bits)
        begun = place + 1


def _labelled(state: State, call: ToolCall, *, is_due: bool, bits: int) -> Iterator[ArgumentExample]:
    view = next(view for view in state.scene.views if view.tool.name == call.name)
    table = argument_table(state, bits=bits, views=(view,))
    for block in range(len(table.layout.blocks)):
        chosen = _chosen(state, table, block, call.arguments, is_due=is_due)
        if chosen is not None:
            yield ArgumentExample(Options("argument", *table.evidence(block), chosen=chosen), is_due)


def _chosen(state: State, table: ArgumentTable, block: int, arguments: Mapping[str, JsonValue], *, is_due: bool) -> int | None:
    """The place of what was given, which an earlier turn leaves out as long as it is not there; None where it teaches nothing."""
    slot, keys, place = table.slot(block), table.keys(block), place_given(table, block, arguments)
    if is_due or place == len(keys) or (place is not None and _is_there(state, slot, keys[place])):
        return place
    return len(keys)


def place_given(table: ArgumentTable, block: int, arguments: Mapping[str, JsonValue]) -> int | None:
    """The place of the option that gives an argument its value, or leaves it out; None where the value is not among the candidates."""
    value, keys = arguments.get(table.slot(block).name), table.keys(block)
    if value is None:
        return len(keys)
    key = same_value(value)
    return next((place for place, (_, other) in enumerate(keys) if other == key), None)


def _is_there(state: State, slot: Slot, key: Key) -> bool:
    """Whether a candidate was met in the conversation: the choices of a schema always stand there, said or not."""
    if slot.kind == FLAG:
        return flag_key(slot) in state.index
    return key in state.index if slot.kind == CHOICE else True


# --- acts ---


def right_act(turn: Turn, acts: ActOptions) -> int | None:
    """The place of what the turn did; None where it called a tool out of scope."""
    kind, name = _did(turn)
    tools = turn.state.scene.tools
    matches = (
        place for place, option in enumerate(acts.options) if option.kind == kind and (name is None or tools[option.tool].name == name)
    )
    return next(matches, None)


def _did(turn: Turn) -> tuple[Kind, str | None]:
    """A turn of words asks when the call that comes next still lacks a required value; otherwise it informs."""
    if turn.call is not None:
        return "call", turn.call.name
    if turn.next_call is None:
        return "inform", None
    view = next((view for view in turn.state.scene.views if view.tool.name == turn.next_call.name), None)
    return ("ask", turn.next_call.name) if view is not None and _lacks(turn.state, view, turn.next_call) else ("inform", None)


def _lacks(state: State, view: ToolView, call: ToolCall) -> bool:
    required = [view.slots[place] for place in view.required]
    return any(not is_known(state, slot, call.arguments[slot.name]) for slot in required if call.arguments.get(slot.name) is not None)


def is_known(state: State, slot: Slot, value: JsonValue) -> bool:
    """Whether the value was met in the conversation."""
    key = same_value(value)
    return _is_there(state, slot, (CHOICE, key)) if slot.kind in (FLAG, CHOICE) else any(other == key for _, other in state.index)
