"""Values in words: whether a text says what an argument holds, however it is written."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from pydantic import JsonValue

from agentgym.traces.matching import canonical

Reader = Callable[[str, date], Iterable[str]]
"""Values that a text means besides those it spells: `next Friday` is 2019-03-08 on the day it is said."""

_NOT_TELLING = re.compile(r"[^\w@.:]+|_")
_EDGES = re.compile(r"(?<![^ ])[.:]+|[.:]+(?= |$)")
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?]+(?=\S)[^.!?\n]+)*[.!?]*")
# The number of a line in a list counts nothing that is wanted.
_LIST_MARK = re.compile(r"^[ \t]*(?:\d{1,2}[.)]|[-*•])[ \t]+", re.MULTILINE)
_NAME_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
# Shared by words that differ in their ending or spelling: theater and theatre, movie and movies.
_STEM = 5
_EVERYWHERE = frozenset({"true", "false", "yes", "no", "none", "null"})


def nothing_else(text: str, today: date) -> Iterable[str]:
    """A `Reader` that finds only what is spelt."""
    return ()


def plain(text: str) -> str:
    """Lower-case words with single spaces and without punctuation, between spaces: `" an inn in new york "`."""
    return f" {' '.join(_EDGES.sub('', _NOT_TELLING.sub(' ', text.casefold())).split())} "


@dataclass(frozen=True, kw_only=True)
class Words:
    """A text that can be asked what it says.   today: the day it is said on."""

    text: str
    today: date
    read: Reader

    def says(self, value: JsonValue) -> bool:
        """Whether the value is spelt here, or read here; a boolean never is."""
        return not isinstance(value, bool) and (self.spells(value) or canonical(value) in self.meant)

    def spells(self, value: JsonValue) -> bool:
        wanted = plain(canonical(value))
        return wanted.strip() != "" and wanted.strip() not in _EVERYWHERE and wanted in self._plain

    def resembles(self, value: JsonValue) -> bool:
        """Whether every word of the value begins like a word here; only for values of letters, one of them at least a stem long."""
        words = plain(canonical(value)).split()
        if not words or not all(word.isalpha() for word in words) or max(map(len, words)) < _STEM:
            return False
        return all(word[:_STEM] in self._stems for word in words)

    @cached_property
    def _plain(self) -> str:
        return plain(without_list_marks(self.text))

    @cached_property
    def meant(self) -> frozenset[str]:
        """What was read, as canonical texts."""
        return frozenset(canonical(value) for value in self.read(without_list_marks(self.text), self.today))

    @cached_property
    def _stems(self) -> frozenset[str]:
        return frozenset(word[:_STEM] for word in self._plain.split())


def leaves(value: JsonValue, path: str = "") -> Iterator[tuple[str, JsonValue]]:
    """Every value that holds no others, with the names on the way to it: `flights.date`; places in lists are left out."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, path)
    elif value is not None:
        yield path, value


def is_telling(value: JsonValue) -> bool:
    """Whether a value says by itself where it comes from: a name, an identifier or an amount, not a small number or a yes."""
    text = canonical(value)
    return len(text) >= 3 and text not in _EVERYWHERE


def label(name: str) -> str:
    """An argument's name as people say it."""
    return " ".join(name_words(name.rpartition(".")[2]))


def name_words(name: str) -> list[str]:
    return [word.lower() for word in _NAME_WORD.findall(name)]


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with its mark, without the numbers of the lines of a list."""
    return [sentence.strip() for sentence in _SENTENCE.findall(without_list_marks(text)) if sentence.strip()]


def without_list_marks(text: str) -> str:
    return _LIST_MARK.sub("", text)
