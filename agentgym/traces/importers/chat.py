"""Chat logs: our own trace schema and OpenAI's chat form, told apart message by message."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from agentgym.errors import InvalidInput
from agentgym.messages import Message
from agentgym.tools import Tool
from agentgym.traces.importers.files import read_json, sidecar
from agentgym.traces.importers.json_values import written
from agentgym.traces.importers.reading import Log, Place, read_each
from agentgym.traces.importers.record import Record, RejectedLine
from agentgym.traces.importers.shapes import NotAConversation, plain_tags
from agentgym.traces.importers.tau_bench import is_tau_bench_run, unwrap_tau_bench_run
from agentgym.traces.importers.turns import paired, read_turn, read_turns
from agentgym.traces.trace import Trace

_FIELDS = frozenset(Trace.model_fields)
_OWN_FIELDS = _FIELDS - {"messages", "tools", "tags"}
_ALIASES = {"id": "conversation_id", "user_id": "customer_id"}


def read_chat(file: Path, root: Path) -> Iterator[Record | RejectedLine]:
    """The conversations of one file; those that declare no tools have the ones of a tools.json beside it, if there is one."""
    declared = sidecar(file, "tools.json")
    tools = read_tools(read_json(declared)) if declared else ()

    def conversation(value: Any, place: Place) -> Iterator[Record | RejectedLine]:
        yield read_conversation(value, tools, source=place.source, line=place.line, name=str(place))

    yield from read_each(Log(files=[file], root=root), conversation)


def read_conversation(
    value: Any, tools: tuple[Tool, ...] = (), *, source: str, line: int, name: str | None = None
) -> Record | RejectedLine:
    """One conversation from its JSON object.

    tools: in scope when it declares none.   name: what it is called when it does not say; by default its source and line.
    """
    log = unwrap_tau_bench_run(value) if is_tau_bench_run(value) else value
    try:
        fields = _fields(log)
        fields.setdefault("conversation_id", name or f"{source}:{line}")
        return Record(source=source, line=line, fields=fields, tools=read_tools(log["tools"]) if log.get("tools") else tools)
    except (NotAConversation, InvalidInput) as error:
        return RejectedLine(source=source, line=line, conversation_id=_known_id(value), reasons=(str(error),))


def read_message(raw: Any) -> Message:
    """One message in either form. Raises InvalidInput when it is none."""
    try:
        return Message.model_validate(read_turn(raw, 0))
    except (NotAConversation, ValidationError) as error:
        fault = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise InvalidInput(f"A message needs a role, with words or calls whose arguments are an object; {fault}. Mend it.") from error


def _known_id(value: Any) -> str | None:
    found = value.get("conversation_id") if isinstance(value, dict) else None
    return found if isinstance(found, str) else None


def _fields(log: Any) -> dict[str, Any]:
    if not isinstance(log, dict) or not isinstance(log.get("messages"), list):
        raise NotAConversation("A conversation must be an object with a list of messages.")
    named: dict[str, Any] = {_ALIASES.get(str(key), str(key)): value for key, value in log.items() if _ALIASES.get(key) not in log}
    fields = {key: value for key, value in named.items() if key in _OWN_FIELDS and value is not None}
    for identifier in ("conversation_id", "customer_id"):
        if isinstance(fields.get(identifier), int):
            fields[identifier] = str(fields[identifier])
    tags = plain_tags({key: value for key, value in named.items() if key not in _FIELDS})
    tags |= log["tags"] if isinstance(log.get("tags"), dict) else {}
    return fields | {"messages": paired(read_turns(log["messages"])), "tags": tags}


def read_tools(declarations: Any) -> tuple[Tool, ...]:
    """The tools of a list of declarations in OpenAI's form. Raises InvalidInput for one that is none."""
    if not isinstance(declarations, list):
        raise InvalidInput(f"Tools are declared as a list of functions; got {type(declarations).__name__}. Use OpenAI's form.")
    try:
        return _tools(orjson.dumps(declarations))
    except TypeError as error:
        raise InvalidInput(f"A tool declaration must be JSON that every parser reads; {error}. Nest it less.") from error


@lru_cache(maxsize=1024)
def _tools(declarations: bytes) -> tuple[Tool, ...]:
    """One tuple for equal lists, as most conversations of a log declare the same."""
    return tuple(_tool(orjson.dumps(declaration)) for declaration in orjson.loads(declarations))


@lru_cache(maxsize=4096)
def _tool(declaration: bytes) -> Tool:
    """One object for equal declarations, so that a million conversations share their tools."""
    raw = orjson.loads(declaration)
    written(raw)
    if not isinstance(raw, dict):
        raise InvalidInput(f"A tool declaration needs a function with a name; got {raw!r}. Use OpenAI's form.")
    try:
        tool = Tool.from_openai(raw)
    except ValidationError as error:
        fault = error.errors()[0]["msg"]
        raise InvalidInput(f"A tool declares its parameters as a JSON Schema object; {fault} in {raw!r}. Mend the declaration.") from error
    return tool.model_copy(update={"writes": raw["writes"]}) if isinstance(raw.get("writes"), bool) else tool
