"""What the planner keeps of a conversation: every value met so far as a candidate, the calls made, and the words that matter.

A `State` is extended by one message at a time into a new one, so conversations that begin alike share what was computed for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from agentgym.messages import Message, ToolCall
from agentgym.policies.planner.gazetteer import Gazetteer
from agentgym.policies.planner.mentions import CONTEXT_WORDS, Mention, find_mentions, question_words
from agentgym.policies.planner.slots import CHOICE, FLAG, SLOT_KINDS, Slot, ToolView, plain_value, same_value, spoken
from agentgym.policies.planner.values import leaves, result_words, value_kind
from agentgym.policies.planner.vocabulary import Vocabulary
from agentgym.policies.planner.words import Ids, name_words, word_ids, words_of
from agentgym.tools import Tool

# Columns of a candidate. Turns count the customer's messages, -1 is never; a call is counted by its place in the conversation.
(USER_TURN, AGENT_TURN, USER_TIMES, AGENT_TIMES, NEWEST, POSITION, CAPITALISED, LOOSE, RESULT_CALL, RESULT_ROW, CARRIED_CALL,
 FROM_SYSTEM, PARTIAL, NEGATED, WORD_COUNT, LENGTH, KIND, KNOWN) = range(18)  # fmt: skip
COLUMNS: Final = 18
_NEGATION = ("no ", "not ", "n't ", "without ", "non", "isn't", "nor ")
_KIND_NUMBER = {kind: number for number, kind in enumerate(SLOT_KINDS)}
_UNSEEN = np.zeros(COLUMNS, np.float32)
_UNSEEN[[USER_TURN, AGENT_TURN, NEWEST, POSITION, RESULT_CALL, CARRIED_CALL]] = -1
_UNSEEN[RESULT_ROW] = 9

ROLE_WORDS: Final = 3
CONTEXT_WIDTH: Final = CONTEXT_WORDS + ROLE_WORDS

Key = tuple[str, str]
"""A candidate's kind and the key of its value."""


class Watched(NamedTuple):
    """A value that has no stretch of text of its own: a choice of a schema, or a flag, looked for by its words."""

    key: Key
    value: JsonValue
    phrases: tuple[str, ...]
    parts: tuple[str, ...]


class CallMade(NamedTuple):
    """A call of this conversation: its arguments as candidates, and how it ended (None until answered)."""

    name: str
    arguments: dict[str, Key]
    turn: int
    is_error: bool | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Scene:
    """What stays the same through a conversation: tools in scope, the day, what is watched for."""

    tools: tuple[Tool, ...]
    views: tuple[ToolView, ...]
    watched: tuple[Watched, ...]
    watched_keys: frozenset[Key]
    today: date
    gazetteer: Gazetteer
    vocabulary: Vocabulary


@dataclass(frozen=True, eq=False, slots=True)
class Said:
    """The words that still matter: of the customer's first and last message, and of the agent's last one.

    turns: the customer's messages so far.   agent_turn: after which of them the agent last spoke.   question: the telling words of what
    the agent asked last.   wishes: all that the customer said since the latest call.
    """

    turns: int = 0
    agent_turn: int = -1
    first_user: str = ""
    last_user: str = ""
    last_agent: str = ""
    wishes: str = ""
    question: tuple[str, ...] = ()
    has_system: bool = False

    def after(self, message: Message, turn: int) -> "Said":
        if message.role == "system":
            return replace(self, has_system=True)
        if message.role == "user":
            first, wishes = self.first_user or message.content, f"{self.wishes} {message.content}"
            return replace(self, turns=turn, last_user=message.content, first_user=first, wishes=wishes)
        return replace(self, last_agent=message.content, question=question_words(message.content), agent_turn=turn)


@dataclass(frozen=True, eq=False, slots=True)
class FoundOut:
    """What tools answered.   words: of the latest result of each tool, by name.   rows: of the latest result; -1 where it is no list."""

    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rows: int = -1

    def after(self, tool: str, content: JsonValue) -> "FoundOut":
        others = {name: words for name, words in self.words.items() if name != tool}
        return FoundOut({**others, tool: tuple(result_words(content))}, len(content) if isinstance(content, list) else -1)


