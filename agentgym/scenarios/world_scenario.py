"""A scenario that plays a declared world."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml
from pydantic import ValidationError

from agentgym.environments.case import Case
from agentgym.environments.conversation import ConversationEnv
from agentgym.environments.declaration import World
from agentgym.environments.edge_world import EdgeCustomer, EdgeTools
from agentgym.environments.world import briefing
from agentgym.episode import Action, Trajectory
from agentgym.errors import InvalidInput
from agentgym.policies.scripted import Script, ScriptedPolicy
from agentgym.reward import RewardWeights
from agentgym.scenarios.case_generation import draw_kind, generate_case
from agentgym.scenarios.pack import ScenarioPack
from agentgym.scenarios.scenario import Scenario
from agentgym.scenarios.scripts import expert_script, legacy_script
from agentgym.tools import Tool
from agentgym.traces.trace import Trace

_FRESH_NUMBERS = 1_000_000


class WorldScenario(Scenario):
    """A scenario whose tools, customers, rules and rewards are all data.

    A case is told by its kind, its customer and its number: equal ones are the same case, wherever they are made.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.name = world.name
        self.description = world.description
        self.difficulty = world.difficulty

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """The world declared by the YAML files of a folder, each with some of its parts. Raises InvalidInput with every mistake in them."""
        return cls(read_world(folder))

    @property
    def tools(self) -> tuple[Tool, ...]:
        return self.world.tool_schemas

    def create_environment(self, *, reward: RewardWeights | None = None) -> ConversationEnv:
        return ConversationEnv(
            EdgeTools(self.world),
            EdgeCustomer(self.world),
            tools=self.tools,
            draw_case=self.draw_case,
            reward=reward or self.world.reward,
            clock=self.world.clock,
            max_turns=self.world.max_turns,
        )

    def broadcast_rewards(self, trajectory: Trajectory) -> list[float]:
        turns = sum(message.role == "assistant" for message in trajectory.messages)
        return [trajectory.reward] * turns

    def success_criteria(self) -> Mapping[str, float]:
        return self.world.criteria

    def calculate_metrics(self, trajectories: Sequence[Trajectory]) -> Mapping[str, float]:
        """The means, with cost_reduction and time_saving against the baselines of a ticket (time on the simulated clock)."""
        means = super().calculate_metrics(trajectories)
        cost_reduction = 1 - means["agent_tokens"] / self.world.reward.baseline_tokens
        time_saving = 1 - means["simulated_seconds"] / self.world.reward.baseline_seconds
        return {**means, "cost_reduction": cost_reduction, "time_saving": time_saving}

    def case(self, *, kind: str, customer: str, number: int) -> Case:
        """The case with this number of this customer."""
        return generate_case(self.world, kind=kind, customer=customer, number=number)

    def case_by_id(self, case_id: str) -> Case:
        """The case with this id. Raises InvalidInput for an id that no case of this world has."""
        kind, _, rest = case_id.partition("/")
        customer, _, number = rest.rpartition("/")
        if not customer or not number.isdecimal():
            raise InvalidInput(f"A case id is KIND/CUSTOMER/NUMBER; got {case_id!r}. Use the case_id of a case of {self.name!r}.")
        return self.case(kind=kind, customer=customer, number=int(number))

    def draw_case(self, rng: np.random.Generator) -> Case:
        """A case of any kind, of any of a million customers."""
        customer, number = int(rng.integers(1_000_000)), int(rng.integers(1_000_000))
        return self.case(kind=draw_kind(self.world, rng), customer=_customer(customer), number=number)

    def generate_cases(self, count: int, *, seed: int, customers: int | None = None) -> Iterator[Case]:
        """`count` cases by the declared shares of kinds; without `customers` there are half as many as cases, so that many come back."""
        rng = np.random.default_rng(seed)
        for number in range(count):
            customer = int(rng.integers(customers or max(2, count // 2)))
            yield self.case(kind=draw_kind(self.world, rng), customer=_customer(customer), number=number)

    def expert(self) -> ScriptedPolicy:
        """Does what each case asks for: the proof that cases can be solved, not an agent that could serve anybody."""
        return ScriptedPolicy(lambda conversation_id: expert_script(self.world, self._case_of(conversation_id)))

    def honest_agent(self) -> ScriptedPolicy:
        return self.expert()

    def legacy_agent(self) -> ScriptedPolicy:
        """The agent before AgentGym, with the faults the world declares as habits."""
        return ScriptedPolicy(self._legacy_script)

    def case_from_trace(self, trace: Trace) -> Case:
        """The case a logged conversation was about: the customer is the trace's, the tags hold `kind` and the `case` number.

        Raises InvalidInput for a trace that is not of this world, or of a world that was declared otherwise then.
        """
        kind, number, customer = trace.tags.get("kind"), trace.tags.get("case", ""), trace.customer_id
        if kind not in self.world.intents or not number.isdecimal() or customer is None:
            raise InvalidInput(
                f"A trace of {self.name!r} has a customer_id and the tags kind and case; {trace.conversation_id!r} has customer "
                f"{customer!r} and tags {trace.tags!r}. Use logs of that world, or make a scenario from the traces themselves."
            )
        case = self.case(kind=kind, customer=customer, number=int(number))
        said = trace.messages[0]
        if said.role == "system" and said != briefing(self.world, case):
            raise InvalidInput(
                f"A trace is played in the world it comes from; {trace.conversation_id!r} begins with {said.content!r}, "
                f"case {case.case_id!r} with other words. Write the log again with this version of {self.name!r}."
            )
        return case

    def has_case_of(self, trace: Trace) -> bool:
        """Whether the conversation is of a customer of this world, as it is declared now."""
        try:
            self.case_from_trace(trace)
        except InvalidInput:
            return False
        return True

    def assess_trace(self, trace: Trace) -> Trajectory:
        """What follows from the recorded agent's messages when they are played in the world, judged like any policy's."""
        environment, seed = self.create_environment(), trace.tags.get("seed", "0")
        if not seed.isdecimal():
            raise InvalidInput(
                f"The tag seed is a whole number; {trace.conversation_id!r} has {seed!r}. Leave it out where it is not known."
            )
        environment.reset(seed=int(seed), options={"case": self.case_from_trace(trace)})
        actions: list[Action] = []
        has_ended = False
        for message in trace.messages:
            if message.role == "assistant" and not has_ended:
                _, _, is_terminated, is_truncated, _ = environment.step(message)
                actions.append(Action(message=message))
                has_ended = is_terminated or is_truncated
        return environment.trajectory(actions)

    def make_pack(
        self, train: Sequence[Trace], held_out: Sequence[Trace], snapshot_digest: str, *, fresh_per_trace: int = 0
    ) -> ScenarioPack:
        """The cases behind the traces; for training also `fresh_per_trace` new cases of the same customer and kind for each of them."""
        cases = [self.case_from_trace(trace) for trace in train]
        fresh = [self.fresh_case(case, copy) for case in cases for copy in range(1, fresh_per_trace + 1)]
        return ScenarioPack(
            scenario=self.name,
            tools=self.tools,
            train=(*cases, *fresh),
            held_out=tuple(self.case_from_trace(trace) for trace in held_out),
            snapshot_digest=snapshot_digest,
        )

    def fresh_case(self, case: Case, copy: int) -> Case:
        """Another case of the same customer and kind, one for each `copy` from 1 on."""
        number = int(case.case_id.rpartition("/")[2])
        return self.case(kind=case.kind, customer=case.cluster_id, number=number + copy * _FRESH_NUMBERS)

    def _case_of(self, conversation_id: str) -> Case:
        return self.case_by_id(conversation_id.rpartition("#")[0])

    def _legacy_script(self, conversation_id: str) -> Script:
        return legacy_script(self.world, self._case_of(conversation_id), conversation_id=conversation_id)


def read_world(folder: Path) -> World:
    """The world of a folder of YAML files, whose top-level names add up to one declaration."""
    declaration: dict[str, Any] = {}
    for path in sorted(folder.glob("*.yaml")):
        part = _read_yaml(path)
        repeated = sorted(declaration.keys() & part.keys())
        if repeated:
            raise InvalidInput(f"A part of a world is declared once; {path.name} repeats {', '.join(repeated)}. Keep one of them.")
        declaration |= part
    try:
        return World.model_validate(declaration)
    except ValidationError as error:
        mistakes = "; ".join(f"{'.'.join(map(str, mistake['loc'])) or 'world'}: {mistake['msg']}" for mistake in error.errors())
        raise InvalidInput(
            f"A world must be declared completely and by its schema; {folder} is not: {mistakes}. Correct its files."
        ) from error


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            part = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidInput(f"A world is declared in YAML; {path} cannot be read: {error}. Correct the file.") from error
    if not isinstance(part, dict):
        raise InvalidInput(f"A file of a world holds named parts; {path} holds {type(part).__name__}. Begin it with a name and a colon.")
    return part


def _customer(number: int) -> str:
    return f"CUS-{number:05d}"
