"""A customer's profile from their recording: only what was said, done and answered in it, never an annotation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from pydantic import JsonValue

from agentgym.environments.customer_profile import (
    Choice,
    CustomerProfile,
    Disclosure,
    Errand,
    Fact,
    Persona,
    Saying,
    Utterance,
)
from agentgym.environments.recording import Recording, read_recording, result_of
from agentgym.environments.spoken import Reader, Words, is_telling, leaves, name_words, nothing_else, plain, sentences
from agentgym.messages import ToolCall
from agentgym.traces.matching import canonical
from agentgym.traces.trace import Trace

# What anybody puts up with, also one whose record went smoothly.
PATIENCE_FLOOR = 3
# Longer texts are the agent's own thoughts and summaries, not what a customer told.
_LONGEST_FACT_WORDS = 6
_QUESTION = re.compile(
    r"\?|\b(?:please|kindly) (?:tell|give|provide|confirm|share|specify|enter|let)\b|\blet me know\b|\bconfirm\b", re.IGNORECASE
)
_FRIENDLY = re.compile(r"\b(?:please|thanks|thank you|appreciate|great|wonderful|awesome)\b", re.IGNORECASE)
_UPSET = re.compile(r"!{2,}|\b(?:ridiculous|unacceptable|frustrat\w+|angry|terrible|worst|already told|fed up)\b", re.IGNORECASE)


def is_question(words: str) -> bool:
    """Whether the agent's words wait for an answer."""
    return bool(_QUESTION.search(words))


def mine_profile(trace: Trace, *, today: date, read: Reader = nothing_else, patience_floor: int = PATIENCE_FLOOR) -> CustomerProfile:
    """The customer of a recording. Raises InvalidInput when they never speak.

    today: the day it happened.   read: what their words mean besides what they spell.   patience_floor: turns in vain anybody waits.
    """
    recording = read_recording(trace)
    walk = _walk(trace, recording, today, read)
    errands = _errands(walk)
    return CustomerProfile(
        goal=recording.first_words,
        persona=_persona([turn.words.text for turn in walk.turns]),
        errands=errands,
        patience_turns=max(patience_floor, _longest_wait(walk, errands)),
    )


# --- walking through the recording ---


