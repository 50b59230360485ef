from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

import numpy as np
import pytest

from agentgym.environments.case import Case
from agentgym.episode import Action, Conversation, Decision, Outcome, Trajectory
from agentgym.errors import ContractBroken, InvalidInput, Unavailable
from agentgym.messages import Message, assistant, user
from agentgym.training.flow_grpo.rollouts import Draw, Player, Playground, Sample


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

    identity: ClassVar = {"tokenizer": "digest of a tokenizer"}

    def __init__(self, probability: float) -> None:
        self.probability = probability
        self.batch_sizes: list[int] = []

    def act_batch(self, conversations: Sequence[Conversation], *, rng: np.random.Generator) -> list[Action]:
        self.batch_sizes.append(len(conversations))
        words = ["yes" if draw < self.probability else "no" for draw in rng.random(len(conversations))]
        return [Action(message=assistant(word), decisions=(Decision(name="act", choice=word, log_probability=-0.7),)) for word in words]


def play(goals: Sequence[str], policy: Coin, *, group_size: int = 3, seed: int = 0) -> Sample:
    """Each goal once, as a group; the environment's seed is the group's own."""
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
    draws = [Draw(place=place, group_id=100 + place, seed=7 * place) for place in range(len(cases))]
    player = Player(playground, group_size=group_size)
    sample = player.play(policy, draws, weights_digest="digest", rng=np.random.default_rng(seed))  # type: ignore[arg-type]
    assert seeds == [draw.seed for draw in draws for _ in range(group_size)]
    return sample


def test_every_case_is_played_group_size_times_under_one_group_id() -> None:
    sample = play(["2", "3"], Coin(0.5))
    assert [(rollout.group_id, rollout.trajectory.case_id) for rollout in sample.rollouts] == [(100, "0-2")] * 3 + [(101, "1-3")] * 3


def test_a_finished_rollout_leaves_the_batch_and_none_is_cut_short() -> None:
    policy = Coin(0.5)
    sample = play(["1", "4"], policy)
    assert policy.batch_sizes == [6, 3, 3, 3]
    assert [len(rollout.trajectory.actions) for rollout in sample.rollouts] == [1, 1, 1, 4, 4, 4]


def test_equal_seeds_give_equal_rollouts() -> None:
    first, second, other = (play(["4", "5"], Coin(0.5), seed=seed) for seed in (1, 1, 2))
    assert first.rollouts == second.rollouts
    assert first.rollouts != other.rollouts


def test_a_crash_is_left_out_of_its_group_and_names_its_error() -> None:
    sample = play(["crash", "2"], Coin(0.5))
    assert {rollout.trajectory.case_id for rollout in sample.rollouts} == {"1-2"}
    assert {(crash.case_id, crash.error) for crash in sample.crashes} == {("0-crash", "ZeroDivisionError: the world broke")}


def test_a_broken_contract_of_ours_is_not_taken_for_a_crash() -> None:
    with pytest.raises(ContractBroken, match="keeps its promises"):
        play(["bug"], Coin(0.5))


def test_too_many_crashes_stop_the_run_with_the_first_of_them() -> None:
    sample = play(["crash"], Coin(0.5))
    with pytest.raises(Unavailable, match="3 of 3 did, the first in case '0-crash' with ZeroDivisionError: the world broke"):
        sample.require_few_crashes(0.2)


def test_a_scenario_must_reward_every_turn() -> None:
    playground = Playground(
        create_environment=lambda: CountingEnvironment([]),
        broadcast_rewards=lambda trajectory: [trajectory.reward],
        cases=(Case(case_id="c", scenario="toy", kind="toy", difficulty="easy", cluster_id="c", goal="2"),),
    )
    draw = Draw(place=0, group_id=0, seed=0)
    with pytest.raises(ContractBroken, match="'c' had 2 turns and got 1 rewards"):
        Player(playground, group_size=2).play(Coin(0.5), [draw], weights_digest="", rng=np.random.default_rng(0))  # type: ignore[arg-type]


def test_rollouts_carry_the_digest_of_the_weights_that_sampled_them() -> None:
    assert {rollout.weights_digest for rollout in play(["2"], Coin(0.5)).rollouts} == {"digest"}


def test_rollouts_carry_what_their_policy_rests_on() -> None:
    assert all(rollout.identity == Coin.identity for rollout in play(["2"], Coin(0.5)).rollouts)


class Telling(CountingEnvironment):
    """Its state is how much was said."""

    def state_hash(self) -> str:
        return f"after {len(self.messages)}"


def play_one(environment: type[CountingEnvironment]) -> Sample:
    """A case of two turns, played twice by a player that wants to know states."""
    playground = Playground(
        create_environment=lambda: environment([]),
        broadcast_rewards=lambda trajectory: [trajectory.reward] * len(trajectory.actions),
        cases=(Case(case_id="c", scenario="toy", kind="toy", difficulty="easy", cluster_id="c", goal="2"),),
    )
    player = Player(playground, group_size=2, keeps_state_hashes=True)
    draw = Draw(place=0, group_id=0, seed=0)
    return player.play(Coin(0.5), [draw], weights_digest="", rng=np.random.default_rng(0))  # type: ignore[arg-type]


def test_a_rollout_tells_the_state_before_each_turn_where_it_is_asked_to() -> None:
    assert [rollout.state_hashes for rollout in play_one(Telling).rollouts] == [("after 1", "after 2")] * 2
    assert [rollout.state_hashes for rollout in play(["2"], Coin(0.5)).rollouts] == [()] * 3


def test_an_environment_without_states_to_tell_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"CountingEnvironment has no state_hash\(\)"):
        play_one(CountingEnvironment)


def test_rollouts_of_several_processes_stand_in_the_order_of_their_groups() -> None:
    whole = play(["2", "3", "1"], Coin(0.5))
    answered_first, answered_last = Sample(rollouts=whole.rollouts[6:]), Sample(rollouts=whole.rollouts[:6])
    assert (answered_first + answered_last).by_group() == whole
