"""What an agent's words ask for: which arguments, a yes or no, or whether there is anything else."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agentgym.environments.customer_profile import CustomerProfile
from agentgym.environments.profile_mining import is_question
from agentgym.environments.spoken import name_words, plain, sentences
from agentgym.tools import Tool

# Questions that were answered with an argument, before what was learned of it outweighs its name and description.
_ENOUGH = 3
_SMOOTHING = 0.3
_ANYTHING_ELSE = re.compile(
    r"\b(?:anything|something) else\b|\bany(?:thing)? (?:further|other help)\b|\bassist you further\b|\bmore help\b"
)
_WH = re.compile(r"\b(?:what|which|where|when|who|whom|whose|how|why)\b")
_YES_NO = re.compile(
    r"\b(?:shall|should|would|do|does|did|is|are|can|could|may|will|have|has)\b.*\?|\b(?:how|what) about\b|\bconfirm\b|\b(?:right|correct|ok|okay)\?"
)
_HOW_ABOUT = re.compile(r"\b(?:how|what) about\b|\bconfirm\b")
# Generic English: what a question word is after, by words that occur in the names of arguments.
_SOUGHT = {
    "where": {"city", "location", "place", "address", "destination", "origin", "area", "street", "venue"},
    "when": {"date", "time", "day"},
    "how many": {"number", "count", "passengers", "guests", "people", "size", "rooms", "seats", "riders", "adults", "days"},
    "how much": {"amount", "price", "fare", "budget", "cost"},
    "who": {"name", "recipient", "contact", "receiver"},
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What an agent's words want.

    names: arguments asked for, the surest first.   is_offer: whether a yes or no would answer.   is_about_more: "anything else?".
    """

    names: tuple[str, ...] = ()
    is_question: bool = False
    is_offer: bool = False
    is_about_more: bool = False


@dataclass(frozen=True, kw_only=True)
class Cues:
    """Which words recorded agents asked with, by the argument that the customer then told.

    questions: how many there were.   asked: how many of them asked for each argument.   words: how many had each word.
    together: both, by argument.   Naive Bayes on which words occur, each argument against all questions that did not ask for it.
    """

    questions: int = 0
    asked: Mapping[str, int] = field(default_factory=dict)
    words: Mapping[str, int] = field(default_factory=dict)
    together: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def surprise(self, name: str, words: Collection[str]) -> float | None:
        """Log-odds that a question in these words asks for the argument; None where too few asked for it to tell."""
        asked = self.asked.get(name, 0)
        if asked < _ENOUGH:
            return None
        others, odds = self.questions - asked, math.log(asked / max(self.questions - asked, 1))
        for word in words:
            if word in self.words:
                with_it = self.together[name].get(word, 0)
                odds += math.log((with_it + _SMOOTHING) / (asked + 2 * _SMOOTHING))
                odds -= math.log((self.words[word] - with_it + _SMOOTHING) / (others + 2 * _SMOOTHING))
        return odds


def learn_cues(profiles: Iterable[CustomerProfile]) -> Cues:
    """The cues in what recorded agents asked and the customers answered."""
    asked, words, together, questions = Counter[str](), Counter[str](), dict[str, Counter[str]](), 0
    for question, names in (pair for profile in profiles for pair in _answered(profile)):
        told = _question_words(question)
        questions += 1
        words.update(told)
        asked.update(names)
        for name in names:
            together.setdefault(name, Counter()).update(told)
    return Cues(questions=questions, asked=asked, words=words, together=together)


def _answered(profile: CustomerProfile) -> Iterable[tuple[str, set[str]]]:
    """Each question of the recorded agent, and the arguments the customer told in answer to it."""
    facts = list(profile.facts)
    turn = 0
    for errand in profile.errands:
        for utterance in errand.utterances:
            if utterance.question:
                yield utterance.question, {_last(fact.name) for fact in facts if fact.turn == turn}
            turn += 1


def what_is_asked(words: str, tools: Sequence[Tool], cues: Cues, *, known: Collection[str]) -> Asked:
    """What the agent's words ask for.   known: arguments the customer could tell, besides those of the tools in scope."""
    if not is_question(words):
        return Asked()
    lower = words.lower()
    asking = " ".join(sentence for sentence in sentences(lower) if is_question(sentence))
    descriptions = {name: str(schema.get("description", "")) for tool in tools for name, schema in tool.properties.items()}
    candidates = dict.fromkeys((*known, *descriptions))
    scored = {name: _score(name, descriptions.get(name, ""), asking, cues) for name in candidates}
    return Asked(
        names=tuple(sorted((name for name, score in scored.items() if score > 0), key=lambda name: -scored[name])),
        is_question=True,
        is_offer=bool(_HOW_ABOUT.search(asking)) or bool(_YES_NO.search(asking) and not _WH.search(asking)),
        is_about_more=bool(_ANYTHING_ELSE.search(asking)),
    )


def _score(name: str, description: str, asking: str, cues: Cues) -> float:
    """Above 0 where the question asks for the argument."""
    learned = cues.surprise(_last(name), _question_words(asking))
    if learned is not None:
        return learned
    said, named = set(plain(asking).split()), set(name_words(_last(name)))
    if named <= said:
        return 1.0
    # Words of up to three letters hold a sentence together and name nothing.
    described = {word for word in plain(description).split() if len(word) > 3}
    if described and 2 * len(described & said) >= len(described):
        return 0.5
    sought = set().union(*(names for cue, names in _SOUGHT.items() if re.search(rf"\b{cue}\b", asking)))
    return 0.25 if named & sought else 0.0


def _question_words(question: str) -> frozenset[str]:
    """Which words the asking sentences hold, and which pairs follow each other."""
    words = [word for sentence in sentences(question) if is_question(sentence) for word in plain(sentence).split()]
    return frozenset((*words, *(f"{left} {right}" for left, right in zip(words, words[1:], strict=False))))


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def is_alike(question: str, other: str) -> bool:
    """Whether two questions share at least half of their words of more than three letters."""
    left, right = ({word for word in plain(text).split() if len(word) > 3} for text in (question, other))
    return bool(left | right) and 2 * len(left & right) >= len(left | right)
