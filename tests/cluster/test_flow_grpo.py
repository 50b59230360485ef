"""Flow-GRPO on a real local Ray, in a world of four colours small enough to know what must happen."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pytest
import ray
import torch
from torch import Tensor

from agentgym.environments.case import Case
from agentgym.episode import Action, Conversation, Decision, JudgedCall, Outcome, TrainablePolicy, Trajectory
from agentgym.errors import ContractBroken, InvalidInput
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.tools import Tool
from agentgym.training.config import FlowGRPOSettings
from agentgym.training.flow_grpo.algorithm import FlowGRPO, FlowGRPOConfig
from agentgym.training.flow_grpo.ray_session import ray_session
from agentgym.training.flow_grpo.rollouts import Playground
from agentgym.training.flow_grpo.weights import read_weights, write_weights

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
    """Calls a tool by the colour the customer said first.   misstated: added to every log-probability it reports, to lie about it."""

    def __init__(self, *, misstated: float = 0.0) -> None:
        self.network = ColourNetwork()
        self.misstated = misstated

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


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with ray_session(cpus=2):
        yield


@pytest.fixture
def build() -> Iterator[Any]:
    """Builds algorithms and stops them after the test."""
    built: list[FlowGRPO] = []

    def build_one(*, seed: int = 1, runners: int = 0, policy: Any = ColourPolicy, world: Any = ColourWorld, **settings: Any) -> FlowGRPO:
        playground = Playground(create_environment=world, broadcast_rewards=spread_evenly, cases=tuple(map(colour_case, range(40))))
        chosen = FlowGRPOSettings(**{"learning_rate": 0.2, "kl_coefficient": 0.0, **settings})
        config = FlowGRPOConfig().training(create_policy=policy, playground=playground, settings=chosen)
        built.append(config.env_runners(num_env_runners=runners).debugging(seed=seed).build_flow_grpo())
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


def test_the_policy_learns_what_the_reward_pays(build: Any) -> None:
    algorithm = build()
    curve = curve_of(algorithm, 15)
    assert curve[0]["tool_reliability"] < 0.4
    assert curve[-1]["tool_reliability"] > 0.9
    assert greedy_reliability(algorithm.policy) == 1.0


def test_a_corrupted_reward_makes_the_policy_worse_with_the_same_code(build: Any) -> None:
    algorithm = build(world=partial(ColourWorld, correct_call=-20.0, wrong_call=10.0))
    curve = curve_of(algorithm, 15)
    assert curve[-1]["tool_reliability"] < 0.1 < curve[0]["tool_reliability"]


def test_the_same_seed_gives_the_same_numbers(build: Any) -> None:
    first, second = curve_of(build(seed=3), 4), curve_of(build(seed=3), 4)
    assert first == second


def test_another_seed_plays_other_rollouts(build: Any) -> None:
    assert curve_of(build(seed=3), 1) != curve_of(build(seed=4), 1)


def test_every_first_update_starts_at_ratio_one(build: Any) -> None:
    assert max(metrics["max_log_ratio"] for metrics in curve_of(build(), 4)) < 1e-6


def test_a_batch_sampled_by_other_weights_is_refused(build: Any) -> None:
    algorithm = build()
    write_weights(algorithm.policy.network, {"scores": np.ones((4, 4), np.float32)})
    with pytest.raises(ContractBroken, match="must be sampled by the weights that learn from it"):
        algorithm.iterate()


def test_a_policy_that_misstates_its_log_probabilities_is_found_out(build: Any) -> None:
    with pytest.raises(ContractBroken, match="every probability ratio must be 1"):
        build(policy=partial(ColourPolicy, misstated=-0.01)).iterate()


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(build: Any) -> None:
    algorithm = build(world=partial(ColourWorld, correct_call=3e38))
    before = read_weights(algorithm.policy.network)
    with pytest.raises(InvalidInput, match="must stay finite"):
        algorithm.iterate()
    after = algorithm.state_to_resume().tensors["weights/scores"]
    assert np.array_equal(after, before["scores"])


def test_a_resumed_run_gives_the_numbers_of_one_never_interrupted(build: Any) -> None:
    whole = curve_of(build(), 6)
    interrupted = build()
    curve_of(interrupted, 3)
    resumed = build()
    resumed.resume(interrupted.state_to_resume())
    assert curve_of(resumed, 3) == whole[3:]


def test_the_pull_keeps_the_policy_near_where_it_started(build: Any) -> None:
    free, held = build(), build(kl_coefficient=50.0)
    assert curve_of(held, 8)[-1]["entropy"] > curve_of(free, 8)[-1]["entropy"] + 0.2


def test_only_what_learns_is_sent_to_those_who_play(build: Any) -> None:
    assert set(build().state_to_resume().tensors) == {"weights/scores"}


def test_runners_in_other_processes_play_with_the_newest_weights(build: Any) -> None:
    algorithm = build(runners=2)
    curve = curve_of(algorithm, 12)
    assert curve[-1]["tool_reliability"] > 0.8
    assert curve[0]["rollouts"] >= 16 * 8
