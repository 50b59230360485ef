"""A conversation to play as a gymnasium environment: a customer on one side, tools behind, and the agent in between.

The environment owns turns, patience of the clock and bookkeeping; what the tools do comes from a `ToolBackend` (a world, or a mock made
from recordings), what the customer says from a `SimulatedUser`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Protocol

import gymnasium
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agentgym.environments.case import Case
from agentgym.environments.spaces import ConversationSpace, MessageSpace
from agentgym.episode import Action, Conversation, JudgedCall, Outcome, Trajectory
from agentgym.errors import InvalidInput
from agentgym.messages import Message, ToolCall, token_estimate, tool_result, user
from agentgym.reward import BY_EQUAL_WORDS, RewardWeights, Similarity, Spoken, reward_terms
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


class SimulatedClock(BaseModel):
    """The agent's own time, simulated: thinking before each message, and its tools; never the customer's.

    start: of every case that is not recorded.   jitter: the largest share by which a time departs from the declared one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    start: datetime = datetime(2025, 3, 3, 9, tzinfo=UTC)
    thinking_seconds: float = Field(default=0.25, ge=0)
    jitter: float = Field(default=0.2, ge=0, lt=1)

    def spread(self, seconds: float, rng: np.random.Generator) -> float:
        """`seconds` with its jitter, uniform on both sides."""
        return seconds * (1 + self.jitter * (2 * rng.random() - 1))


