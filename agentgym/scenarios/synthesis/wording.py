"""What customers say, said otherwise: by rules that change no meaning, in another order, or with the slips of fingers in a hurry."""

import re
from collections.abc import Callable, Iterable

import numpy as np

from agentgym.environments.expressions import mistype

Rephrase = Callable[[str, np.random.Generator], str]
Keeps = Callable[[str, str], bool]

_LONG_AND_SHORT: tuple[tuple[str, str], ...] = (
    ("I am", "I'm"),
    ("I will", "I'll"),
    ("I have got", "I've got"),
    ("I would like", "I'd like"),
    ("do not", "don't"),
    ("does not", "doesn't"),
    ("did not", "didn't"),
    ("is not", "isn't"),
    ("cannot", "can't"),
    ("that is", "that's"),
    ("it is", "it's"),
    ("what is", "what's"),
    ("let us", "let's"),
)
_MANNERS: tuple[tuple[str, str], ...] = (
    ("I want to", "I would like to"),
    ("can you", "could you"),
    ("could you", "could you please"),
    ("I need to", "I have to"),
    ("please", ""),
    ("thanks", "thank you"),
    ("find me", "look for"),
    ("I am looking for", "I am searching for"),
    ("I'm looking for", "I'm searching for"),
    ("yes", "yes, sure"),
    ("okay", "all right"),
)
_FIRST_THEN = re.compile(r"^(If|When|Because|Since|After|Before) ([^,.!?]+), (?!then\b)([^,.!?]+)([.!]?)$")
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?]+(?=\s|$)|\n|$)")
# A sentence that leans on the one before it, or answers a question, stays where it is.
_LEANS = re.compile(
    r"^\s*(?:and|but|or|so|then|also|too|however|yes|yeah|no|ok|okay|sure|thanks|thank|that|this|these|those|it|its|they|them|he|she|there"
    r"|one|both|first|second|finally|actually|sorry|hi|hello|hey|great|perfect|please|otherwise|instead)\b"
    r"|\b(?:it|that|this|they|them|there|one|ones|those|these|same|too|also|instead|then)\b",
    re.IGNORECASE,
)
_PLAIN_WORD = re.compile(r"\b[a-z]{4,}\b")
_FILLERS: tuple[str, ...] = ("Um, ", "Well, ", "So, ", "Ok so ", "Hmm, ", "Hey, ", "Uh, ")


def paraphrased(words: str, rng: np.random.Generator, *, keeps: Keeps, rate: float) -> str:
    """Short forms and long ones, manners, and the order of clauses, each that fits at `rate`; a change that `keeps` refuses is not made."""
    for rule in _rules():
        if rng.random() < rate:
            changed = rule(words, rng)
            words = changed if changed != words and keeps(words, changed) else words
    return words


def reordered(words: str, rng: np.random.Generator, *, keeps: Keeps) -> str:
    """Two neighbouring sentences that do not lean on each other change places; the words themselves where there are none."""
    sentences = _SENTENCE.findall(words)
    free = [at for at in range(len(sentences) - 1) if _may_swap(sentences[at], sentences[at + 1], at)]
    if not free or "".join(sentences) != words:
        return words
    at = free[int(rng.integers(len(free)))]
    first, second = sentences[at].strip(), sentences[at + 1].strip()
    second = second if second.endswith((".", "!", "?")) else f"{second}."
    changed = " ".join([*(each.strip() for each in sentences[:at]), second, first, *(each.strip() for each in sentences[at + 2 :])])
    return changed if keeps(words, changed) else words


def noisy(words: str, rng: np.random.Generator, *, keeps: Keeps, rate: float) -> str:
    """Typing errors in plain words at `rate` each; small letters, a missing full stop and a filler, each in a share `rate` of messages."""
    changed = words
    for match in reversed(list(_PLAIN_WORD.finditer(words))):
        if rng.random() < rate:
            typed = changed[: match.start()] + mistype(match[0], rng) + changed[match.end() :]
            changed = typed if keeps(words, typed) else changed
    for slip in (str.lower, lambda text: text.rstrip("."), lambda text: _filled(text, rng)):
        if rng.random() < rate:
            slipped = slip(changed)
            changed = slipped if keeps(words, slipped) else changed
    return changed


def _may_swap(first: str, second: str, at: int) -> bool:
    """A question may have been asked before the first one, which then answers it by its place."""
    is_plain = not _LEANS.search(second) and not _LEANS.search(first) and "?" not in first + second
    return is_plain and len(first.split()) > 2 and len(second.split()) > 2


def _filled(words: str, rng: np.random.Generator) -> str:
    filler = _FILLERS[int(rng.integers(len(_FILLERS)))]
    is_name = len(words) < 2 or not words[1].islower() or words.startswith("I ")
    return filler + (words if is_name else words[0].lower() + words[1:])


def _rules() -> Iterable[Rephrase]:
    for long, short in _LONG_AND_SHORT:
        yield _either(long, short)
    for plain, polite in _MANNERS:
        yield _one_way(plain, polite)
    yield _clauses_turned


def _either(long: str, short: str) -> Rephrase:
    def swap(words: str, rng: np.random.Generator) -> str:
        has_long = re.search(rf"(?<!\w){re.escape(long)}(?!\w)", words, re.IGNORECASE)
        return _put(words, long, short) if has_long else _put(words, short, long)

    return swap


def _one_way(old: str, new: str) -> Rephrase:
    """Not where a word that it adds is there already: nobody says please twice."""
    added = [word for word in re.findall(r"[\w']+", new) if word not in old.split()]
    said = re.compile(rf"(?<![\w'])(?:{'|'.join(map(re.escape, added))})(?![\w'])", re.IGNORECASE) if added else None
    return lambda words, rng: words if said and said.search(words) else _put(words, old, new)


def _put(words: str, old: str, new: str) -> str:
    """The first of `old` replaced; a short form at the end of a sentence (`that's all it's`) is no English, so that one stays."""
    pattern = re.compile(rf"(?<![\w']){re.escape(old)}(?![\w'])(?!\s*[.!?,]|\s*$)", re.IGNORECASE)
    put = pattern.sub(lambda match: new[:1].upper() + new[1:] if match[0][:1].isupper() else new, words, count=1)
    if put == words:
        return words
    put = re.sub(r" {2,}", " ", put).strip()
    return put[:1].upper() + put[1:] if words[:1].isupper() else put


def _clauses_turned(words: str, rng: np.random.Generator) -> str:
    """`If A, B.` as `B if A.`"""
    match = _FIRST_THEN.match(words)
    if match is None or match[3].split()[0].lower() in ("it", "that", "this", "they"):
        return words
    return f"{match[3][:1].upper()}{match[3][1:]} {match[1].lower()} {match[2]}{match[4]}"
