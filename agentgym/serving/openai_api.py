"""The endpoint's language: OpenAI's chat completions, read and written.

Beyond OpenAI's fields a request may name its conversation (`conversation_id`, or the header `x-conversation-id`) and itself
(the header `idempotency-key`); an answer says which conversation and which version it is of. `user` is the customer, and `metadata`
becomes the tags of the trace. Not covered: several choices, forced tools, audio and images.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from agentgym.errors import InvalidInput
from agentgym.messages import Message, token_estimate
from agentgym.tools import Tool
from agentgym.traces.importers.chat import read_conversation, read_tools
from agentgym.traces.importers.record import RejectedLine
from agentgym.traces.trace import Trace

_ID = re.compile(r"[\x21-\x7e]{1,128}")
_LONGEST_CUSTOMER_ID = 256
_MOST_TAGS, _LONGEST_TAG = 16, 512
_MOST_MESSAGES, _MOST_TOOLS = 2000, 512
_LARGEST_COUNT = 2**31 - 1
_LONGEST_MESSAGE = 600


@dataclass(kw_only=True)
class ApiError(Exception):
    """An answer that is an error, in OpenAI's form.   kind, code: OpenAI's `type` and `code`.   param: the field it is about."""

    status: int
    message: str
    kind: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None

    def body(self) -> bytes:
        return orjson.dumps({"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}})


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatRequest:
    """A request that can be answered.

    conversation_id, request_id, customer_id: None when the client did not name them.   raw: as the client sent it, for an upstream.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    conversation_id: str | None
    request_id: str | None
    customer_id: str | None
    tags: Mapping[str, str]
    is_stream: bool
    raw: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens of a request and of its answer."""

    prompt_tokens: int
    completion_tokens: int

    @classmethod
    def told(cls, counts: Any) -> "Usage | None":
        """What an upstream counted; None where it did not say, or said what cannot be."""
        if not isinstance(counts, dict):
            return None
        prompt, completion = counts.get("prompt_tokens"), counts.get("completion_tokens")
        if not all(isinstance(count, int) and 0 <= count <= _LARGEST_COUNT for count in (prompt, completion)):
            return None
        return cls(prompt_tokens=prompt, completion_tokens=completion)  # type: ignore[arg-type]


def read_json_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a request's body. Raises ApiError."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(status=400, message=f"A body must be JSON; {error}. Send one JSON object.", code="invalid_json") from error
    if not isinstance(value, dict):
        raise ApiError(
            status=400, message=f"A body must be a JSON object; got {type(value).__name__}. Send an object.", code="invalid_json"
        )
    return value


def read_chat_request(raw: Mapping[str, Any], headers: Mapping[str, str]) -> ChatRequest:
    """The request in these fields and headers. Raises ApiError that names the field."""
    try:
        # What cannot be written again cannot be kept: JSON may nest deeper than its writers follow.
        orjson.dumps(raw)
        return _read(raw, headers)
    except (TypeError, RecursionError) as error:
        raise ApiError(
            status=400, message="A request must not nest without end; this one does. Flatten it.", code="invalid_json"
        ) from error


def _read(raw: Mapping[str, Any], headers: Mapping[str, str]) -> ChatRequest:
    if not isinstance(raw.get("model"), str):
        raise _invalid("model", f"A request must name its model; got {raw.get('model')!r}. GET /v1/models lists them.")
    _refuse_what_is_not_covered(raw)
    trace = _read_messages(raw)
    return ChatRequest(
        model=raw["model"],
        messages=trace.messages,
        tools=() if raw.get("tool_choice") == "none" else trace.tools,
        conversation_id=_identifier("conversation_id", raw.get("conversation_id") or headers.get("x-conversation-id")),
        request_id=_identifier("request_id", headers.get("idempotency-key")),
        customer_id=_customer(raw.get("user") or raw.get("safety_identifier")),
        tags=_tags(raw.get("metadata")),
        is_stream=bool(raw.get("stream")),
        raw=raw,
    )


def completion(
    message: Message, *, usage: Usage, request_id: str, model: str, variant: str, conversation_id: str, digest: str, at: datetime
) -> dict[str, Any]:
    """An answer as OpenAI's `chat.completion`, with the version and the conversation beside it."""
    choice = {
        "index": 0,
        "message": _assistant(message, request_id),
        "logprobs": None,
        "finish_reason": "tool_calls" if message.tool_calls else "stop",
    }
    return {
        "id": f"chatcmpl-{request_id}",
        "object": "chat.completion",
        "created": int(at.timestamp()),
        "model": model,
        "choices": [choice],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        },
        "system_fingerprint": digest[:12],
        "conversation_id": conversation_id,
        "version": variant,
    }


