"""A scripted customer of a declared world: answers what is asked, withholds what is not, errs, and runs out of patience."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from agentgym.environments.case import Case
from agentgym.environments.conversation import UserTurn
from agentgym.environments.declaration import Fact, Persona, World
from agentgym.environments.phrasing import phrase, with_typos
from agentgym.messages import Message

_SENTENCE = re.compile(r"[^.!?\n]+[.!?\n]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """The customer's first words, and the facts they tell."""

    words: str
    facts: frozenset[str]


class ScriptedCustomer:
    """A `SimulatedUser` that plays the behaviour a world declares. Its first words follow from the case alone."""

    def __init__(self, world: World) -> None:
        self._world = world

    def open(self, case: Case, rng: np.random.Generator) -> str:
        opening = opening_of(self._world, case)
        self._case = case
        self._rng = rng
        self._times_told = dict.fromkeys(opening.facts, 1)
        self._patience = _persona(self._world, case).patience
        self._annoyances = 0
        return opening.words

    def reply(self, words: str, *, messages: Sequence[Message], is_closed: bool) -> UserTurn:
        if is_closed:
            return UserTurn(content=phrase(self._world.behaviour.farewells, self._rng), has_left=True)
        facts = self._world.intents[self._case.kind].facts
        asked = asked_facts(words, {name: self._world.facts[name] for name in facts}, self._world.behaviour.asking)
        is_in_vain = not any(self._tells_something_new(fact) for fact in asked)
        if is_in_vain:
            self._annoyances += 1
            self._patience -= 1
        if self._patience <= 0:
            return UserTurn(content=phrase(self._world.behaviour.walkouts, self._rng), has_left=True)
        return UserTurn(content=" ".join(map(self._tell, asked)) or self._shrug(words))

    @property
    def annoyances(self) -> int:
        return self._annoyances

    def _tells_something_new(self, fact: str) -> bool:
        times_told = self._times_told.get(fact, 0)
        return times_told == 0 or (times_told == 1 and self._case.facts.get(f"{fact}_at_first") is not None)

    def _tell(self, fact: str) -> str:
        declared, is_new = self._world.facts[fact], self._tells_something_new(fact)
        times_told = self._times_told[fact] = self._times_told.get(fact, 0) + 1
        if times_told > 1 and is_new:
            return phrase(declared.corrects, self._rng).replace("{value}", str(self._case.facts[fact]))
        words = _put(declared, fact, self._case, is_first=times_told == 1, rng=self._rng)
        return words if is_new else f"{phrase(self._world.behaviour.repetitions, self._rng)} {words}"

    def _shrug(self, words: str) -> str:
        behaviour = self._world.behaviour
        return phrase(behaviour.unknowns if _questions(words, behaviour.asking) else behaviour.reminders, self._rng)


def opening_of(world: World, case: Case) -> Opening:
    """How the customer of a case begins; equal cases begin with equal words."""
    rng = np.random.default_rng([case.seed, 2])
    intent, persona = world.intents[case.kind], _persona(world, case)
    parts = [phrase(intent.openings, rng)]
    if rng.random() < persona.greeting_rate:
        parts.insert(0, phrase(world.behaviour.greetings, rng))
    if intent.details and rng.random() < persona.detail_rate:
        parts.append(phrase(intent.details, rng))
    told = [fact for fact in intent.facts if rng.random() < world.facts[fact].volunteer_rate * persona.volunteering]
    sentences = [_put(world.facts[fact], fact, case, is_first=True, rng=rng) for fact in told]
    return Opening(words=" ".join([with_typos(" ".join(parts), persona.typo_rate, rng), *sentences]), facts=frozenset(told))


def asked_facts(words: str, facts: dict[str, Fact], asking: Collection[str]) -> list[str]:
    """Names of the facts whose cues occur in a question among `words`."""
    questions = _questions(words, asking)
    return [name for name, fact in facts.items() if any(re.search(rf"\b{re.escape(cue)}\b", questions) for cue in fact.cues)]


def _questions(words: str, asking: Collection[str]) -> str:
    sentences = _SENTENCE.findall(words.lower())
    return " ".join(sentence for sentence in sentences if any(mark in sentence for mark in asking))


def _put(declared: Fact, fact: str, case: Case, *, is_first: bool, rng: np.random.Generator) -> str:
    value = case.facts.get(f"{fact}_at_first") if is_first else None
    value = str(case.facts[fact] if value is None else value)
    words = phrase(declared.words[value], rng) if value in declared.words else value
    return phrase(declared.says, rng).replace("{value}", words)


def _persona(world: World, case: Case) -> Persona:
    return world.behaviour.personas[case.persona]
