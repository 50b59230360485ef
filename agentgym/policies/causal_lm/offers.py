"""What the model may write at a moment of a conversation: a call of a tool in scope, or words."""

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial
from typing import NamedTuple

import numpy as np
from pydantic import JsonValue

from agentgym.episode import Conversation
from agentgym.messages import Message, ToolCall, assistant
from agentgym.policies.causal_lm.chat_format import (
    CALL_BEGINS,
    QUOTE,
    ChatFormat,
    argument_text,
    call_opening,
    call_text,
    read_calls,
    value_closing,
)
from agentgym.policies.causal_lm.grammar import Allowed, Either, Node, Number, Piece, Pieces, Stretch, Tokens, Writing
from agentgym.policies.planner.candidates import candidates_for
from agentgym.policies.planner.examples import is_known
from agentgym.policies.planner.slots import STRUCTURE, Slot, ToolView, tool_view
from agentgym.policies.planner.state import State
from agentgym.policies.replies import Replies
from agentgym.tools import Tool

ACT, WORDS = "act", "words"
_MOST_OF_A_VALUE = 48
_LONGEST_VALUE = 200


class Opening(NamedTuple):
    """A call's beginning, up to its first value.   place: of the argument that comes first; None for a call without any."""

    piece_text: str
    tokens: Tokens
    view: ToolView
    place: int | None


class Offers:
    """Grammars for the moments of conversations.

    offers_candidates: values and replies are chosen from lists; otherwise they are written freely, at most `max_words` tokens of words.
    """

    def __init__(self, chat_format: ChatFormat, replies: Replies, *, offers_candidates: bool, max_words: int) -> None:
        self._format, self._replies = chat_format, replies
        self._offers_candidates, self._max_words = offers_candidates, max_words
        self._openings = lru_cache(maxsize=256)(self._openings_of)

    def root(self, conversation: Conversation, state: State) -> Node:
        """Where a response begins."""
        calls = [
            Piece(opening.piece_text, opening.tokens, self._then(state, opening.view, opening.place))
            for opening in self._openings(conversation.tools)
            if opening.view.required <= self._offered(state, opening.view)
            and (opening.place is None or opening.place in self._offered(state, opening.view))
        ]
        if self._offers_candidates:
            return Pieces(ACT, [*calls, *(self._reply(text) for text in self.reply_texts(conversation))])
        words = Stretch(WORDS, Writing(self._wide.words, self._format.turn_end, self._max_words, self._read, None))
        if not calls:
            return words
        pieces = Pieces(ACT, calls)
        first = {piece.tokens[0] for piece in calls}
        return Either(ACT, pieces, words, self._wide.beginning(frozenset(first)))

    def reply_texts(self, conversation: Conversation) -> list[str]:
        """The replies to choose from: to inform, and to ask for arguments of a tool, for all it requires or for one of them."""
        asked = [self._replies.ask(conversation, tool, arguments) for tool in conversation.tools for arguments in _questions(tool)]
        return list(dict.fromkeys([self._replies.inform(conversation), *asked]))

    def message(self, text: str, conversation: Conversation) -> Message:
        """What was written, as a message."""
        calls = read_calls(text) if text.startswith(CALL_BEGINS) else ()
        if not calls:
            return assistant(text)
        place = len(conversation.messages)
        return assistant("", *(ToolCall(id=f"call_{place}", name=call.name, arguments=call.arguments) for call in calls[:1]))

    def written(self, conversation: Conversation, state: State, message: Message, next_call: ToolCall | None) -> Tokens | None:
        """The tokens that say a recorded message, with the one that ends it; None where they cannot be said.

        next_call: tells, where replies are chosen from a list, what a question of the record was for.
        """
        end = (self._format.turn_end,)
        if message.tool_calls:
            call = message.tool_calls[0]
            view = next((tool_view(tool) for tool in conversation.tools if tool.name == call.name), None)
            return None if view is None else self._format.response(call_text(call.name, _in_order(view, call.arguments))) + end
        if not self._offers_candidates:
            return self._format.response(message.content) + end
        return self._format.response(self._meant(conversation, state, message, next_call)) + end

    def _meant(self, conversation: Conversation, state: State, message: Message, next_call: ToolCall | None) -> str:
        """The reply of the list that does what the recorded words did."""
        if message.content in self.reply_texts(conversation):
            return message.content
        tool = next((tool for tool in conversation.tools if next_call is not None and tool.name == next_call.name), None)
        missing = [] if tool is None or next_call is None else _missing(state, tool_view(tool), next_call)
        if tool is None or not missing:
            return self._replies.inform(conversation)
        return self._replies.ask(conversation, tool, missing if missing in _questions(tool) else list(tool.required))

    # --- pieces ---

    def _reply(self, text: str) -> Piece:
        return Piece(text, (*self._format.response(text), self._format.turn_end), None)

    def _openings_of(self, tools: tuple[Tool, ...]) -> list[Opening]:
        openings = []
        for view in map(tool_view, tools):
            for place in _next_places(view, 0):
                text = call_opening(view.tool.name, None if place is None else view.slots[place].name)
                openings.append(Opening(text, self._format.encode(text) + self._end(place), view, place))
        return openings

    def _end(self, place: int | None) -> Tokens:
        """The last piece of a call ends the turn."""
        return (self._format.turn_end,) if place is None else ()

    def _offered(self, state: State, view: ToolView) -> frozenset[int]:
        """Places of the arguments that can be given now: those with a value to choose, or whose type can be written freely."""
        key = f"offered {view.tool.name}"
        known = state.memo.get(key)
        if known is None:
            known = state.memo[key] = frozenset(place for place, slot in enumerate(view.slots) if self._has_value(state, slot))
        return known  # type: ignore[return-value]

    def _has_value(self, state: State, slot: Slot) -> bool:
        return bool(self._listed(state, slot)) if self._is_listed(slot) else slot.kind != STRUCTURE

    def _is_listed(self, slot: Slot) -> bool:
        """Whether its value is one of a list rather than written freely."""
        return self._offers_candidates or bool(slot.choices)

    def _listed(self, state: State, slot: Slot) -> list[str]:
        """Values to choose from as JSON text, without those that are too long to be a value."""
        found = candidates_for(state, slot).values if self._offers_candidates else slot.choices
        values = [slot.typed(value) for value in found]
        return list(dict.fromkeys(text for text in map(argument_text, values) if len(text) <= _LONGEST_VALUE))

    def _then(self, state: State, view: ToolView, place: int | None) -> Callable[[], Node] | None:
        return None if place is None else partial(self._value, state, view, place)

    def _value(self, state: State, view: ToolView, place: int) -> Node:
        slot, offered = view.slots[place], self._offered(state, view)
        following = [later for later in _next_places(view, place + 1) if later is None or later in offered]
        name = f"argument {slot.name}"
        if self._is_listed(slot):
            values = self._listed(state, slot)
            return Pieces(name, [self._piece(value, state, view, later) for value in values for later in following])
        if slot.json_type in ("integer", "number"):
            closings = Pieces(name, [self._piece("", state, view, later) for later in following])
            return Number(name, self._wide.digits if slot.json_type == "integer" else self._wide.parts_of_numbers, closings)
        return Pieces(name, [Piece(QUOTE, self._format.encode(QUOTE), partial(self._text, name, state, view, following))])

    def _piece(self, value: str, state: State, view: ToolView, later: int | None) -> Piece:
        closing = value_closing(None if later is None else view.slots[later].name)
        return Piece(value + closing, self._format.value(value, closing) + self._end(later), self._then(state, view, later))

    # --- written freely ---

    def _text(self, name: str, state: State, view: ToolView, following: Sequence[int | None]) -> Node:
        (closing,) = self._format.encode(QUOTE)
        ends = [self._piece("", state, view, later) for later in following]
        pieces = [Piece(QUOTE + end.text, (closing, *end.tokens), end.then) for end in ends]
        return Stretch(name, Writing(self._wide.text, closing, _MOST_OF_A_VALUE, self._read, lambda: Pieces(name, pieces)))

    def _read(self, tokens: Sequence[int]) -> str:
        return str(self._format.tokenizer.decode(list(tokens)))

    @cached_property
    def _wide(self) -> "_Wide":
        return _Wide(self._format)