def event_stream(answer: Mapping[str, Any]) -> bytes:
    """The answer as OpenAI's server-sent events: one chunk with everything, one that ends it. It was whole before it could be kept."""
    message = answer["choices"][0]["message"]
    calls = [{"index": place, **call} for place, call in enumerate(message.get("tool_calls") or ())]
    delta = {"role": "assistant", "content": message["content"], **({"tool_calls": calls} if calls else {})}
    told = {key: value for key, value in answer.items() if key not in ("choices", "usage", "object")} | {"object": "chat.completion.chunk"}
    chunks = [
        {**told, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]},
        {**told, "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": answer["choices"][0]["finish_reason"]}]},
        {**told, "choices": [], "usage": answer["usage"]},
    ]
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def estimated_usage(messages: tuple[Message, ...], answer: Message) -> Usage:
    """Tokens by `token_estimate`, for a policy that has no tokenizer."""
    return Usage(prompt_tokens=sum(map(token_estimate, messages)), completion_tokens=token_estimate(answer))


def _assistant(message: Message, request_id: str) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant", "content": message.content or None, "refusal": None}
    if message.tool_calls:
        said["tool_calls"] = [
            {
                "id": call.id or f"call_{hashlib.sha256(request_id.encode()).hexdigest()[:16]}_{place}",
                "type": "function",
                "function": {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()},
            }
            for place, call in enumerate(message.tool_calls)
        ]
    return said


def _read_messages(raw: Mapping[str, Any]) -> Trace:
    if isinstance(raw.get("messages"), list) and len(raw["messages"]) > _MOST_MESSAGES:
        raise _invalid(
            "messages", f"A conversation has at most {_MOST_MESSAGES} messages; this one has {len(raw['messages'])}. Shorten it."
        )
    if not isinstance(raw.get("messages"), list) or not raw["messages"]:
        raise _invalid("messages", "A request must hold messages; it holds none. Send the conversation so far, the customer's words last.")
    record = read_conversation({"messages": raw["messages"]}, _read_tools(raw.get("tools")), source="request", line=1)
    trace = record if isinstance(record, RejectedLine) else record.to_trace()
    if isinstance(trace, RejectedLine):
        raise _invalid("messages", " ".join(trace.reasons))
    if trace.messages[-1].role == "assistant":
        raise _invalid(
            "messages", "There must be something to answer; the last message is the assistant's own. End with what came after it."
        )
    return trace


def _read_tools(declarations: Any) -> tuple[Tool, ...]:
    if isinstance(declarations, list) and len(declarations) > _MOST_TOOLS:
        raise _invalid("tools", f"At most {_MOST_TOOLS} tools are in scope; got {len(declarations)}. Send those of this conversation.")
    try:
        return read_tools(declarations or [])
    except InvalidInput as error:
        raise _invalid("tools", str(error)) from error


def _refuse_what_is_not_covered(raw: Mapping[str, Any]) -> None:
    if raw.get("n") not in (None, 1):
        raise _invalid("n", f"A request gets one choice; got n={raw['n']!r}. Leave it out.")
    if raw.get("tool_choice") not in (None, "auto", "none"):
        raise _invalid("tool_choice", f"Which tool to call is the policy's to decide; got {raw['tool_choice']!r}. Send auto or none.")


def _identifier(field: str, given: Any) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str) or not _ID.fullmatch(given):
        raise _invalid(field, f"A {field} has 1 to 128 visible ASCII characters; got {str(given)[:140]!r}. Choose another.")
    return given


def _customer(given: Any) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str) or len(given) > _LONGEST_CUSTOMER_ID or "\0" in given:
        raise _invalid("user", f"A user has at most {_LONGEST_CUSTOMER_ID} characters; got {str(given)[:40]!r}. Send the customer's id.")
    return given


def _tags(given: Any) -> Mapping[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict) or len(given) > _MOST_TAGS:
        raise _invalid("metadata", f"Metadata is an object of at most {_MOST_TAGS} texts; got {type(given).__name__}. Send fewer.")
    wrong = [key[:40] for key, value in given.items() if not isinstance(value, str) or max(len(key), len(value)) > _LONGEST_TAG]
    if wrong:
        raise _invalid("metadata", f"Metadata holds texts of at most {_LONGEST_TAG} characters; {wrong[0]!r} is not one. Shorten it.")
    return dict(given)


def _invalid(param: str, message: str) -> ApiError:
    return ApiError(status=400, message=message[:_LONGEST_MESSAGE], param=param)
