"""The customer who goes on from their goal: on the record they say what was said, off it they say what they want and know."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from agentgym.environments.case import Case
from agentgym.environments.conversation import UserTurn
from agentgym.environments.customer_profile import CustomerProfile, Errand, Fact, Utterance
from agentgym.environments.manner import Manner
from agentgym.environments.offers import judge_offer, wrong_facts
from agentgym.environments.questions import Asked, Cues, is_alike, is_yes_or_no, what_is_asked
from agentgym.environments.recording import Playhead, RecordedCall
from agentgym.environments.spoken import Reader, Words, sentences
from agentgym.messages import Message, ToolCall
from agentgym.traces.matching import canonical

ProfileOf = Callable[[Case], CustomerProfile]
# Longer ones carry more than the fact that was asked for.
_LONGEST_SENTENCE_WORDS = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reply:
    """is_news: it brought the agent further.   is_unknown: it was asked what the record has no answer to."""

    text: str
    is_news: bool = True
    is_unknown: bool = False
    has_left: bool = False


class GoalCustomer:
    """A `SimulatedUser` that plays a profile.

    While the agent does what the record did, it replies as recorded, and the recorded agent's words stand in for the generated ones. When
    the agent speaks while a call is due, or calls with a wrong value, the customer goes on by itself: it answers, corrects, agrees,
    declines, adds, or repeats what it wants, one errand after the other, whatever was said at this point of the record. It is back on the
    record when the agent has made, exactly, the calls that are due. Each turn in vain costs patience; where it ends, the customer leaves.
    """

    def __init__(self, playhead: Playhead, *, profile_of: ProfileOf, cues: Cues, read: Reader, today_of: Callable[[Case], date],
                 follows_record: bool = True) -> None:  # fmt: skip
        """follows_record: without it the customer is on its own from its first words on, to be compared with the record."""
        self._playhead = playhead
        self._profile_of = profile_of
        self._cues = cues
        self._read = read
        self._today_of = today_of
        self._follows_record = follows_record

    def open(self, case: Case, rng: np.random.Generator) -> str:
        self._profile = self._profile_of(case)
        self._today = self._today_of(case)
        self._tools = case.recording.tools if case.recording else ()
        due = [recorded for recorded in self._playhead.recording.calls if recorded.is_due]
        self._errands = dict(zip(map(id, due), self._profile.errands, strict=False))
        self._manner = Manner(self._profile.persona, rng)
        self._patience = self._profile.patience_turns
        self._has_departed = not self._follows_record
        self._annoyances = 0
        self._said: set[str] = set()
        self._told: set[tuple[str, str]] = set()
        self._answered: set[str] = set()
        self._corrected: set[str] = set()
        self._errand: Errand | None = self._profile.errands[0]
        self._note(self._profile.goal)
        return self._profile.goal

    @property
    def annoyances(self) -> int:
        return self._annoyances

    def reply(self, words: str, *, messages: Sequence[Message], is_closed: bool) -> UserTurn:
        calls = _latest_calls(messages)
        correction = self._correction(calls)
        if correction is None and self._is_on_record(calls):
            return self._as_recorded()
        self._has_departed = True
        reply = correction or self._on_its_own(words, messages)
        # Whoever gets on is patient again; what is news is limited, so the episode ends all the same.
        self._patience = self._profile.patience_turns if reply.is_news else self._patience - 1
        self._annoyances += not reply.is_news
        if self._patience <= 0 and not reply.has_left:
            return UserTurn(content=self._manner.walks_out(), has_left=True, is_simulator_error=reply.is_unknown)
        self._note(reply.text)
        return UserTurn(content=reply.text, has_left=reply.has_left, is_simulator_error=reply.is_unknown)

    # --- on the record ---

    def _is_on_record(self, calls: Sequence[ToolCall]) -> bool:
        if not self._follows_record or self._playhead.due_calls:
            return False
        turn = self._playhead.turn
        is_caught_up = bool(turn and turn.calls) and not any(recorded.is_due for recorded in self._playhead.open_calls)
        return not self._has_departed or is_caught_up

    def _as_recorded(self) -> UserTurn:
        self._has_departed = False
        turn = self._playhead.go_on()
        if turn is None:
            return UserTurn(content=None, has_left=True)
        self._note(turn.reply or "")
        return UserTurn(content=turn.reply, has_left=self._playhead.turn is None, agent_words=turn.words or None)

    # --- on its own ---

    def _on_its_own(self, words: str, messages: Sequence[Message]) -> _Reply:
        heard = self._words(" ".join([words, *(message.content for message in messages if message.role == "assistant")]))
        errand = self._pending()
        if errand is None:
            return self._leave(heard)
        if errand is not self._errand:
            self._errand = errand
            self._answered.clear()
            begun = self._begin(errand, heard)
            if begun is not None:
                return begun
        known = dict.fromkeys(fact.name for fact in self._profile.facts)
        asked = what_is_asked(words, self._tools, self._cues, known=tuple(known))
        if asked.is_question:
            return self._answer(asked, words, errand, heard, messages)
        return self._volunteer(errand, heard) or self._repeat()

    def _pending(self) -> Errand | None:
        """What the customer is after now: the next call that is due, wherever it stands in the record; None when there is none."""
        due = self._playhead.go_to_due()
        return self._errand_of(due[0]) if due else None

    def _errand_of(self, recorded: RecordedCall) -> Errand:
        return self._errands[id(recorded)]

    def _begin(self, errand: Errand, heard: Words) -> _Reply | None:
        """Brings the next errand up; None where it has no words of its own, or they were said before."""
        for utterance in errand.utterances[:1]:
            if any(saying.text in self._said for saying in utterance.sayings):
                return None
            text = self._sayable(utterance, heard)
            return _Reply(text=text or self._manner.asks_for_offers())
        return None

    def _leave(self, heard: Words) -> _Reply:
        rest = [text for utterance in self._profile.errands[-1].utterances if (text := self._sayable(utterance, heard))]
        rest = [text for text in rest if not self._said.issuperset(sentences(text))]
        if rest:
            return _Reply(text=rest[0], has_left=len(rest) == 1)
        return _Reply(text=self._manner.says_thanks(), has_left=True)

    def _correction(self, calls: Sequence[ToolCall]) -> _Reply | None:
        """What the customer says of a call just made against what they told; only once of the same call."""
        if not self._follows_record:
            self._playhead.go_to_due()
        turn = self._playhead.turn
        unmade = [recorded for recorded in (turn.calls if turn else ()) if recorded.is_due and recorded in self._playhead.open_calls]
        for call in calls:
            for recorded in unmade:
                key = f"{call.name}{canonical(call.arguments)}"
                wrong = wrong_facts(call, self._errand_of(recorded)) if call.name == recorded.call.name else ()
                if wrong and key not in self._corrected:
                    self._corrected.add(key)
                    return _Reply(text=self._manner.corrects([(fact.name, fact.value) for fact in wrong]), is_news=False)
        return None

    def _answer(self, asked: Asked, words: str, errand: Errand, heard: Words, messages: Sequence[Message]) -> _Reply:
        is_first_time = words not in self._answered
        self._answered.add(words)
        facts = self._asked_facts(asked, errand)
        if asked.is_about_more and not facts:
            return self._repeat()
        is_summed_up = any(self._words(words).says(fact.value) for fact in errand.facts)
        if asked.is_offer and (is_summed_up or self._told.issuperset(map(_key, facts))):
            return self._take(words, errand, heard, messages, is_news=is_first_time)
        if facts:
            return self._tell(facts, heard)
        return self._recorded_answer(words, errand, heard) or self._without_fact(asked, errand, heard, is_news=is_first_time)

    def _asked_facts(self, asked: Asked, errand: Errand) -> list[Fact]:
        """The facts asked for: as this errand has them, else as the last one had, else as a later one will."""
        place = self._profile.errands.index(errand)
        order = (errand, *reversed(self._profile.errands[:place]), *self._profile.errands[place + 1 :])
        found: dict[str, Fact] = {}
        for fact in (fact for one in order for fact in one.facts if fact.name in asked.names):
            found.setdefault(fact.name, fact)
        return list(found.values())

    def _tell(self, facts: Sequence[Fact], heard: Words) -> _Reply:
        new = [fact for fact in facts if _key(fact) not in self._told]
        text = " ".join(dict.fromkeys(self._put(fact, heard) for fact in new or facts))
        return _Reply(text=text if new else self._manner.again(text), is_news=bool(new))

    def _put(self, fact: Fact, heard: Words) -> str:
        """A fact in the customer's own sentence, where it says nothing they have not heard yet; else plainly."""
        said = next((saying for utterance in self._utterances() for saying in utterance.sayings if saying.text == fact.words), None)
        is_fit = said is not None and not said.text.endswith("?") and len(said.text.split()) <= _LONGEST_SENTENCE_WORDS
        if said is None or not is_fit or not all(heard.says(need) for need in said.needs):
            return self._manner.tells(fact.name, fact.value)
        return said.text

    def _take(self, words: str, errand: Errand, heard: Words, messages: Sequence[Message], *, is_news: bool) -> _Reply:
        """Agrees to a proposal, corrects or declines it."""
        verdict = judge_offer(self._words(words), errand, tools=self._tools, messages=messages)
        if verdict.wrong:
            return _Reply(text=self._manner.corrects([(fact.name, fact.value) for fact in verdict.wrong]), is_news=is_news)
        if verdict.is_another:
            return _Reply(text=self._manner.declines_for_another(), is_news=is_news)
        if verdict.is_needless:
            return _Reply(text=self._manner.declines(self._wish(errand)), is_news=is_news)
        return _Reply(text=self._consent(errand, heard) or self._manner.agrees(), is_news=is_news)

    def _consent(self, errand: Errand, heard: Words) -> str:
        """What the customer said when they were asked for a yes or no in this errand, if they have not said it yet."""
        for utterance in errand.utterances:
            if is_yes_or_no(utterance.question):
                text = self._sayable(utterance, heard)
                if text and not self._said.intersection(sentences(text)):
                    return text
        return ""

    def _recorded_answer(self, words: str, errand: Errand, heard: Words) -> _Reply | None:
        """What the customer said when they were asked much the same."""
        place = self._profile.errands.index(errand)
        for utterance in (utterance for one in self._profile.errands[: place + 1] for utterance in one.utterances):
            if utterance.question and is_alike(utterance.question, words):
                text = self._sayable(utterance, heard)
                if text:
                    return _Reply(text=text, is_news=not self._said.issuperset(sentences(text)))
        return None

    def _without_fact(self, asked: Asked, errand: Errand, heard: Words, *, is_news: bool) -> _Reply:
        """Of what the customer has no fact: what they chose, what they leave to others, or what nobody thought of."""
        for choice in (choice for choice in errand.choices if choice.name in asked.names):
            is_heard = heard.says(choice.value)
            return _Reply(
                text=self._manner.tells(choice.name, choice.value) if is_heard else self._manner.asks_for_offers(), is_news=is_news
            )
        optional = {name for tool in self._tools for name in tool.properties if name not in tool.required}
        free = [name for name in asked.names if name in optional]
        if free:
            return _Reply(text=self._manner.does_not_mind(free[0]), is_news=is_news)
        return _Reply(text=self._manner.does_not_know(), is_news=False, is_unknown=True)

    def _volunteer(self, errand: Errand, heard: Words) -> _Reply | None:
        """What the customer added in this errand without being asked, and has not said yet."""
        for utterance in errand.utterances:
            text = "" if utterance.question else self._sayable(utterance, heard)
            if text and not self._said.issuperset(sentences(text)):
                return _Reply(text=text)
        return None

    def _repeat(self) -> _Reply:
        return _Reply(text=self._manner.again(self._wish(self._errand)), is_news=False)

    def _wish(self, errand: Errand | None) -> str:
        """What the customer wants, in the words it came up with; needs nothing they might not have heard."""
        said = [saying.text for utterance in (errand.utterances if errand else ())[:1] for saying in utterance.sayings if not saying.needs]
        return " ".join(said) or self._profile.goal

    # --- words ---

    def _sayable(self, utterance: Utterance, heard: Words) -> str:
        """The sentences of an utterance that rest on nothing the agent has not told yet."""
        return " ".join(saying.text for saying in utterance.sayings if all(heard.says(need) for need in saying.needs))

    def _utterances(self) -> list[Utterance]:
        return [utterance for errand in self._profile.errands for utterance in errand.utterances]

    def _words(self, text: str) -> Words:
        return Words(text=text, today=self._today, read=self._read)

    def _note(self, text: str) -> None:
        """Remembers what was said, and the facts in it."""
        self._said.update(sentences(text))
        words = self._words(text)
        self._told.update(_key(fact) for fact in self._profile.facts if fact.words in self._said or words.says(fact.value))


def _key(fact: Fact) -> tuple[str, str]:
    return fact.name, canonical(fact.value)


def _latest_calls(messages: Sequence[Message]) -> list[ToolCall]:
    """Calls since the customer spoke, the latest first."""
    calls: list[ToolCall] = []
    for message in reversed(messages):
        if message.role == "user":
            break
        calls += reversed(message.tool_calls)
    return calls
