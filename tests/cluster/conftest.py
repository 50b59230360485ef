"""Flow-GRPO on a real Ray, in a world of four colours small enough to know what must happen."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import ray
import torch
from ray.cluster_utils import Cluster
from torch import Tensor

from agentgym.environments.case import Case
from agentgym.episode import Action, Conversation, Decision, JudgedCall, Outcome, TrainablePolicy, Trajectory
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.tools import Tool
from agentgym.training.flow_grpo.algorithm import FlowGRPO, FlowGRPOConfig
from agentgym.training.flow_grpo.ray_session import OBJECT_STORE_BYTES, ray_session
from agentgym.training.flow_grpo.rollouts import Playground
from agentgym.training.flow_grpo.settings import FlowGRPOSettings

COLOURS = ("red", "green", "blue", "white")
TOOLS = tuple(Tool(name=colour) for colour in COLOURS)
CALLS = 3
SECONDS = ("sampling_seconds", "learning_seconds", "syncing_seconds")


class ColourWorld:
    """The customer names a colour; three calls are due, each of the tool of that colour."""

    def __init__(self, *, correct_call: float = 10.0, wrong_call: float = -20.0) -> None:
        self.correct_call, self.wrong_call = correct_call, wrong_call

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[Conversation, dict[str, Any]]:
        assert options is not None
        self.case: Case = options["case"]
        self.messages: list[Message] = [user(self.case.goal)]
        self.calls: list[JudgedCall] = []
        return self.conversation(), {}

    def step(self, action: Message) -> tuple[Conversation, float, bool, bool, dict[str, Any]]:
        (call,) = action.tool_calls
        is_right = call.name == self.case.goal
        self.calls.append(JudgedCall(call=call, is_correct=is_right, is_right_tool=is_right))
        self.messages += [action, tool_result(call, "done")]
        return self.conversation(), 0.0, len(self.calls) == CALLS, False, {}

    def conversation(self) -> Conversation:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        return Conversation(conversation_id=self.case.case_id, messages=tuple(self.messages), tools=TOOLS, now=now)

    def trajectory(self, actions: Sequence[Action]) -> Trajectory:
        right = sum(judged.is_correct for judged in self.calls)
        return Trajectory(
            case_id=self.case.case_id,
            kind="colour",
            cluster_id=self.case.cluster_id,
            messages=tuple(self.messages),
            actions=tuple(actions),
            calls=tuple(self.calls),
            missing_calls=(),
            outcome=Outcome.RESOLVED if right == CALLS else Outcome.UNRESOLVED,
            satisfaction_score=None,
            agent_tokens=CALLS,
            simulated_seconds=1.0,
            reward_terms={"tools": (self.correct_call * right + self.wrong_call * (CALLS - right)) / CALLS},
        )


class ColourNetwork(torch.nn.Module):
    """A score for each pair of a colour said and a tool called, and one number that does not learn."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = torch.nn.Parameter(torch.zeros(len(COLOURS), len(COLOURS)))
        self.constant = torch.nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        log_probabilities = torch.log_softmax(self.scores[batch["said"]], dim=-1)
        return {
            "log_probability": log_probabilities.gather(1, batch["called"][:, None])[:, 0],
            "entropy": -(log_probabilities.exp() * log_probabilities).sum(-1),
        }


class ColourPolicy:
    """Calls a tool by the colour the customer said first.

    misstated: added to every log-probability it reports, to lie about it.   tokenizer: a digest, to differ in.
    """

    def __init__(self, *, misstated: float = 0.0, tokenizer: Callable[[], str] = str) -> None:
        self.network = ColourNetwork()
        self.misstated = misstated
        self.identity = {"tokenizer": tokenizer(), "chat_template": "plain"}

    def act(self, conversation: Conversation) -> Action:
        return self.act_batch([conversation], rng=None)[0]

    def act_batch(self, conversations: Sequence[Conversation], *, rng: np.random.Generator | None) -> list[Action]:
        said = [COLOURS.index(conversation.messages[0].content) for conversation in conversations]
        with torch.no_grad():
            rows = torch.log_softmax(self.network.scores[said], dim=-1).numpy()
        called = [int(row.argmax()) if rng is None else int((row + rng.gumbel(size=len(row))).argmax()) for row in rows]
        return [self._action(said[place], tool, float(rows[place][tool])) for place, tool in enumerate(called)]

    def collate(self, decisions: Sequence[Decision]) -> Mapping[str, np.ndarray]:
        said, called = np.array([decision.evidence for decision in decisions]).T
        return {"said": said, "called": called}

    def _action(self, said: int, called: int, log_probability: float) -> Action:
        name = COLOURS[called]
        decision = Decision(name="act", choice=name, log_probability=log_probability + self.misstated, evidence=(said, called))
        return Action(message=assistant("", ToolCall(name=name)), decisions=(decision,))


def spread_evenly(trajectory: Trajectory) -> list[float]:
    return [trajectory.reward] * len(trajectory.actions)


def colour_case(number: int) -> Case:
    case_id = f"case-{number}"
    return Case(case_id=case_id, scenario="colours", kind="colour", difficulty="easy", cluster_id=case_id, goal=COLOURS[number % 4])


@pytest.fixture(scope="session")
def colours() -> Any:
    """This world, for tests to take its parts from."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return sys.modules[__name__]


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    with ray_session(cpus=2):
        yield


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    """The address of a Ray of two nodes with a processor each, so that two runners must share them out."""
    node = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        cluster.add_node(**node)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        cluster.shutdown()


@pytest.fixture
def build(colours: Any, local_ray: None) -> Iterator[Any]:
    """Builds algorithms and stops them after the test."""
    built: list[FlowGRPO] = []

    def build_one(
        *,
        seed: int = 1,
        runners: int = 0,
        learners: int = 0,
        policy: Any = ColourPolicy,
        world: Any = ColourWorld,
        algorithm: type[FlowGRPO] = FlowGRPO,
        computing: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> FlowGRPO:
        playground = Playground(create_environment=world, broadcast_rewards=spread_evenly, cases=tuple(map(colour_case, range(40))))
        chosen = FlowGRPOSettings(**{"kl_coefficient": 0.0, **settings})
        config = FlowGRPOConfig(algorithm).training(create_policy=policy, playground=playground, settings=chosen, batch_size=24, lr=0.2)
        config.env_runners(num_env_runners=runners).learners(num_learners=learners).debugging(seed=seed)
        built.append(config.computing(**(computing or {})).build_flow_grpo())
        return built[-1]

    yield build_one
    for algorithm in built:
        algorithm.close()


def curve_of(algorithm: FlowGRPO, iterations: int) -> list[dict[str, float]]:
    """The metrics of some more iterations, without the seconds they took."""
    curve = []
    for _ in range(iterations):
        curve.append({name: value for name, value in algorithm.iterate().items() if name not in SECONDS})
    return curve


def greedy_reliability(policy: TrainablePolicy) -> float:
    world = ColourWorld()
    starts = [world.reset(options={"case": colour_case(number)})[0] for number in range(4)]
    return float(np.mean([policy.act_batch([start], rng=None)[0].decisions[0].choice == start.messages[0].content for start in starts]))
