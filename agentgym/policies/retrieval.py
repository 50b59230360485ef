"""A policy that does what was done in the most alike situation on record: no training, no weights, ready in seconds.

A situation is what was last said by both sides, what was called, and how that went. The nearest ones vote on what to do, talk or a tool;
the nearest of those that won says how. Arguments are copied from this conversation as the record copied them from its own, and words that
tell facts of the record are not repeated where this conversation has no such fact. Not covered: rules that no situation shows.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from agentgym.episode import Action, Conversation
from agentgym.errors import InsufficientData
from agentgym.messages import Message, assistant
from agentgym.policies.copying import KnownValues, copied_call, facts_in, retold
from agentgym.policies.planner.words import words_of
from agentgym.policies.replies import TemplateReplies
from agentgym.traces.matching import call_key
from agentgym.traces.trace import Trace

_VOTERS = 9
_ASKED = 40


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A point in a recorded conversation where the agent acted.   prefix: what came before.   answer: what the agent did."""

    conversation_id: str
    prefix: tuple[Message, ...]
    answer: Message

    @property
    def deed(self) -> str:
        """What was done: the tools that were called, empty where it talked."""
        return "+".join(call.name for call in self.answer.tool_calls)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recalled:
    """A situation and how alike it is, as a cosine in 0–1."""

    situation: Situation
    likeness: float


@dataclass(frozen=True)
class Memory:
    """Every situation of some traces, found by likeness.   rows: their weights of words, shape (situations, words), of length 1 each."""

    situations: tuple[Situation, ...]
    words: TfidfVectorizer = field(repr=False)
    rows: csr_matrix = field(repr=False)

    @classmethod
    def of(cls, traces: Sequence[Trace]) -> "Memory":
        """Raises InsufficientData where no agent acts after anything was said."""
        situations = tuple(situation for trace in traces for situation in _situations(trace))
        if not situations:
            raise InsufficientData(f"A situation is a turn of the agent after somebody spoke; {len(traces)} traces have none.")
        words = TfidfVectorizer(analyzer=lambda prefix: list(_tokens(prefix)), sublinear_tf=True)
        return cls(situations, words, csr_matrix(words.fit_transform([situation.prefix for situation in situations])))

    def nearest(self, messages: Sequence[Message], count: int) -> list[Recalled]:
        """The most alike, first those in which the same was called since the customer spoke; of equals the earlier recorded."""
        likeness = (self.rows @ self.words.transform([messages]).T).toarray()[:, 0]
        same = self._same_phase.get(_phase(messages), np.array([], dtype=int))
        found = same[np.argsort(-likeness[same], kind="stable")][:count] if len(same) else np.argsort(-likeness, kind="stable")[:count]
        return [Recalled(situation=self.situations[at], likeness=float(likeness[at])) for at in found]

    @cached_property
    def _same_phase(self) -> dict[tuple[str, ...], np.ndarray]:
        places = defaultdict[tuple[str, ...], list[int]](list)
        for at, situation in enumerate(self.situations):
            places[_phase(situation.prefix)].append(at)
        return {phase: np.array(found) for phase, found in places.items()}


class RetrievalPolicy:
    """Acts as the record did in the most alike situation; equal conversations get equal answers."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._known = KnownValues.of(situation.answer for situation in memory.situations)
        self._replies = TemplateReplies()

    @classmethod
    def from_traces(cls, traces: Sequence[Trace]) -> "RetrievalPolicy":
        return cls(Memory.of(traces))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.memory.situations)} situations)"

    def act(self, conversation: Conversation) -> Action:
        recalled = self.memory.nearest(conversation.messages, _ASKED)
        for deed in _voted(recalled):
            for each in (each for each in recalled if each.situation.deed == deed):
                if (message := self._as_in(each.situation, conversation)) is not None:
                    return Action(message=message)
        return Action(message=assistant(self._replies.inform(conversation)))

    def _as_in(self, situation: Situation, conversation: Conversation) -> Message | None:
        """The situation's answer with what is true here; None where something it takes is not known here."""
        if not situation.answer.tool_calls:
            words = retold(situation.answer.content, facts_in(situation.prefix), facts_in(conversation.messages))
            return None if words is None else assistant(words)
        scope = {tool.name: tool for tool in conversation.tools}
        calls = [copied_call(call, situation.prefix, conversation, scope, self._known) for call in situation.answer.tool_calls]
        whole = [call for call in calls if call is not None]
        if len(whole) < len(calls) or any(call_key(call) in _made(conversation.messages) for call in whole):
            return None
        return assistant("", *whole)


def _voted(recalled: Sequence[Recalled]) -> list[str]:
    """What was done in them, the most voted for first; a vote weighs what its likeness does, and the nearest alone are asked first."""
    votes = Counter[str]()
    for each in recalled[:_VOTERS]:
        votes[each.situation.deed] += each.likeness  # type: ignore[assignment]
    return [*(deed for deed, _ in votes.most_common()), *dict.fromkeys(r.situation.deed for r in recalled if r.situation.deed not in votes)]


def _situations(trace: Trace) -> Iterator[Situation]:
    for at, message in enumerate(trace.messages):
        prefix = tuple(said for said in trace.messages[:at] if said.role != "system")
        if message.role == "assistant" and prefix and (message.content or message.tool_calls):
            yield Situation(conversation_id=trace.conversation_id, prefix=prefix, answer=message)


def _tokens(prefix: Sequence[Message]) -> Iterator[str]:
    """Words of the last turn of each side, of the customer's earlier ones, and what was called with what success."""
    said = [message for message in prefix if message.role == "user"]
    yield from (f"u:{word}" for word in words_of(said[-1].content if said else ""))
    yield from (f"e:{word}" for message in said[:-1] for word in words_of(message.content))
    told = next((message.content for message in reversed(prefix) if message.role == "assistant" and message.content), "")
    yield from (f"a:{word}" for word in words_of(told))
    yield f"last:{prefix[-1].role if prefix else 'nobody'}"
    for message in prefix:
        yield from (f"called:{call.name}" for call in message.tool_calls)
    if prefix and prefix[-1].role == "tool":
        yield from (f"result:{word}" for word in _result_words(prefix[-1]))


def _result_words(message: Message) -> Iterator[str]:
    """How a call went: refused, empty, or the short texts of its result, such as a status."""
    content = message.content if message.result is None else message.result
    row = content[0] if isinstance(content, list) and content else content
    yield "error" if message.is_error else "empty" if not content else "found"
    if isinstance(row, dict):
        yield from (f"{name}={value}" for name, value in row.items() if isinstance(value, str | bool) and len(str(value)) <= 20)


def _phase(messages: Sequence[Message]) -> tuple[str, ...]:
    """What was called since the customer spoke."""
    since = max((at for at, message in enumerate(messages) if message.role == "user"), default=-1)
    return tuple(call.name for message in messages[since + 1 :] for call in message.tool_calls)


def _made(messages: Sequence[Message]) -> set[str]:
    """The calls since the customer spoke: made again at once they would be made for ever."""
    since = max((at for at, message in enumerate(messages) if message.role == "user"), default=-1)
    return {call_key(call) for message in messages[since + 1 :] for call in message.tool_calls}
