"""A trained agent, ready to act: what a run left behind, asked one message at a time."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import JsonValue

from agentgym.episode import Conversation, Policy
from agentgym.errors import InvalidInput
from agentgym.messages import Message
from agentgym.policies.checkpoint import Checkpoint, load_trainable_policy
from agentgym.tools import Tool
from agentgym.traces.importers.chat import read_conversation
from agentgym.traces.importers.record import RejectedLine
from agentgym.training.run_folder import CHECKPOINT, RunFolder

Said = Message | Mapping[str, JsonValue]


@dataclass(frozen=True, kw_only=True)
class TrainedAgent:
    """A policy with the tools it was trained with.

    It is not for several threads at once. Behind an endpoint, register the checkpoint and use `agentgym serve`.
    """

    policy: Policy
    tools: tuple[Tool, ...]

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """The agent of a run, from the folder that training named, or from a checkpoint file. Raises InvalidInput."""
        checkpoint = read_checkpoint(Path(folder))
        return cls(policy=load_trainable_policy(checkpoint), tools=checkpoint.manifest.tools)

    def act(self, messages: Sequence[Said], *, tools: Sequence[Tool] | None = None, now: datetime | None = None) -> Message:
        """What the agent says or calls next: its most probable message.

        messages: everything said so far, results of tools included, as `Message` or in OpenAI's chat form.   tools: in scope; None for
        those it was trained with.   now: the time it happens in, by which it understands "tomorrow"; None for the present.
        """
        said = _read(messages)
        conversation = Conversation(
            conversation_id=_identity(said),
            messages=said,
            tools=self.tools if tools is None else tuple(tools),
            now=now or datetime.now(UTC),
        )
        return self.policy.act(conversation).message

    def reply(self, messages: Sequence[Said], *, tools: Sequence[Tool] | None = None, now: datetime | None = None) -> str:
        """The words of `act` alone; empty where it calls a tool without a word."""
        return self.act(messages, tools=tools, now=now).content


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint of a run's folder, or the one in a file. Raises InvalidInput where there is none."""
    if path.is_dir():
        found = RunFolder(path).read_checkpoint()
        if found is None:
            raise InvalidInput(f"A trained agent is in the folder of its run; {str(path)!r} holds no {CHECKPOINT}. Name another folder.")
        return found
    if not path.is_file():
        raise InvalidInput(f"A trained agent is in the folder of its run; nothing is at {str(path)!r}. Name another folder.")
    return Checkpoint.from_bytes(path.read_bytes())


def _read(messages: Sequence[Said]) -> tuple[Message, ...]:
    ready = tuple(message for message in messages if isinstance(message, Message))
    if len(ready) == len(messages):
        return ready
    plain = [message.model_dump(mode="json", exclude_defaults=True) if isinstance(message, Message) else message for message in messages]
    record = read_conversation({"messages": plain}, source="messages", line=1)
    trace = record if isinstance(record, RejectedLine) else record.to_trace()
    if isinstance(trace, RejectedLine):
        raise InvalidInput(f"An agent is told messages in OpenAI's chat form; {'; '.join(trace.reasons).rstrip('.')}. Mend what is named.")
    return trace.messages


def _identity(messages: Sequence[Message]) -> str:
    """Of exactly these messages: an agent that is told everything each time must not take one conversation for another."""
    return hashlib.sha256("\n".join(message.model_dump_json() for message in messages).encode()).hexdigest()
