"""A customer who goes on from their goal: on the record as recorded, off it by what they want and know."""

from datetime import UTC, datetime

import numpy as np
import pytest

from agentgym.environments.conversation import ConversationEnv
from agentgym.environments.customer_profile import Persona
from agentgym.environments.manner import Manner
from agentgym.episode import Outcome, Trajectory
from agentgym.errors import InvalidInput
from agentgym.messages import Message, ToolCall, assistant, system, tool_result, user
from agentgym.scenarios.customers import customer_kind
from agentgym.scenarios.from_traces import RecordedScenario, make_recorded_pack, recorded_case
from agentgym.tools import Tool
from agentgym.traces.trace import Trace

FIND = ToolCall(name="Hotels.Find", arguments={"city": "Rome", "stars": "3"})
BOOK = ToolCall(name="Hotels.Book", arguments={"hotel": "Inn Seven", "check_in_date": "2019-03-08", "rooms": "2"})


def tool(name: str, *required: str, **optional: str) -> Tool:
    properties = {argument: {"type": "string"} for argument in (*required, *optional)}
    return Tool(name=name, parameters={"type": "object", "properties": properties, "required": list(required)})


TOOLS = (
    tool("Hotels.Find", "city", "stars", pool="", membership=""),
    tool("Hotels.Book", "hotel", "check_in_date", "rooms", breakfast=""),
    tool("Hotels.Cancel", "reference", "passport"),
)
TRACE = Trace(
    conversation_id="c1",
    tools=TOOLS,
    started_at=datetime(2019, 3, 1, tzinfo=UTC),
    outcome=Outcome.RESOLVED,
    messages=(
        system("Be kind."),
        user("I need a hotel."),
        assistant("In which city?"),
        user("Rome is where I go."),
        assistant("How many stars?"),
        user("Three stars are fine."),
        assistant("", FIND),
        tool_result(FIND, [{"hotel": "Inn Seven"}, {"hotel": "Grand Palace"}]),
        assistant("There is the Inn Seven."),
        user("Please book the Inn Seven. It is for two rooms."),
        assistant("From when on?"),
        user("I arrive next Friday."),
        assistant("Please confirm: 2 rooms at the Inn Seven from next Friday."),
        user("Sounds good."),
        assistant("", BOOK),
        tool_result(BOOK, {"status": "booked", "reference": "XK-77"}),
        assistant("Booked. Anything else?"),
        user("No, that is all."),
    ),
)


def environment(*, follows_record: bool = True, patience_turns: int = 3) -> ConversationEnv:
    pack = make_recorded_pack([TRACE], (), "digest")
    return RecordedScenario(pack, customer="goal", patience_turns=patience_turns).create_environment(follows_record=follows_record)


def play(*actions: Message | str, follows_record: bool = True, patience_turns: int = 3) -> Trajectory:
    """The trajectory after these actions, or as many of them as fit before the end."""
    env = environment(follows_record=follows_record, patience_turns=patience_turns)
    env.reset(seed=0, options={"case": recorded_case(TRACE)})
    for action in actions:
        _, _, is_terminated, is_truncated, _ = env.step(assistant(action) if isinstance(action, str) else action)
        if is_terminated or is_truncated:
            break
    return env.trajectory(())


def said(*actions: Message | str, follows_record: bool = False) -> str:
    """The last words of a customer who knows nothing of the record's course."""
    last = play(*actions, follows_record=follows_record).messages[-1]
    assert last.role == "user"
    return last.content


def calls(*made: ToolCall) -> list[Message]:
    return [assistant("", call) for call in made]


def changed(call: ToolCall, **arguments: str) -> ToolCall:
    return call.model_copy(update={"arguments": {**call.arguments, **arguments}})


def test_on_the_record_everything_is_said_as_recorded() -> None:
    trajectory = play(*(message for message in TRACE.messages if message.role == "assistant"))
    assert trajectory.messages == TRACE.messages
    assert trajectory.outcome is Outcome.RESOLVED


def test_a_question_is_answered_whatever_the_record_asked_here() -> None:
    """The recorded agent asked for the city first."""
    assert said("How many stars?") == "Three stars are fine."
    assert said("And the check in date?") == "I arrive next Friday."


def test_the_second_answer_does_not_come_from_the_scripts_position() -> None:
    assert said("How many stars?", "And which city?") == "Rome is where I go."


def test_a_fact_told_before_is_told_again_and_counts_as_an_annoyance() -> None:
    trajectory = play("Which city?", "Which city?", follows_record=False)
    assert "Rome is where I go." in trajectory.messages[-1].content
    assert trajectory.messages[-1].content != "Rome is where I go."


def test_a_call_against_the_facts_is_corrected_once() -> None:
    wrong = assistant("", changed(FIND, city="Oslo"))
    assert "city is Rome" in said("In which city?", "Stars?", wrong, "Here you are.", follows_record=True)
    assert "Rome" not in said(wrong, "Here you are.", wrong, "Here you are.")


