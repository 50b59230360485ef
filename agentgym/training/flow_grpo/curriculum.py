"""Which cases to play: every way a case can go, and those that still go wrong more often."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from agentgym.environments.case import Case
from agentgym.training.flow_grpo.advantages import FloatArray
from agentgym.training.flow_grpo.rollouts import Draw, Rollout

# A course that is solved keeps this share of the weight of one that is not, so that it stays solved.
SOLVED_WEIGHT = 0.15
# How fast what was seen of a course is forgotten, by group played.
MEMORY = 0.8
# Between 0, where every course is as frequent as any other, and 1, where courses are as frequent as in the pack.
FREQUENCY_EXPONENT = 0.5


class Curriculum:
    """Draws cases by course: the kind of case together with the tools its solution calls, in their order.

    Frequent courses drown rare ones: before a policy has learned what is special about a rare course, what it learned on the frequent ones
    has taken away the little it did right there, and what is never tried any more is never learned again. So rare courses are drawn more
    often than they occur, and solved ones less.
    """

    def __init__(self, cases: Sequence[Case]) -> None:
        self._course_of = {case.case_id: _course(case) for case in cases}
        places = defaultdict[str, list[int]](list)
        for place, case in enumerate(cases):
            places[_course(case)].append(place)
        self._courses = sorted(places)
        self._places = [places[course] for course in self._courses]
        self._frequency: FloatArray = np.array([len(found) for found in self._places], dtype=np.float64) ** FREQUENCY_EXPONENT
        self._unsolved = dict.fromkeys(self._courses, 1.0)

    @property
    def unsolved(self) -> Mapping[str, float]:
        """Share of recent rollouts of each course that did not go as they should; 1 before it was played."""
        return dict(self._unsolved)

    def restore(self, unsolved: Mapping[str, float]) -> None:
        self._unsolved |= unsolved

    def draw(self, count: int, *, first_group_id: int, rng: np.random.Generator) -> list[Draw]:
        unsolved = np.array([self._unsolved[course] for course in self._courses])
        weights = self._frequency * (SOLVED_WEIGHT + (1 - SOLVED_WEIGHT) * unsolved)
        courses = rng.choice(len(weights), size=count, p=weights / weights.sum())
        return [
            Draw(place=int(rng.choice(self._places[course])), group_id=first_group_id + number, seed=int(rng.integers(2**31)))
            for number, course in enumerate(courses)
        ]

    def learn(self, rollouts: Sequence[Rollout]) -> None:
        """Takes in how the groups of an iteration went."""
        groups = defaultdict[int, list[Rollout]](list)
        for rollout in rollouts:
            groups[rollout.group_id].append(rollout)
        for group in groups.values():
            course = self._course_of[group[0].trajectory.case_id]
            wrong = 1 - sum(map(_is_flawless, group)) / len(group)
            self._unsolved[course] = MEMORY * self._unsolved[course] + (1 - MEMORY) * wrong


def _course(case: Case) -> str:
    return " ".join((case.kind, *(call.name for call in case.expected_calls)))


def _is_flawless(rollout: Rollout) -> bool:
    trajectory = rollout.trajectory
    return trajectory.is_success and trajectory.correct_calls == trajectory.due_calls
