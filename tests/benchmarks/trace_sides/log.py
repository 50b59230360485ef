"""A customer-service log of any size from a seed, written as fast as the disk takes it: 24 messages and 3 calls a conversation."""

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

MESSAGES = 24
# Each is a customer's turn with the agent's answer; with a tool, the call and its result stand between them.
_ROUNDS = ("talk", "call", "talk", "talk", "call", "talk", "call", "talk", "talk")
_VOCABULARY = """
order delivery parcel refund invoice account address street window screen cable garden kettle charger blue small broken late early another
second first wrong right missing open closed paid unpaid exchange return repair please quickly again today tomorrow monday friday morning
evening nobody somebody answered called wrote waited promised received ordered cancelled changed checked confirmed
"""
_WORDS = _VOCABULARY.split()
_STREETS, _STATES = ("Main Street", "Oak Avenue", "Station Road", "Mill Lane"), ("sent", "packed", "lost", "returned", "paid")
_DETAILS = {"order": {"type": "string"}, "email": {"type": "string"}}
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"{name} of an order",
            "parameters": {"type": "object", "properties": {**_DETAILS, **more}, "required": ["order"]},
        },
    }
    for name, more in (
        ("find_order", {}),
        ("change_address", {"address": {"type": "string"}}),
        ("start_refund", {"amount": {"type": "number", "minimum": 0}}),
        ("book_repair", {"day": {"type": "string"}, "is_urgent": {"type": "boolean"}}),
    )
]


def write_log(path: Path, conversations: int, *, seed: int) -> int:
    """Writes JSON lines in the OpenAI form; gives how many messages. Equal seeds give equal bytes."""
    rng, messages = random.Random(seed), 0
    with path.open("wb") as file:
        for number in range(conversations):
            said = list(_messages(rng))
            messages += len(said)
            file.write(orjson.dumps(_conversation(number, said, rng), option=orjson.OPT_APPEND_NEWLINE))
    return messages


def _conversation(number: int, said: list[dict[str, Any]], rng: random.Random) -> dict[str, Any]:
    return {
        "conversation_id": f"c{number}",
        "customer_id": f"customer {rng.randrange(1_000_000)}",
        "outcome": rng.choice(("resolved", "resolved", "unresolved", "escalated")),
        "satisfaction_score": rng.choice((None, 1, 3, 5)),
        "started_at": f"2025-01-{rng.randrange(1, 29):02d}T{rng.randrange(24):02d}:{rng.randrange(60):02d}:00+00:00",
        "tags": {"queue": rng.choice(("billing", "shipping", "repairs"))},
        "tools": TOOLS,
        "messages": said,
    }


def _messages(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Of personal data, each conversation has an e-mail and a telephone number, which calls and results repeat; some an address too."""
    email, phone = f"{rng.choice(_WORDS)}.{rng.randrange(10**6)}@mail.org", f"({rng.randrange(200, 999)}) 555-{rng.randrange(10**4):04d}"
    order, address = f"ORD-{rng.randrange(10**7):07d}", f"{rng.randrange(1, 999)} {rng.choice(_STREETS)}"
    given = [f"My order is {order}.", f"Write to {email}, please.", f"Call me at {phone}.", f"I live at {address}."]
    for place, kind in enumerate(_ROUNDS):
        yield {"role": "user", "content": f"{_sentence(rng)} {given[place] if place < len(given) else _sentence(rng)}"}
        if kind == "call":
            yield from _call(f"call_{place}", rng, order=order, email=email, address=address)
        yield {"role": "assistant", "content": f"{_sentence(rng)} {_sentence(rng)}"}


def _call(call_id: str, rng: random.Random, *, order: str, email: str, address: str) -> Iterator[dict[str, Any]]:
    name = rng.choice(("find_order", "change_address", "start_refund", "book_repair"))
    more: dict[str, Any] = {
        "find_order": {},
        "change_address": {"address": address},
        "start_refund": {"amount": round(rng.uniform(1, 300), 2)},
        "book_repair": {"day": f"2025-02-{rng.randrange(1, 29):02d}", "is_urgent": rng.random() < 0.5},
    }[name]
    arguments = orjson.dumps({"order": order, "email": email, **more}).decode()
    function = {"name": name, "arguments": arguments}
    yield {"role": "assistant", "content": None, "tool_calls": [{"id": call_id, "type": "function", "function": function}]}
    found = {
        "order": order,
        "state": rng.choice(_STATES),
        "total": round(rng.uniform(1, 300), 2),
        "email": email,
        "items": rng.randrange(9),
    }
    yield {"role": "tool", "tool_call_id": call_id, "content": orjson.dumps(found).decode()}


def _sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randrange(5, 12))).capitalize() + "."


if __name__ == "__main__":
    write_log(Path(sys.argv[1]), int(sys.argv[2]), seed=0)
