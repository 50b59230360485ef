"""How much a word tells of what is talked about."""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False, slots=True)
class WordWeights:
    """The weight of each word; `unseen` is that of a word never met."""

    weights: Mapping[str, float] = field(default_factory=dict)
    unseen: float = 3.0

    def usual_first(self, *, least_conversations: int) -> list[str]:
        """The words met in so many conversations, the most usual first."""
        rarest = self.unseen - math.log(least_conversations) + 1e-9
        return sorted((word for word, weight in self.weights.items() if weight <= rarest), key=lambda word: (self.weights[word], word))

    def alike(self, words: frozenset[str], others: frozenset[str]) -> float:
        """Cosine of two sets of words, each word as long as its weight."""
        shared = words & others
        if not shared:
            return 0.0
        return self._square(shared) / math.sqrt(self._square(words) * self._square(others))

    def _square(self, words: frozenset[str]) -> float:
        return sum(self.weights.get(word, self.unseen) ** 2 for word in sorted(words))


def learn_word_weights(conversations: Collection[Collection[str]]) -> WordWeights:
    """Inverse document frequency of every word in two conversations or more (Spärck Jones 1972), each given as its words."""
    count = 1 + len(conversations)
    seen = Counter(word for words in conversations for word in set(words))
    weights = {word: math.log(count / times) for word, times in sorted(seen.items()) if times > 1}
    return WordWeights(weights, math.log(count))
