"""Ways to break a log: anything instead of anything in its JSON, and anything in its bytes."""

import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any

# Values at which a parser, a type, a checksum or a database has an edge.
EDGES: list[Any] = [
    None, True, False, 0, -1, 7, 2**31, 2**53 + 1, 2**63, 2**70, -(2**70), 0.0, -0.0, 1e308, 1e-320, float("nan"), float("inf"),
    float("-inf"), "", " ", "x", "null", "{", "[1", "{}", "[]", "[[]]", '{"a": NaN}', "\ud800", "\x00", "\u2028", "\u017f", "\u212a12",
    "İ", "٣٤٥٦٧٨٩٠", "＠", "a" * 300, "user", "assistant", "tool", "system", "resolved", "###STOP###", "<tool_call>",
    "<tool_call>{}</tool_call>", "<think>", "2025-01-01", "9999-12-31T23:59:59+14:00", "0001-01-01", "1e999", "ann@mail.org",
    "GB82 WEST 1234 5698 7654 32", "4111 1111 1111 1111", "+1 415 555 2671", "password: hunter2!x", "-----BEGIN PRIVATE KEY-----",
    "12 Main \u017ftreet", "12 Main Street", "GB82 WEST 1234 5698 7654 3\u212a", "customer-0123456789abcdef", [], {}, [[]], [{}], [None],
    {"a": None}, {"": ""}, {"$ref": "#"}, {"type": "function"}, {"role": "user", "content": "x"}, {"name": "find_order", "arguments": {}},
]  # fmt: skip
NAMES = ("role", "content", "tool_calls", "name", "arguments", "id", "type", "function", "result", "messages", "tools", "parameters", "x")
TOKENS = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\r", b"\\", b"\\u0000", b"\\ud800", b"NaN",
    b"1e999", b"-", b"null", b"true", b"{}", b"[]", b"[" * 2000, b'{"a":' * 300, b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"PK\x03\x04",
    b"<html>", b"a,b\n1,2\n", b'"conversation_id":', b'"messages":', b"0" * 400, b"9" * 25, b"\xed\xa0\x80", b"\xf0\x9f\x98\x80",
)  # fmt: skip


def mangled(values: list[Any], rng: Random) -> list[Any]:
    """The JSON values, with one to four places replaced, taken away, repeated, renamed, swapped or nested."""
    broken = copy.deepcopy(values)
    for _ in range(rng.randint(1, 4)):
        places = list(_places(broken))
        if places:
            parent, key = rng.choice(places)
            # What is nested deeply enough cannot be copied once more; then this place stays as it is.
            with suppress(RecursionError):
                _break(parent, key, rng, places)
    return broken


def garbled(content: bytes, rng: Random, other: bytes) -> bytes:
    """The bytes, with one to six of them changed, taken away or put in, or a part repeated. other: bytes to take parts of."""
    broken = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        start = rng.randrange(len(broken) + 1)
        end = min(len(broken), start + rng.choice((0, 1, 1, 2, 5, 20, 200)))
        piece = rng.choice((rng.randbytes(1), rng.choice(TOKENS), b"", broken[start:end] * 2, _part(other, rng), _part(content, rng)))
        broken[start:end] = piece
    return bytes(broken[: rng.randrange(len(broken) + 1)] if broken and rng.random() < 0.1 else broken)


def as_text(value: Any) -> str:
    """JSON as most programs write it, or as this one reads it with the numbers that no JSON has."""
    return json.dumps(value)


def edge(rng: Random) -> Any:
    return _nested(rng) if rng.random() < 0.03 else copy.deepcopy(rng.choice(EDGES))


def _part(content: bytes, rng: Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    return content[start : start + rng.randrange(60)]


def _nested(rng: Random) -> Any:
    value: Any = rng.choice(EDGES)
    for _ in range(rng.choice((3, 60, 250, 260, 400))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, key
        yield from _places(item)


def _break(parent: Any, key: Any, rng: Random, places: list[tuple[Any, Any]]) -> None:
    way = rng.random()
    if way < 0.45:
        parent[key] = edge(rng)
    elif way < 0.6 and isinstance(parent, dict):
        del parent[key]
    elif way < 0.7 and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    elif way < 0.8 and isinstance(parent, dict):
        parent[rng.choice(NAMES)] = parent.pop(key)
    elif way < 0.9:
        other, place = rng.choice(places)
        parent[key] = copy.deepcopy(other[place]) if _is_there(other, place) else edge(rng)
    elif isinstance(parent[key], str):
        text = parent[key]
        at = rng.randrange(len(text) + 1)
        parent[key] = text[:at] + str(edge(rng)) + text[at:]
    else:
        parent[key] = rng.choice((as_text(parent[key]), [parent[key]], {"a": parent[key]}))


def _is_there(parent: Any, key: Any) -> bool:
    return key in parent if isinstance(parent, dict) else key < len(parent)