@dataclass(frozen=True, kw_only=True, slots=True)
class _Turn:
    """A turn of the customer.   before: the agent's words it answers."""

    words: Words
    before: str
    sayings: tuple[Saying, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Heard:
    """Words of the agent.   turns, results: how many of the customer's turns and of the tools' results came before."""

    turns: int
    results: int
    words: Words


@dataclass(frozen=True, kw_only=True, slots=True)
class _Due:
    """A call a right agent makes.   turns, heard, results: how much of each came before."""

    call: ToolCall
    turns: int
    heard: int
    results: int


@dataclass(kw_only=True, slots=True)
class _Walk:
    """A recording as what each side could know at each moment."""

    turns: list[_Turn] = field(default_factory=list)
    heard: list[_Heard] = field(default_factory=list)
    results: "list[_Result]" = field(default_factory=list)
    dues: list[_Due] = field(default_factory=list)


class _Result:
    """What a tool told."""

    def __init__(self, result: JsonValue) -> None:
        self.pairs = {(path.rpartition(".")[2], canonical(value)) for path, value in leaves(result)}
        self._text = plain(" ".join(canonical(value) for _, value in leaves(result)))
        self.telling = {canonical(value) for _, value in leaves(result) if is_telling(value)}

    def tells(self, name: str, value: JsonValue) -> bool:
        text = canonical(value)
        # A result that is one value, such as a sum, has no name for it.
        is_named = (name.rpartition(".")[2], text) in self.pairs or ("", text) in self.pairs
        return is_named or (is_telling(value) and plain(text) in self._text)


def _walk(trace: Trace, recording: Recording, today: date, read: Reader) -> _Walk:
    walk, calls = _Walk(), iter(recording.calls)
    since: list[str] = []
    for message in trace.messages:
        if message.role == "user":
            _hear_customer(walk, Words(text=message.content, today=today, read=read), since)
            since = []
        elif message.role == "tool":
            walk.results.append(_Result(result_of(message)))
        elif message.role == "assistant":
            since.append(message.content)
            if message.content:
                walk.heard.append(_Heard(turns=len(walk.turns), results=len(walk.results), words=_worded(message.content, today, read)))
            if walk.turns:
                made = [next(calls) for _ in message.tool_calls]
                at = {"turns": len(walk.turns), "heard": len(walk.heard), "results": len(walk.results)}
                walk.dues += [_Due(call=recorded.call, **at) for recorded in made if recorded.is_due]
    return walk


def _worded(text: str, today: date, read: Reader) -> Words:
    return Words(text=text, today=today, read=read)


def _hear_customer(walk: _Walk, words: Words, since: Sequence[str]) -> None:
    before = " ".join(since)
    if walk.turns and not since:
        last = walk.turns.pop()
        words, before = _worded(f"{last.words.text}\n{words.text}", words.today, words.read), last.before
    sayings = tuple(Saying(text=text, needs=_needs(walk, _worded(text, words.today, words.read))) for text in sentences(words.text))
    walk.turns.append(_Turn(words=words, before=before, sayings=sayings))


def _needs(walk: _Walk, sentence: Words) -> tuple[str, ...]:
    """Values in a sentence that the customer has from the agent, which had them from a tool."""
    told = dict.fromkeys(value for result in walk.results for value in result.telling if sentence.says(value))
    is_heard = {value for value in told if any(heard.words.says(value) for heard in walk.heard)}
    return tuple(value for value in told if value in is_heard and not any(turn.words.says(value) for turn in walk.turns))


# --- facts and errands ---


def _errands(walk: _Walk) -> tuple[Errand, ...]:
    errands: list[Errand] = []
    told: dict[str, JsonValue] = {}
    begin = 0
    for due in walk.dues:
        facts, choices = _known(walk, due, told)
        tool, utterances = due.call.name, _utterances(walk.turns[begin : due.turns])
        errands.append(Errand(tool=tool, utterances=utterances, facts=tuple(facts), choices=tuple(choices)))
        begin = due.turns
    return (*errands, Errand(tool=None, utterances=_utterances(walk.turns[begin:])))


def _utterances(turns: Sequence[_Turn]) -> tuple[Utterance, ...]:
    return tuple(Utterance(sayings=turn.sayings, question=turn.before if is_question(turn.before) else "") for turn in turns)


def _known(walk: _Walk, due: _Due, told: dict[str, JsonValue]) -> tuple[list[Fact], list[Choice]]:
    """What the customer knew, and what they chose, of the arguments of a call.   told: the latest value of each name, kept up to date."""
    facts: list[Fact] = []
    choices: list[Choice] = []
    given = list(dict.fromkeys(leaves(due.call.arguments)))
    for name, value in given:
        found = _origin(walk, due, name, value)
        if found == "chosen":
            choices.append(Choice(name=name, value=value))
        elif found is not None:
            earlier = told.get(name) if sum(name == other for other, _ in given) == 1 else None
            facts.append(_fact(walk, name, value, turn=found if isinstance(found, int) else None, earlier=earlier))
            told[name] = value
    return facts, choices


def _origin(walk: _Walk, due: _Due, name: str, value: JsonValue) -> int | Literal["chosen", "agreed"] | None:
    """The turn in which the customer said a value of their own; else whether they took it from an offer, or agreed to the agent's words.

    None where it is the agent's business alone: only a tool told it, or nobody did.
    """
    if len(plain(canonical(value)).split()) > _LONGEST_FACT_WORDS:
        return None
    turn = next((at for at, turn in enumerate(walk.turns[: due.turns]) if _tells(turn.words, name, value)), None)
    heard = next((heard for heard in walk.heard[: due.heard] if _tells(heard.words, name, value)), None)
    result = next((at for at, result in enumerate(walk.results[: due.results]) if result.tells(name, value)), None)
    is_from_tool = heard is not None and result is not None and result < heard.results
    if turn is not None:
        return "chosen" if heard is not None and is_from_tool and heard.turns <= turn else turn
    if heard is None:
        return None
    return "chosen" if is_from_tool else "agreed"


def _tells(words: Words, name: str, value: JsonValue) -> bool:
    """Whether words tell the value; of a yes or no, whether they speak of its argument at all."""
    if canonical(value) in ("true", "false", "yes", "no"):
        return any(words.resembles(word) for word in name_words(name.rpartition(".")[2]))
    return words.says(value) or words.resembles(value)


def _fact(walk: _Walk, name: str, value: JsonValue, *, turn: int | None, earlier: JsonValue) -> Fact:
    is_change = earlier is not None and canonical(earlier) != canonical(value)
    if turn is None:
        return Fact(name=name, value=value, disclosure="agreed", instead_of=earlier if is_change else None)
    said = walk.turns[turn]
    words = next((text.text for text in said.sayings if _tells(_worded(text.text, said.words.today, said.words.read), name, value)), "")
    disclosure: Disclosure = "at_once" if turn == 0 else "corrected" if is_change else "asked" if is_question(said.before) else "unasked"
    return Fact(name=name, value=value, disclosure=disclosure, words=words, turn=turn, instead_of=earlier if is_change else None)


# --- how they are ---


def _persona(turns: Sequence[str]) -> Persona:
    text = "\n".join(turns)
    letters = [character for character in text if character.isalpha()]
    friendly, upset = len(_FRIENDLY.findall(text)), len(_UPSET.findall(text))
    return Persona(
        words_per_turn=len(text.split()) / len(turns),
        mood="upset" if upset > friendly else "friendly" if friendly else "plain",
        is_lower_case=not any(character.isupper() for character in letters),
    )


def _longest_wait(walk: _Walk, errands: Sequence[Errand]) -> int:
    """The most turns in a row, before the last call, in which the customer told nothing new and nothing was done for them."""
    moving = {due.turns - 1 for due in walk.dues} | {fact.turn for errand in errands for fact in errand.facts}
    longest = waited = 0
    for turn in range(max((due.turns for due in walk.dues), default=len(walk.turns))):
        waited = 0 if turn in moving else waited + 1
        longest = max(longest, waited)
    return longest
