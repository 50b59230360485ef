"""What an agent's words ask for: which arguments, a yes or no, or whether there is anything else."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from agentgym.environments.customer_profile import CustomerProfile
from agentgym.environments.profile_mining import is_question
from agentgym.environments.spoken import name_words, plain, sentences
from agentgym.tools import Tool

# How often an argument was wanted before what was learned of it outweighs its name and description.
_ENOUGH = 5
# How many more questions without any cue each word is thought to have been in.
_CAUTION = 1.0
# How sure a word has to make it that an argument is asked for; with _CAUTION chosen on a part of SGD's training dialogues.
_SURE = 0.5
_ANYTHING_ELSE = re.compile(
    r"\b(?:anything|something) else\b|\bany(?:thing)? (?:further|other help)\b|\bassist you further\b|\bmore help\b"
)
_WH = re.compile(r"\b(?:what|which|where|when|who|whom|whose|how|why)\b")
_AUXILIARY = re.compile(r"\b(?:shall|should|would|do|does|did|is|are|can|could|may|will|have|has)\b.*\?|\b(?:right|correct|ok|okay)\?")
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
    """Which words recorded agents asked with, by the argument that the customer told in answer.

    wanted: how many questions could have been for an argument, as the customer knew it and had not told it.   told: how many were.
    words_when_wanted, words_when_told: in how many of these there was each word, by argument.
    A decision list (Yarowsky 1995): the one word that tells most decides.
    """

    wanted: Mapping[str, int] = field(default_factory=dict)
    told: Mapping[str, int] = field(default_factory=dict)
    words_when_wanted: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    words_when_told: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def chance(self, name: str, words: Collection[str]) -> float | None:
        """The chance, 0–1, that a question in these words is for the argument; None where it was wanted too seldom to tell."""
        wanted = self.wanted.get(name, 0)
        if wanted < _ENOUGH:
            return None
        usual = self.told.get(name, 0) / wanted
        when_wanted, when_told = self.words_when_wanted[name], self.words_when_told.get(name, {})
        shares = [(when_told.get(word, 0) + _CAUTION * usual) / (when_wanted[word] + _CAUTION) for word in words if word in when_wanted]
        return max(shares, default=usual)


def learn_cues(profiles: Iterable[CustomerProfile]) -> Cues:
    """The cues in what recorded agents asked and the customers answered."""
    wanted, told = Counter[str](), Counter[str]()
    words_when_wanted, words_when_told = dict[str, Counter[str]](), dict[str, Counter[str]]()
    for profile in profiles:
        for question, untold, answered in recorded_questions(profile):
            words = _question_words(question)
            wanted.update(untold)
            told.update(answered)
            for names, counts in ((untold, words_when_wanted), (answered, words_when_told)):
                for name in names:
                    counts.setdefault(name, Counter()).update(words)
    return Cues(wanted=wanted, told=told, words_when_wanted=words_when_wanted, words_when_told=words_when_told)


def recorded_questions(profile: CustomerProfile) -> Iterator[tuple[str, set[str], set[str]]]:
    """Each question of the recorded agent, what the customer knew and had not told before it, and what they told in answer."""
    turns = {(_last(fact.name), fact.turn) for fact in profile.facts if fact.turn is not None}
    for at, utterance in enumerate(utterance for errand in profile.errands for utterance in errand.utterances):
        if utterance.question:
            yield utterance.question, {name for name, turn in turns if turn >= at}, {name for name, turn in turns if turn == at}


def what_is_asked(words: str, tools: Sequence[Tool], cues: Cues, *, known: Collection[str]) -> Asked:
    """What the agent's words ask for.   known: arguments the customer could tell, besides those of the tools in scope."""
    if not is_question(words):
        return Asked()
    asking = " ".join(sentence for sentence in sentences(words.lower()) if is_question(sentence))
    described = {name: str(schema.get("description", "")) for tool in tools for name, schema in tool.properties.items()}
    chances = {name: _chance(name, described.get(name, ""), asking, cues) for name in dict.fromkeys((*known, *described))}
    named = {name: chance for name, chance in chances.items() if chance is not None and chance >= _SURE}
    # A question word tells only where no other word does: "how many stars" asks for no rooms.
    guessed = () if named else (name for name, chance in chances.items() if chance is None and _is_sought(name, asking))
    return Asked(
        names=(*sorted(named, key=lambda name: -named[name]), *guessed),
        is_question=True,
        is_offer=is_yes_or_no(asking),
        is_about_more=bool(_ANYTHING_ELSE.search(asking)),
    )


def is_yes_or_no(question: str) -> bool:
    """Whether a yes or no would answer."""
    lower = question.lower()
    return bool(_HOW_ABOUT.search(lower)) or bool(_AUXILIARY.search(lower) and not _WH.search(lower))


def is_alike(question: str, other: str) -> bool:
    """Whether two questions share at least half of their words of more than three letters."""
    left, right = ({word for word in plain(text).split() if len(word) > 3} for text in (question, other))
    return bool(left | right) and 2 * len(left & right) >= len(left | right)


def _chance(name: str, description: str, asking: str, cues: Cues) -> float | None:
    """How sure it is that the question asks for the argument, 0–1: by its name, by what was learned of it, else by its description.

    None where none of these tells.
    """
    said = set(plain(asking).split())
    if said.issuperset(name_words(_last(name))):
        return 1.0
    learned = cues.chance(_last(name), _question_words(asking))
    if learned is not None:
        return learned
    # Words of up to three letters hold a sentence together and name nothing.
    described = {word for word in plain(description).split() if len(word) > 3}
    return 0.9 if described and 2 * len(described & said) >= len(described) else None


def _is_sought(name: str, asking: str) -> bool:
    """Whether the question word is after what the argument is called."""
    sought = set().union(*(names for cue, names in _SOUGHT.items() if re.search(rf"\b{cue}\b", asking)))
    return not sought.isdisjoint(name_words(_last(name)))


def _question_words(question: str) -> frozenset[str]:
    """Which words the asking sentences hold, and which pairs follow each other."""
    words = [word for sentence in sentences(question) if is_question(sentence) for word in plain(sentence).split()]
    return frozenset((*words, *map(" ".join, pairwise(words))))


def _last(name: str) -> str:
    return name.rpartition(".")[2]