def test_a_corrected_call_puts_the_episode_back_on_the_record() -> None:
    trajectory = play("In which city?", "Stars?", assistant("", changed(FIND, city="Oslo")), "Here.", *calls(FIND), "Blah.")
    assert trajectory.messages[-2].content == "There is the Inn Seven."
    assert trajectory.messages[-1].content == "Please book the Inn Seven. It is for two rooms."


def test_a_goal_is_repeated_when_the_agent_stalls() -> None:
    assert "I need a hotel." in said("I see.")


def test_the_next_errand_is_brought_up_when_one_is_done() -> None:
    assert said(*calls(FIND), "There is the Inn Seven.") == "Please book the Inn Seven. It is for two rooms."


def test_what_only_a_tool_told_is_not_said_before_the_agent_says_it() -> None:
    assert said(*calls(FIND), "I found something.") == "It is for two rooms."
    assert "Inn Seven" not in said(*calls(FIND), "I found something.", "Which hotel?")
    assert "Inn Seven" in said(*calls(FIND), "There is the Inn Seven.", "Which hotel?")


def test_an_offer_in_line_with_the_record_is_accepted() -> None:
    assert said(*calls(FIND), "There is the Inn Seven.", "Shall I book the Inn Seven?") == "Sounds good."


def test_an_offer_of_another_one_is_declined() -> None:
    reply = said(*calls(FIND), "I found something.", "Shall I book the Grand Palace?")
    assert reply.startswith("No")


def test_a_summary_with_a_wrong_value_is_corrected() -> None:
    reply = said(*calls(FIND), "There is the Inn Seven.", "Please confirm: the Inn Seven from March 20th on.")
    assert "check in date is 2019-03-08" in reply
    reply = said(*calls(FIND), "There is the Inn Seven.", "Please confirm: 1 room at the Inn Seven from next Friday.")
    assert "rooms is 2" in reply


def test_what_nobody_came_for_is_declined() -> None:
    reply = said(*calls(FIND), "There is the Inn Seven.", "Shall I cancel something?")
    assert reply.startswith("No")


def test_an_optional_argument_the_record_does_without_does_not_matter() -> None:
    trajectory = play("Do you want a pool or which membership?", "With breakfast?", follows_record=False)
    assert trajectory.simulator_errors == 0


def test_a_question_nobody_has_an_answer_to_is_the_simulators_error() -> None:
    trajectory = play("What is your passport?", "What do you think of the weather?", follows_record=False)
    assert trajectory.simulator_errors == 2


def test_the_customer_leaves_with_thanks_when_the_goal_is_met() -> None:
    trajectory = play("Hm.", *calls(FIND), "Here.", *calls(BOOK), "Done.", follows_record=False)
    assert trajectory.messages[-1].content == "No, that is all."
    assert trajectory.outcome is Outcome.RESOLVED


def test_calls_are_judged_by_what_the_customer_is_after_now() -> None:
    """The record calls nothing in the turn after the first words; off the record the customer's errand is what counts."""
    trajectory = play("Hm.", *calls(FIND), "Here.", *calls(BOOK), "Done.", follows_record=False)
    assert [judged.is_correct for judged in trajectory.calls] == [True, True]


def test_patience_ends_the_episode_as_a_failure() -> None:
    trajectory = play(*["I see."] * 9, follows_record=False, patience_turns=4)
    assert sum(message.role == "assistant" for message in trajectory.messages) == 4
    assert trajectory.outcome is Outcome.ABANDONED


def test_a_customer_who_is_served_is_patient_again() -> None:
    trajectory = play("Hm.", "Hm.", "Which city?", "Hm.", "Hm.", "How many stars?", follows_record=False)
    assert trajectory.messages[-1].content == "Three stars are fine."


@pytest.mark.parametrize(("mood", "words"), [("friendly", "Yes, please."), ("upset", "Yes.")])
def test_a_persona_finds_its_own_words(mood: str, words: str) -> None:
    persona = Persona(words_per_turn=5, mood=mood)  # type: ignore[arg-type]
    assert Manner(persona, np.random.default_rng(0)).agrees() == words


def test_a_terse_persona_names_the_argument_and_no_more() -> None:
    rng = np.random.default_rng(0)
    assert Manner(Persona(words_per_turn=2, is_lower_case=True), rng).tells("flights.fromCity", "Rome") == "from city: Rome."
    assert Manner(Persona(words_per_turn=20), rng).tells("city", "Rome").endswith("city is Rome.")


def test_an_unknown_kind_of_customer_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=r"'angry' is none\. Choose recorded, goal or language"):
        customer_kind("angry")


def test_a_language_customer_needs_a_model() -> None:
    with pytest.raises(InvalidInput, match=r"the kind is 'language' and a model is missing\. Set AGENTGYM_LLM_BASE_URL"):
        RecordedScenario(make_recorded_pack([TRACE], (), "digest"), customer="language")
