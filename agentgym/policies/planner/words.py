"""Words, and the cells of a hashed table that pairs of words fall into."""

import re
from collections.abc import Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.uint32]

_WORD = re.compile(r"[a-z0-9']+")
_NAME_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "the",
        "in",
        "at",
        "on",
        "for",
        "to",
        "of",
        "and",
        "or",
        "is",
        "are",
        "am",
        "was",
        "were",
        "be",
        "been",
        "i",
        "you",
        "he",
        "she",
        "it",
        "we",
        "they",
        "me",
        "my",
        "your",
        "our",
        "that",
        "this",
        "those",
        "these",
        "there",
        "what",
        "which",
        "who",
        "when",
        "where",
        "how",
        "can",
        "could",
        "would",
        "will",
        "should",
        "do",
        "does",
        "did",
        "have",
        "has",
        "had",
        "need",
        "want",
        "like",
        "please",
        "find",
        "get",
        "make",
        "book",
        "look",
        "looking",
        "know",
        "tell",
        "let",
        "with",
        "from",
        "by",
        "as",
        "not",
        "no",
        "yes",
        "ok",
        "okay",
        "sure",
        "thanks",
        "thank",
        "great",
        "good",
        "fine",
        "so",
        "if",
        "just",
        "also",
        "any",
        "some",
        "one",
        "more",
        "about",
        "i'd",
        "i'm",
        "it's",
        "that's",
        "what's",
        "up",
        "out",
        "im",
        "them",
        "their",
        "his",
        "her",
        "its",
        "than",
        "but",
        "into",
        "right",
        "correct",
        "think",
        "something",
        "anything",
        "else",
        "sounds",
        "yeah",
        "yep",
        "works",
        "perfect",
        "go",
        "ahead",
    ]
)


def words_of(text: str) -> list[str]:
    """The words of a text, lower-case, in order."""
    return _WORD.findall(text.lower())


@lru_cache(maxsize=65536)
def name_words(name: str) -> tuple[str, ...]:
    """The words inside a name: `Hotels_1.SearchHotel` gives hotels, 1, search, hotel."""
    return tuple(part.lower() for part in _NAME_PART.findall(name))


def content_words(text: str) -> frozenset[str]:
    """The words of a text that carry meaning."""
    return frozenset(words_of(text)) - STOP_WORDS


@lru_cache(maxsize=65536)
def stems_of(words: frozenset[str]) -> frozenset[str]:
    """What the telling ones of these words begin with, so that `leaving` and `leave` are one."""
    return frozenset(word[:4] for word in words if len(word) > 3 and word not in STOP_WORDS)


@lru_cache(maxsize=262144)
def word_id(word: str) -> int:
    """A number for a word, equal in every process; never 0, which stands for no word."""
    return crc32(word.encode()) | 1


def word_ids(words: Sequence[str], *, width: int | None = None) -> Ids:
    """Numbers of words, shape (len(words),), or (width,) cut or filled with 0."""
    if width is None:
        return np.array([word_id(word) for word in words], np.uint32)
    ids = [word_id(word) for word in words[:width]]
    return np.array(ids + [0] * (width - len(ids)), np.uint32)


def crossed(contexts: Ids, words: Ids, *, bits: int) -> NDArray[np.int32]:
    """The cell of every pair of a context word and an option word, of 2**bits.

    contexts: shape (R, C).   words: shape (R, W) or (1, W).   Result: shape (R, C * W).
    Both are hashes already, so a sum mixes them enough.
    """
    cells = contexts[:, :, None] + (words * np.uint32(0x85EBCA77))[:, None, :]
    cells >>= np.uint32(32 - bits)
    return cells.reshape(len(contexts), contexts.shape[1] * words.shape[1]).view(np.int32)
