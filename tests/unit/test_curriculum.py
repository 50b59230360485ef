from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from agentgym.environments.case import Case
from agentgym.episode import JudgedCall, Outcome, Trajectory
from agentgym.messages import ToolCall
from agentgym.training.flow_grpo.curriculum import FREQUENCY_EXPONENT, SOLVED_WEIGHT, Curriculum
from agentgym.training.flow_grpo.rollouts import Rollout


def case(number: int, *tools: str) -> Case:
    calls = tuple(ToolCall(name=name) for name in tools)
    case_id = f"case-{number}"
    return Case(case_id=case_id, scenario="toy", kind="refund", difficulty="easy", cluster_id=case_id, goal="", expected_calls=calls)


FREQUENT, RARE = "refund lookup", "refund lookup escalate"
CASES = [*(case(number, "lookup") for number in range(990)), *(case(number, "lookup", "escalate") for number in range(990, 1000))]


def rollout(case_id: str, *, group_id: int = 0, is_right: bool = True) -> Rollout:
    call = JudgedCall(call=ToolCall(name="lookup"), is_correct=is_right, is_right_tool=True)
    trajectory = Trajectory(
        case_id=case_id,
        kind="refund",
        cluster_id=case_id,
        messages=(),
        actions=(),
        calls=(call,),
        missing_calls=(),
        outcome=Outcome.RESOLVED,
        satisfaction_score=None,
        agent_tokens=1,
        simulated_seconds=1.0,
        reward_terms={},
    )
    return Rollout(trajectory=trajectory, group_id=group_id, turn_rewards=(0.0,), weights_digest="")


def shares(curriculum: Curriculum) -> Counter[bool]:
    """How many of 4,000 draws are rare."""
    draws = curriculum.draw(4000, first_group_id=0, rng=np.random.default_rng(0))
    return Counter(draw.place >= 990 for draw in draws)


def test_rare_courses_are_drawn_far_more_often_than_they_occur() -> None:
    expected = 10**FREQUENCY_EXPONENT / (10**FREQUENCY_EXPONENT + 990**FREQUENCY_EXPONENT)
    assert expected > 0.05
    assert shares(Curriculum(CASES))[True] / 4000 == pytest.approx(expected, abs=0.03)


def test_a_solved_course_is_drawn_less_but_never_forgotten() -> None:
    curriculum = Curriculum(CASES)
    for _ in range(30):
        curriculum.learn([rollout("case-0"), rollout("case-0")])
    assert curriculum.unsolved[FREQUENT] < 0.01
    solved, unsolved = SOLVED_WEIGHT * 990**FREQUENCY_EXPONENT, 10**FREQUENCY_EXPONENT
    assert shares(curriculum)[False] / 4000 == pytest.approx(solved / (solved + unsolved), abs=0.03)


def test_a_group_counts_once_by_the_share_of_it_that_went_wrong() -> None:
    curriculum = Curriculum(CASES)
    curriculum.learn([rollout("case-995"), rollout("case-995", is_right=False), rollout("case-3", group_id=1)])
    assert curriculum.unsolved == {FREQUENT: pytest.approx(0.8), RARE: pytest.approx(0.8 + 0.2 * 0.5)}


def test_an_unsolved_outcome_is_wrong_even_when_every_call_was_right() -> None:
    curriculum = Curriculum(CASES)
    right = rollout("case-3")
    curriculum.learn([replace(right, trajectory=replace(right.trajectory, outcome=Outcome.ABANDONED))])
    assert curriculum.unsolved[FREQUENT] == 1.0


def test_groups_are_numbered_on_and_equal_seeds_draw_equal_cases() -> None:
    first, second = (Curriculum(CASES).draw(5, first_group_id=40, rng=np.random.default_rng(3)) for _ in range(2))
    assert [draw.group_id for draw in first] == [40, 41, 42, 43, 44]
    assert first == second


def test_what_was_seen_can_be_restored() -> None:
    seen, fresh = Curriculum(CASES), Curriculum(CASES)
    seen.learn([rollout("case-0")])
    fresh.restore(seen.unsolved)
    assert fresh.unsolved == seen.unsolved
