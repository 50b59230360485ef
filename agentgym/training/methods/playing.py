"""Playing cases outside of Flow-GRPO's own loop: rollouts to choose from, a teacher at work, a policy as it is now."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from agentgym.environments.case import Case
from agentgym.environments.play import play_episode
from agentgym.episode import Policy, TrainablePolicy, Trajectory
from agentgym.reward import RewardWeights
from agentgym.scenarios.from_traces import scenario_of
from agentgym.scenarios.pack import ScenarioPack
from agentgym.traces.trace import Trace
from agentgym.training.flow_grpo.rollouts import Draw, Player, Playground, Sample

AT_ONCE = 512
"""Rollouts played side by side."""
MAX_CRASH_SHARE = 0.2


class Stage:
    """The scenario of a pack, with its training cases."""

    def __init__(self, pack: ScenarioPack, *, reward: RewardWeights | None) -> None:
        scenario = scenario_of(pack)
        self.cases = pack.train
        self._playground = Playground(
            create_environment=partial(scenario.create_environment, reward=reward),
            broadcast_rewards=scenario.broadcast_rewards,
            cases=pack.train,
        )
        self._environment = scenario.create_environment(reward=reward)
        self._place_of = {case.case_id: place for place, case in enumerate(pack.train)}

    def play(
        self, policy: TrainablePolicy, cases: Sequence[Case], *, group_size: int, rng: np.random.Generator, is_greedy: bool = False
    ) -> Sample:
        """`group_size` rollouts of each case, sampled unless `is_greedy`; a group is numbered by the place of its case among `cases`.

        Raises Unavailable when too many break off.
        """
        player = Player(self._playground, group_size=group_size)
        draws = [
            Draw(place=self._place_of[case.case_id], group_id=number, seed=int(rng.integers(2**31))) for number, case in enumerate(cases)
        ]
        sample, together = Sample(), max(1, AT_ONCE // group_size)
        for start in range(0, len(draws), together):
            sample += player.play(policy, draws[start : start + together], weights_digest="", rng=None if is_greedy else rng)
        sample.require_few_crashes(MAX_CRASH_SHARE)
        return sample

    def watch(self, teacher: Policy, case: Case, *, seed: int) -> Trajectory:
        """One episode of a policy that acts one message at a time."""
        return play_episode(self._environment, teacher, case, seed=seed)

    def as_trace(self, case: Case, trajectory: Trajectory) -> Trace:
        """A trajectory of the case as a record, with the tools and the time it was played in."""
        opened, _ = self._environment.reset(options={"case": case})
        return Trace(
            conversation_id=case.case_id,
            messages=trajectory.messages,
            tools=opened.tools,
            customer_id=case.cluster_id,
            started_at=opened.now,
        )


def is_flawless(trajectory: Trajectory) -> bool:
    """Whether the customer got what the case asks for, with every call right and none missing."""
    return trajectory.is_success and trajectory.correct_calls == trajectory.due_calls
