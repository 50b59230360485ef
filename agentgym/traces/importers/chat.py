"""Chat logs: our own trace schema and OpenAI's chat form, told apart message by message.

The short form writes a call as `{"name", "arguments": {…}}` and its answer as `{"role": "tool", "name", "result"}`; OpenAI's nests the call
in `function`, writes arguments as a JSON string, and answers by `tool_call_id` with text, which is parsed when it is JSON.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from agentgym.errors import InvalidInput
from agentgym.messages import Message
from agentgym.tools import Tool
from agentgym.traces.importers.files import file_name, read_json, sidecar
from agentgym.traces.importers.json_values import Malformed, read_values
from agentgym.traces.importers.record import Record, RejectedLine
from agentgym.traces.importers.tau_bench import is_tau_bench_run, unwrap_tau_bench_run
from agentgym.traces.trace import Trace

_ROLES = {"developer": "system", "function": "tool"}
_OWN_FIELDS = frozenset(Trace.model_fields) - {"messages", "tools", "tags"}
_ALIASES = {"id": "conversation_id", "user_id": "customer_id"}


def read_chat(file: Path, root: Path) -> Iterator[Record | RejectedLine]:
    """The conversations of one file; those that declare no tools have the ones of a tools.json beside it, if there is one."""
    name, declared = file_name(file, root), sidecar(file, "tools.json")
    tools = read_tools(read_json(declared)) if declared else ()
    for item in read_values(file):
        if isinstance(item, Malformed):
            yield RejectedLine(source=name, line=item.line, conversation_id=None, reasons=(item.problem,))
        else:
            yield read_conversation(item.value, tools, source=name, line=item.line)


def read_conversation(value: Any, tools: tuple[Tool, ...] = (), *, source: str, line: int) -> Record | RejectedLine:
    """One conversation from its JSON object; `tools` are in scope when it declares none."""
    log = unwrap_tau_bench_run(value) if is_tau_bench_run(value) else value
    try:
        fields = _fields(log)
        fields.setdefault("conversation_id", f"{source}:{line}")
        return Record(source=source, line=line, fields=fields, tools=read_tools(log["tools"]) if log.get("tools") else tools)
    except (_NotAConversation, InvalidInput) as error:
        return RejectedLine(source=source, line=line, conversation_id=_known_id(value), reasons=(str(error),))


def read_message(raw: Any) -> Message:
    """One message in either form. Raises InvalidInput when it is none."""
    try:
        return Message.model_validate(_message(raw, 0))
    except (_NotAConversation, ValidationError) as error:
        fault = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise InvalidInput(f"A message needs a role, with words or calls whose arguments are an object; {fault}. Mend it.") from error


class _NotAConversation(ValueError):
    """The shape is so wrong that no message can be read."""


def _known_id(value: Any) -> str | None:
    found = value.get("conversation_id") if isinstance(value, dict) else None
    return found if isinstance(found, str) else None


def _fields(log: Any) -> dict[str, Any]:
    if not isinstance(log, dict) or not isinstance(log.get("messages"), list):
        raise _NotAConversation("A conversation must be an object with a list of messages.")
    named = {_ALIASES.get(key, key): value for key, value in log.items() if _ALIASES.get(key) not in log}
    fields = {key: value for key, value in named.items() if key in _OWN_FIELDS and value is not None}
    for identifier in ("conversation_id", "customer_id"):
        if isinstance(fields.get(identifier), int):
            fields[identifier] = str(fields[identifier])
    tags = {key: str(value) for key, value in named.items() if key not in Trace.model_fields and isinstance(value, str | int | float)}
    tags |= log["tags"] if isinstance(log.get("tags"), dict) else {}
    return fields | {"messages": _paired([_message(item, at) for at, item in enumerate(log["messages"])]), "tags": tags}


def _message(raw: Any, position: int) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise _NotAConversation(f"Every message must be an object; message {position} is {type(raw).__name__}.")
    role = _ROLES.get(str(raw.get("role")), raw.get("role"))
    message: dict[str, Any] = {"role": role, "content": _words(raw.get("content"))}
    if role == "tool":
        return message | {key: raw[key] for key in ("name", "tool_call_id") if raw.get(key)} | _result(raw, message["content"])
    calls = raw.get("tool_calls") or ([{"function": raw["function_call"]}] if raw.get("function_call") else [])
    if not isinstance(calls, list):
        raise _NotAConversation(f"The tool_calls of a message must be a list; those of message {position} are {type(calls).__name__}.")
    return message | {"tool_calls": [_call(call, position) for call in calls]}


def _words(content: Any) -> Any:
    """The text of a content that is text, nothing, or OpenAI's list of parts."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return "" if content is None else content


def _result(raw: Mapping[str, Any], text: Any) -> dict[str, Any]:
    if "result" in raw:
        return {"result": raw["result"]}
    try:
        return {"content": "", "result": orjson.loads(text)}
    except (orjson.JSONDecodeError, TypeError):
        return {}


def _call(raw: Any, position: int) -> dict[str, Any]:
    function = raw.get("function", raw) if isinstance(raw, dict) else None
    if not isinstance(function, dict):
        raise _NotAConversation(f"Every tool call must be an object with a function; one of message {position} is not.")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        # Text that is no JSON is kept as it is, for validation to name.
        with suppress(orjson.JSONDecodeError):
            arguments = orjson.loads(arguments) if arguments.strip() else {}
    return {"id": raw.get("id") or "", "name": function.get("name"), "arguments": {} if arguments is None else arguments}


def _paired(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages, each answer with the name of the call it answers.

    Ids repeat in real logs, even inside a conversation, so an answer belongs to the oldest open call with its id, else to the oldest.
    """
    waiting: deque[dict[str, Any]] = deque()
    by_id: dict[str, deque[dict[str, Any]]] = defaultdict(deque)
    answered: set[int] = set()

    def oldest(calls: deque[dict[str, Any]]) -> dict[str, Any] | None:
        while calls and id(calls[0]) in answered:
            calls.popleft()
        return calls[0] if calls else None

    for message in messages:
        for call in message.get("tool_calls", ()):
            waiting.append(call)
            by_id[call["id"]].append(call)
        if message["role"] == "tool":
            named = str(message.get("tool_call_id") or "")
            call = (oldest(by_id[named]) if named else None) or oldest(waiting)
            if call is not None:
                answered.add(id(call))
                message.setdefault("name", call["name"])
    return messages


def read_tools(declarations: Any) -> tuple[Tool, ...]:
    """The tools of a list of declarations in OpenAI's form. Raises InvalidInput for one that is none."""
    if not isinstance(declarations, list):
        raise InvalidInput(f"Tools are declared as a list of functions; got {type(declarations).__name__}. Use OpenAI's form.")
    return tuple(_tool(orjson.dumps(declaration)) for declaration in declarations)


@lru_cache(maxsize=4096)
def _tool(declaration: bytes) -> Tool:
    """One object for equal declarations, so that a million conversations share their tools."""
    raw = orjson.loads(declaration)
    if not isinstance(raw, dict):
        raise InvalidInput(f"A tool declaration needs a function with a name; got {raw!r}. Use OpenAI's form.")
    try:
        tool = Tool.from_openai(raw)
    except ValidationError as error:
        fault = error.errors()[0]["msg"]
        raise InvalidInput(f"A tool declares its parameters as a JSON Schema object; {fault} in {raw!r}. Mend the declaration.") from error
    return tool.model_copy(update={"writes": raw["writes"]}) if isinstance(raw.get("writes"), bool) else tool
