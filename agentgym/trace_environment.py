"""Traces as something to work with: an agent to ask, its tools to call, a reward to learn from.

    query_agent, tool_mocker, reward_fn = agentgym.create_environment("logs.jsonl")
    answer = query_agent("Where is my order 1042?")
    tool_mocker("find_order", {"number": 1042})
    reward_fn(answer, ground_truth="It is on its way.")

Everything works offline unless a model is named by setting or by policy. Nothing is stored. An entry point: it reads the settings.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeAlias

from pydantic import JsonValue

from agentgym.environments.recorded_answers import RecordedAnswers
from agentgym.environments.reward_function import RewardFunction
from agentgym.episode import Conversation, Policy
from agentgym.errors import InvalidInput
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.policies.checkpoint import Checkpoint
from agentgym.policies.retrieval import Memory
from agentgym.registry import ModelVersion
from agentgym.settings import Settings, read_settings
from agentgym.store import ArtifactRef
from agentgym.tools import Tool
from agentgym.trace_policies import AnyPolicy, policy_for
from agentgym.traces.given import GivenTraces, read_given
from agentgym.traces.importers.chat import read_message
from agentgym.traces.mining import mine_tools
from agentgym.traces.trace import Trace

Said: TypeAlias = Message | Mapping[str, JsonValue]
Truth: TypeAlias = str | Said | ToolCall | Sequence[ToolCall]

# A policy that goes on calling is stopped: a conversation on record calls less in a row.
_MOST_CALLS_IN_A_ROW = 12


@dataclass(frozen=True, kw_only=True)
class TraceEnvironment:
    """What the three callables share.

    rejected: conversations that could not be used.   policy: who answers, `policy_name` in words.
    """

    traces: tuple[Trace, ...] = field(repr=False)
    rejected: int
    tools: tuple[Tool, ...] = field(repr=False)
    policy: Policy = field(repr=False)
    policy_name: str
    answers: RecordedAnswers = field(repr=False)
    memory: Memory = field(repr=False)
    reward: RewardFunction = field(repr=False)

    def __repr__(self) -> str:
        calls = sum(len(message.tool_calls) for trace in self.traces for message in trace.messages)
        told = f"{len(self.traces)} conversations, {calls} calls, {len(self.tools)} tools, answered by {self.policy_name}"
        return f"<{type(self).__name__} of {told}>"


class AgentReply(NamedTuple):
    """What the agent did after the customer spoke.

    words: what it said in the end; empty where it was stopped before it said anything.   calls: those it made, in their order.
    conversation: everything so far, to be given back with what the customer says next.
    asked: how many of its messages were there when the agent was asked.
    """

    words: str
    calls: tuple[ToolCall, ...]
    conversation: tuple[Message, ...]
    asked: int

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class QueryAgent:
    """Asks the agent, `query_agent("Where is my order?")`, and again with `conversation=` the reply before."""

    environment: TraceEnvironment

    def __call__(
        self,
        text: str,
        *,
        conversation: AgentReply | Sequence[Said] = (),
        tools: Sequence[Tool] | None = None,
        now: datetime | None = None,
        run_tools: bool = True,
    ) -> AgentReply:
        """What the agent does until it is the customer's turn again.

        conversation: the reply before this one, or all that was said, results of tools included, as messages.   tools: in scope; None for
        all on record.   now: the time it happens in; None for the present.   run_tools: whether calls are answered from the record; without
        it the agent stops at its first call.
        """
        if not isinstance(text, str) or not text.strip():
            raise InvalidInput(f"An agent is asked in words; got {text!r}. Say what the customer says.")
        said = conversation.conversation if isinstance(conversation, AgentReply) else _read_messages(conversation)
        messages, calls = (*said, user(text)), list[ToolCall]()
        scope, asked = self.environment.tools if tools is None else tuple(tools), len(messages)
        while True:
            answer = self._next(messages, scope, now or datetime.now(UTC))
            messages, calls = (*messages, answer), [*calls, *answer.tool_calls]
            if not answer.tool_calls or not run_tools or len(calls) >= _MOST_CALLS_IN_A_ROW:
                return AgentReply(words=answer.content, calls=tuple(calls), conversation=messages, asked=asked)
            messages = (*messages, *(tool_result(call, answer_of(self.environment, call)) for call in answer.tool_calls))

    def _next(self, messages: tuple[Message, ...], tools: tuple[Tool, ...], now: datetime) -> Message:
        # Of exactly these messages: an agent that is told everything each time must not take one conversation for another.
        identity = hashlib.sha256("\n".join(message.model_dump_json() for message in messages).encode()).hexdigest()
        asked = Conversation(conversation_id=identity, messages=messages, tools=tools, now=now)
        return self.environment.policy.act(asked).message


@dataclass(frozen=True)
class ToolMock:
    """Answers a call as the record did, `tool_mocker("find_order", {"number": 7})`, without any side effect."""

    environment: TraceEnvironment

    def __call__(self, name: str, arguments: Mapping[str, JsonValue] | None = None) -> JsonValue:
        """What the tool gives back: JSON, and where it refuses the call `{"error": …}`. Raises InvalidInput for a tool not on record."""
        known = [tool.name for tool in self.environment.tools]
        if name not in known:
            near = get_close_matches(str(name), known, n=3)
            repair = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"On record: {', '.join(known) or 'none'}."
            raise InvalidInput(f"A tool that is called must be on record; {name!r} is not. {repair}")
        if not isinstance(arguments, Mapping | None):
            raise InvalidInput(f"A tool's arguments are an object; got {type(arguments).__name__}. Give a dictionary.")
        return answer_of(self.environment, ToolCall(name=name, arguments=dict(arguments or {})))


@dataclass(frozen=True)
class ReplyRewardFunction:
    """What a response is worth, `reward_fn(response, ground_truth="It is on its way.")`, in points; `terms` gives its parts."""

    environment: TraceEnvironment

    def __call__(self, response: AgentReply | Truth, *, ground_truth: Truth | None = None) -> float:
        """The sum of `terms`."""
        return sum(self.terms(response, ground_truth=ground_truth).values())

    def terms(self, response: AgentReply | Truth, *, ground_truth: Truth | None = None) -> Mapping[str, float]:
        """The named parts of the reward.

        response, ground_truth: words, a message in OpenAI's form, or calls.   ground_truth: None for what the record did in the most alike
        situation, which only a reply of `query_agent` tells. Raises InvalidInput for anything else.
        """
        given = assistant(response.words, *response.calls) if isinstance(response, AgentReply) else _said(response, "response")
        if ground_truth is not None:
            return self.environment.reward.terms(given, ground_truth=_said(ground_truth, "ground truth"))
        if not isinstance(response, AgentReply):
            raise InvalidInput(
                f"A response is judged by the right one; got {type(response).__name__} and no ground_truth. Give ground_truth, or a reply "
                "of query_agent, for which the record tells it."
            )
        prefix = [message for message in response.conversation[: response.asked] if message.role != "system"]
        return self.environment.reward.terms(given, ground_truth=_recorded_turn(self.environment, prefix))


class Callables(NamedTuple):
    """The three, over one `environment`."""

    query_agent: QueryAgent
    tool_mocker: ToolMock
    reward_fn: ReplyRewardFunction

    @property
    def environment(self) -> TraceEnvironment:
        return self.query_agent.environment


def create_environment(
    traces: GivenTraces,
    *,
    format: str | None = None,
    mapping: Path | None = None,
    policy: AnyPolicy | Checkpoint | ModelVersion | ArtifactRef | None = None,
    agent: str = "agent",
    settings: Settings | None = None,
) -> Callables:
    """Traces as `query_agent, tool_mocker, reward_fn`.

    traces: a file or folder of any format that is imported, or conversations as `Trace` or dictionaries.   format: of a file; None to tell
    it by its looks.   mapping: for rows of a table.
    policy: who answers: a checkpoint's file or the folder of a run, a registered version (`3`, `@champion`) of `agent`, a policy, or
    `retrieval`. None for the model of the settings AGENTGYM_LLM_BASE_URL and AGENTGYM_LLM_MODEL where they are set, with the traces as its
    context, else retrieval: what was done in the most alike recorded situation.
    settings: None to read them.   Raises InvalidInput, and InsufficientData where no agent acts in the traces.
    """
    given = read_given(traces, format=format, mapping=mapping)
    memory = Memory.of(given.traces)
    found, name = policy_for(policy, memory, agent=agent, settings=settings or read_settings())
    environment = TraceEnvironment(
        traces=given.traces,
        rejected=given.rejected,
        tools=mine_tools(given.traces),
        policy=found,
        policy_name=name,
        answers=RecordedAnswers.of([trace for trace in given.traces if any(m.role == "user" for m in trace.messages)]),
        memory=memory,
        reward=RewardFunction.fit(given.traces),
    )
    return Callables(QueryAgent(environment), ToolMock(environment), ReplyRewardFunction(environment))


def answer_of(environment: TraceEnvironment, call: ToolCall) -> JsonValue:
    """What the record answers to a call; a call that its tool's schema refuses is an error the agent can recover from."""
    tools = {tool.name: tool for tool in environment.tools}
    problems = tools[call.name].violations(call.arguments) if call.name in tools else [f"There is no tool {call.name!r}."]
    return {"error": "; ".join(problems)} if problems else environment.answers.answer(call).result


