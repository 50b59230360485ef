"""What is played: conversations seen, decisions taken, trajectories left behind; and who plays it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import numpy as np

from agentgym.messages import Message, ToolCall
from agentgym.tools import Tool


class Outcome(StrEnum):
    """What the customer got, observed; never an evaluator's opinion."""

    RESOLVED = "resolved"
    ESCALATED = "escalated"
    UNRESOLVED = "unresolved"
    ABANDONED = "abandoned"


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """What a policy sees when it acts: everything said so far, the tools in scope, and the time it happens in.

    conversation_id: equal for all steps of one conversation; a policy may keep what it computed under it.
    """

    conversation_id: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    now: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """One choice inside an action, with the log-probability the policy gave it when it chose.

    evidence: what the policy needs to compute that log-probability again, in its own form; None when it does not learn.
    """

    name: str
    choice: str
    log_probability: float
    evidence: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """An assistant message and the decisions it came from, in order."""

    message: Message
    decisions: tuple[Decision, ...] = ()


class Policy(Protocol):
    """Maps a conversation to the assistant's next message."""

    def act(self, conversation: Conversation) -> Action: ...


class TrainablePolicy(Policy, Protocol):
    """A policy whose decisions can be sampled in batches and whose log-probabilities can be differentiated.

    This is all the learning algorithm knows of a policy.
    """

    def act_batch(self, conversations: Sequence[Conversation], *, rng: np.random.Generator | None) -> list[Action]:
        """One action for each conversation, sampled with `rng`, or the most probable when `rng` is None."""
        ...

    def collate(self, decisions: Sequence[Decision]) -> Mapping[str, np.ndarray]:
        """The evidence of N decisions as arrays that `network` takes as tensors."""
        ...

    def recall(self, conversation: Conversation, message: Message, *, next_call: ToolCall | None) -> Action | None:
        """The action that gives `message`, with the decisions it takes and their log-probabilities as the policy is now.

        next_call: the call that follows in the record, which tells what a question was for; None where none does.
        None where the policy cannot act so: a tool out of scope, a value it does not find.
        """
        ...

    def weights_bytes(self) -> bytes:
        """Everything that was learned, as safetensors."""
        ...

    @property
    def identity(self) -> Mapping[str, str]:
        """Digests of what log-probabilities rest on besides the weights that learn, by name; policies that learn together share them."""
        ...

    @property
    def network(self) -> Any:
        """A torch module: `network(batch)` gives `{"log_probability": (N,), "entropy": (N,)}` of the decisions collated in `batch`."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedCall:
    """A call that was made, and whether it was right for the state it was made in.

    reason: why it was wrong; empty when it was right.
    """

    call: ToolCall
    is_correct: bool
    is_right_tool: bool
    is_error: bool = False
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trajectory:
    """One episode as it was played, with what followed from it.

    kind: the slice it belongs to, such as the kind of ticket.   cluster_id: the customer, else the conversation it came from.
    missing_calls: names of required tools never called rightly.   agent_tokens: written by the agent, words and calls.
    simulated_seconds: the agent's time on the simulated clock.   simulator_errors: questions the simulated user could not answer.
    reward_terms: named and summed; `reward` is their sum.
    """

    case_id: str
    kind: str
    cluster_id: str
    messages: tuple[Message, ...]
    actions: tuple[Action, ...]
    calls: tuple[JudgedCall, ...]
    missing_calls: tuple[str, ...]
    outcome: Outcome
    satisfaction_score: float | None
    agent_tokens: int
    simulated_seconds: float
    reward_terms: Mapping[str, float]
    is_truncated: bool = False
    simulator_errors: int = 0

    @property
    def reward(self) -> float:
        return sum(self.reward_terms.values())

    @property
    def is_success(self) -> bool:
        """Whether the customer got what the case asks for: a case whose right end is an escalation counts when it was escalated."""
        return self.outcome in (Outcome.RESOLVED, Outcome.ESCALATED)

    @property
    def correct_calls(self) -> int:
        return sum(judged.is_correct for judged in self.calls)

    @property
    def due_calls(self) -> int:
        """Calls made plus required calls never made: the denominator of tool reliability."""
        return len(self.calls) + len(self.missing_calls)
