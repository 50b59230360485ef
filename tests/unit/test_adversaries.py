"""Each adversary does what it is named for, in a declared world and in a recorded scenario."""

import pytest

from agentgym.environments.play import play_episode
from agentgym.environments.replay import RecordedAgent
from agentgym.episode import Trajectory
from agentgym.errors import InvalidInput
from agentgym.evaluation.adversaries import make_adversaries
from agentgym.evaluation.plausible import plausible_arguments
from agentgym.evaluation.play_floors import PLAY_FLOORS, play_floors
from agentgym.messages import ToolCall, assistant, system, tool_result, user
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.from_traces import RecordedScenario, make_recorded_pack
from agentgym.scenarios.production_log import write_logs
from agentgym.scenarios.scenario import Scenario
from agentgym.tools import Tool

WORLD = CustomerSupport()
CASES = list(WORLD.generate_cases(30, seed=4))
PACK = make_recorded_pack(list(write_logs(WORLD, WORLD.expert(), 30, seed=4)), (), "digest")
STAGES = [(WORLD, CASES), (RecordedScenario(PACK), PACK.train)]
NAMES = ["do_nothing", "stall", "hand_over", "spam_tools", "repeat_call", "flatter", "copy_words", "read_mock"]


def play(name: str, scenario: Scenario, cases: object) -> list[Trajectory]:
    adversary = make_adversaries(cases)[name]  # type: ignore[arg-type]
    return [play_episode(scenario.create_environment(), adversary, case, seed=2) for case in cases]  # type: ignore[attr-defined]


@pytest.mark.parametrize("stage", STAGES, ids=["world", "recorded"])
@pytest.mark.parametrize("name", NAMES)
def test_no_adversary_solves_what_needs_a_tool_and_equal_episodes_are_played_alike(name: str, stage: tuple[Scenario, object]) -> None:
    played = play(name, *stage)
    assert not any(trajectory.is_success for trajectory in played)
    assert played == play(name, *stage)


def test_they_are_all_there_are() -> None:
    assert list(make_adversaries(CASES)) == NAMES


def test_what_gives_customers_away_is_found_by_its_name() -> None:
    assert {judged.call.name for trajectory in play("hand_over", WORLD, CASES) for judged in trajectory.calls} == {"escalate"}


def test_spam_reaches_every_tool_with_arguments_it_takes() -> None:
    calls = [judged for trajectory in play("spam_tools", WORLD, CASES) for judged in trajectory.calls]
    assert {judged.call.name for judged in calls} == {tool.name for tool in WORLD.tools}
    tools = {tool.name: tool for tool in WORLD.tools}
    assert not [judged.call for judged in calls if tools[judged.call.name].violations(judged.call.arguments)]


def test_the_repeater_repeats_a_call_that_went_through() -> None:
    trajectory = max(play("repeat_call", WORLD, CASES), key=lambda played: len(played.calls))
    *_, before, last = trajectory.calls
    assert before.call == last.call
    assert not before.is_error


def test_the_mock_is_read_with_calls_of_other_customers() -> None:
    own = {case.case_id: case.expected_calls for case in CASES}
    known = [call for calls in own.values() for call in calls]
    for trajectory in play("read_mock", WORLD, CASES):
        assert all(judged.call in known for judged in trajectory.calls)
        assert not [judged for judged in trajectory.calls if judged.call.name == "lookup_user" and judged.call in own[trajectory.case_id]]


def test_copied_words_are_the_customers_and_the_prompts() -> None:
    for trajectory in play("copy_words", WORLD, CASES):
        said = {message.content for message in trajectory.messages if message.role in ("user", "system")}
        assert {message.content for message in trajectory.messages if message.role == "assistant"} <= said


def test_the_floors_are_talk_and_the_commonest_call() -> None:
    floors = play_floors(CASES)
    assert tuple(floors) == PLAY_FLOORS
    trajectory = play_episode(WORLD.create_environment(), floors["majority_action"], CASES[0], seed=0)
    assert {judged.call.name for judged in trajectory.calls} == {"lookup_user"}


def test_arguments_look_right_by_name_type_and_description() -> None:
    properties = {
        "email": {"type": "string"},
        "booking": {"type": "string", "description": "number of the booking"},
        "day": {"type": "string", "description": "date of arrival"},
        "kind": {"type": "string", "enum": ["small", "large"]},
        "nights": {"type": "integer"},
        "guests": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        "row": {"type": "string"},
    }
    tool = Tool(name="book", parameters={"type": "object", "properties": properties, "required": list(properties)})  # type: ignore[dict-item]
    call = ToolCall(name="find")
    said = (
        system("Be kind."),
        user("I am Ann Lee, ann@x.org, booking BK-77 of 2024-05-01, a large one for Bo Diaz, 3 nights."),
        assistant("", call),
        tool_result(call, {"seats": [{"row": "12C"}]}),
    )
    assert plausible_arguments(tool, said) == {
        "email": "ann@x.org",
        "booking": "3",
        "day": "2024-05-01",
        "kind": "large",
        "nights": 3,
        "guests": [{"name": "Bo Diaz"}],
        "row": "12C",
    }
    assert not tool.violations(plausible_arguments(tool, said))


def test_the_recorded_agent_plays_its_record_again() -> None:
    scenario = RecordedScenario(PACK)
    for case in PACK.train:
        trajectory = play_episode(scenario.create_environment(), scenario.honest_agent(), case, seed=0)
        assert trajectory.is_success
        assert trajectory.correct_calls == trajectory.due_calls > 0


def test_a_recorded_agent_plays_nobody_elses_cases() -> None:
    environment = RecordedScenario(PACK).create_environment()
    with pytest.raises(InvalidInput, match="A recorded agent plays cases it has the recording of"):
        play_episode(environment, RecordedAgent(PACK.train[1:]), PACK.train[0], seed=0)