class ConversationEnv(gymnasium.Env[Conversation, Message]):
    """One conversation as an episode. An action is an assistant message: words, or tool calls that are executed in their order.

    Terminated: the customer left, served or out of patience. Truncated: the turn limit. The reward is 0 until the end, then the
    trajectory's total. A call the tools cannot take is answered with an error message the agent can recover from.
    Everything random follows from the case's seed and the seed given to `reset`. tools: all that a case may bring into scope.
    similarity: of replies to recorded ones, where the reward pays it.
    """

    def __init__(
        self,
        backend: ToolBackend,
        customer: SimulatedUser,
        *,
        tools: Sequence[Tool],
        draw_case: Callable[[np.random.Generator], Case],
        reward: RewardWeights,
        clock: SimulatedClock,
        max_turns: int,
        similarity: Similarity = BY_EQUAL_WORDS,
    ) -> None:
        self.observation_space = ConversationSpace(tools)
        self.action_space = MessageSpace(tools)
        self._backend = backend
        self._customer = customer
        self._draw_case = draw_case
        self._reward = reward
        self._clock = clock
        self._max_turns = max_turns
        self._similarity = similarity
        self._case: Case | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Conversation, dict[str, Any]]:
        """Opens `options["case"]`, or a case drawn by the seed; the case that is played comes back as `info["case"]`."""
        super().reset(seed=seed)
        case: Case = (options or {}).get("case") or self._draw_case(self.np_random)
        episode_seed = int(self.np_random.integers(2**63))
        self._case = case
        self._rng = np.random.default_rng([case.seed, episode_seed])
        self._conversation_id = f"{case.case_id}#{episode_seed:016x}"
        self._calls: list[JudgedCall] = []
        self._turns = self._tokens = self._simulator_errors = 0
        self._seconds = 0.0
        self._has_left = self._has_abandoned = False
        self._replaced: dict[int, Message] = {}
        self._messages = self._backend.open(case)
        self._messages += (user(self._customer.open(case, self._rng)),)
        self._tools = {tool.name: tool for tool in self._backend.tools}
        self._now = _start_of(case, self._clock)
        return self._conversation(), {"case": case}

    def step(self, action: Message) -> tuple[Conversation, float, bool, bool, dict[str, Any]]:
        if self._case is None or self._has_ended:
            raise InvalidInput("An episode must be open to take a step; this one has not begun or has ended. Call reset first.")
        self._turns += 1
        self._tokens += token_estimate(action)
        self._seconds += self._clock.spread(self._clock.thinking_seconds, self._rng)
        if action.tool_calls:
            self._messages += (action, *map(self._answer, action.tool_calls))
        else:
            self._talk(action)
        reward = self.trajectory(()).reward if self._has_ended else 0.0
        return self._conversation(), reward, self._has_left, self._is_truncated, {}

    def trajectory(self, actions: Sequence[Action]) -> Trajectory:
        """What was played so far; `actions` are those whose messages were given to `step`."""
        case = self._open_case
        outcome = self._backend.outcome(has_abandoned=self._has_abandoned)
        observed: dict[str, Any] = {
            "calls": tuple(self._calls),
            "missing_calls": self._backend.missing_calls(),
            "outcome": outcome,
            "satisfaction_score": self._backend.satisfaction_score(outcome=outcome, annoyances=self._customer.annoyances),
            "agent_tokens": self._tokens,
            "simulated_seconds": self._seconds,
        }
        return Trajectory(
            case_id=case.case_id,
            kind=case.kind,
            cluster_id=case.cluster_id,
            messages=self._messages,
            actions=tuple(actions),
            reward_terms=reward_terms(**observed, weights=self._reward, spoken=self._spoken()),
            is_truncated=self._is_truncated,
            simulator_errors=self._simulator_errors,
            **observed,
        )

    @property
    def backend(self) -> ToolBackend:
        """The tools that are played with: a mock tells how it answered."""
        return self._backend

    @property
    def reward_weights(self) -> RewardWeights:
        """What pays here, and the ticket that savings are measured against."""
        return self._reward

    def state_hash(self) -> str:
        """SHA-256 of the tools' state and of everything said: equal hashes, equal futures under equal seeds."""
        digest = sha256(self._backend.state_hash().encode())
        for message in self._messages:
            digest.update(message.model_dump_json().encode())
        return digest.hexdigest()

    def _talk(self, action: Message) -> None:
        turn = self._customer.reply(action.content, messages=self._messages, is_closed=self._backend.is_closed)
        said = action if turn.agent_words is None else action.model_copy(update={"content": turn.agent_words})
        if turn.agent_words is not None:
            self._replaced[len(self._messages)] = action
        self._messages += (said,) if turn.content is None else (said, user(turn.content))
        self._simulator_errors += turn.is_simulator_error
        self._has_left = turn.has_left
        self._has_abandoned = turn.has_left and not self._backend.is_closed

    def _spoken(self) -> Spoken:
        """In the policy's own words, also where recorded ones took their place."""
        messages = tuple(self._replaced.get(place, message) for place, message in enumerate(self._messages))
        return Spoken(
            messages=messages,
            replies=[message.content for message in messages if message.role == "assistant" and message.content],
            recorded=[self._messages[place].content for place in self._replaced],
            similarity=self._similarity,
        )

    def _answer(self, call: ToolCall) -> Message:
        judged, problem = self._backend.judge(call), self._problem(call)
        if problem:
            judged, answer = replace(judged, is_correct=False, reason=problem), ToolAnswer(result={"error": problem}, seconds=0.0)
        else:
            answer = self._backend.execute(call)
        message = tool_result(call, answer.result)
        self._calls.append(replace(judged, is_error=message.is_error))
        self._seconds += answer.seconds
        return message

    def _problem(self, call: ToolCall) -> str:
        tool = self._tools.get(call.name)
        if tool is None:
            return f"There is no tool {call.name!r}; there are {', '.join(self._tools)}."
        return "; ".join(tool.violations(call.arguments))

    def _conversation(self) -> Conversation:
        return Conversation(conversation_id=self._conversation_id, messages=self._messages, tools=self._backend.tools, now=self._now)

    @property
    def _open_case(self) -> Case:
        if self._case is None:
            raise InvalidInput("A trajectory needs an episode; none has begun. Call reset first.")
        return self._case

    @property
    def _is_truncated(self) -> bool:
        return not self._has_left and self._turns >= self._max_turns

    @property
    def _has_ended(self) -> bool:
        return self._has_left or self._is_truncated


def _start_of(case: Case, clock: SimulatedClock) -> datetime:
    recorded = case.recording and case.recording.started_at
    return recorded or clock.start
