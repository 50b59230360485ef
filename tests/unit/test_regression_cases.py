"""Failures as minimal cases: in recordings, and in declared worlds."""

import pytest

from agentgym.environments.play import play_episode
from agentgym.episode import Action, Conversation, Outcome
from agentgym.errors import InsufficientData, InvalidInput
from agentgym.evaluation.floors import AlwaysTalk
from agentgym.evaluation.regressions import play_regressions
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.production_log import write_logs
from agentgym.scenarios.regressions.of_recording import regression_of_failure, regression_of_version
from agentgym.scenarios.regressions.of_world import regression_of_case, regression_of_trace
from agentgym.tools import Tool
from agentgym.traces.trace import Trace
from agentgym.verdicts import Subject

WORLD = CustomerSupport()
PROPERTIES = {"city": {"type": "string"}}
TOOLS = tuple(Tool(name=name, parameters={"type": "object", "properties": PROPERTIES}) for name in ("Weather", "Hotels", "Trains"))
TALK: tuple[Message, ...] = (user("Are you open?"), assistant("Always."))


def asked(tool: str, city: str, words: str) -> tuple[Message, ...]:
    call = ToolCall(name=tool, arguments={"city": city})
    return user(words), assistant("", call), tool_result(call, {"found": city}), assistant("Here it is.")


WEATHER, HOTELS = asked("Weather", "Rome", "How is the weather in Rome?"), asked("Hotels", "Oslo", "Now a hotel in Oslo.")
GOOD = Trace(
    conversation_id="good",
    customer_id="ann",
    tools=TOOLS,
    outcome=Outcome.RESOLVED,
    messages=(*TALK, *WEATHER, *TALK, *HOTELS, user("Thanks."), assistant("Bye.")),
)
CUT_OFF = (*TALK, *WEATHER, *TALK, HOTELS[0])
FAILED = GOOD.model_copy(update={"conversation_id": "failed", "outcome": Outcome.UNRESOLVED, "messages": CUT_OFF})


class CallsOnly:
    """Looks up one tool with the city that was named last, and talks otherwise."""

    def __init__(self, tool: str) -> None:
        self._tool = tool

    def act(self, conversation: Conversation) -> Action:
        last = conversation.messages[-1]
        wanted = last.role == "user" and {"Weather": "weather", "Hotels": "hotel"}[self._tool] in last.content
        if not wanted:
            return Action(message=assistant("All right."))
        return Action(message=assistant("", ToolCall(name=self._tool, arguments={"city": last.content.split()[-1].strip("?.")})))


def words(regression_messages: tuple[Message, ...]) -> list[str]:
    return [message.content for message in regression_messages if message.role == "user"]


def test_a_version_is_left_with_the_turn_it_fails_in() -> None:
    regression = regression_of_version(GOOD, CallsOnly("Weather"), name="version 1")
    assert words(regression.replay) == ["Now a hotel in Oslo."]
    assert (regression.messages_before, regression.messages_after) == (len(GOOD.messages), 3)
    assert (regression.source, regression.found_in, regression.is_minimal) == ("good", "version 1", True)
    assert "Hotels" in regression.what


def test_the_minimal_case_is_failed_by_who_failed_and_passed_by_who_can() -> None:
    regression = regression_of_version(GOOD, CallsOnly("Weather"), name="version 1")
    subject = Subject(name="any", checkpoint_digest="any")
    reports = [play_regressions(policy, [regression], subject=subject, seed=0) for policy in (CallsOnly("Weather"), CallsOnly("Hotels"))]
    assert [report and report.results[0].is_passed for report in reports] == [False, True]


def test_what_a_value_needs_to_be_known_stays_in_the_case() -> None:
    call = ToolCall(name="Hotels", arguments={"city": "Oslo"})
    asked_first = (user("I travel to Oslo soon."), assistant("Nice."), *TALK, user("A hotel there, please."), assistant("", call))
    trace = GOOD.model_copy(update={"messages": (*asked_first, tool_result(call, {"found": 1}), assistant("Here."))})
    regression = regression_of_version(trace, AlwaysTalk(), name="talk")
    assert "I travel to Oslo soon." in words(regression.replay)
    assert "Are you open?" not in words(regression.replay)


