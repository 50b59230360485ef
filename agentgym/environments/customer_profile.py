"""Who a recorded customer is: what they want, what they know, when they say it, and how long they wait."""

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Disclosure = Literal["at_once", "unasked", "asked", "corrected", "agreed"]
"""When a fact is given up: in the first words, later without a question, after one, in place of another value, or by consent alone."""


class _Mined(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fact(_Mined):
    """Something the customer knows, under the name of the argument it is the value of.

    words: the sentence they said it in; empty where they only agreed to it.   turn: which of their turns that was, from 0; None where
    they only agreed.   instead_of: the value of the same argument that it takes the place of.
    """

    name: str
    value: JsonValue
    disclosure: Disclosure
    words: str = ""
    turn: int | None = None
    instead_of: JsonValue = None


class Choice(_Mined):
    """A value the customer picks among what they are offered; until they hear it they know nothing of it."""

    name: str
    value: JsonValue


class Saying(_Mined):
    """A sentence of the customer.   needs: what they had only heard from the agent, which had it from a tool."""

    text: str
    needs: tuple[str, ...] = ()


class Utterance(_Mined):
    """What the customer said in one turn.   question: the agent's words before it, where they asked something; else empty."""

    sayings: tuple[Saying, ...]
    question: str = ""


class Errand(_Mined):
    """What the customer says until one call is made for them, and what that call rests on.   tool: None for what comes after the last."""

    tool: str | None
    utterances: tuple[Utterance, ...] = ()
    facts: tuple[Fact, ...] = ()
    choices: tuple[Choice, ...] = ()


class Persona(_Mined):
    """How the customer writes.   words_per_turn: on average."""

    words_per_turn: float = Field(ge=0)
    mood: Literal["friendly", "plain", "upset"] = "plain"
    is_lower_case: bool = False

    @property
    def is_terse(self) -> bool:
        return self.words_per_turn < 8

    def describe(self) -> str:
        """In a few words, for whoever plays it."""
        length = "tersely" if self.is_terse else "at length" if self.words_per_turn > 20 else "in a sentence or two"
        return f"{self.mood}, writes {length}{' and in lower case' if self.is_lower_case else ''}"


class CustomerProfile(_Mined):
    """A customer to play.

    goal: their first words.   errands: in the order they came up; the last one, without a tool, is how they take leave.
    patience_turns: how many turns in vain they put up with.
    """

    goal: str
    persona: Persona
    errands: tuple[Errand, ...]
    patience_turns: int = Field(ge=1)

    @property
    def facts(self) -> Iterator[Fact]:
        """All facts, each once, in the order they matter."""
        seen: set[tuple[str, str]] = set()
        for fact in (fact for errand in self.errands for fact in errand.facts):
            key = (fact.name, str(fact.value))
            if key not in seen:
                seen.add(key)
                yield fact
