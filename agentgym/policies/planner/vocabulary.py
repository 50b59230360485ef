"""The words that mean something to the planner, and what a customer who mistyped one of them meant."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from agentgym.policies.planner.words import words_of

_SHORTEST_MENDED = 4


class Vocabulary:
    """Known words, the most usual first.

    A word nobody used before teaches nothing, yet a policy that learns from few conversations would take it for the reason of what
    followed; so it is read as the most usual known word that is one slip of the finger away, or left out. Without known words, all are
    kept as they are.
    """

    def __init__(self, usual_first: Sequence[str] = ()) -> None:
        self._known = frozenset(usual_first)
        self._meant: dict[str, str] = {}
        for word in usual_first:
            if len(word) >= _SHORTEST_MENDED:
                for typed in (word, *_shortened(word)):
                    self._meant.setdefault(typed, word)
        self.read = lru_cache(maxsize=16384)(self._read)

    def _read(self, text: str) -> tuple[str, ...]:
        """The known words of a text, in order; lower-case."""
        words = words_of(text)
        return tuple(words) if not self._known else tuple(word for word in map(self._word, words) if word is not None)

    def _word(self, typed: str) -> str | None:
        if typed in self._known:
            return typed
        if len(typed) < _SHORTEST_MENDED:
            return None
        return next((self._meant[form] for form in (typed, *_shortened(typed)) if form in self._meant), None)


def _shortened(word: str) -> Iterator[str]:
    """The word without one of its letters. Two words one slip apart, two letters swapped, one wrong, missing or too many, share a form."""
    return (word[:place] + word[place + 1 :] for place in range(len(word)))
