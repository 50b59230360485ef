"""What a tool wants to know: its arguments as slots, each of a kind, compiled once for each tool."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import orjson
from pydantic import JsonValue

from agentgym.policies.planner.normalisers import DATE, EMAIL, IDENTIFIER, NUMBER, TEXT, TIME, plain_number
from agentgym.policies.planner.words import STOP_WORDS, Ids, content_words, name_words, stems_of, word_ids, words_of
from agentgym.tools import Tool

CHOICE, FLAG, STRUCTURE = "choice", "flag", "structure"
SLOT_KINDS = (DATE, TIME, NUMBER, EMAIL, IDENTIFIER, TEXT, CHOICE, FLAG, STRUCTURE)
ADMITTED = {
    DATE: (DATE,),
    TIME: (TIME,),
    NUMBER: (NUMBER,),
    EMAIL: (EMAIL,),
    IDENTIFIER: (IDENTIFIER, NUMBER),
    TEXT: (TEXT, IDENTIFIER),
    STRUCTURE: (STRUCTURE,),
}
SLOT_WORDS = 9

_DATE_NAME = re.compile(r"\bdate\b|check ?in|check ?out|\bday of\b")
_NOT_A_DATE = re.compile(r"number|days in|days since|whether")
_TIME_NAME = re.compile(r"\btime\b")
_COUNT_NAME = re.compile(r"number of|amount|how many|rating|balance|\bcount\b|quantity")
_IDENTIFIER_NAME = re.compile(r"(?:^|_|\b)(?:id|ids|identifier)\b|(?<=[a-z])Id$")


@dataclass(frozen=True, eq=False, slots=True)
class Slot:
    """One argument as the planner sees it; arguments of several tools that are declared alike are one slot.

    kind: which values are its candidates.   json_type: the schema's type, of several the first but null; None where it names none.
    choices: the values the schema lists, as it writes them.   words: that describe it.   name_words, cues: the words of its name, and all
    of its description, small words too: from and to tell where a journey begins and ends.
    ids: its words as hashed, shape (SLOT_WORDS,).
    """

    name: str
    kind: str
    json_type: str | None
    choices: tuple[JsonValue, ...]
    default: JsonValue
    words: frozenset[str]
    name_words: frozenset[str]
    cues: frozenset[str]
    stems: frozenset[str]
    ids: Ids

    def typed(self, value: JsonValue) -> JsonValue:
        """The value in the type the schema asks for; as it is where it cannot be."""
        return _typed(value, self.json_type)


@dataclass(frozen=True, eq=False, slots=True)
class ToolView:
    """A tool as the planner sees it.

    required: places of the slots that a call must give.   ranks, peers: of each slot, its place among those of its kind, and their number.
    verbs: words of its own name, without the service.   words: those, and the ones of its descriptions.
    """

    tool: Tool
    slots: tuple[Slot, ...]
    required: frozenset[int]
    ranks: tuple[int, ...]
    peers: tuple[int, ...]
    verbs: tuple[str, ...]
    words: frozenset[str]


@lru_cache(maxsize=4096)
def tool_view(tool: Tool) -> ToolView:
    """The tool compiled; computed once."""
    slots = tuple(_slot(name, orjson.dumps(schema)) for name, schema in tool.properties.items())
    kinds = [slot.kind for slot in slots]
    local_name = tool.name.rpartition(".")[2]
    return ToolView(
        tool=tool,
        slots=slots,
        required=frozenset(place for place, slot in enumerate(slots) if slot.name in tool.required),
        ranks=tuple(kinds[:place].count(kind) for place, kind in enumerate(kinds)),
        peers=tuple(kinds.count(kind) for kind in kinds),
        verbs=name_words(local_name)[:4],
        words=content_words(tool.description).union(name_words(local_name), *(slot.words for slot in slots)),
    )


@lru_cache(maxsize=16384)
def _slot(name: str, declaration: bytes) -> Slot:
    schema: dict[str, JsonValue] = orjson.loads(declaration)
    kind, parts, description = slot_kind(name, schema), name_words(name), str(schema.get("description") or "")
    telling = [word for word in words_of(description) if word not in STOP_WORDS and word not in parts]
    return Slot(
        name=name,
        kind=kind,
        json_type=_json_type(schema),
        choices=_choices(schema),
        default=schema.get("default"),
        words=content_words(description).union(parts) - STOP_WORDS,
        name_words=frozenset(parts),
        cues=frozenset(words_of(description)),
        stems=stems_of(content_words(description).union(parts) - STOP_WORDS),
        ids=word_ids([f"kind:{kind}", f"name:{name}", *parts[:4], *telling], width=SLOT_WORDS),
    )


def slot_kind(name: str, schema: dict[str, JsonValue]) -> str:
    """Which kind of value an argument takes, judged from its schema, else from its name and description."""
    choices, kind = _choices(schema), _json_type(schema)
    if kind == "boolean" or (choices and {_plain(choice) for choice in choices} <= {"true", "false"}):
        return FLAG
    if choices:
        return NUMBER if all(as_number(plain_value(choice)) is not None for choice in choices) else CHOICE
    if kind in ("array", "object"):
        return STRUCTURE
    if kind in ("integer", "number"):
        return NUMBER
    if schema.get("format") in (DATE, TIME, EMAIL):
        return str(schema["format"])
    return _kind_of_words(name, str(schema.get("description") or ""))


def _kind_of_words(name: str, description: str) -> str:
    named, text = " ".join(name_words(name)), f"{' '.join(name_words(name))} {description.lower()}"
    if _DATE_NAME.search(text) and not _NOT_A_DATE.search(text):
        return DATE
    if _TIME_NAME.search(text):
        return TIME
    if "email" in named or "e-mail" in text:
        return EMAIL
    if _IDENTIFIER_NAME.search(name):
        return IDENTIFIER
    return NUMBER if _COUNT_NAME.search(text) else TEXT


def _choices(schema: dict[str, JsonValue]) -> tuple[JsonValue, ...]:
    if _json_type(schema) == "boolean":
        return (True, False)
    choices = schema.get("enum")
    return tuple(choices) if isinstance(choices, list) else ()


def _json_type(schema: dict[str, JsonValue]) -> str | None:
    declared = schema.get("type")
    types = declared if isinstance(declared, list) else [declared]
    return next((str(name) for name in types if name not in (None, "null")), None)


def _plain(value: JsonValue) -> str:
    return str(value).lower()


def _typed(value: JsonValue, kind: str | None) -> JsonValue:
    if kind == "boolean":
        return value if isinstance(value, bool) else _plain(value) == "true"
    if kind in ("integer", "number") and isinstance(value, str):
        number = as_number(value)
        if number is None:
            return value
        return int(number) if number == int(number) else number
    if kind == "string" and not isinstance(value, str):
        return plain_value(value)
    return value


def as_number(text: str) -> float | None:
    """The finite number a text writes; None when it writes none."""
    try:
        number = float(text.replace(",", ""))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def plain_value(value: JsonValue) -> str:
    """A JSON value as one would say it: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


@lru_cache(maxsize=262144)
def _same_text(text: str) -> str:
    number = as_number(text) if text[:1].isdigit() or text[:1] in "-." else None
    return " ".join(text.lower().split()) if number is None else plain_number(f"{number:.6f}")


def same_value(value: JsonValue) -> str:
    """A key equal for values that mean the same: case, spaces, ornaments of numbers and JSON types aside."""
    return _same_text(plain_value(value))


def spoken(value: JsonValue) -> str:
    """A value listed in a schema as people say it: `password_reset` gives "password reset"."""
    text = plain_value(value)
    return " ".join(words_of(" ".join(name_words(text)))) if "_" in text else text.lower().replace("-", " ")


def tool_views(tools: Sequence[Tool]) -> tuple[ToolView, ...]:
    return tuple(tool_view(tool) for tool in tools)
