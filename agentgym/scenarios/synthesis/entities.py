"""Who and what a conversation is about, under other names: people, e-mail addresses and identifiers, the same everywhere in it."""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from agentgym.scenarios.synthesis.rewriting import replacer, rewritten, strings_with_keys
from agentgym.traces.trace import Trace

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_IDENTIFIER = re.compile(r"(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*")
_NOT_AN_IDENTIFIER = re.compile(r"\d+(?:st|nd|rd|th|am|pm|d|k|h|hr|hrs|min|mins|s)|\d{4}-\d{2}-\d{2}\w*", re.IGNORECASE)
_LEAST_IDENTIFIER, _LEAST_DIGITS = 5, 4
_YEAR = re.compile(r"(?:19|20)\d\d")
_PERSON = re.compile(
    r"(?:^|_)(?:first|last|full|recipient|customer|passenger|guest|contact|patient|employee|agent)_?(?:account_)?name$|^name$"
)
_PERSONS_NAME = re.compile(r"[A-Z][a-z]+(?: [A-Z][a-z]+){0,2}")
_RUN = re.compile(r"[A-Za-z]+|\d+|[^A-Za-z\d]+")
# Names that are also words: replaced only where they are written as names.
_ALSO_WORDS = frozenset((
    "Al", "An", "Art", "Bill", "Dawn", "Eve", "Faith", "Grace", "Hope", "Jack", "Joy", "June", "King", "Long", "Mark", "May", "Page",
    "Pat", "Rich", "Rose", "Sue", "Summer", "Will", "Young",
))  # fmt: skip

_NAMES: tuple[str, ...] = (
    "Adela", "Amos", "Anouk", "Bastian", "Bela", "Brigitte", "Carlos", "Celine", "Dario", "Delia", "Edgar", "Elif", "Emil", "Fabian",
    "Fiona", "Gita", "Gustav", "Hana", "Hugo", "Ines", "Ivo", "Jana", "Joaquin", "Kaja", "Karim", "Lara", "Levi", "Lotte", "Magnus",
    "Malik", "Mira", "Nils", "Noemi", "Odette", "Otis", "Petra", "Quentin", "Rania", "Ruben", "Selma", "Silas", "Tamar", "Teo",
    "Ulla", "Vera", "Viggo", "Wanda", "Xenia", "Yusuf", "Zora", "Abbott", "Almeida", "Bakker", "Barros", "Castell", "Conti", "Drake",
    "Eklund", "Falk", "Farouk", "Gallo", "Greer", "Hauser", "Holm", "Ibarra", "Jonker", "Keller", "Kovacs", "Lindqvist", "Lopes",
    "Marchetti", "Meyer", "Nakata", "Norling", "Obuya", "Olsen", "Pavlov", "Quispe", "Ramos", "Rinaldi", "Sandoval", "Sorensen",
    "Tran", "Ueda", "Vasquez", "Vogel", "Wendt", "Yildiz", "Zeman",
)  # fmt: skip


def rename_entities(trace: Trace, rng: np.random.Generator) -> Trace:
    """The conversation with other people, addresses and identifiers; equal ones stay equal, different ones different.

    Identifiers keep their form: letters that are a name become the other name, digits other digits. Dates, amounts and what a tool's schema
    lists stay. Nothing changes where there is nothing to rename.
    """
    renamed = renaming(trace, rng)
    return rewritten(trace, replacer(renamed, exact_case=_ALSO_WORDS & renamed.keys()))


def renaming(trace: Trace, rng: np.random.Generator) -> dict[str, str]:
    """What each entity of the trace is called instead; no new name occurs in the trace."""
    everything = _everything(trace)
    names = _renamed_names(_names_of(trace), everything, rng)
    renamed = dict(names)
    digits: dict[str, str] = {}
    for entity in sorted(_identifiers_of(trace)):
        for _ in range(20):
            new = _renamed_identifier(entity, names, digits, everything, rng)
            if new.casefold() not in {other.casefold() for other in renamed.values()} and new.casefold() not in everything:
                renamed[entity] = new
                break
    return renamed | digits


