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
# What is settled keeps this share of its weight, so that it is probed now and then and comes back once it is not settled any more.
PROBE_WEIGHT = 0.05


class Curriculum:
    """Draws cases by course: the kind of case together with the tools its solution calls, in their order.

    Frequent courses drown rare ones: before a policy has learned what is special about a rare course, what it learned on the frequent ones
    has taken away the little it did right there, and what is never tried any more is never learned again. So rare courses are drawn more
    often than they occur, and solved ones less.

    settles_after: groups in a row in which every rollout, or none, went as it should before a case, or a whole course, is settled: it has
    nothing to teach, or nothing that can be learned yet, and is drawn only to see whether that is still so. None settles nothing.
    Yu et al. 2025 (DAPO), §3.2, drops such groups after they were played; here fewer of them are played.
    """

    def __init__(self, cases: Sequence[Case], *, settles_after: int | None = None) -> None:
        self._settles_after = settles_after
        self._case_ids = [case.case_id for case in cases]
        self._course_of = {case.case_id: _course(case) for case in cases}
        places = defaultdict[str, list[int]](list)
        for place, case in enumerate(cases):
            places[_course(case)].append(place)
        self._courses = sorted(places)
        self._places = [places[course] for course in self._courses]
        self._frequency: FloatArray = np.array([len(found) for found in self._places], dtype=np.float64) ** FREQUENCY_EXPONENT
        self._unsolved = dict.fromkeys(self._courses, 1.0)
        self._streaks: dict[str, int] = {}

    @property
    def unsolved(self) -> Mapping[str, float]:
        """Share of recent rollouts of each course that did not go as they should; 1 before it was played."""
        return dict(self._unsolved)

    @property
    def mastery(self) -> float:
        """Share of rollouts that would go as they should if cases were drawn as often as they occur; 0 before any was played."""
        counts = np.array([len(places) for places in self._places], dtype=np.float64)
        return float(np.average([1 - self._unsolved[course] for course in self._courses], weights=counts))

    @property
    def streaks(self) -> Mapping[str, int]:
        """Of cases and courses, by "case ID" and "course NAME": groups in a row that every rollout solved, or below 0 that none did."""
        return dict(self._streaks)

    @property
    def settled_share(self) -> float:
        """Share of the cases that are set aside, themselves or with their course, in 0–1."""
        weights = [weight for course, places in enumerate(self._places) for weight in self._probing(course) * self._case_weights(places)]
        return float(np.mean([weight < 1 for weight in weights]))

    def restore(self, unsolved: Mapping[str, float], streaks: Mapping[str, int] | None = None) -> None:
        """Goes on from what another curriculum of the same cases had seen; `streaks`: None where none were kept."""
        self._unsolved |= unsolved
        self._streaks |= streaks or {}

    def draw(self, count: int, *, first_group_id: int, rng: np.random.Generator) -> list[Draw]:
        unsolved = np.array([self._unsolved[course] for course in self._courses])
        probing = np.array([self._probing(course) for course in range(len(self._courses))])
        weights = self._frequency * (SOLVED_WEIGHT + (1 - SOLVED_WEIGHT) * unsolved) * probing
        courses = rng.choice(len(weights), size=count, p=weights / weights.sum())
        return [
            Draw(place=self._place(self._places[course], rng), group_id=first_group_id + number, seed=int(rng.integers(2**31)))
            for number, course in enumerate(courses)
        ]

    def learn(self, rollouts: Sequence[Rollout]) -> None:
        """Takes in how the groups of an iteration went."""
        groups = defaultdict[int, list[Rollout]](list)
        for rollout in rollouts:
            groups[rollout.group_id].append(rollout)
        for group in groups.values():
            case_id = group[0].trajectory.case_id
            course = self._course_of[case_id]
            wrong = 1 - sum(map(_is_flawless, group)) / len(group)
            self._unsolved[course] = MEMORY * self._unsolved[course] + (1 - MEMORY) * wrong
            if self._settles_after is not None:
                for unit in (_case_unit(case_id), _course_unit(course)):
                    self._streaks[unit] = _streak(self._streaks.get(unit, 0), wrong)

    def _place(self, places: Sequence[int], rng: np.random.Generator) -> int:
        if self._settles_after is None:
            return int(rng.choice(places))
        weights = self._case_weights(places)
        return int(rng.choice(places, p=weights / weights.sum()))

    def _probing(self, course: int) -> float:
        return PROBE_WEIGHT if self._is_settled(_course_unit(self._courses[course])) else 1.0

    def _case_weights(self, places: Sequence[int]) -> FloatArray:
        return np.array([PROBE_WEIGHT if self._is_settled(_case_unit(self._case_ids[place])) else 1.0 for place in places])

    def _is_settled(self, unit: str) -> bool:
        return self._settles_after is not None and abs(self._streaks.get(unit, 0)) >= self._settles_after


def _streak(before: int, wrong: float) -> int:
    """The streak after another group of which the share `wrong`, in 0–1, did not go as it should."""
    if wrong == 0:
        return max(before, 0) + 1
    return min(before, 0) - 1 if wrong == 1 else 0


def _case_unit(case_id: str) -> str:
    return f"case {case_id}"


def _course_unit(course: str) -> str:
    return f"course {course}"


def _course(case: Case) -> str:
    return " ".join((case.kind, *(call.name for call in case.expected_calls)))


def _is_flawless(rollout: Rollout) -> bool:
    trajectory = rollout.trajectory
    return trajectory.is_success and trajectory.correct_calls == trajectory.due_calls
