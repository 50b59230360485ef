"""How long a simulated customer talks and in which order it tells its facts, beside the recorded one."""

from collections.abc import Sequence

import pytest

from agentgym.environments.play import play_episode
from agentgym.episode import Outcome, Trajectory
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.scenarios.fidelity.bar import FidelityBar, judge_customer
from agentgym.scenarios.fidelity.customers import DepartingAgent, Played, customer_fidelity, play_departing
from agentgym.scenarios.fidelity.report import CustomerFidelity
from agentgym.scenarios.fidelity.whole import replay
from agentgym.scenarios.from_traces import RecordedScenario, make_recorded_pack, recorded_case
from agentgym.scenarios.lookup import Lookup
from agentgym.traces.trace import Trace

BOOK = ToolCall(name="book", arguments={"city": "Rome", "night": "Friday", "hotel": "Inn"})
TOLD_IN_TURN = (user("In Rome."), assistant("When?"), user("On Friday."), assistant("Where?"), user("At the Inn."))
TALK = (*TOLD_IN_TURN, assistant("", BOOK), tool_result(BOOK, {"booked": True}), assistant("Done."), user("Thanks."), assistant("Bye."))


def trace(number: int, messages: tuple[Message, ...] = TALK) -> Trace:
    return Trace(conversation_id=f"c{number}", messages=messages, outcome=Outcome.RESOLVED)


def heard(messages: Sequence[Message], number: int = 0, answered: tuple[bool, ...] = ()) -> Played:
    """An episode in which this was said, of a conversation in which `TALK` was."""
    trajectory = Trajectory(
        case_id="c",
        kind="book",
        cluster_id="c",
        messages=tuple(messages),
        actions=(),
        calls=(),
        missing_calls=(),
        outcome=Outcome.RESOLVED,
        satisfaction_score=None,
        agent_tokens=0,
        simulated_seconds=0.0,
        reward_terms={},
    )
    return Played(trace=trace(number), case=recorded_case(trace(number)), trajectory=trajectory, answered=answered)


def fidelity(*spoken: str, answered: tuple[bool, ...] = ()) -> CustomerFidelity:
    """Of twenty customers who all say this."""
    return customer_fidelity("recorded", [heard(list(map(user, spoken)), number, answered) for number in range(20)])


def failed(measured: CustomerFidelity) -> list[str]:
    return [check.name for check in judge_customer(measured, FidelityBar()) if check.outcome == "failed"]


def test_a_customer_who_says_what_was_said_passes() -> None:
    measured = fidelity("In Rome.", "On Friday.", "At the Inn.", "Thanks.")
    assert (measured.length_ratio.mean, measured.length_difference.mean, measured.order.mean, measured.told.mean) == (1, 0, 1, 1)
    assert failed(measured) == []


def test_a_customer_who_tells_its_facts_from_the_end_has_the_reverse_order() -> None:
    measured = fidelity("At the Inn.", "On Friday.", "In Rome.", "Thanks.")
    assert measured.order.mean == -1.0
    assert failed(measured) == ["order:recorded"]


def test_a_customer_who_leaves_after_the_first_words_is_too_short_and_tells_too_little() -> None:
    """One of four turns, one of three facts."""
    measured = fidelity("In Rome.")
    assert (measured.length_ratio.mean, measured.length_difference.mean) == (0.25, -3)
    assert measured.told.mean == pytest.approx(1 / 3)
    assert failed(measured) == ["length:recorded", "facts:recorded"]


def test_a_customer_who_repeats_itself_is_too_long() -> None:
    assert failed(fidelity("In Rome.", "On Friday.", "At the Inn.", *["As I said."] * 9)) == ["length:recorded"]


def test_facts_told_all_at_once_have_no_order() -> None:
    measured = fidelity("In Rome, on Friday, at the Inn.")
    assert measured.order.estimate is None
    assert "There are no conversations in which facts are told one after another." in measured.order.reason


def test_a_fact_is_told_by_whole_words_only() -> None:
    """An inner room is not the Inn: two of three."""
    assert fidelity("In Rome.", "On Friday.", "An inner room.").told.mean == pytest.approx(2 / 3)


def test_answers_to_questions_are_judged_only_where_a_bar_is_set() -> None:
    measured = fidelity("In Rome.", answered=(True, False, False, False)).model_copy(update={"agent": "departing"})
    assert measured.answered.mean == 0.25
    asked = [check.name for check in judge_customer(measured, FidelityBar(min_answered=0.5)) if check.outcome == "failed"]
    assert "answers:departing" in asked
    assert "answers:departing" not in failed(measured)


def test_the_recorded_agent_hears_what_it_heard() -> None:
    pack = make_recorded_pack(list(map(trace, range(6))), (), "digest")
    environment = RecordedScenario(pack).create_environment()
    own = [Played(trace=trace(n), case=case, trajectory=replay(environment, case, trace(n), seed=0)) for n, case in enumerate(pack.train)]
    assert all(each.trajectory.messages == TALK for each in own)


def test_the_departing_agent_asks_for_the_last_argument_first_and_then_makes_the_call() -> None:
    """The customer begins with the city, so that is not asked for; whatever it says next, the last argument was asked for first."""
    pack = make_recorded_pack([trace(0)], (), "digest")
    scenario, case = RecordedScenario(pack, patience_turns=9), pack.train[0]
    agent = DepartingAgent(case, scenario.tools)
    actions = play_episode(scenario.create_environment(), agent, case, seed=0).actions
    assert next(iter(agent.questions.values())) == "inn"
    assert "rome" not in agent.questions.values()
    assert [call for action in actions for call in action.message.tool_calls] == [BOOK]


def test_the_departing_agent_is_understood_by_the_customers_of_a_world() -> None:
    """A desk that is asked for the number at most once: whoever did not begin with it answers."""
    world = Lookup()
    cases = [(trace(number), case) for number, case in enumerate(world.generate_cases(40, seed=1))]
    answered = [is_answered for played in play_departing(world, cases, seed=0) for is_answered in played.answered]
    assert all(answered)
