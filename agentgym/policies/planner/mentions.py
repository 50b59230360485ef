"""Where values stand in the words of a message: what normalisers find, capitalised spans, known values and short runs of words."""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import NamedTuple

from agentgym.policies.planner.gazetteer import Gazetteer
from agentgym.policies.planner.normalisers import TEXT, Found, found_values
from agentgym.policies.planner.slots import same_value
from agentgym.policies.planner.words import STOP_WORDS, Ids, word_ids, words_of

CONTEXT_WORDS = 14
_LONGEST_RUN, _LONGEST_KNOWN = 4, 6

ALIASES: dict[str, str] = {
    "sf": "San Francisco", "sfo": "San Francisco", "san fran": "San Francisco", "nyc": "New York", "ny": "New York",
    "new york city": "New York", "la": "Los Angeles", "lax": "Los Angeles", "philly": "Philadelphia", "vegas": "Las Vegas",
    "dc": "Washington", "washington dc": "Washington", "washington d.c": "Washington", "chi-town": "Chicago", "atl": "Atlanta",
    "sd": "San Diego", "vc": "Vancouver", "uk": "United Kingdom", "us": "United States", "usa": "United States",
}  # fmt: skip
"""Short names people use for long ones; add your own."""


class Mention(NamedTuple):
    """A value in the words of a message.

    key: equal for equal values.   context: hashed words around it, shape (CONTEXT_WORDS,).   near: the words around it.   lead_in: the word
    right before it; empty where it begins the text.
    is_loose: nothing but a run of small words, worth a look only while it is fresh.
    """

    kind: str
    key: str
    value: str
    start: int
    end: int
    context: Ids
    near: frozenset[str]
    lead_in: str
    is_capitalised: bool
    is_loose: bool


_SPAN = re.compile(
    r"(?:[A-Z][\w'’\.&-]*|\d+)(?:(?: |, | - )(?:(?:of|the|and|de|la|in|at|on|to|for|a|&|'n'|del|von|No|-|/) ){0,2}(?:[A-Z0-9][\w'’\.&-]*))*"
)
_TOKEN = re.compile(r"[A-Za-z0-9'’\.\-&]+[A-Za-z0-9]|[A-Za-z0-9]")
_SPLIT = re.compile(r" (?:in|at|on|to|for|from|by|and) ")
_SENTENCE_END = re.compile(r"[a-z][.?!] ")
_PUNCTUATION = re.compile(r"[.?!,;:]")
_EDGE = " .,?!'’-"


def find_mentions(text: str, *, is_user: bool, question: tuple[str, ...], gazetteer: Gazetteer, today: date) -> list[Mention]:
    """Every value the text may mean, in no particular order; the same stretch may be found as several kinds.

    question: words of the question it answers.
    """
    lower = text.lower()
    spans = {(found.kind, found.start, found.value): found for found in _spans(text, lower, is_user, gazetteer, today)}
    return [_mention(found, text, lower, is_user, question, gazetteer) for found in spans.values()]


def _mention(found: Found, text: str, lower: str, is_user: bool, question: tuple[str, ...], gazetteer: Gazetteer) -> Mention:
    before = words_of(lower[max(0, found.start - 40) : found.start])[-4:]
    after = words_of(lower[found.end : found.end + 30])[:2]
    key = same_value(found.value)
    is_capitalised = text[found.start : found.start + 1].isupper()
    return Mention(
        kind=found.kind,
        key=key,
        value=found.value,
        start=found.start,
        end=found.end,
        context=_context(before, after, key, is_user, question),
        near=frozenset(before + after).union(question),
        lead_in=before[-1] if before else "",
        is_capitalised=is_capitalised,
        is_loose=found.kind == TEXT and not is_capitalised and key not in gazetteer.names,
    )


def _context(before: list[str], after: list[str], key: str, is_user: bool, question: tuple[str, ...]) -> Ids:
    first, second, third, fourth = ["^"] * (4 - len(before)) + before
    next_word, next_but_one = (*after, "$", "$")[:2]
    words = (f"before:{fourth}", f"before:{third} {fourth}", f"near:{third}", f"near:{second}", f"near:{first}", f"after:{next_word}",
             f"after:{next_word} {next_but_one}", f"value:{key[:20]}", "by:user" if is_user else "by:agent",
             *(f"asked:{word}" for word in question[-5:]))  # fmt: skip
    return word_ids(words, width=CONTEXT_WORDS)


def question_words(text: str) -> tuple[str, ...]:
    """The last few telling words of the question a text ends with; empty where it asks nothing."""
    if "?" not in text:
        return ()
    asked = next((part for part in reversed(re.split(r"[.!?]\s+|\?", text)) if part.strip()), "")
    return tuple(word for word in words_of(asked) if word not in STOP_WORDS)[-6:]


def _spans(text: str, lower: str, is_user: bool, gazetteer: Gazetteer, today: date) -> Iterator[Found]:
    yield from found_values(text, today)
    for start, end in _capitalised_spans(text):
        yield from _text_span(text, start, end, gazetteer.names)
    yield from _runs(text, lower, is_user, gazetteer.names)


def _text_span(text: str, start: int, end: int, names: Mapping[str, str]) -> Iterator[Found]:
    """The span without its ragged edges, as its full or usual name where it has one."""
    value = text[start:end]
    start += len(value) - len(value.lstrip(_EDGE))
    value = value.strip(_EDGE)
    if len(value) > 1:
        key = value.lower()
        yield Found(TEXT, ALIASES.get(key) or names.get(key) or value, start, start + len(value))


def _capitalised_spans(text: str) -> Iterator[tuple[int, int]]:
    """Runs of capitalised words, and the parts they may have to be cut into."""
    for match in _SPAN.finditer(text):
        start, end, span = match.start(), match.end(), match[0]
        if span.lower().strip(".,'") in STOP_WORDS:
            continue
        yield start, end
        if " " in span:
            yield start + span.index(" ") + 1, end
        for cut in _SPLIT.finditer(span):
            yield start, start + cut.start()
            yield start + cut.end(), end
        sentence = _SENTENCE_END.search(span)
        if sentence:
            yield start, start + sentence.start() + 1
            yield start + sentence.end(), end
        if ", " in span:
            yield start, start + span.index(", ")


def _runs(text: str, lower: str, is_user: bool, names: Mapping[str, str]) -> Iterator[Found]:
    """Known values anywhere; in the customer's words also every run of up to four words inside a clause."""
    tokens = [(match.start(), match.end()) for match in _TOKEN.finditer(text)]
    for first, (start, _) in enumerate(tokens):
        is_content = is_user and lower[start : tokens[first][1]] not in STOP_WORDS
        for length, (_, end) in enumerate(tokens[first : first + _LONGEST_KNOWN], start=1):
            key = lower[start:end]
            if key in names or key in ALIASES:
                yield from _text_span(text, start, end, names)
            elif is_content and length <= _LONGEST_RUN:
                last = tokens[first + length - 1][0]
                if lower[last:end] not in STOP_WORDS and not _PUNCTUATION.search(key.rstrip(".")):
                    yield from _text_span(text, start, end, names)
