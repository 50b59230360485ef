"""A log moved to another business: its services, tools, slots, values and words under other names, the same in everything it holds."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from agentgym.errors import InvalidInput
from agentgym.messages import Message, ToolCall
from agentgym.scenarios.synthesis.rewriting import Replace, replacer, rewritten_value
from agentgym.scenarios.value_sources import leaves, value_sources
from agentgym.tools import Tool
from agentgym.traces.mining import mine_tools
from agentgym.traces.trace import Trace

_SAME = "Write the same name on both sides for what stays."


class DomainMapping(BaseModel):
    """What is called otherwise, from old to new.

    services: what stands before the dot of tools' names.   tools: whole names, for those whose method is called otherwise too.
    slots: arguments, and the columns of results under the same names.   values: of arguments and results, wherever they are said.
    words: of everybody's sentences and of descriptions; several may become one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    services: dict[str, str] = {}
    tools: dict[str, str] = {}
    slots: dict[str, str] = {}
    values: dict[str, str] = {}
    words: dict[str, str] = {}


def read_mapping(path: Path) -> DomainMapping:
    """The mapping in a JSON or YAML file. Raises InvalidInput when it is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return DomainMapping.model_validate(content if content is not None else {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise InvalidInput(
            f"A mapping to another business (--business) is a file of JSON or YAML; {str(path)!r} cannot be read: {told}. Mend the file."
        ) from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}" for fault in error.errors())
        parts = ", ".join(DomainMapping.model_fields)
        raise InvalidInput(f"A mapping has {parts}, each from old names to new ones; in {str(path)!r} {wrong}. Mend it.") from error


def adapt(traces: Sequence[Trace], mapping: DomainMapping) -> tuple[Trace, ...]:
    """The conversations in the other business. Raises InvalidInput where the mapping is ambiguous, incomplete, or breaks a conversation.

    Every tool in the log needs a new name, by itself or by its service, and of a closed list of values all or none; a name may stay as it
    is when the mapping says so. Nothing is written where one conversation would not hold together: every value that could be known from
    what was said, offered or found still can, and calls fit their schemas as before.
    """
    tools = mine_tools(traces)
    if fault := next(_faults(traces, tools, mapping), ""):
        raise InvalidInput(f"A mapping must be unambiguous and complete; {fault}")
    names = {tool.name: _renamed_tool(tool.name, mapping) for tool in tools}
    move = _Move(names, mapping)
    moved = tuple(map(move.trace, traces))
    for trace, new in zip(traces, moved, strict=True):
        _require_whole(trace, new)
    return moved


class _Move:
    """Everything of a conversation in its new names. Tools are renamed once, as conversations share them."""

    def __init__(self, names: Mapping[str, str], mapping: DomainMapping) -> None:
        self._names, self._slots = names, mapping.slots
        self._say: Replace = replacer(mapping.words | mapping.values)
        self._value: Replace = _whole_or_within(mapping)
        self._tools: dict[str, Tool] = {}

    def trace(self, trace: Trace) -> Trace:
        messages = tuple(map(self._message, trace.messages))
        return trace.model_copy(update={"messages": messages, "tools": tuple(map(self._tool, trace.tools))})

    def _message(self, message: Message) -> Message:
        update: dict[str, Any] = {
            "content": self._say(message.content),
            "tool_calls": tuple(map(self._call, message.tool_calls)),
            "result": self._renamed(message.result),
        }
        return message.model_copy(update=update | ({"name": self._names.get(message.name, message.name)} if message.name else {}))

    def _call(self, call: ToolCall) -> ToolCall:
        arguments = {self._slots.get(name, name): self._renamed(value) for name, value in call.arguments.items()}
        return call.model_copy(update={"name": self._names.get(call.name, call.name), "arguments": arguments})

    def _tool(self, tool: Tool) -> Tool:
        if tool.name not in self._tools:
            parameters = self._schema(tool.parameters)
            update = {"name": self._names[tool.name], "description": self._say(tool.description), "parameters": parameters}
            self._tools[tool.name] = tool.model_copy(update=update)
        return self._tools[tool.name]

    def _renamed(self, value: JsonValue) -> JsonValue:
        """A result's columns are named like arguments, so they are renamed with them."""
        if isinstance(value, dict):
            return {self._slots.get(name, self._value(name)): self._renamed(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._renamed(item) for item in value]
        return rewritten_value(value, self._value)

    def _schema(self, schema: Any, *, is_properties: bool = False) -> Any:
        """JSON Schema: names of properties, and what lists, defaults and descriptions hold."""
        if isinstance(schema, list):
            return [self._schema(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        if is_properties:
            return {self._slots.get(name, name): self._schema(item) for name, item in schema.items()}
        renamed: dict[str, Any] = {}
        for keyword, item in schema.items():
            if keyword == "properties":
                renamed[keyword] = self._schema(item, is_properties=True)
            elif keyword == "required":
                renamed[keyword] = [self._slots.get(name, name) for name in item]
            elif keyword in ("enum", "default", "const", "examples"):
                renamed[keyword] = self._renamed(item)
            elif keyword in ("description", "title") and isinstance(item, str):
                renamed[keyword] = self._say(item)
            else:
                renamed[keyword] = self._schema(item)
        return renamed


def _whole_or_within(mapping: DomainMapping) -> Replace:
    """A value as a whole, else phrases of the mapping inside it."""
    whole, within = {old.casefold(): new for old, new in mapping.values.items()}, replacer(mapping.words | mapping.values)
    return lambda text: whole.get(text.casefold(), "") or within(text)


def _renamed_tool(name: str, mapping: DomainMapping) -> str:
    service, dot, method = name.rpartition(".")
    return mapping.tools.get(name) or (f"{mapping.services[service]}.{method}" if dot else mapping.services[name])


def _faults(traces: Sequence[Trace], tools: Sequence[Tool], mapping: DomainMapping) -> Iterator[str]:
    """What is wrong with the mapping for this log, each with what mends it."""
    yield from _unknown(traces, tools, mapping)
    for tool in tools:
        if tool.name not in mapping.tools and tool.service not in mapping.services:
            yield f"{tool.name!r} has no new name, nor has its service. Name one of them under tools or services. {_SAME}"
            return
    yield from _merged("tools", {tool.name: _renamed_tool(tool.name, mapping) for tool in tools})
    for tool in tools:
        yield from _merged(f"slots of {tool.name}", {name: mapping.slots.get(name, name) for name in tool.properties})
        yield from _partly_listed(tool, mapping)
    yield from _merged("values", mapping.values)
    if both := sorted(mapping.values.keys() & mapping.words.keys()):
        yield f"{both[0]!r} is both a value and a word. Keep it under values."
    kept = _texts(traces) - {old.casefold() for old in mapping.values}
    taken = [(old, new) for old, new in mapping.values.items() if old != new and new.casefold() in kept]
    if taken:
        old, new = taken[0]
        yield f"{old!r} becomes {new!r}, which is a value of the log already and stays. Choose another name, or rename that one too."


def _unknown(traces: Sequence[Trace], tools: Sequence[Tool], mapping: DomainMapping) -> Iterator[str]:
    """Names that the log does not have: a slip of the pen, or the wrong log."""
    known = {
        "services": {tool.service for tool in tools},
        "tools": {tool.name for tool in tools},
        "slots": {name for tool in tools for name in tool.properties} | _columns(traces),
    }
    for part, names in known.items():
        if unknown := sorted(getattr(mapping, part).keys() - names):
            near = ", ".join(get_close_matches(unknown[0], sorted(names), n=8, cutoff=0.0))
            yield f"under {part} it names {unknown[0]!r}, which the log does not have; it has {near}. Mend the name."
    said = _everything_said(traces, tools)
    for part in ("values", "words"):
        for old, new in getattr(mapping, part).items():
            if not old.strip() or not new.strip():
                yield f"under {part} {old!r} becomes {new!r}; neither may be empty. Write both."
            elif old.casefold() not in said:
                yield f"under {part} it names {old!r}, which nobody says, gives or finds in the log. Mend it, or leave it out."


def _merged(what: str, names: Mapping[str, str]) -> Iterator[str]:
    """Two that become one cannot be told apart any more."""
    counts = Counter(new.casefold() for new in names.values())
    merged = sorted(old for old, new in names.items() if counts[new.casefold()] > 1)
    if merged:
        yield f"of the {what}, {' and '.join(map(repr, merged[:3]))} all become {names[merged[0]]!r}. Give each a name of its own."


def _partly_listed(tool: Tool, mapping: DomainMapping) -> Iterator[str]:
    for slot, schema in tool.properties.items():
        listed = schema.get("enum")
        values = [value for value in listed if isinstance(value, str)] if isinstance(listed, list) else []
        missing = [value for value in values if value not in mapping.values]
        if missing and len(missing) < len(values):
            yield (
                f"of the closed list of {tool.name}'s {slot!r} it maps {len(values) - len(missing)} of {len(values)} values and leaves out "
                f"{missing[0]!r}. Map all or none. {_SAME}"
            )


def _everything_said(traces: Iterable[Trace], tools: Iterable[Tool]) -> str:
    """All words, values and schemas, in small letters."""
    said = [message.content for trace in traces for message in trace.messages]
    schemas = [f"{tool.description} {orjson.dumps(tool.parameters).decode()}" for tool in tools]
    return "\n".join([*said, *_texts(traces), *schemas]).casefold()


def _texts(traces: Iterable[Trace]) -> set[str]:
    """Every value that is given or found, in small letters."""
    values = (value for trace in traces for message in trace.messages for value in _values_of(message))
    return {value.casefold() for value in values if isinstance(value, str)}


def _values_of(message: Message) -> Iterator[JsonValue]:
    for call in message.tool_calls:
        yield from (value for _, value in leaves(call.arguments))
    yield from (value for _, value in leaves(message.result))


def _columns(traces: Iterable[Trace]) -> set[str]:
    paths = (path for trace in traces for message in trace.messages for path, _ in leaves(message.result))
    return {name for path in paths for name in path if isinstance(name, str)}


def _require_whole(trace: Trace, moved: Trace) -> None:
    """Raises InvalidInput where a conversation does not hold together in its new names."""
    tools = {old.name: (old, new) for old, new in zip(trace.tools, moved.tools, strict=True)}
    for (call, before), (new_call, after) in zip(value_sources(trace), value_sources(moved), strict=True):
        values = (value for _, value in leaves(call.arguments))
        # A short name that means a place means none in the new business unless it is mapped as a word, which is up to the mapping.
        origins = zip(values, before.values(), after.values(), strict=True)
        if lost := [value for value, old_origins, new_origins in origins if (old_origins - {"read"}) - new_origins]:
            raise InvalidInput(
                f"A mapping must be unambiguous and complete; in {trace.conversation_id!r} {lost[0]!r} of {call.name} "
                "was known from what was said and would be no more. Map every way in which it is said, under words."
            )
        old, new = tools.get(call.name, (None, None))
        if old and new and new.violations(new_call.arguments) and not old.violations(call.arguments):
            raise InvalidInput(
                f"A mapping must be unambiguous and complete; in {trace.conversation_id!r} a call of {call.name} would not fit its schema: "
                f"{new.violations(new_call.arguments)[0]}. Map slots and values to what the schema then allows."
            )