@dataclass(frozen=True, eq=False, slots=True)
class State:
    """A conversation after some of its messages.

    keys, values: of the candidates, in order of appearance; index: where a key stands.   table: their columns, shape (n, COLUMNS).
    contexts: the words around the latest mention of each, then what it was given as before, shape (n, CONTEXT_WIDTH); near: the words
    around it; lead_ins: the word right before it.
    result_keys: which candidates a result gave under which name, as (call, row); carried: which arguments had which candidates, by call.
    memo: what was computed from this state and is worth keeping.
    """

    scene: Scene
    messages: int = 0
    keys: tuple[Key, ...] = ()
    values: tuple[JsonValue, ...] = ()
    index: dict[Key, int] = field(default_factory=dict)
    table: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, COLUMNS), np.float32))
    contexts: Ids = field(default_factory=lambda: np.empty((0, CONTEXT_WIDTH), np.uint32))
    near: tuple[frozenset[str], ...] = ()
    lead_ins: tuple[str, ...] = ()
    result_keys: dict[str, dict[int, tuple[int, int]]] = field(default_factory=dict)
    carried: dict[str, dict[int, int]] = field(default_factory=dict)
    calls: tuple[CallMade, ...] = ()
    last_call_message: int = -1
    last_role: str = ""
    said: Said = field(default_factory=Said)
    found: FoundOut = field(default_factory=FoundOut)
    memo: dict[str, object] = field(default_factory=dict)

    def extended(self, message: Message) -> "State":
        """The conversation after one more message."""
        return _Extension(self).with_message(message)


def opening_state(views: Sequence[ToolView], today: date, gazetteer: Gazetteer, vocabulary: Vocabulary | None = None) -> State:
    """A conversation before its first message."""
    watched = {watch.key: watch for view in views for slot in view.slots for watch in _watched(slot)}
    scene = Scene(
        tools=tuple(view.tool for view in views),
        views=tuple(views),
        watched=tuple(watched.values()),
        watched_keys=frozenset(watched),
        today=today,
        gazetteer=gazetteer,
        vocabulary=vocabulary or Vocabulary(),
    )
    return State(scene=scene)


@lru_cache(maxsize=4096)
def _watched(slot: Slot) -> tuple[Watched, ...]:
    if slot.kind == FLAG:
        parts = tuple(word[:6] for word in sorted(slot.words) if len(word) > 3 and word != "whether")
        return (Watched(flag_key(slot), None, (), parts),)
    if slot.kind == CHOICE:
        return tuple(_watched_choice(choice) for choice in slot.choices)
    return ()


def _watched_choice(choice: JsonValue) -> Watched:
    phrase = spoken(choice)
    words = phrase.split()
    parts = tuple(word[:6] for word in words if len(word) > 3) if len(words) > 1 else ()
    return Watched((CHOICE, same_value(choice)), choice, tuple({phrase, plain_value(choice).lower()}), parts)


def flag_key(slot: Slot) -> Key:
    """The candidate that stands for a flag: whether its words were said, and how."""
    return (FLAG, slot.name)