def _recorded_turn(environment: TraceEnvironment, prefix: Sequence[Message]) -> Message:
    """All the recorded agent did in the most alike situation, until the customer spoke again."""
    nearest = environment.memory.nearest(prefix, 1)[0].situation
    trace = next(trace for trace in environment.traces if trace.conversation_id == nearest.conversation_id)
    start = next(at for at, message in enumerate(trace.messages) if message is nearest.answer or message == nearest.answer)
    rest = list(chain.from_iterable(_until_user(trace.messages[start:])))
    words = [message.content for message in rest if message.role == "assistant" and message.content]
    return assistant(words[-1] if words else "", *(call for message in rest for call in message.tool_calls))


def _until_user(messages: Iterable[Message]) -> Iterable[Sequence[Message]]:
    for message in messages:
        if message.role == "user":
            return
        yield (message,)


def _said(given: Truth, what: str) -> str | Message:
    """Words as they are, a message or calls as an assistant's message."""
    if isinstance(given, str | Message):
        return given
    if isinstance(given, ToolCall):
        return assistant("", given)
    if isinstance(given, Mapping):
        return read_message({"role": "assistant", **given})
    if isinstance(given, Sequence) and all(isinstance(each, ToolCall) for each in given):
        return assistant("", *given)
    raise InvalidInput(f"A {what} is words, a message or calls; got {type(given).__name__}. Give one of these.")


def _read_messages(conversation: Sequence[Said]) -> tuple[Message, ...]:
    if isinstance(conversation, str | Mapping) or not isinstance(conversation, Sequence):
        raise InvalidInput(f"A conversation is a reply or a list of messages; got {type(conversation).__name__}. Give the reply before.")
    return tuple(message if isinstance(message, Message) else read_message(message) for message in conversation)
