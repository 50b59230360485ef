"""A recorded conversation as something that can be played: turns between the customer's words, and how far the episode has come."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from pydantic import JsonValue

from agentgym.environments.case import Case
from agentgym.errors import InvalidInput
from agentgym.messages import Message, ToolCall
from agentgym.traces.matching import agreement
from agentgym.traces.mining import answered_calls
from agentgym.traces.own_words import EXACT, CallKeys
from agentgym.traces.trace import Trace

# The share of a due call's arguments that must be right for the customer to go on as recorded.
NEARLY = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedCall:
    """A call the recorded agent made and what it got.

    key: by which a call is told to ask for the same.   is_due: whether a right solution makes it. One that failed was worth a try and need
    not be repeated.
    """

    call: ToolCall
    key: str
    result: JsonValue
    is_due: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedTurn:
    """What the recorded agent did between two things the customer said; `reply` is the second, None where the record ends."""

    calls: tuple[RecordedCall, ...]
    words: str
    reply: str | None


@dataclass(frozen=True, kw_only=True)
class Recording:
    """opening: what came before the customer's first words, such as a system message or a greeting."""

    conversation_id: str
    opening: tuple[Message, ...]
    first_words: str
    turns: tuple[RecordedTurn, ...]

    @cached_property
    def calls(self) -> tuple[RecordedCall, ...]:
        """All calls, in their order."""
        return tuple(recorded for turn in self.turns for recorded in turn.calls)


def read_recording(trace: Trace, keys: CallKeys = EXACT) -> Recording:
    """The trace as turns. Raises InvalidInput when the customer never speaks: nobody could play them."""
    start = next((at for at, message in enumerate(trace.messages) if message.role == "user"), None)
    if start is None:
        raise InvalidInput(f"A recording needs a customer who speaks; {trace.conversation_id!r} has none. Leave it out.")
    first_words, *rest = _exchanges(trace.messages[start:])
    calls = iter(answered_calls(trace.messages[start:]))
    turns: list[RecordedTurn] = []
    agent: list[Message] = first_words.agent
    for exchange in rest:
        turns.append(_turn(agent, calls, keys, reply=exchange.words))
        agent = exchange.agent
    if agent:
        turns.append(_turn(agent, calls, keys, reply=None))
    return Recording(
        conversation_id=trace.conversation_id, opening=trace.messages[:start], first_words=first_words.words, turns=tuple(turns)
    )


def result_of(answer: Message | None) -> JsonValue:
    """What a tool gave back: its JSON, or its text where it is no JSON; None when nothing was recorded."""
    if answer is None:
        return None
    return answer.content if answer.result is None and answer.content else answer.result