class _Extension:
    """A copy of a state while it takes in one message."""

    def __init__(self, state: State) -> None:
        self.before, self.scene = state, state.scene
        self.size = len(state.keys)
        self.table = np.empty((self.size + 64, COLUMNS), np.float32)
        self.table[: self.size] = state.table
        self.contexts = np.zeros((self.size + 64, CONTEXT_WIDTH), np.uint32)
        self.contexts[: self.size] = state.contexts
        self.keys, self.values, self.index, self.near = list(state.keys), list(state.values), dict(state.index), list(state.near)
        self.lead_ins = list(state.lead_ins)
        self.result_keys, self.carried = dict(state.result_keys), dict(state.carried)
        self.calls, self.said, self.found = list(state.calls), state.said, state.found
        self.last_call_message = state.last_call_message

    def with_message(self, message: Message) -> State:
        if message.role == "tool":
            self._take_result(message)
        elif message.content:
            self._take_words(message)
        if message.tool_calls:
            self.last_call_message = self.before.messages
            self.calls += [self._take_call(call) for call in message.tool_calls]
            self.said = replace(self.said, wishes="")
        return State(
            scene=self.scene,
            messages=self.before.messages + 1,
            keys=tuple(self.keys),
            values=tuple(self.values),
            index=self.index,
            table=self.table[: self.size],
            contexts=self.contexts[: self.size],
            near=tuple(self.near),
            lead_ins=tuple(self.lead_ins),
            result_keys=self.result_keys,
            carried=self.carried,
            calls=tuple(self.calls),
            last_call_message=self.last_call_message,
            last_role=message.role,
            said=self.said,
            found=self.found,
        )

    def _candidate(self, key: Key, value: JsonValue) -> int:
        place = self.index.get(key)
        if place is not None:
            return place
        place = self.index[key] = self.size
        self._make_room()
        row = self.table[place]
        row[:] = _UNSEEN
        row[KIND], row[WORD_COUNT], row[LENGTH] = _KIND_NUMBER[key[0]], key[1].count(" "), len(key[1])
        row[KNOWN] = key[1] in self.scene.gazetteer.names
        self.keys.append(key)
        self.values.append(value)
        self.near.append(frozenset())
        self.lead_ins.append("")
        self.size += 1
        return place

    def _make_room(self) -> None:
        if self.size == len(self.table):
            self.table = np.concatenate([self.table, np.empty_like(self.table)])
            self.contexts = np.concatenate([self.contexts, np.zeros_like(self.contexts)])

    # --- words ---

    def _take_words(self, message: Message) -> None:
        said, text, is_user = self.said, message.content, message.role == "user"
        turn, question = said.turns + is_user, said.question if is_user else ()
        for mention in _mentions(self.scene, text, is_user, question):
            self._take_mention(mention, is_user=is_user, is_system=message.role == "system", turn=turn)
        lower = text.lower()
        for watch in self.scene.watched:
            self._look_for(watch, lower, is_user=is_user, turn=turn)
        self.said = said.after(message, turn)

    def _take_mention(self, mention: Mention, *, is_user: bool, is_system: bool, turn: int) -> None:
        place = self._candidate((mention.kind, mention.key), mention.value)
        row = self.table[place]
        is_new = row[NEWEST] < 0
        self._said(row, is_user=is_user, turn=turn, start=mention.start)
        row[LOOSE] = mention.is_loose and (is_new or row[LOOSE] > 0)
        row[FROM_SYSTEM] = max(row[FROM_SYSTEM], is_system)
        if mention.is_capitalised and not row[CAPITALISED] and row[RESULT_CALL] < 0 and row[CARRIED_CALL] < 0:
            self.values[place] = mention.value
        row[CAPITALISED] = max(row[CAPITALISED], mention.is_capitalised)
        self.contexts[place, :CONTEXT_WORDS] = mention.context
        self.near[place], self.lead_ins[place] = mention.near, mention.lead_in

    def _said(self, row: NDArray[np.float32], *, is_user: bool, turn: int, start: int) -> None:
        row[USER_TURN if is_user else AGENT_TURN] = turn
        row[USER_TIMES if is_user else AGENT_TIMES] += 1
        row[NEWEST], row[POSITION] = self.before.messages, self.before.messages * 1000 + start

    def _look_for(self, watch: Watched, lower: str, *, is_user: bool, turn: int) -> None:
        start, partial = _whereabouts(watch, lower)
        if start < 0:
            return
        place = self._candidate(watch.key, watch.value)
        row = self.table[place]
        self._said(row, is_user=is_user, turn=turn, start=start)
        row[PARTIAL] = partial
        row[NEGATED] = any(negation in lower[max(0, start - 30) : start + 25] for negation in _NEGATION)
        before, after = words_of(lower[max(0, start - 40) : start])[-4:], words_of(lower[start : start + 30])[:3]
        words = [*(f"near:{word}" for word in before), *(f"at:{word}" for word in after), "by:user" if is_user else "by:agent"]
        self.contexts[place, :CONTEXT_WORDS] = word_ids(
            [*words, *(f"asked:{word}" for word in self.said.question[-5:])], width=CONTEXT_WORDS
        )
        self.near[place], self.lead_ins[place] = frozenset(before + after), before[-1] if before else ""

    # --- calls and results ---

    def _take_call(self, call: ToolCall) -> CallMade:
        number, arguments = len(self.calls), dict[str, Key]()
        for name, value in call.arguments.items():
            for key in self._keys_of(value):
                place = self._candidate(key, value)
                self.table[place, CARRIED_CALL] = number
                self.contexts[place, CONTEXT_WORDS:] = _role(name)
                self.carried[name] = {**self.carried.get(name, {}), place: number}
                arguments.setdefault(name, key)
        return CallMade(call.name, arguments, self.said.turns)

    def _take_result(self, message: Message) -> None:
        number = _answered(self.calls, message)
        if number is None:
            number = len(self.calls) - 1
        else:
            self.calls[number] = self.calls[number]._replace(is_error=message.is_error)
        content = message.content if message.result is None else message.result
        for leaf in leaves(content):
            self._take_result_value(leaf.name, leaf.value, number, leaf.row)
        self.found = self.found.after(message.name or "", content)

    def _take_result_value(self, name: str, value: JsonValue, number: int, row_number: int) -> None:
        for key in self._keys_of(value):
            place = self._candidate(key, value)
            row = self.table[place]
            row[RESULT_CALL], row[RESULT_ROW] = number, min(row[RESULT_ROW], row_number) if row[RESULT_CALL] == number else row_number
            row[LOOSE] = 0
            self.values[place] = value
            self.result_keys[name] = {**self.result_keys.get(name, {}), place: (number, row_number)}
            if row[NEWEST] < 0:
                words = ["by:tool", f"under:{name}", *(f"under:{word}" for word in name_words(name))]
                self.contexts[place, :CONTEXT_WORDS] = word_ids(words, width=CONTEXT_WORDS)
            if row[CARRIED_CALL] < 0:
                self.contexts[place, CONTEXT_WORDS:] = _role(name)

    def _keys_of(self, value: JsonValue) -> list[Key]:
        key = same_value(value)
        keys = [(value_kind(value), key)] if not isinstance(value, bool) and value is not None and key else []
        return [*keys, (CHOICE, key)] if (CHOICE, key) in self.scene.watched_keys else keys


@lru_cache(maxsize=20000)
def _mentions(scene: Scene, text: str, is_user: bool, question: tuple[str, ...]) -> list[Mention]:
    return find_mentions(text, is_user=is_user, question=question, gazetteer=scene.gazetteer, today=scene.today)


@lru_cache(maxsize=100_000)
def _whereabouts(watch: Watched, lower: str) -> tuple[int, float]:
    """Where the words of a watched value last stand in a text (-1: nowhere), and the share of them that is not there."""
    start = max((lower.rfind(phrase) for phrase in watch.phrases), default=-1)
    if start >= 0 or not watch.parts:
        return start, 0.0
    places = [lower.rfind(part) for part in watch.parts]
    return max(places), sum(place < 0 for place in places) / len(places)


@lru_cache(maxsize=4096)
def _role(name: str) -> Ids:
    """What a value was given as, shape (ROLE_WORDS,)."""
    return word_ids([f"was:{name}", *(f"was:{word}" for word in name_words(name))], width=ROLE_WORDS)


def _answered(calls: Sequence[CallMade], message: Message) -> int | None:
    waiting = (number for number, call in enumerate(calls) if call.is_error is None and message.name in (None, call.name))
    return next(waiting, None)
