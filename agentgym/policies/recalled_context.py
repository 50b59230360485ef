"""Any OpenAI-compatible model with the record before its eyes: the most alike recorded situations stand in its system message."""

from collections.abc import Sequence
from dataclasses import replace

import orjson

from agentgym.episode import Action, Conversation
from agentgym.messages import Message, system
from agentgym.policies.retrieval import Memory, Recalled
from agentgym.policies.upstream import UpstreamPolicy

_EXAMPLES = 4
_MESSAGES_SHOWN = 6
_LONGEST_MESSAGE = 400


class ContextPolicy:
    """An upstream that is shown how the recorded agent acted.   examples: situations it is shown."""

    def __init__(self, upstream: UpstreamPolicy, memory: Memory, *, examples: int = _EXAMPLES) -> None:
        self._upstream, self._memory, self._examples = upstream, memory, examples

    def act(self, conversation: Conversation) -> Action:
        """The model's next message. Raises as `UpstreamPolicy.act` does."""
        recalled = self._memory.nearest([message for message in conversation.messages if message.role != "system"], self._examples)
        return self._upstream.act(replace(conversation, messages=(system(context_of(recalled)), *conversation.messages)))


def context_of(recalled: Sequence[Recalled]) -> str:
    """The situations as a model reads them: what was said last, and what the agent then did."""
    told = [
        f"Example {number}:\n" + "\n".join(_line(message) for message in (*each.situation.prefix[-_MESSAGES_SHOWN:], each.situation.answer))
        for number, each in enumerate(recalled, start=1)
    ]
    rule = "You act as the agent in these recorded conversations did. Names, numbers and facts in them are other customers'."
    return "\n\n".join([rule, *told])


def _line(message: Message) -> str:
    calls = "".join(f" [calls {call.name} {orjson.dumps(call.arguments).decode()}]" for call in message.tool_calls)
    result = f" {orjson.dumps(message.result).decode()}" if message.role == "tool" and message.result is not None else ""
    return f"{message.role}: {message.content[:_LONGEST_MESSAGE]}{calls}{result[:_LONGEST_MESSAGE]}"