class _Wide:
    """Large sets of tokens: those a text may have, and those words may have."""

    def __init__(self, chat_format: ChatFormat) -> None:
        tokenizer, end = chat_format.tokenizer, chat_format.turn_end
        special = set(tokenizer.added_tokens_decoder)
        plain = [token for token in range(len(tokenizer)) if token not in special]
        texts = {token: str(tokenizer.decode([token])) for token in plain}
        (quote,) = chat_format.encode(QUOTE)
        inside = [token for token, text in texts.items() if text and not set(text) & set('"\\<[') and text.isprintable()]
        self.words = Allowed(np.array(sorted([*plain, end]), np.int64), is_wide=True)
        self.text = Allowed(np.array(sorted([*inside, quote]), np.int64), is_wide=True)
        self.parts_of_numbers = {token: text for token, text in texts.items() if text and set(text) <= set("0123456789.-")}
        self.digits = {token: text for token, text in self.parts_of_numbers.items() if "." not in text}
        self._beginnings: dict[frozenset[int], Allowed] = {}

    def beginning(self, of_calls: frozenset[int]) -> Allowed:
        """The first tokens of words, which are never those of a call, together with these."""
        if of_calls not in self._beginnings:
            self._beginnings[of_calls] = Allowed(np.array(sorted({*self.words.ids.tolist(), *of_calls}), np.int64), is_wide=True)
        return self._beginnings[of_calls]


def _next_places(view: ToolView, start: int) -> list[int | None]:
    """Arguments that may come next, in the schema's order: up to the first required one; None for the end where no more is required."""
    places: list[int | None] = []
    for place in range(start, len(view.slots)):
        places.append(place)
        if place in view.required:
            return places
    return [*places, None]


def _in_order(view: ToolView, arguments: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The arguments as the grammar writes them: in the schema's order and types, unknown ones at the end."""
    known = {slot.name: slot.typed(arguments[slot.name]) for slot in view.slots if slot.name in arguments}
    return known | {name: value for name, value in arguments.items() if name not in known}


def _questions(tool: Tool) -> list[list[str]]:
    """The sets of arguments one can ask for: all that the tool requires, or one of them."""
    required = list(tool.required)
    return [required, *([name] for name in required if len(required) > 1)] if required else []


def _missing(state: State, view: ToolView, call: ToolCall) -> list[str]:
    """Required arguments of a later call whose values are not there yet."""
    required = [view.slots[place] for place in sorted(view.required)]
    return [slot.name for slot in required if slot.name in call.arguments and not is_known(state, slot, call.arguments[slot.name])]