def test_a_value_that_nobody_said_keeps_all_the_customer_said() -> None:
    call = ToolCall(name="Hotels", arguments={"city": "Trondheim"})
    messages = (*TALK, user("Where the cathedral of Nidaros is."), assistant("", call), tool_result(call, {"found": 1}))
    regression = regression_of_version(GOOD.model_copy(update={"messages": messages}), AlwaysTalk(), name="talk")
    assert words(regression.replay) == ["Are you open?\nWhere the cathedral of Nidaros is."] or len(words(regression.replay)) == 2


def test_a_production_failure_is_shown_right_by_another_conversation_of_the_customer() -> None:
    regression = regression_of_failure(FAILED, [FAILED, GOOD])
    assert [call.name for message in regression.replay for call in message.tool_calls] == ["Hotels"]
    assert regression.source == "failed"
    assert regression.case.cluster_id == "ann"


def test_what_the_customer_did_not_ask_for_is_no_failure() -> None:
    """The same customer asked for a hotel in another city: what was right there says nothing of this one."""
    elsewhere = FAILED.model_copy(update={"messages": (*FAILED.messages[:-1], user("Now a hotel in Bergen."))})
    with pytest.raises(InsufficientData, match="0 conversations of 'ann' about the same"):
        regression_of_failure(elsewhere, [elsewhere, GOOD])


def test_a_failure_that_nothing_shows_right_is_no_case() -> None:
    stranger = GOOD.model_copy(update={"customer_id": "bob"})
    with pytest.raises(InsufficientData, match="needs to know what would have been right"):
        regression_of_failure(FAILED, [FAILED, stranger])


@pytest.mark.parametrize("outcome", [Outcome.RESOLVED, None])
def test_only_what_is_known_to_have_failed_is_a_failure(outcome: Outcome | None) -> None:
    with pytest.raises(InvalidInput, match="is not known to have failed"):
        regression_of_failure(GOOD.model_copy(update={"outcome": outcome}), [GOOD])


def test_what_a_version_solves_is_no_case() -> None:
    only_weather = GOOD.model_copy(update={"messages": (*WEATHER, *TALK)})
    with pytest.raises(InvalidInput, match="makes every call of 'good'"):
        regression_of_version(only_weather, CallsOnly("Weather"), name="version 1")
    with pytest.raises(InvalidInput, match="held against what was right"):
        regression_of_version(FAILED, CallsOnly("Weather"), name="version 1")


def test_a_logged_failure_of_a_world_is_left_with_what_cannot_be_mended() -> None:
    log = list(write_logs(WORLD, WORLD.legacy_agent(), 60, 7))
    failed = [trace for trace in log if not WORLD.assess_trace(trace).is_success]
    regressions = [regression_of_trace(WORLD, trace) for trace in failed]
    assert len(regressions) > 3
    assert all(regression.messages_after <= regression.messages_before for regression in regressions)
    refunded = next(regression for regression in regressions if regression.what.startswith("refund: refund_"))
    assert [call.name for message in refunded.replay for call in message.tool_calls] == ["refund"]
    assert regression_of_trace(WORLD, failed[0]) == regressions[0]


def test_a_case_of_a_world_is_failed_by_who_does_nothing_and_passed_by_the_expert() -> None:
    case = WORLD.case(kind="refund_request", customer="CUS-00001", number=1)
    regression = regression_of_case(WORLD, case, AlwaysTalk(), name="talk", seed=0)
    assert regression.case == case
    report = play_regressions(WORLD.expert(), [regression], subject=Subject(name="expert", checkpoint_digest="e"), seed=0)
    assert report is not None
    assert report.passed == {regression.regression_id}


def test_a_conversation_of_a_world_that_went_well_is_no_failure() -> None:
    case = WORLD.case(kind="password_reset", customer="CUS-00001", number=1)
    assert play_episode(WORLD.create_environment(), WORLD.expert(), case, seed=0).is_success
    with pytest.raises(InvalidInput, match="A regression case is a failure"):
        regression_of_case(WORLD, case, WORLD.expert(), name="expert", seed=0)


def test_a_crash_is_no_pass_and_is_told() -> None:
    class Crashing:
        def act(self, conversation: Conversation) -> Action:
            raise ZeroDivisionError("no")

    regression = regression_of_version(GOOD, AlwaysTalk(), name="talk")
    report = play_regressions(Crashing(), [regression], subject=Subject(name="x", checkpoint_digest="x"), seed=0)
    assert report is not None
    assert (report.passed, report.results[0].error) == (frozenset(), "ZeroDivisionError: no")
