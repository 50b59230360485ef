"""How like two replies are: by their words, weighted by how rare they are; or by a sentence encoder, where one is named."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from itertools import pairwise
from math import log, sqrt
from typing import TYPE_CHECKING, Any

from agentgym.errors import Unavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORD = re.compile(r"\w+(?:[.:@'-]\w+)*")


@dataclass(frozen=True)
class Similarity:
    """Cosine of two texts, 0–1.

    By words: TF-IDF of words and of pairs of neighbours, sublinear in their counts (Salton and Buckley 1988). Without documents every word
    weighs the same.   rarity: by term.   unseen: of a term that no document had.
    encoder: the folder or the hub's name of a sentence-transformers model, which takes the place of words.
    """

    rarity: Mapping[str, float] = field(default_factory=dict)
    unseen: float = 1.0
    encoder: str | None = None

    @classmethod
    def fit(cls, documents: Iterable[str], *, encoder: str | None = None) -> "Similarity":
        """With the rarity of terms among these documents: log((1 + documents) ÷ (1 + those with the term)) + 1."""
        sets = [set(_terms(document)) for document in documents]
        seen = Counter(term for terms in sets for term in terms)
        rarity = {term: log((1 + len(sets)) / (1 + count)) + 1 for term, count in seen.items()}
        return cls(rarity, log(1 + len(sets)) + 1, encoder)

    def between(self, left: str, right: str) -> float:
        """1 for equal texts, 0 where they share nothing, or where one of them says nothing."""
        if self.encoder is not None and left.strip() and right.strip():
            one, other = _encode(self.encoder, (left, right))
            return min(1.0, max(0.0, float(one @ other)))
        one_vector, other_vector = self._vector(left), self._vector(right)
        shared = sum(weight * other_vector.get(term, 0.0) for term, weight in one_vector.items())
        lengths = sqrt(sum(weight**2 for weight in one_vector.values()) * sum(weight**2 for weight in other_vector.values()))
        # Rounding may carry two equal texts a little above 1.
        return min(1.0, shared / lengths) if lengths else 0.0

    def of_replies(self, replies: Sequence[str], recorded: Sequence[str]) -> float:
        """How well some replies match the recorded ones, 0–1; 0 where either side is empty.

        F1 of precision, the mean over replies of the recorded one that is most like it, and recall, the same the other way round
        (Zhang et al. 2020, BERTScore, with whole replies in place of tokens): neither saying little nor saying everything pays.
        """
        if not replies or not recorded:
            return 0.0
        likeness = [[self.between(reply, other) for other in recorded] for reply in replies]
        precision = sum(map(max, likeness)) / len(replies)
        recall = sum(max(row[place] for row in likeness) for place in range(len(recorded))) / len(recorded)
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    def _vector(self, text: str) -> dict[str, float]:
        counts = Counter(_terms(text))
        return {term: (1 + log(count)) * self.rarity.get(term, self.unseen) for term, count in counts.items()}


BY_EQUAL_WORDS = Similarity()
"""Where there are no documents to tell which words are rare."""


def _terms(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    return [*words, *(f"{first} {second}" for first, second in pairwise(words))]


def _encode(encoder: str, texts: tuple[str, str]) -> "NDArray[Any]":
    """Unit vectors, shape (2, width)."""
    vectors: NDArray[Any] = _model(encoder).encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    return vectors


@lru_cache(maxsize=2)
def _model(encoder: str) -> Any:
    try:
        # An extra: the package asks for it only where a reward names an encoder.
        package = import_module("sentence_transformers")
    except ImportError as error:
        raise Unavailable(
            f"A reply is encoded by sentence-transformers; {encoder!r} was asked for and the package is not installed. "
            "Install agentgym[encoder], or leave the encoder out to compare words."
        ) from error
    return package.SentenceTransformer(encoder)
