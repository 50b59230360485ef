"""How satisfied customers sound, by words that recorded customers used: learned from what they scored, or how their cases ended."""

import re
from collections.abc import Sequence
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


class SatisfactionWords(BaseModel):
    """A lexicon: what each word adds to the satisfaction that is expected of who says it.

    at_rest: of a customer with none of the words, 0–1.   words: by word, in the same unit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    at_rest: float = Field(ge=0, le=1)
    words: dict[str, float]

    @classmethod
    def fit(cls, said: Sequence[str], satisfaction: Sequence[float]) -> Self:
        """Learns from what each customer said and how satisfied they were, 0–1: ridge regression on which words occur.

        Raises InsufficientData on fewer than 30 customers, or where all were as satisfied.
        """
        if len(said) < FEWEST_CUSTOMERS or len(set(satisfaction)) < 2:
            raise InsufficientData(
                f"Words of satisfaction are learned from at least {FEWEST_CUSTOMERS} customers who were not all as satisfied; got "
                f"{len(said)} with {len(set(satisfaction))} levels. Bring conversations with scores or outcomes of both kinds."
            )
        import numpy as np
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import Ridge

        vectorizer = CountVectorizer(analyzer=words_of, binary=True, min_df=_FEWEST_SPEAKERS, max_features=_MOST_WORDS)
        try:
            rows = vectorizer.fit_transform(said)
        except ValueError as error:
            raise InsufficientData(
                f"Words of satisfaction are those {_FEWEST_SPEAKERS} customers or more use; {len(said)} customers share none. "
                "Bring more conversations."
            ) from error
        model = Ridge(alpha=_PENALTY).fit(rows, np.asarray(satisfaction, dtype=float))
        weights = {str(word): round(float(model.coef_[place]), 6) for word, place in sorted(vectorizer.vocabulary_.items())}
        return cls(at_rest=min(1.0, max(0.0, float(model.intercept_))), words=weights)

    def read(self, words: str) -> float | None:
        """The satisfaction these words of a customer express, 0–1; None where none of them tells."""
        known = [self.words[word] for word in set(words_of(words)) if word in self.words]
        return min(1.0, max(0.0, self.at_rest + sum(known))) if known else None


def reaction(messages: Sequence[Message]) -> str:
    """What the customer said after the agent first did something: how they came says nothing of how they were served."""
    acted = next((place for place, message in enumerate(messages) if message.role == "assistant"), len(messages))
    return "\n".join(message.content for message in messages[acted:] if message.role == "user")


def words_of(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
