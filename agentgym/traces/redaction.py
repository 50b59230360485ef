"""Replaces personal data by placeholders before anything is stored, so that what is learned from is not about anybody.

Equal values get equal placeholders, inside a conversation and across all that are redacted with one secret: an e-mail in the customer's
words is still the one in the call and in the tool's result, and copying is learned as before. Placeholders come from the secret by
HMAC-SHA256, so nobody without it can look them up by hashing guesses. Redacting what was redacted changes nothing.

Not covered: names, unless `find_names` finds them; identifiers of your own systems, such as order numbers, which tools need as they are;
keys of JSON objects; what the tools themselves declare.
"""

import hmac
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from pydantic import JsonValue

from agentgym.errors import InvalidInput
from agentgym.tools import Tool
from agentgym.traces.importers import Record, RejectedLine
from agentgym.traces.personal_data import (
    CUSTOMER_KIND,
    NAME_KIND,
    Found,
    Kind,
    find_all,
    find_named,
    holds_stand_in,
    is_told_of_numbers,
    mentions,
)

SECRET_BYTES = 32
# One or two are enough; a text that is never done would hold up a whole log.
MOST_PASSES = 8
# Placeholders are made again when they are forgotten; this bounds what a long log holds in memory.
REMEMBERED_PLACEHOLDERS = 100_000
_REMEMBERED_TOOLS = 4_096
_SHORTEST_NUMBER = 10**6

NameFinder = Callable[[str], Iterable[tuple[int, int]]]
"""Where names of people stand in a text: start and end of each, apart and in order."""


def _nobody(_: Record) -> bool:
    return False


class Redactor:
    """Redacts conversations of one workspace; `counts` says how many values of each kind were replaced so far.

    secret: of at least 32 bytes; another one gives other placeholders.   is_made_up: conversations of nobody, which stay as they are.
    find_names: names are replaced too where this finds them.
    """

    def __init__(self, secret: bytes, *, is_made_up: Callable[[Record], bool] = _nobody, find_names: NameFinder | None = None) -> None:
        if len(secret) < SECRET_BYTES:
            raise InvalidInput(f"Placeholders need a secret of at least {SECRET_BYTES} bytes; got {len(secret)}. Make a new one.")
        self.counts: Counter[str] = Counter()
        self._secret, self._is_made_up, self._find_names = secret, is_made_up, find_names
        self._placeholder = lru_cache(maxsize=REMEMBERED_PLACEHOLDERS)(self._make_placeholder)
        self._declared: dict[int, tuple[Tool, frozenset[str]]] = {}

    def __reduce__(self) -> tuple[Callable[..., "Redactor"], tuple[Any, ...]]:
        """For another process: one that gives the same placeholders, and begins to count anew."""
        return partial(Redactor, is_made_up=self._is_made_up, find_names=self._find_names), (self._secret,)

    @property
    def finds_names(self) -> bool:
        return self._find_names is not None

    def redact(self, record: Record) -> Record:
        """The conversation without personal data: in words, arguments, results, tags, ids, and wherever else a broken log puts it."""
        if self._is_made_up(record):
            return record
        conversation = _Conversation(self, frozenset().union(*map(self._declared_by, record.tools)))
        customer = record.fields.get("customer_id")
        pseudonym = {"customer_id": self._pseudonym(customer)} if isinstance(customer, str) else {}
        fields = record.fields | pseudonym
        texts = _Texts(fields)
        texts.rewrite(conversation.rewritten_text)
        for _ in range(MOST_PASSES):
            before = self.counts.total()
            if conversation.mentions:
                texts.rewrite(conversation.without_mentions)
            if self.counts.total() == before:
                break
            texts.rewrite(conversation.rewritten_text)
        return replace(record, fields=texts.rewritten())

    def redact_rejected(self, line: RejectedLine) -> RejectedLine:
        """A line that holds no conversation, whose reasons may repeat some of it."""
        conversation_id = None if line.conversation_id is None else self.redact_text(line.conversation_id)
        return replace(line, conversation_id=conversation_id, reasons=tuple(map(self.redact_text, line.reasons)))

    def redact_text(self, text: str) -> str:
        """The text without personal data."""
        return _Conversation(self, frozenset()).rewritten_text(text, "")

    def stand_in(self, kind: Kind, value: str, canonical: str, times: int = 1) -> str:
        """What stands for the value, spelled as the value is; counted as often as it stands there."""
        self.counts[kind.name] += times
        return self._placeholder(kind, value, canonical)

    def names_in(self, text: str) -> list[Found]:
        """Names of people, where somebody finds them."""
        spans = self._find_names(text) if self._find_names else ()
        values = [(text[start:end], start, end) for start, end in spans if not holds_stand_in(text[start:end])]
        return [Found(kind=NAME_KIND, value=value, canonical=value.lower(), start=start, end=end) for value, start, end in values]

    def _pseudonym(self, customer: str) -> str:
        canonical = CUSTOMER_KIND.canonical(customer)
        return customer if canonical is None else self.stand_in(CUSTOMER_KIND, customer, canonical)

    def _make_placeholder(self, kind: Kind, value: str, canonical: str) -> str:
        """The first of a hundred that is not taken for personal data itself, as some random numbers are; the last where all are."""
        placeholder = value
        for attempt in range(100):
            digest = hmac.digest(self._secret, f"{kind.name}\0{canonical}\0{attempt}".encode(errors="surrogatepass"), "sha256")
            placeholder = kind.stand_in(value, digest)
            if not find_all(placeholder):
                break
        return placeholder

    def _declared_by(self, tool: Tool) -> frozenset[str]:
        """Values that the tool's schema lists: they are the schema's, not a customer's, and a call with another one would break it."""
        known = self._declared.get(id(tool))
        if known is None:
            if len(self._declared) >= _REMEMBERED_TOOLS:
                self._declared.clear()
            # The tool is kept beside its values, so that its id stays its own.
            known = self._declared[id(tool)] = (tool, frozenset(_listed_values(tool.parameters)))
        return known[1]


