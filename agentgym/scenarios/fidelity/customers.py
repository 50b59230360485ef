"""How long a simulated customer talks, and in which order it tells what it knows, beside the customer in the record."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agentgym.environments.case import Case
from agentgym.environments.play import play_episode
from agentgym.episode import Action, Conversation, Trajectory
from agentgym.messages import Message, ToolCall, assistant
from agentgym.rank_correlation import kendall_tau_b
from agentgym.scenarios.fidelity.figures import mean, share
from agentgym.scenarios.fidelity.report import Agent, CustomerFidelity
from agentgym.scenarios.scenario import Scenario
from agentgym.tools import Tool
from agentgym.traces.matching import canonical
from agentgym.traces.trace import Trace

_FAREWELL = "All done, your request is taken care of."


@dataclass(frozen=True, kw_only=True)
class Played:
    """A held-out conversation, its case, and what the case gave when an agent played it.

    answered: for each question the agent put for a fact the customer knows, whether the next words told it.
    """

    trace: Trace
    case: Case
    trajectory: Trajectory
    answered: tuple[bool, ...] = ()


class DepartingAgent:
    """Makes the calls a case requires, and asks before each, one by one and the last argument first, for what only the customer knows.

    No recorded agent asks in this order, so a customer that reads on in its record answers beside the point.
    questions: what it asked, each with the value it asked for.
    """

    def __init__(self, case: Case, tools: Sequence[Tool]) -> None:
        self.questions: dict[str, str] = {}
        self._due = list(case.expected_calls)
        self._facts = {canonical(value) for value in case.facts.values()}
        self._schemas = {tool.name: tool.properties for tool in tools}
        self._asked: set[tuple[int, str]] = set()
        self._made = 0

    def act(self, conversation: Conversation) -> Action:
        return Action(message=self._next(_words_of_customer(conversation.messages)))

    def _next(self, told: str) -> Message:
        if self._made == len(self._due):
            return assistant(_FAREWELL)
        call = self._due[self._made]
        for name in reversed(call.arguments):
            if (self._made, name) not in self._asked and self._is_untold(call, name, told):
                self._asked.add((self._made, name))
                question = f"Could you please tell me the {self._description(call, name)}?"
                self.questions[question] = canonical(call.arguments[name])
                return assistant(question)
        self._made += 1
        return assistant("", call)

    def _is_untold(self, call: ToolCall, name: str, told: str) -> bool:
        value = canonical(call.arguments[name])
        return value in self._facts and not _is_said(value, told)

    def _description(self, call: ToolCall, name: str) -> str:
        described = self._schemas.get(call.name, {}).get(name, {}).get("description")
        return str(described or name.replace("_", " "))


def play_departing(scenario: Scenario, cases: Sequence[tuple[Trace, Case]], *, seed: int) -> Iterator[Played]:
    """Each case played by an agent that departs from the record."""
    environment = scenario.create_environment()
    for trace, case in cases:
        agent = DepartingAgent(case, trace.tools or scenario.tools)
        trajectory = play_episode(environment, agent, case, seed=seed)
        yield Played(trace=trace, case=case, trajectory=trajectory, answered=tuple(_answered(trajectory, agent.questions)))


def _answered(trajectory: Trajectory, questions: Mapping[str, str]) -> Iterator[bool]:
    """By the agent's own messages: on the record, the recorded words stand in for them."""
    spoken = [place for place, message in enumerate(trajectory.messages) if message.role == "assistant"]
    for action, place in zip(trajectory.actions, spoken[-len(trajectory.actions) :], strict=True):
        if action.message.content in questions:
            replies = trajectory.messages[place + 1 : place + 2]
            yield any(_is_said(questions[action.message.content], canonical(reply.content)) for reply in replies)


def customer_fidelity(agent: Agent, played: Sequence[Played]) -> CustomerFidelity:
    """What the customer did in these episodes, beside what the recorded one did."""
    clusters = [each.trace.cluster_id for each in played]
    turns = [(_turns(each.trajectory.messages), _turns(each.trace.messages)) for each in played]
    orders = [(each.trace.cluster_id, order) for each in played if (order := _order(each)) is not None]
    told = [(each.trace.cluster_id, is_told) for each in played for is_told in _told(each)]
    answered = [(each.trace.cluster_id, is_answered) for each in played for is_answered in each.answered]
    return CustomerFidelity(
        agent=agent,
        length_ratio=mean([simulated / recorded for simulated, recorded in turns], clusters, of="conversations"),
        length_difference=mean([simulated - recorded for simulated, recorded in turns], clusters, of="conversations"),
        order=mean(
            [order for _, order in orders],
            [cluster for cluster, _ in orders],
            of="conversations in which facts are told one after another",
            bounds=(-1, 1),
        ),
        told=share([is_told for _, is_told in told], [cluster for cluster, _ in told], of="facts that the recorded customers told"),
        answered=share([is_answered for _, is_answered in answered], [cluster for cluster, _ in answered], of="questions for a fact"),
    )


def _turns(messages: Sequence[Message]) -> int:
    return sum(message.role == "user" for message in messages)


def _order(played: Played) -> float | None:
    """Tau-b of the turns in which facts were first told, over facts told in both; None where either side tells all of them at once."""
    recorded, simulated = (_first_told(played.case, messages) for messages in (played.trace.messages, played.trajectory.messages))
    both = sorted(recorded.keys() & simulated.keys())
    return kendall_tau_b([recorded[name] for name in both], [simulated[name] for name in both])


def _told(played: Played) -> list[bool]:
    """For each fact that the recorded customer told, whether the simulated one did."""
    recorded, simulated = (_first_told(played.case, messages) for messages in (played.trace.messages, played.trajectory.messages))
    return [name in simulated for name in sorted(recorded)]


def _first_told(case: Case, messages: Sequence[Message]) -> dict[str, int]:
    """The turn of the customer, from 0 on, in which each fact is first told in its own words."""
    turns = [canonical(message.content) for message in messages if message.role == "user"]
    facts = {name: canonical(value) for name, value in case.facts.items() if value is not None}
    places = {name: next((turn for turn, words in enumerate(turns) if _is_said(text, words)), None) for name, text in facts.items()}
    return {name: place for name, place in places.items() if place is not None}


def _words_of_customer(messages: Sequence[Message]) -> str:
    return canonical("\n".join(message.content for message in messages if message.role == "user"))


def _is_said(text: str, words: str) -> bool:
    return bool(text) and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", words) is not None
