"""How people put things: `[this|that]` alternatives, and the slips of their fingers."""

import re
from collections.abc import Sequence

import numpy as np

from agentgym.environments.expressions import mistype

_INNERMOST = re.compile(r"\[([^\[\]]*)\]")
_GAP = re.compile(r" (?=[.,!?])")
_PLAIN_WORD = re.compile(r"\b[a-z]{4,}\b")


def phrase(choices: Sequence[str], rng: np.random.Generator) -> str:
    """One of the phrases, with every `[this|that]` in it decided; an empty alternative leaves its place out."""
    words = choices[int(rng.integers(len(choices)))]
    while alternatives := _INNERMOST.search(words):
        options = alternatives[1].split("|")
        words = words[: alternatives.start()] + options[int(rng.integers(len(options)))] + words[alternatives.end() :]
    return _GAP.sub("", " ".join(words.split()))


def with_typos(words: str, rate: float, rng: np.random.Generator) -> str:
    """The words, each plain lower-case one of four letters or more mistyped at `rate`."""
    return _PLAIN_WORD.sub(lambda word: mistype(word[0], rng) if rng.random() < rate else word[0], words)