class _Conversation:
    """What was replaced in one conversation.   mentions: by a value's spelling in lower case, what stands for it there."""

    def __init__(self, redactor: Redactor, declared: frozenset[str]) -> None:
        self._redactor, self._declared = redactor, declared
        self.mentions: dict[str, tuple[Kind, str]] = {}
        # What is looked at again and again until nothing is found: texts, with the names of their fields, that hold nothing.
        self._sound: set[tuple[str, str]] = set()

    def rewritten_text(self, text: str, name: str, times: int = 1) -> str:
        """The text without what can be told as personal data by its form, the words before it, or the `name` of its field.

        times: how often it stands in the conversation. It is looked at again until nothing is found: what stands beside a value may be told
        for what it is only when that has gone.
        """
        if (text, name) in self._sound or (self._declared and text.lower() in self._declared):
            return text
        for _ in range(MOST_PASSES):
            found = self._found_in(text, name)
            if not found:
                self._sound.add((text, name))
                break
            text = _put_in(text, [(each.start, each.end, self._stand_in(each, times)) for each in found])
        return text

    def without_mentions(self, text: str, _: str, times: int) -> str:
        """The text without the values that were told by their surroundings elsewhere, and are mentioned here without them."""
        lowered = text.lower()
        spellings = [spelling for spelling in self.mentions if spelling in lowered]
        if not spellings or lowered in self._declared:
            return text
        return _put_in(
            text, [(start, end, self._mentioned(text[start:end], times)) for start, end in _mentions_in(text, lowered, spellings)]
        )

    def _found_in(self, text: str, name: str) -> Sequence[Found]:
        """Personal data that the tools do not declare."""
        found: Sequence[Found] = find_all(text)
        if not found and name and (named := find_named(text, name)):
            found = (named,)
        found = _apart(found, self._redactor.names_in(text)) if self._redactor.finds_names else found
        return [each for each in found if each.value.lower() not in self._declared] if self._declared else found

    def _stand_in(self, found: Found, times: int) -> str:
        if found.kind.is_spread:
            self.mentions |= {spelling.lower(): (found.kind, found.canonical) for spelling in mentions(found)}
        return self._redactor.stand_in(found.kind, found.value, found.canonical, times)

    def _mentioned(self, text: str, times: int) -> str:
        """Case is ignored by more rules than `lower` knows; what it does not know stays."""
        known = self.mentions.get(text.lower())
        return text if known is None else self._redactor.stand_in(known[0], text, known[1], times)


