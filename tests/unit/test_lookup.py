"""The small world: eight tools, one call, a retry where the first one times out."""

import re
from collections import Counter

import pytest

from agentgym.environments.case import Case
from agentgym.environments.play import play_episode
from agentgym.episode import Trajectory
from agentgym.messages import assistant
from agentgym.policies.scripted import Move, Script, ScriptedPolicy
from agentgym.scenarios.production_log import write_logs
from agentgym.scenarios.registry import load_world

WORLD = load_world("lookup")
CASES = tuple(WORLD.generate_cases(400, seed=2))
THINGS = {"order", "invoice", "ticket", "user", "device", "room", "flight", "parcel"}


def played_by_expert(case: Case) -> Trajectory:
    return play_episode(WORLD.create_environment(), WORLD.expert(), case, seed=1)


def test_the_world_has_eight_tools_of_one_described_argument() -> None:
    assert {tool.name for tool in WORLD.tools} == {f"find_{thing}" for thing in THINGS}
    assert all(list(tool.properties) == ["id"] and tool.properties["id"]["description"] for tool in WORLD.tools)
    assert (WORLD.difficulty, WORLD.success_criteria()) == ("easy", {"tool_reliability": 0.95})


def test_a_tenth_of_the_customers_want_nothing() -> None:
    idle = sum(case.kind == "goodbye" for case in CASES)
    assert {case.kind for case in CASES} == THINGS | {"goodbye"}
    assert abs(idle - 40) < 4 * (400 * 0.1 * 0.9) ** 0.5  # four standard deviations
    assert all(bool(case.expected_calls) == (case.kind != "goodbye") for case in CASES)


def test_customers_say_a_number_of_two_digits_that_the_call_needs() -> None:
    for case in CASES[:100]:
        words = played_by_expert(case).messages[1].content
        numbers = re.findall(r"\b\d\d\b", words)
        assert numbers == [call.arguments["id"] for call in case.expected_calls]


def test_customers_put_the_same_thing_in_different_ways() -> None:
    openings = {re.sub(r"\d\d", "N", played_by_expert(case).messages[1].content) for case in CASES if case.kind == "order"}
    assert len(openings) >= 30
    assert all(re.search(r"\b(order|purchase)\b", opening) for opening in openings)


def test_a_good_agent_meets_the_criteria_in_one_to_three_turns() -> None:
    played = [played_by_expert(case) for case in CASES]
    assert WORLD.calculate_metrics(played)["tool_reliability"] == 1
    turns = Counter(len(trajectory.actions) for trajectory in played)
    assert set(turns) == {1, 2, 3}
    calling = turns[2] + turns[3]
    assert abs(turns[3] - calling / 4) < 4 * (calling * 0.25 * 0.75) ** 0.5  # a quarter times out; four standard deviations


def test_the_wrong_tool_finds_something_too_and_is_wrong() -> None:
    case = next(case for case in CASES if case.kind == "order")
    wrong = case.expected_calls[0].model_copy(update={"name": "find_parcel"})
    script = Script(moves=(Move(call=wrong),), last_words="It is ready.")
    played = play_episode(WORLD.create_environment(), ScriptedPolicy(lambda _: script), case, seed=1)
    assert [(judged.is_correct, judged.is_right_tool) for judged in played.calls][-1] == (False, False)
    assert isinstance(played.messages[-3].result, dict)
    assert "status" in played.messages[-3].result
    assert not played.is_success


def test_the_first_words_end_the_conversation() -> None:
    environment = WORLD.create_environment()
    environment.reset(seed=0, options={"case": CASES[0]})
    assert environment.step(assistant("One moment."))[2] is True


@pytest.mark.parametrize("seed", [7, 8])
def test_the_legacy_agent_is_right_about_half_the_time(seed: int) -> None:
    log = list(write_logs(WORLD, WORLD.legacy_agent(), 400, seed))
    assert 0.5 <= WORLD.calculate_metrics([WORLD.assess_trace(trace) for trace in log])["tool_reliability"] <= 0.62
    assert 0.75 <= sum(trace.outcome == "resolved" for trace in log) / 400 <= 0.95
