"""The states of conversations under way, kept so that a conversation is read once and shared by all that begin alike."""

from collections import OrderedDict
from datetime import date

import orjson

from agentgym.episode import Conversation
from agentgym.messages import Message
from agentgym.policies.planner.gazetteer import Gazetteer
from agentgym.policies.planner.slots import tool_views
from agentgym.policies.planner.state import State, opening_state
from agentgym.policies.planner.vocabulary import Vocabulary
from agentgym.tools import Tool

_CONVERSATIONS, _STATES = 2048, 4096

_Said = tuple[str, str, str | None, bytes]


class Memory:
    """States by what was said; the oldest are forgotten.

    A conversation is recognised by its id and checked by the identity of its messages; one that begins like another takes over its states.
    """

    def __init__(self, gazetteer: Gazetteer, vocabulary: Vocabulary | None = None) -> None:
        self._gazetteer, self._vocabulary = gazetteer, vocabulary
        self._latest: OrderedDict[str, tuple[tuple[Message, ...], State]] = OrderedDict()
        self._children: OrderedDict[tuple[int, _Said], tuple[State, State]] = OrderedDict()
        self._openings: dict[tuple[tuple[Tool, ...], date], State] = {}

    def state_of(self, conversation: Conversation) -> State:
        """The state after all messages of the conversation."""
        messages = conversation.messages
        seen, state = self._latest.get(conversation.conversation_id, ((), None))
        if state is None or not _is_beginning(seen, messages) or state.scene.tools != conversation.tools:
            seen, state = (), self._opening(conversation)
        for message in messages[len(seen) :]:
            state = self._after(state, message)
        self._latest[conversation.conversation_id] = (messages, state)
        self._latest.move_to_end(conversation.conversation_id)
        if len(self._latest) > _CONVERSATIONS:
            self._latest.popitem(last=False)
        return state

    def _opening(self, conversation: Conversation) -> State:
        key = (conversation.tools, conversation.now.date())
        state = self._openings.get(key)
        if state is None:
            if len(self._openings) > 256:
                self._openings.clear()
            state = self._openings[key] = opening_state(tool_views(conversation.tools), key[1], self._gazetteer, self._vocabulary)
        return state

    def _after(self, state: State, message: Message) -> State:
        key = (id(state), _said(message))
        known = self._children.get(key)
        if known is not None:
            return known[1]
        after = state.extended(message)
        # The parent is kept beside its child: as long as the entry lives, no other state can take over its id.
        self._children[key] = (state, after)
        if len(self._children) > _STATES:
            self._children.popitem(last=False)
        return after


def _is_beginning(seen: tuple[Message, ...], messages: tuple[Message, ...]) -> bool:
    return len(seen) <= len(messages) and all(map(_is_same, seen, messages))


def _is_same(one: Message, other: Message) -> bool:
    return one is other or one == other


def _said(message: Message) -> _Said:
    calls = [(call.name, call.arguments) for call in message.tool_calls]
    return message.role, message.content, message.name, orjson.dumps((calls, message.result))