def _names_of(trace: Trace) -> list[str]:
    """The words of people's names, in the order they come up."""
    names: dict[str, None] = {}
    for key, value in strings_with_keys(trace):
        if isinstance(value, str) and _PERSON.search(key.lower()) and _PERSONS_NAME.fullmatch(value):
            names |= dict.fromkeys(value.split())
    return list(names)


def _identifiers_of(trace: Trace) -> set[str]:
    listed = {text for tool in trace.tools for schema in tool.properties.values() for text in _listed(schema)}
    found = {value for _, value in strings_with_keys(trace) if isinstance(value, str) and _is_identifier(value)} - listed
    texts = [message.content for message in trace.messages] + [value for _, value in strings_with_keys(trace) if isinstance(value, str)]
    return found | {address.rstrip(".") for text in texts for address in _EMAIL.findall(text)}


def _listed(schema: Mapping[str, object]) -> Iterable[str]:
    listed = schema.get("enum")
    return [text for text in listed if isinstance(text, str)] if isinstance(listed, list) else []


def _is_identifier(value: str) -> bool:
    is_long = len(value) >= _LEAST_IDENTIFIER
    return is_long and bool(_IDENTIFIER.fullmatch(value)) and not _NOT_AN_IDENTIFIER.fullmatch(value)


def _renamed_names(names: Iterable[str], everything: str, rng: np.random.Generator) -> dict[str, str]:
    free = [name for name in _NAMES if name.casefold() not in everything]
    order = rng.permutation(len(free))
    return {name: free[place] for name, place in zip(names, order, strict=False)}


def _renamed_identifier(entity: str, names: Mapping[str, str], digits: dict[str, str], everything: str, rng: np.random.Generator) -> str:
    known = {old.lower(): new for old, new in names.items()}
    own, at, domain = entity.partition("@")
    runs = _RUN.findall(own)
    is_drawn = not at and sum(run.isalnum() for run in runs) > 2 and len(runs) == sum(run.isalnum() for run in runs)
    parts = []
    for run in runs:
        if run.isdigit():
            parts.append(_digits(run, digits, everything, rng))
        elif run.lower() in known:
            new = known[run.lower()]
            parts.append(new.lower() if run.islower() else new.upper() if run.isupper() else new)
        elif is_drawn and run.isalpha():
            parts.append(_letters(run, rng))
        else:
            parts.append(_name_within(run, known))
    return "".join(parts) + at + domain


def _name_within(run: str, known: Mapping[str, str]) -> str:
    """Two names written as one, as in `miali`."""
    for first, new_first in known.items():
        rest = run.lower().removeprefix(first)
        if rest != run.lower() and rest in known:
            return (new_first + known[rest]).lower() if run.islower() else new_first + known[rest]
    return run


def _digits(run: str, digits: dict[str, str], everything: str, rng: np.random.Generator) -> str:
    """Other digits, as many; a long run is replaced also where it stands alone, such as the number of a certificate."""
    if run in digits:
        return digits[run]
    for _ in range(20):
        new = "".join(str(rng.integers(1 if place == 0 and run[0] != "0" else 0, 10)) for place in range(len(run)))
        if new not in everything and new not in digits.values():
            break
    if len(run) >= _LEAST_DIGITS and not _YEAR.fullmatch(run):
        digits[run] = new
    return new


def _letters(run: str, rng: np.random.Generator) -> str:
    """Other letters of the same case; vowels are left out, so that no word comes of it."""
    letters = "BCDFGHJKLMNPQRSTVWXZ"
    drawn = "".join(letters[int(rng.integers(len(letters)))] for _ in run)
    return drawn if run.isupper() else drawn.lower()


def _everything(trace: Trace) -> str:
    return "\n".join([message.content for message in trace.messages] + [str(value) for _, value in strings_with_keys(trace)]).casefold()
