"""Tools from the calls in a log: what their arguments look like, where nobody declared them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import JsonValue

from agentgym.errors import InvalidInput
from agentgym.messages import Message, ToolCall
from agentgym.tools import Tool
from agentgym.traces.trace import Trace
from agentgym.traces.value_shapes import NumberShape, TextShape

# Values form a closed list when many were seen, few are distinct, and none is rare: then another one is unlikely to exist.
CLOSED_AFTER_VALUES = 50
CLOSED_DISTINCT_VALUES = 8
CLOSED_EACH_SEEN = 3


@dataclass(frozen=True, slots=True)
class ToolEvidence:
    """As much of a conversation as tells of tools: what it declares, and the messages with calls of what it does not declare."""

    conversation_id: str
    tools: tuple[Tool, ...]
    messages: tuple[Message, ...]


class ToolMiner:
    """Watches traces go by and tells the tools in them: the declared ones, and those inferred from calls that no declaration covers."""

    def __init__(self) -> None:
        self._declared: dict[str, Tool] = {}
        self._shapes: dict[str, _Shape] = {}
        # Most conversations of a log share one tuple.
        self._last: tuple[Tool, ...] = ()

    def observe(self, trace: Trace | ToolEvidence) -> None:
        """Raises InvalidInput when a tool is declared with other parameters than before."""
        if trace.tools is not self._last:
            for tool in trace.tools:
                self._declare(tool, trace.conversation_id)
            self._last = trace.tools
        for call, answer in answered_calls(trace.messages):
            if call.name not in self._declared:
                self._shapes.setdefault(call.name, _Shape()).observe(call.arguments, is_sound=answer is None or not answer.is_error)

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Declared ones in the order of the log, then the inferred ones by name."""
        inferred = {name: shape for name, shape in sorted(self._shapes.items()) if name not in self._declared}
        return (*self._declared.values(), *(Tool(name=name, parameters=shape.parameters()) for name, shape in inferred.items()))

    def _declare(self, tool: Tool, conversation_id: str) -> None:
        known = self._declared.setdefault(tool.name, tool)
        if known is not tool and known.parameters != tool.parameters:
            raise InvalidInput(
                f"A tool has one schema in a log; {tool.name!r} is declared with another one in conversation {conversation_id!r}. "
                "Give the tools different names, or import the conversations apart."
            )


def mine_tools(traces: Iterable[Trace]) -> tuple[Tool, ...]:
    """The tools of these traces, declared or inferred."""
    miner = ToolMiner()
    for trace in traces:
        miner.observe(trace)
    return miner.tools


def answered_calls(messages: Iterable[Message]) -> list[tuple[ToolCall, Message | None]]:
    """Every call with the tool message that answers it, None when nothing does.

    Ids repeat in real logs, even inside a conversation, so an answer belongs to the oldest open call with its id, else with its name.
    """
    pairs: list[tuple[ToolCall, Message | None]] = []
    open_calls: list[int] = []
    for message in messages:
        if message.role == "tool":
            answered = _answered(message, [(index, pairs[index][0]) for index in open_calls])
            if answered is not None:
                pairs[answered] = (pairs[answered][0], message)
                open_calls.remove(answered)
        else:
            open_calls = list(range(len(pairs), len(pairs) + len(message.tool_calls)))
            pairs += ((call, None) for call in message.tool_calls)
    return pairs


def _answered(answer: Message, candidates: list[tuple[int, ToolCall]]) -> int | None:
    by_id = (index for index, call in candidates if call.id and call.id == answer.tool_call_id)
    by_name = (index for index, call in candidates if answer.name in (None, call.name))
    return next(by_id, next(by_name, None))


@dataclass(slots=True)
class _Shape:
    """What the values at one place of a tool's arguments had in common."""

    values: int = 0
    types: Counter[str] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    properties: "dict[str, _Shape]" = field(default_factory=dict)
    items: "_Shape | None" = None
    text: TextShape = field(default_factory=TextShape)
    number: NumberShape = field(default_factory=NumberShape)

    def observe(self, value: JsonValue, *, is_sound: bool = True) -> None:
        """is_sound: whether the tool took the call; one it refused shows which arguments exist, and nothing about them."""
        if isinstance(value, dict):
            for name, item in value.items():
                shape = self.properties.setdefault(name, _Shape())
                if is_sound:
                    shape.observe(item)
        if not is_sound:
            return
        self.values += 1
        self.types[_type_of(value)] += 1
        if isinstance(value, dict):
            self.present.update(value.keys())
        elif isinstance(value, list):
            self.items = self.items or _Shape()
            for item in value:
                self.items.observe(item)
        elif isinstance(value, str):
            self.text.observe(value)
            if len(self.texts) <= CLOSED_DISTINCT_VALUES:
                self.texts[value] += 1
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self.number.observe(value)

    def parameters(self) -> dict[str, JsonValue]:
        """JSON Schema of an object with these properties; required are those no accepted call left out."""
        required: list[JsonValue] = [name for name in self.properties if self.values and self.present[name] == self.values]
        properties: dict[str, JsonValue] = {name: shape.schema() for name, shape in self.properties.items()}
        return {"type": "object", "properties": properties, "required": required}

    def schema(self) -> dict[str, JsonValue]:
        types = set(self.types)
        if {"integer", "number"} <= types:
            types.remove("integer")
        if types == {"object"}:
            return self.parameters()
        if types == {"array"} and self.items is not None:
            return {"type": "array", "items": self.items.schema()}
        if not types:
            return {}
        names: list[JsonValue] = [*sorted(types)]
        kind: dict[str, JsonValue] = {"type": names[0] if len(names) == 1 else names}
        return kind | self._narrowed(types)

    def _narrowed(self, types: set[str]) -> dict[str, JsonValue]:
        """What the values have in common beyond their type."""
        if types == {"string"}:
            return {"enum": [*sorted(self.texts)]} if self._is_closed else self.text.schema()
        return self.number.schema() if types <= {"integer", "number"} else {}

    @property
    def _is_closed(self) -> bool:
        is_familiar = self.values >= CLOSED_AFTER_VALUES and min(self.texts.values()) >= CLOSED_EACH_SEEN
        return is_familiar and len(self.texts) <= CLOSED_DISTINCT_VALUES


def _type_of(value: JsonValue) -> str:
    """The JSON Schema type of a value."""
    if isinstance(value, bool):
        return "boolean"
    names = {int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")
