"""How satisfied customers sound, by words that recorded customers used: learned from what they scored, or how their cases ended."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from math import atanh, sqrt, tanh
from statistics import correlation
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from agentgym.errors import InsufficientData
from agentgym.messages import Message

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
FEWEST_CUSTOMERS = 30
# A word of fewer customers is a name or a whim, and learning it would be learning them by heart.
_FEWEST_SPEAKERS = 4
_MOST_WORDS = 400
# Of the ridge, in customers: a word that few use moves little.
_PENALTY = 10.0
_FOLDS = 5


class SatisfactionWords(BaseModel):
    """A lexicon: what each word adds to the satisfaction that is expected of who says it.

    at_rest: of a customer with none of the words, 0–1.   words: by word, in the same unit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    at_rest: float = Field(ge=0, le=1)
    words: dict[str, float]

    @classmethod
    def fit(cls, said: Sequence[str], satisfaction: Sequence[float], customers: Sequence[str]) -> Self:
        """Learns from what was said in each conversation and how satisfied its customer was, 0–1: ridge regression on which words occur.

        Raises InsufficientData on fewer than 30 customers, where all were as satisfied, and where the words of customers it did not learn
        from do not tell how satisfied they are: paying by them would pay for chance.
        """
        if len(set(customers)) < FEWEST_CUSTOMERS or len(set(satisfaction)) < 2:
            raise InsufficientData(
                f"Words of satisfaction are learned from at least {FEWEST_CUSTOMERS} customers who were not all as satisfied; got "
                f"{len(set(customers))} with {len(set(satisfaction))} levels. Bring conversations with scores or outcomes of both kinds."
            )
        learned = cls._fitted(said, satisfaction)
        foretold = [0.0] * len(said)
        for fold in range(_FOLDS):
            inside = [place for place, customer in enumerate(customers) if _fold(customer) == fold]
            outside = [place for place, customer in enumerate(customers) if _fold(customer) != fold]
            model = cls._fitted([said[place] for place in outside], [satisfaction[place] for place in outside])
            for place in inside:
                told = model.read(said[place])
                foretold[place] = model.at_rest if told is None else told
        low = _lowest_correlation(foretold, satisfaction)
        if low <= 0:
            raise InsufficientData(
                f"Words must tell how satisfied customers are whom nobody learned from; the correlation may be as low as {low:.2f} over "
                f"{len(said)} conversations. Bring more with scores, or leave expressed_satisfaction out."
            )
        return learned

    @classmethod
    def _fitted(cls, said: Sequence[str], satisfaction: Sequence[float]) -> Self:
        import numpy as np
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import Ridge

        used = Counter(word for text in said for word in set(words_of(text)))
        vocabulary = sorted(word for word, count in used.most_common(_MOST_WORDS) if count >= _FEWEST_SPEAKERS)
        if not vocabulary:
            return cls(at_rest=sum(satisfaction) / len(satisfaction), words={})
        rows = CountVectorizer(analyzer=words_of, binary=True, vocabulary=vocabulary).transform(said)
        model = Ridge(alpha=_PENALTY).fit(rows, np.asarray(satisfaction, dtype=float))
        weights = {word: round(float(weight), 6) for word, weight in zip(vocabulary, model.coef_, strict=True)}
        return cls(at_rest=min(1.0, max(0.0, float(model.intercept_))), words=weights)

    def read(self, words: str) -> float | None:
        """The satisfaction these words of a customer express, 0–1; None where none of them tells."""
        known = [self.words[word] for word in set(words_of(words)) if word in self.words]
        return min(1.0, max(0.0, self.at_rest + sum(known))) if known else None


def _fold(customer: str) -> int:
    return hashlib.sha256(customer.encode()).digest()[0] % _FOLDS


def _lowest_correlation(foretold: Sequence[float], known: Sequence[float]) -> float:
    """The lower end of the 95 % interval of Pearson's correlation (Fisher 1921, z-transform); -1 where one side does not vary."""
    if len(set(foretold)) < 2:
        return -1.0
    r = min(correlation(foretold, known), 1 - 1e-9)
    return tanh(atanh(r) - 1.96 / sqrt(len(known) - 3))


def reaction(messages: Sequence[Message]) -> str:
    """What the customer said after the agent first did something: how they came says nothing of how they were served."""
    acted = next((place for place, message in enumerate(messages) if message.role == "assistant"), len(messages))
    return "\n".join(message.content for message in messages[acted:] if message.role == "user")


def words_of(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
