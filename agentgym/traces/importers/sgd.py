"""Schema-Guided Dialogue (Rastogi et al. 2020): dialogues with the calls of simulated services, and their schemas.

A system turn that calls a service becomes three messages, call, result and words, because its words already speak of the result. What
annotators added (states, acts, slots) tells how a dialogue ended and never enters a message.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from agentgym.episode import Outcome
from agentgym.errors import InvalidInput
from agentgym.tools import Tool
from agentgym.traces.importers.files import file_name, read_json, sidecar
from agentgym.traces.importers.json_values import Malformed, read_values
from agentgym.traces.importers.record import Record, RejectedLine

# The day the speakers call today; relative dates count from it.
SPOKEN_ON = "2019-03-01T12:00:00+00:00"

Services = Mapping[str, Mapping[str, Tool]]


def read_sgd(file: Path, root: Path) -> Iterator[Record | RejectedLine]:
    """The dialogues of one file; their ids are prefixed with the folder's name, because train and dev use some ids twice."""
    schema = sidecar(file, "schema.json")
    if schema is None:
        raise InvalidInput(f"SGD dialogues need their schema.json; none is beside {str(file)!r}. Put the one they came with there.")
    services, name = _services(schema), file_name(file, root)
    for item in read_values(file):
        if isinstance(item, Malformed):
            yield RejectedLine(source=name, line=item.line, conversation_id=None, reasons=(item.problem,))
        else:
            yield _record(item.value, services, split=file.absolute().parent.name, source=name, line=item.line)


@lru_cache(maxsize=64)
def _services(schema: Path) -> Services:
    """The tools of each service, by method."""
    try:
        return {service["service_name"]: _methods(service) for service in read_json(schema)}
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"An SGD schema is a list of services with slots and intents; {str(schema)!r} lacks {error}. Use the one of the dialogues."
        ) from error


def _methods(service: Mapping[str, Any]) -> dict[str, Tool]:
    slots = {slot["name"]: slot for slot in service["slots"]}
    return {intent["name"]: _tool(service["service_name"], intent, slots) for intent in service["intents"]}


def _tool(service: str, intent: Mapping[str, Any], slots: Mapping[str, Any]) -> Tool:
    required, optional = intent["required_slots"], intent["optional_slots"]
    properties: dict[str, JsonValue] = {name: _property(slots[name]) for name in required}
    properties |= {name: _property(slots[name], default) for name, default in optional.items()}
    return Tool(
        name=f"{service}.{intent['name']}",
        description=intent["description"],
        parameters={"type": "object", "properties": properties, "required": required, "additionalProperties": False},
        writes=intent["is_transactional"],
    )


def _property(slot: Mapping[str, Any], default: str = "dontcare") -> dict[str, JsonValue]:
    """The schema of one slot. `dontcare` as a default means that there is none: no call ever carries it."""
    closed = {"enum": slot["possible_values"]} if slot["is_categorical"] else {}
    return {"type": "string", "description": slot["description"], **closed, **({} if default == "dontcare" else {"default": default})}


def _record(dialogue: Any, services: Services, *, split: str, source: str, line: int) -> Record | RejectedLine:
    named = dialogue.get("dialogue_id") if isinstance(dialogue, dict) else None
    try:
        return Record(
            source=source,
            line=line,
            fields={
                "conversation_id": f"{split}/{dialogue['dialogue_id']}",
                "messages": [message for turn in dialogue["turns"] for message in _messages(turn)],
                "started_at": SPOKEN_ON,
                **_ending(dialogue["turns"]),
            },
            tools=tuple(tool for name in dialogue["services"] for tool in services[name].values()),
        )
    except (KeyError, TypeError, AttributeError) as error:
        reason = f"An SGD dialogue has dialogue_id, services of the schema, and turns with frames; {error} is missing or wrong."
        return RejectedLine(source=source, line=line, conversation_id=named if isinstance(named, str) else None, reasons=(reason,))


def _messages(turn: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if turn["speaker"] == "USER":
        yield {"role": "user", "content": turn["utterance"]}
        return
    for frame in turn["frames"]:
        if call := frame.get("service_call"):
            name = f"{frame['service']}.{call['method']}"
            yield {"role": "assistant", "content": "", "tool_calls": [{"name": name, "arguments": call["parameters"]}]}
            yield {"role": "tool", "name": name, "result": frame["service_results"]}
    yield {"role": "assistant", "content": turn["utterance"]}


def _ending(turns: list[Mapping[str, Any]]) -> dict[str, Any]:
    """How the dialogue ended: as the last call that was reported to succeed or to fail; asking for information alone is resolved by it.

    The publishers give no outcome. This rule reads the NOTIFY act of a turn, which the agent never sees.
    """
    acts = [action["act"] for turn in turns for frame in turn["frames"] if frame.get("service_call") for action in frame["actions"]]
    reports = [act for act in acts if act in ("NOTIFY_SUCCESS", "NOTIFY_FAILURE")]
    has_failed = bool(reports) and reports[-1] == "NOTIFY_FAILURE"
    request = "transactional" if reports else "informational"
    return {"outcome": (Outcome.UNRESOLVED if has_failed else Outcome.RESOLVED).value, "tags": {"request": request}}
