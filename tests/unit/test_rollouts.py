from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from agentgym.environments.case import Case
from agentgym.episode import Action, Conversation, Decision, Outcome, Trajectory
from agentgym.errors import ContractBroken, Unavailable
from agentgym.messages import Message, assistant, user
from agentgym.training.flow_grpo.rollouts import Player, Playground, Sample


class CountingEnvironment:
    """The customer leaves after as many turns as the case's goal says; the reward is how often the agent said "yes"."""

    seeds: list[int]

    def __init__(self, seeds: list[int]) -> None:
        self.seeds = seeds

    def reset(self, *, seed: int | None = None, options: dict[str, Case] | None = None) -> tuple[Conversation, dict[str, object]]:
        assert seed is not None
        assert options is not None
        self.case, self.messages = options["case"], [user("hello")]
        self.seeds.append(seed)
        if self.case.goal == "crash":
            raise ZeroDivisionError("the world broke")
        if self.case.goal == "bug":
            raise ContractBroken("A world keeps its promises; this one did not.")
        return self.conversation(), {}

    def step(self, action: Message) -> tuple[Conversation, float, bool, bool, dict[str, object]]:
        self.messages.append(action)
        return self.conversation(), 0.0, len(self.messages) > int(self.case.goal), False, {}

    def conversation(self) -> Conversation:
        return Conversation(
            conversation_id=self.case.case_id, messages=tuple(self.messages), tools=(), now=datetime(2026, 1, 1, tzinfo=UTC)
        )

    def trajectory(self, actions: Sequence[Action]) -> Trajectory:
        said = sum(action.message.content == "yes" for action in actions)
        return Trajectory(
            case_id=self.case.case_id,
            kind=self.case.kind,
            cluster_id=self.case.cluster_id,
            messages=tuple(self.messages),
            actions=tuple(actions),
            calls=(),
            missing_calls=(),
            outcome=Outcome.RESOLVED,
            satisfaction_score=None,
            agent_tokens=1,
            simulated_seconds=1.0,
            reward_terms={"yes": float(said)},
        )


class Coin:
    """Says yes with a fixed probability, and keeps how many conversations it was asked about at once."""

    def __init__(self, probability: float) -> None:
        self.probability = probability
        self.batch_sizes: list[int] = []

    def act_batch(self, conversations: Sequence[Conversation], *, rng: np.random.Generator) -> list[Action]:
        self.batch_sizes.append(len(conversations))
        words = ["yes" if draw < self.probability else "no" for draw in rng.random(len(conversations))]
        return [Action(message=assistant(word), decisions=(Decision(name="act", choice=word, log_probability=-0.7),)) for word in words]


def play(goals: Sequence[str], policy: Coin, *, groups: int = 4, max_refills: int = 0, group_size: int = 3, seed: int = 0) -> Sample:
    cases = tuple(
        Case(case_id=f"{place}-{goal}", scenario="toy", kind="toy", difficulty="easy", cluster_id=str(place), goal=goal)
        for place, goal in enumerate(goals)
    )
    seeds: list[int] = []
    playground = Playground(
        create_environment=lambda: CountingEnvironment(seeds),
        broadcast_rewards=lambda trajectory: [trajectory.reward] * len(trajectory.actions),
        cases=cases,
    )
    player = Player(playground, group_size=group_size)
    rng = np.random.default_rng(seed)
    sample = player.sample(policy, groups=groups, max_refills=max_refills, first_group_id=100, weights_digest="digest", rng=rng)  # type: ignore[arg-type]
    assert [len(set(seeds[start : start + group_size])) for start in range(0, len(seeds), group_size)] == [1] * (len(seeds) // group_size)
    return sample


def test_every_case_is_played_group_size_times_under_one_group_id():
    sample = play(["2", "3"], Coin(0.5))
    groups = {group_id: {r.trajectory.case_id for r in sample.rollouts if r.group_id == group_id} for group_id in range(100, 104)}
    assert len(sample.rollouts) == 12
    assert all(len(cases) == 1 for cases in groups.values())


def test_a_finished_rollout_leaves_the_batch_and_none_is_cut_short():
    policy = Coin(0.5)
    sample = play(["1", "4"], policy, groups=6)
    turns = [len(rollout.trajectory.actions) for rollout in sample.rollouts]
    assert policy.batch_sizes == [sum(length > step for length in turns) for step in range(4)]


def test_equal_seeds_give_equal_rollouts():
    first, second, other = (play(["2", "5"], Coin(0.5), seed=seed) for seed in (1, 1, 2))
    assert first.rollouts == second.rollouts
    assert first.rollouts != other.rollouts


def test_groups_that_do_not_vary_are_played_again_until_enough_do():
    sample = play(["1"], Coin(0.2), groups=8, max_refills=10)
    assert sample.varied_groups >= 8
    assert len({rollout.group_id for rollout in sample.rollouts}) > 8


def test_refilling_ends_when_no_group_can_vary():
    sample = play(["1"], Coin(1.0), groups=2, max_refills=3)
    assert sample.varied_groups == 0
    assert len(sample.rollouts) == 2 * 4 * 3


def test_a_crash_is_left_out_of_its_group_and_names_its_error():
    sample = play(["crash", "2"], Coin(0.5), groups=20)
    assert {rollout.trajectory.case_id for rollout in sample.rollouts} == {"1-2"}
    assert {(crash.case_id, crash.error) for crash in sample.crashes} == {("0-crash", "ZeroDivisionError: the world broke")}


def test_a_broken_contract_of_ours_is_not_taken_for_a_crash():
    with pytest.raises(ContractBroken, match="keeps its promises"):
        play(["bug"], Coin(0.5))


def test_too_many_crashes_stop_the_run_with_the_first_of_them():
    sample = play(["crash"], Coin(0.5), groups=1)
    with pytest.raises(Unavailable, match="3 of 3 did, the first in case '0-crash' with ZeroDivisionError: the world broke"):
        sample.require_few_crashes(0.2)


def test_rollouts_carry_the_digest_of_the_weights_that_sampled_them():
    assert {rollout.weights_digest for rollout in play(["2"], Coin(0.5)).rollouts} == {"digest"}
