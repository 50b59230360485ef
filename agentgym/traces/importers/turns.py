"""The messages of a conversation as a record has them, read from the chat forms that logs write.

OpenAI's form nests a call in `function`, writes arguments as a JSON string, and answers by `tool_call_id` with text, which is parsed when
it is JSON; the short one has `{"name", "arguments": {…}}`, answered by `{"role": "tool", "name", "result"}`.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import orjson

from agentgym.traces.importers.shapes import NotAConversation

Turn = dict[str, Any]

_ROLES = {"developer": "system", "function": "tool"}


def read_turn(raw: Any, position: int) -> Turn:
    """The message at `position` in either form. Raises NotAConversation when it is none."""
    if not isinstance(raw, dict):
        raise NotAConversation(f"Every message must be an object; message {position} is {type(raw).__name__}.")
    get = raw.get
    named, content = get("role"), get("content")
    role = _ROLES.get(named, named) if isinstance(named, str) else named
    if not isinstance(content, str):
        content = words(content)
    if role == "tool":
        known = {key: raw[key] for key in ("name", "tool_call_id") if get(key)}
        return {"role": role, "content": content, **known, **_result(raw, content, position)}
    calls = get("tool_calls") or ([{"function": raw["function_call"]}] if get("function_call") else [])
    if not isinstance(calls, list):
        raise NotAConversation(f"The tool_calls of a message must be a list; those of message {position} are {type(calls).__name__}.")
    return {"role": role, "content": content, "tool_calls": [_call(call, position) for call in calls] if calls else []}


def read_turns(raws: Iterable[Any]) -> list[Turn]:
    return [read_turn(raw, position) for position, raw in enumerate(raws)]


def words(content: Any) -> Any:
    """The text of a content that is text, nothing, or a list of parts: what a refusal says is said too."""
    if isinstance(content, list):
        said = (part.get("text", part.get("refusal")) for part in content if isinstance(part, dict))
        return "".join(text for text in said if isinstance(text, str))
    return "" if content is None else content


def paired(turns: list[Turn]) -> list[Turn]:
    """The messages, each answer with the name of the call it answers."""
    for turn, call in answered(turns):
        turn.setdefault("name", call["name"])
    return turns


def answered(turns: Iterable[Turn]) -> Iterator[tuple[Turn, dict[str, Any]]]:
    """Every answer with the call it belongs to.

    Ids repeat in real logs, even inside a conversation, so an answer belongs to the oldest open call with its id, else to the oldest.
    """
    waiting: deque[dict[str, Any]] = deque()
    by_id: dict[str, deque[dict[str, Any]]] = defaultdict(deque)
    done: set[int] = set()

    def oldest(calls: deque[dict[str, Any]]) -> dict[str, Any] | None:
        while calls and id(calls[0]) in done:
            calls.popleft()
        return calls[0] if calls else None

    for turn in turns:
        for call in turn.get("tool_calls", ()):
            waiting.append(call)
            by_id[str(call["id"])].append(call)
        if turn["role"] == "tool":
            named = str(turn.get("tool_call_id") or "")
            call = (oldest(by_id[named]) if named else None) or oldest(waiting)
            if call is not None:
                done.add(id(call))
                yield turn, call


def joined(turns: Iterable[Turn]) -> list[Turn]:
    """The messages, with an assistant's words and calls in one message where a log writes them one after another.

    Answers belong to the calls of the message before them, so calls that were made together must stand together.
    """
    whole: list[Turn] = []
    for turn in turns:
        before = whole[-1] if whole else None
        if before and _is_said_with(before, turn):
            content = "\n".join(said for said in (before["content"], turn["content"]) if said)
            whole[-1] = before | {"content": content, "tool_calls": [*before["tool_calls"], *turn["tool_calls"]]}
        else:
            whole.append(turn)
    return whole


def _is_said_with(before: Turn, turn: Turn) -> bool:
    """Whether both are the assistant's and one calls; what is no text is left for validation to name."""
    is_assistant = before["role"] == turn["role"] == "assistant"
    is_text = isinstance(before["content"], str) and isinstance(turn["content"], str)
    return is_assistant and is_text and bool(before["tool_calls"] or turn["tool_calls"])


def _result(raw: Mapping[str, Any], content: Any, position: int) -> Turn:
    """What a tool answered: content that is no text is the result itself."""
    if "result" in raw:
        if not isinstance(content, str):
            raise NotAConversation(f"Beside a result, content must be text; that of message {position} is {type(content).__name__}.")
        return {"result": raw["result"]}
    try:
        return {"content": "", "result": orjson.loads(content) if isinstance(content, str) else content}
    except orjson.JSONDecodeError:
        return {}


def _call(raw: Any, position: int) -> dict[str, Any]:
    function = raw.get("function", raw) if isinstance(raw, dict) else None
    if not isinstance(function, dict):
        raise NotAConversation(f"Every tool call must be an object with a function; one of message {position} is not.")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        # Text that is no JSON is kept as it is, for validation to name.
        with suppress(orjson.JSONDecodeError):
            arguments = orjson.loads(arguments) if arguments.strip() else {}
    return {"id": raw.get("id") or "", "name": function.get("name"), "arguments": {} if arguments is None else arguments}