class Playhead:
    """How far an episode has followed its recording; shared by the tools and the customer of one environment.

    It stays in a turn until every due call of the turn is made, or nearly made, and goes on when the agent speaks after that. A call made
    before its turn is made all the same: its result is known, and nobody needs it twice. One nearly made stays missing, but the record
    goes on: its answer was near enough for the customer to notice nothing, and an episode teaches more than its first mistake.
    """

    def __init__(self, keys: CallKeys = EXACT) -> None:
        self._keys = keys

    def open(self, case: Case) -> Recording:
        if case.recording is None:
            raise InvalidInput(
                f"A recorded scenario plays cases with a recording; {case.case_id!r} has none. Play it in {case.scenario!r}."
            )
        self.recording = read_recording(case.recording, self._keys)
        self._turn = 0
        self._made: set[tuple[int, int]] = set()
        self._nearly_made: set[tuple[int, int]] = set()
        return self.recording

    @property
    def turn(self) -> RecordedTurn | None:
        """The turn being played; None after the last."""
        return self.recording.turns[self._turn] if self._turn < len(self.recording.turns) else None

    def key(self, call: ToolCall) -> str:
        """Equal for calls that ask for the same."""
        return self._keys.of(call)

    @property
    def open_calls(self) -> list[RecordedCall]:
        """Calls of this turn that are not made yet, also those that need not be."""
        return [recorded for turn, _, recorded in self._unmade() if turn == self._turn]

    @property
    def unmade_calls(self) -> list[RecordedCall]:
        """Calls of the whole record that are not made yet, also those that need not be."""
        return [recorded for _, _, recorded in self._unmade(first_turn=0)]

    @property
    def due_calls(self) -> list[RecordedCall]:
        """Calls of this turn that must be made before the record goes on."""
        unmade = ((turn, index, recorded) for turn, index, recorded in self._unmade() if turn == self._turn and recorded.is_due)
        return [recorded for turn, index, recorded in unmade if (turn, index) not in self._nearly_made]

    @property
    def calls_so_far(self) -> list[RecordedCall]:
        """Calls of the turns until this one: what the conversation has been about."""
        return [recorded for turn in self.recording.turns[: self._turn + 1] for recorded in turn.calls]

    @property
    def missing_calls(self) -> list[RecordedCall]:
        """Calls of the whole record that must be made and are not."""
        return [recorded for recorded in self.unmade_calls if recorded.is_due]

    def make(self, call: ToolCall) -> RecordedCall | None:
        """Marks the next recorded call that asks for the same as made and gives it; None when the record has none left."""
        key = self.key(call)
        found = next(((turn, index, recorded) for turn, index, recorded in self._unmade() if recorded.key == key), None)
        if found is None:
            return None
        turn, index, recorded = found
        self._made.add((turn, index))
        return recorded

    def make_nearly(self, call: ToolCall) -> RecordedCall | None:
        """Lets a call stand in for a due one of this turn, of which it has half the arguments right, and gives that; None without one."""
        for turn, index, recorded in self._unmade():
            if turn == self._turn and recorded.is_due and agreement(call, recorded.call) >= NEARLY:
                self._nearly_made.add((turn, index))
                return recorded
        return None

    def go_on(self) -> RecordedTurn | None:
        """Leaves this turn, as the customer speaks; gives what was said in it."""
        turn = self.turn
        self._turn += 1
        return turn

    def go_to_due(self) -> list[RecordedCall]:
        """Leaves turns until calls are due in one, and gives these; none where nothing more is due."""
        while self.turn is not None and not self.due_calls:
            self.go_on()
        return self.due_calls

    @property
    def position(self) -> str:
        """Where the episode stands, as text: equal positions, equal futures."""
        return f"{self.recording.conversation_id}@{self._turn}{sorted(self._made)}{sorted(self._nearly_made)}"

    def _unmade(self, first_turn: int | None = None) -> Iterator[tuple[int, int, RecordedCall]]:
        """Calls that are not made, with their places, from this turn or from `first_turn` on."""
        for turn in range(self._turn if first_turn is None else first_turn, len(self.recording.turns)):
            for index, recorded in enumerate(self.recording.turns[turn].calls):
                if (turn, index) not in self._made:
                    yield turn, index, recorded


@dataclass(kw_only=True, slots=True)
class _Exchange:
    words: str
    agent: list[Message]


def _exchanges(messages: Sequence[Message]) -> list[_Exchange]:
    """What the customer said each time, in one text where they spoke twice, and the agent's messages that followed."""
    exchanges: list[_Exchange] = []
    for message in messages:
        if message.role != "user":
            exchanges[-1].agent.append(message)
        elif exchanges and not exchanges[-1].agent:
            exchanges[-1].words += f"\n{message.content}"
        else:
            exchanges.append(_Exchange(words=message.content, agent=[]))
    return exchanges


def _turn(
    messages: Sequence[Message], calls: Iterator[tuple[ToolCall, Message | None]], keys: CallKeys, *, reply: str | None
) -> RecordedTurn:
    """One turn; words said before a call are left to the call's message, the words of the turn are those after the last one."""
    made = [next(calls) for message in messages for _ in message.tool_calls]
    last_call = max((at for at, message in enumerate(messages) if message.tool_calls), default=-1)
    words = [message.content for message in messages[last_call + 1 :] if message.role == "assistant" and message.content]
    return RecordedTurn(calls=tuple(_recorded(call, answer, keys) for call, answer in made), words="\n".join(words), reply=reply)


def _recorded(call: ToolCall, answer: Message | None, keys: CallKeys) -> RecordedCall:
    return RecordedCall(call=call, key=keys.of(call), result=result_of(answer), is_due=not (answer and answer.is_error))
