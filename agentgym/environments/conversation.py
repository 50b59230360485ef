"""A conversation to play as a gymnasium environment: a customer on one side, tools behind, and the agent in between.

The environment owns turns, patience of the clock and bookkeeping; what the tools do comes from a `ToolBackend` (a world, or a mock made
from recordings), what the customer says from a `SimulatedUser`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from pydantic import JsonValue

from agentgym.environments.case import Case
from agentgym.episode import JudgedCall, Outcome
from agentgym.messages import Message, ToolCall
from agentgym.tools import Tool


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolAnswer:
    """What a tool gave back, and how long it took on the simulated clock."""

    result: JsonValue
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class UserTurn:
    """What the simulated user does after the agent spoke.

    content: None when they leave without a word.   agent_words: the words the recorded agent said at this point, which take the place
    of the generated ones while the episode follows a recording; None otherwise.
    is_simulator_error: the user was asked what it cannot know.
    """

    content: str | None
    has_left: bool = False
    agent_words: str | None = None
    is_simulator_error: bool = False


class ToolBackend(Protocol):
    """The tools of one case, their effects, and the judgement of each call."""

    def open(self, case: Case) -> tuple[Message, ...]:
        """Starts the case; the messages the agent finds before the customer speaks (a system message with the ticket, or nothing)."""
        ...

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Tools in scope of this case."""
        ...

    def judge(self, call: ToolCall) -> JudgedCall:
        """Whether `call` is right in the state it is made in; asked before it is executed."""
        ...

    def execute(self, call: ToolCall) -> ToolAnswer:
        """Makes the call; a bad call gives `{"error": …}`, never an exception."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether the case is over for the tools: nothing more is expected of the agent but words."""
        ...

    def missing_calls(self) -> tuple[str, ...]:
        """Names of required tools not called rightly so far, one entry for each call due."""
        ...

    def outcome(self, *, has_abandoned: bool) -> Outcome:
        """What the customer got, from the final state alone; `has_abandoned`: their patience ended before the agent was done."""
        ...

    def satisfaction_score(self, *, outcome: Outcome, annoyances: int) -> float | None:
        """1 to 5; None where nobody knows. annoyances: how often the customer was asked in vain, made to wait or told twice."""
        ...

    def state_hash(self) -> str:
        """SHA-256 of everything that can influence what follows."""
        ...


class SimulatedUser(Protocol):
    """The customer: opens, answers what is asked, and leaves when served or out of patience."""

    def open(self, case: Case, rng: np.random.Generator) -> str:
        """The customer's first words."""
        ...

    def reply(self, words: str, *, messages: Sequence[Message], is_closed: bool) -> UserTurn:
        """What the customer does after the agent said `words`; `messages` is everything before them."""
        ...

    @property
    def annoyances(self) -> int:
        """How often so far the agent asked in vain, stalled or repeated itself."""
        ...
