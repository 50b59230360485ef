"""Conversations as a language model reads and writes them: text between special tokens, calls as JSON between tags.

A call is written `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, what a tool gave back is read as the user's
`<tool_response>…</tool_response>`, and the model's own chat template, which differs between models, only marks who speaks.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import jinja2
from pydantic import JsonValue

from agentgym.errors import InvalidInput
from agentgym.messages import Message, ToolCall
from agentgym.policies.causal_lm.grammar import Tokens
from agentgym.tools import Tool

CALL_BEGINS, CALL_ENDS = "<tool_call>", "</tool_call>"
_CALL = re.compile(re.escape(CALL_BEGINS) + r"(.*?)" + re.escape(CALL_ENDS), re.DOTALL)
RESULT_BEGINS, RESULT_ENDS = "<tool_response>", "</tool_response>"
TAGS = (CALL_BEGINS, CALL_ENDS, RESULT_BEGINS, RESULT_ENDS)
QUOTE = '"'
_ANYTHING = "A"
_SHORT = 128


class Turn(NamedTuple):
    """What one side said, as the template takes it."""

    role: str
    content: str

    def to_json(self) -> dict[str, str]:
        return {"role": self.role, "content": self.content}


class ChatFormat:
    """Between conversations and the tokens of one model.

    tokenizer: a fast tokenizer of `transformers` with a chat template. Raises InvalidInput for one without.
    """

    def __init__(self, tokenizer: Any, *, name: str, shows_tools: bool, system_prompt: str | None = None) -> None:
        if not tokenizer.chat_template:
            raise InvalidInput(
                f"A base model needs a chat template, which says how a conversation is written; the tokenizer of {name!r} has none. "
                "Use an instruction-tuned base, or put a chat_template.jinja into the model's folder."
            )
        if not getattr(tokenizer, "is_fast", False):
            raise InvalidInput(f"A base model needs a fast tokenizer, with a tokenizer.json; that of {name!r} is not. Convert it.")
        # A folder may say to cut or pad what is encoded; here nothing is, and the digest must not depend on who encoded first.
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
        self.tokenizer, self._name = tokenizer, name
        self._shows_tools, self._system_prompt = shows_tools, system_prompt
        added = tokenizer.added_tokens_decoder.values()
        specials = sorted((str(token.content) for token in added if token.special or token.content in TAGS), key=len, reverse=True)
        # The tags of calls are special tokens of some models; they stand inside what is said.
        marks = [special for special in specials if special not in TAGS]
        self._special = re.compile("(" + "|".join(map(re.escape, marks)) + ")") if marks else None
        self._forged = re.compile("|".join(map(re.escape, [*specials, *TAGS])))
        self._encode_short = lru_cache(maxsize=16384)(self._encode)

    @property
    def digests(self) -> dict[str, str]:
        """Of the tokenizer and of the chat template."""
        backend = self.tokenizer.backend_tokenizer.to_str()
        return {"tokenizer": _sha256(backend), "chat_template": _sha256(str(self.tokenizer.chat_template))}

    @cached_property
    def turn_end(self) -> int:
        """The token that ends what the assistant says."""
        text = self._apply([Turn("user", _ANYTHING), Turn("assistant", _ANYTHING)], begins_reply=False)
        after = text.rpartition(_ANYTHING)[2]
        found = self._special.search(after) if self._special else None
        token = self.tokenizer.convert_tokens_to_ids(found.group()) if found else self.tokenizer.eos_token_id
        if token is None:
            raise InvalidInput(
                f"A chat template must end what the assistant says with a special token; that of {self._name!r} does not. Use another base."
            )
        return int(token)

    @cached_property
    def _reply_header(self) -> str:
        """The text between the last special token of a prompt and what the assistant says."""
        prompt = self._apply([Turn("user", _ANYTHING)], begins_reply=True)
        return self._segments(prompt)[-1] if not self._is_special(self._segments(prompt)[-1]) else ""

    def prompt(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Tokens:
        """The conversation up to the point where the assistant speaks."""
        text = self.prompt_text(messages, tools)
        return tuple(token for segment in self._segments(text) for token in self._segment(segment))

    def prompt_text(self, messages: Sequence[Message], tools: Sequence[Tool]) -> str:
        return self._apply(self._turns(messages, tools), begins_reply=True)

    def response(self, text: str) -> Tokens:
        """What the assistant says, without the token that ends its turn: a call piece by piece, so that equal values are equal tokens."""
        calls = read_calls(text) if text.startswith(CALL_BEGINS) else ()
        if not calls or "".join(call_text(call.name, call.arguments) for call in calls) != text:
            return self.encode(text)
        return tuple(token for call in calls for token in self._call(call))

    def value(self, value: str, closing: str) -> Tokens:
        """A value as JSON text with what stands after it; tokens of its own, however it is written."""
        parts = (QUOTE, value[1:-1], QUOTE) if value.startswith(QUOTE) else (value,)
        return tuple(token for part in (*parts, closing) if part for token in self.encode(part))

    def _call(self, call: ToolCall) -> Tokens:
        names = [*call.arguments, None]
        tokens = self.encode(call_opening(call.name, names[0]))
        for value, following in zip(call.arguments.values(), names[1:], strict=True):
            tokens += self.value(argument_text(value), value_closing(following))
        return tokens

    def _segment(self, segment: str) -> Tokens:
        header = self._reply_header
        if header and segment.startswith(header) and segment != header:
            return self.encode(header) + self.response(segment.removeprefix(header))
        return self.encode(segment) if self._is_special(segment) else self.response(segment)

    def encode(self, text: str) -> Tokens:
        """The tokens of a text; those of short ones are kept."""
        return self._encode_short(text) if len(text) <= _SHORT else self._encode(text)

    def _encode(self, text: str) -> Tokens:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def _segments(self, text: str) -> list[str]:
        """The text in parts: each special token, and what stands between them, which no token ever spans."""
        return [part for part in (self._special.split(text) if self._special else [text]) if part]

    def _is_special(self, segment: str) -> bool:
        return self._special is not None and self._special.fullmatch(segment) is not None

    def _turns(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[Turn]:
        instructions = [self._system_prompt] if self._system_prompt else []
        instructions += [_tool_list(tools)] if self._shows_tools and tools else []
        opening = [Turn("system", "\n\n".join(instructions))] if instructions else []
        return _joined([*opening, *map(self._turn, messages)])

    def _turn(self, message: Message) -> Turn:
        """What a message says. Marks that somebody put into their words are taken out: nobody speaks for another."""
        if message.role == "tool":
            result = message.content if message.result is None and message.content else json_text(message.result)
            return Turn("user", f"{RESULT_BEGINS}{self._forged.sub(' ', result)}{RESULT_ENDS}")
        calls = "".join(call_text(call.name, call.arguments) for call in message.tool_calls)
        return Turn(message.role, self._forged.sub(" ", message.content) + calls)

    def _apply(self, turns: Sequence[Turn], *, begins_reply: bool) -> str:
        try:
            return self._rendered(turns, begins_reply)
        except jinja2.TemplateError:
            # Some models know no system message; its words then stand at the head of the user's.
            pass
        try:
            return self._rendered(_without_system(turns), begins_reply)
        except jinja2.TemplateError as error:
            raise InvalidInput(
                f"A conversation must fit the chat template of its base; that of {self._name!r} said: {error}. "
                "Let the customer speak first, or use another base."
            ) from error

    def _rendered(self, turns: Sequence[Turn], begins_reply: bool) -> str:
        return str(
            self.tokenizer.apply_chat_template([turn.to_json() for turn in turns], tokenize=False, add_generation_prompt=begins_reply)
        )


def call_text(name: str, arguments: dict[str, JsonValue]) -> str:
    """A call as the model writes it."""
    names = [*arguments, None]
    values = [argument_text(value) + value_closing(following) for value, following in zip(arguments.values(), names[1:], strict=True)]
    return call_opening(name, names[0]) + "".join(values)


def call_opening(name: str, argument: str | None) -> str:
    """The call up to the value of this first argument; the whole call where it has none."""
    return f'{CALL_BEGINS}{{"name": {json_text(name)}, "arguments": {{' + (_END if argument is None else f"{json_text(argument)}: ")


def value_closing(argument: str | None) -> str:
    """What stands after a value, up to the value of the next argument; to the end of the call where there is none."""
    return _END if argument is None else f", {json_text(argument)}: "


_END = "}}" + CALL_ENDS


def json_text(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def argument_text(value: JsonValue) -> str:
    """A value of a call as JSON, in which no mark of a template can stand: what begins one is escaped inside strings."""
    if isinstance(value, str):
        return json_text(value).replace("<", "\\u003c").replace("[", "\\u005b")
    if isinstance(value, list):
        return f"[{','.join(map(argument_text, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{argument_text(name)}:{argument_text(inner)}" for name, inner in value.items()) + "}"
    return json_text(value)


def read_calls(text: str) -> tuple[ToolCall, ...]:
    """The calls in what the model wrote; what cannot be read as one is words."""
    return tuple(call for found in _CALL.finditer(text) if (call := _read_call(found.group(1))) is not None)


def _read_call(text: str) -> ToolCall | None:
    try:
        written = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not isinstance(written, dict) or not isinstance(written.get("name"), str) or not isinstance(written.get("arguments"), dict):
        return None
    return ToolCall(name=written["name"], arguments=written["arguments"])


def _without_system(turns: Sequence[Turn]) -> list[Turn]:
    """The same for a model that knows no system message, and wants the user to begin."""
    instructions = "\n\n".join(turn.content for turn in turns if turn.role == "system")
    others = _joined(turn for turn in turns if turn.role != "system")
    if others and others[0].role == "user":
        first = f"{instructions}\n\n{others[0].content}" if instructions else others[0].content
        return [Turn("user", first), *others[1:]]
    return [Turn("user", instructions), *others]


def _joined(turns: Iterable[Turn]) -> list[Turn]:
    """One turn for all that one side says in a row."""
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1].role == turn.role:
            joined[-1] = Turn(turn.role, f"{joined[-1].content}\n{turn.content}")
        else:
            joined.append(turn)
    return joined


def _tool_list(tools: Sequence[Tool]) -> str:
    listed = "\n".join(json_text({"name": tool.name, "description": tool.description, "parameters": tool.parameters}) for tool in tools)
    return (
        f"You can call these tools:\n<tools>\n{listed}\n</tools>\n"
        f'To call one, answer with {CALL_BEGINS}{{"name": "…", "arguments": {{…}}}}{CALL_ENDS} and nothing else.'
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
