from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from agentgym.environments.case import Case
from agentgym.episode import JudgedCall, Outcome, Trajectory
from agentgym.messages import ToolCall
from agentgym.training.flow_grpo.curriculum import FREQUENCY_EXPONENT, PROBE_WEIGHT, SOLVED_WEIGHT, Curriculum
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


FEW = [*(case(number, "lookup") for number in range(4)), case(4, "lookup", "escalate")]


def drawn(curriculum: Curriculum) -> Counter[int]:
    return Counter(draw.place for draw in curriculum.draw(4000, first_group_id=0, rng=np.random.default_rng(1)))


def test_a_case_that_is_never_solved_is_set_aside_but_still_probed() -> None:
    curriculum = Curriculum(FEW, settles_after=3)
    for is_right in (False, False, True):
        curriculum.learn(
            [rollout("case-1", is_right=is_right), rollout("case-2", group_id=1), rollout("case-2", is_right=False, group_id=1)]
        )
    assert curriculum.settled_share == 0.0
    for _ in range(3):
        curriculum.learn([rollout("case-0", is_right=False), rollout("case-2", group_id=1), rollout("case-2", is_right=False, group_id=1)])
    places = drawn(curriculum)
    assert curriculum.settled_share == pytest.approx(1 / 5)
    assert places[0] / sum(places[place] for place in range(4)) == pytest.approx(PROBE_WEIGHT / (3 + PROBE_WEIGHT), abs=0.01)


def test_a_settled_case_comes_back_as_soon_as_a_probe_goes_otherwise() -> None:
    curriculum = Curriculum(FEW, settles_after=2)
    for _ in range(2):
        curriculum.learn(
            [rollout("case-0"), rollout("case-0"), rollout("case-1", group_id=1), rollout("case-1", is_right=False, group_id=1)]
        )
    assert curriculum.settled_share == pytest.approx(1 / 5)
    curriculum.learn([rollout("case-0"), rollout("case-0", is_right=False)])
    assert curriculum.settled_share == 0.0


def test_a_course_nobody_ever_solves_is_set_aside_whichever_cases_were_tried() -> None:
    curriculum = Curriculum(CASES, settles_after=3)
    for case_id in ("case-991", "case-992", "case-993"):
        curriculum.learn([rollout(case_id, is_right=False), rollout(case_id, is_right=False)])
    assert curriculum.settled_share == pytest.approx(10 / 1000)
    rare, frequent = PROBE_WEIGHT * 10**FREQUENCY_EXPONENT, 990**FREQUENCY_EXPONENT
    assert shares(curriculum)[True] / 4000 == pytest.approx(rare / (rare + frequent), abs=0.01)


def test_success_and_failure_in_turn_settle_nothing() -> None:
    curriculum = Curriculum(FEW, settles_after=2)
    for is_right in (True, False, True, False):
        curriculum.learn([rollout("case-0", is_right=is_right)])
    assert curriculum.settled_share == 0.0
    assert set(curriculum.streaks.values()) == {-1}


def test_what_is_settled_can_be_restored() -> None:
    seen, fresh = Curriculum(FEW, settles_after=1), Curriculum(FEW, settles_after=1)
    seen.learn([rollout("case-0"), rollout("case-4", is_right=False, group_id=1)])
    fresh.restore(seen.unsolved, seen.streaks)
    assert drawn(fresh) == drawn(seen)
    assert drawn(fresh) != drawn(Curriculum(FEW, settles_after=1))


def test_unless_asked_for_nothing_is_settled_and_draws_are_as_ever() -> None:
    plain = Curriculum(FEW)
    for _ in range(50):
        plain.learn([rollout("case-0", is_right=False)])
    assert (plain.settled_share, plain.streaks) == (0.0, {})
    assert drawn(plain)[0] / sum(drawn(plain)[place] for place in range(4)) == pytest.approx(0.25, abs=0.03)