class _Texts:
    """A copy of a JSON value, whose texts and whose numbers that are long enough for personal data can be rewritten.

    Each is looked at once with the name of its field, wherever it stands.
    """

    def __init__(self, value: Any) -> None:
        self._places: dict[tuple[str | int, str], list[tuple[Any, Any]]] = defaultdict(list)
        self._copy = self._copied(value, "")
        self._now = {key: str(key[0]) for key in self._places}

    def rewrite(self, change: Callable[[str, str, int], str]) -> None:
        """change: from a text, the name of its field, and how often it stands there."""
        for key, text in self._now.items():
            value, name = key
            is_text = isinstance(value, str)
            changed = change(text, name if is_text or is_told_of_numbers(name) else "", len(self._places[key]))
            # A number stays one.
            if changed is not text and (is_text or changed.isdecimal()):
                self._now[key] = changed

    def rewritten(self) -> Any:
        """The copy with the texts as they are now."""
        for key, text in self._now.items():
            value = key[0]
            if text != str(value):
                for container, place in self._places[key]:
                    container[place] = text if isinstance(value, str) else int(text)
        return self._copy

    def _copied(self, value: Any, name: str) -> Any:
        """The value, copied as far as it can hold texts; name: of the field it stands in."""
        if isinstance(value, dict):
            copy: Any = dict(value)
            items: Iterable[tuple[Any, Any]] = value.items()
        elif isinstance(value, list):
            copy, items = list(value), enumerate(value)
        else:
            return value
        is_list = isinstance(value, list)
        for place, item in items:
            field = name if is_list else str(place)
            if isinstance(item, str) or _is_number(item):
                self._places[item, field].append((copy, place))
            elif isinstance(item, dict | list):
                copy[place] = self._copied(item, field)
        return copy


def _put_in(text: str, replacements: Sequence[tuple[int, int, str]]) -> str:
    """replacements: start, end and what stands there then, in order."""
    parts, at = list[str](), 0
    for start, end, words in replacements:
        parts += (text[at:start], words)
        at = end
    return "".join((*parts, text[at:]))


def _mentions_in(text: str, lowered: str, spellings: Sequence[str]) -> list[tuple[int, int]]:
    """Where these stand alone, apart and in order; of those that begin at one place the longest."""
    if not text.isascii():
        # Case has more rules there than one letter for another.
        either = "|".join(map(re.escape, sorted(spellings, key=len, reverse=True)))
        return [match.span() for match in re.finditer(rf"(?<![\w@+-])(?:{either})(?![\w@-])", text, re.IGNORECASE)]
    places = sorted((start, -len(spelling)) for spelling in spellings for start in _places_of(spelling, lowered))
    found, at = list[tuple[int, int]](), 0
    for start, length in places:
        if start >= at:
            at = start - length
            found.append((start, at))
    return found


def _places_of(spelling: str, text: str) -> Iterable[int]:
    start = text.find(spelling)
    while start >= 0:
        if not _JOINED_BEFORE.match(text, start - 1 if start else len(text)) and not _JOINED_AFTER.match(text, start + len(spelling)):
            yield start
        start = text.find(spelling, start + 1)


_JOINED_BEFORE, _JOINED_AFTER = re.compile(r"[\w@+-]"), re.compile(r"[\w@-]")


def _apart(found: Sequence[Found], names: Sequence[Found]) -> Sequence[Found]:
    """Both, in order; a name inside other personal data is left to that."""
    if not names:
        return found
    free = [name for name in names if all(name.end <= other.start or other.end <= name.start for other in found)]
    return sorted((*found, *free), key=lambda each: each.start)


def _is_number(value: object) -> bool:
    """Whether it is long enough for a telephone or card number."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= _SHORTEST_NUMBER


def _listed_values(schema: JsonValue) -> Iterable[str]:
    """Texts that a JSON Schema allows or falls back to by name, in lower case."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("enum", "const", "default"):
                listed = value if isinstance(value, list) else [value]
                yield from (text.lower() for text in listed if isinstance(text, str))
            else:
                yield from _listed_values(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _listed_values(item)
