"""A recorded conversation, played again: by the agent that was recorded, and by agents that do something else."""

import numpy as np
import pytest
from pydantic import JsonValue

from agentgym.environments.case import Case
from agentgym.environments.conversation import ConversationEnv
from agentgym.environments.recording import read_recording
from agentgym.episode import Outcome, Trajectory
from agentgym.errors import InsufficientData, InvalidInput
from agentgym.evaluation.floors import AlwaysTalk
from agentgym.evaluation.held_out import evaluate_held_out
from agentgym.messages import Message, ToolCall, assistant, system, tool_result, user
from agentgym.scenarios.from_traces import RecordedScenario, make_recorded_pack, recorded_case, scenario_of
from agentgym.scenarios.pack import ScenarioPack
from agentgym.tools import Tool
from agentgym.traces.trace import Trace
from agentgym.verdicts import Subject


def tool(name: str, **descriptions: str) -> Tool:
    properties: dict[str, JsonValue] = {argument: {"type": "string", "description": text} for argument, text in descriptions.items()}
    return Tool(name=name, parameters={"type": "object", "properties": properties})


TOOLS = (tool("Hotels.Find", city="City of the hotel", stars="Class"), tool("Hotels.Book", hotel="Its name", check_in_date="First night"))
FIND = ToolCall(name="Hotels.Find", arguments={"city": "Rome", "stars": "3"})
BOOK = ToolCall(name="Hotels.Book", arguments={"hotel": "Inn 7", "check_in_date": "2019-03-08"})
MESSAGES: tuple[Message, ...] = (
    system("Be kind."),
    user("I need a 3 star hotel in Rome."),
    assistant("", FIND),
    tool_result(FIND, [{"name": "Inn 7"}]),
    assistant("There is a nice one. Shall I book?"),
    user("Yes, from next Friday."),
    assistant("", BOOK),
    tool_result(BOOK, {"status": "booked"}),
    assistant("It is booked."),
    user("Thanks!"),
    assistant("Goodbye."),
)
TRACE = Trace(conversation_id="c1", messages=MESSAGES, tools=TOOLS, outcome=Outcome.RESOLVED, satisfaction_score=4.0)


def pack_of(*traces: Trace) -> ScenarioPack:
    return make_recorded_pack(traces, (), "digest")


def environment(*traces: Trace) -> ConversationEnv:
    """With a customer who says twice what they want."""
    return RecordedScenario(pack_of(*(traces or (TRACE,))), patience_turns=2).create_environment()


def play(*actions: Message, trace: Trace = TRACE, others: tuple[Trace, ...] = ()) -> Trajectory:
    """The trajectory after these actions, or as many of them as fit before the end."""
    env = environment(trace, *others)
    env.reset(seed=0, options={"case": recorded_case(trace)})
    for action in actions:
        _, _, is_terminated, is_truncated, _ = env.step(action)
        if is_terminated or is_truncated:
            break
    return env.trajectory(())


def recorded_actions(trace: Trace = TRACE) -> list[Message]:
    return [message for message in trace.messages if message.role == "assistant"]


def with_arguments(call: ToolCall, **arguments: str) -> Message:
    return assistant("", call.model_copy(update={"arguments": {**call.arguments, **arguments}}))


def test_the_recorded_agent_is_right_in_its_own_recording() -> None:
    trajectory = play(*recorded_actions())
    assert trajectory.messages == MESSAGES
    assert [judged.is_correct for judged in trajectory.calls] == [True, True]
    assert (trajectory.outcome, trajectory.missing_calls, trajectory.satisfaction_score) == (Outcome.RESOLVED, (), 4.0)


def test_on_the_record_the_recorded_words_replace_the_generated_ones() -> None:
    trajectory = play(assistant("", FIND), assistant("Blah."))
    assert trajectory.messages[-2].content == "There is a nice one. Shall I book?"


def test_calls_are_compared_however_they_are_written() -> None:
    trajectory = play(with_arguments(FIND, city=" rome ", stars="3.0"))
    assert trajectory.calls[0].is_correct


def test_a_call_with_other_arguments_is_wrong_and_says_which() -> None:
    (judged,) = play(with_arguments(FIND, city="Oslo")).calls
    assert (judged.is_correct, judged.is_right_tool) == (False, True)
    assert judged.reason == "The record gives other arguments here: city."


def test_another_tool_is_wrong_and_says_which_is_right() -> None:
    (judged,) = play(assistant("", BOOK)).calls
    assert (judged.is_correct, judged.is_right_tool) == (False, False)
    assert judged.reason == "The record calls Hotels.Find here."


def test_a_call_where_the_record_talks_is_wrong() -> None:
    trajectory = play(assistant("", FIND), assistant("", FIND))
    assert trajectory.calls[1].reason == "The record calls no tool here."


def test_a_premature_call_is_wrong_but_need_not_be_made_again() -> None:
    trajectory = play(assistant("", BOOK), assistant("", FIND), *(assistant("Well.") for _ in range(3)))
    assert [judged.is_correct for judged in trajectory.calls] == [False, True]
    assert trajectory.messages[3].result == {"status": "booked"}
    assert (trajectory.missing_calls, trajectory.outcome) == ((), Outcome.RESOLVED)


def test_the_customer_asks_again_when_a_due_call_is_not_made() -> None:
    trajectory = play(assistant("I see."))
    assert trajectory.messages[-1].content == "As I said: I need a 3 star hotel in Rome."
    assert trajectory.missing_calls == ("Hotels.Find", "Hotels.Book")


@pytest.mark.parametrize("question", ["Which first night, please?", "What is the check-in date?"], ids=["by description", "by name"])
def test_the_customer_answers_from_its_facts_off_the_record(question: str) -> None:
    trajectory = play(assistant("", FIND), assistant("A."), assistant(question))
    assert trajectory.messages[-1].content == "It is like this: the check in date is 2019-03-08."
    assert trajectory.simulator_errors == 0


def test_a_question_the_record_has_no_answer_to_is_the_simulators_error() -> None:
    trajectory = play(assistant("What is your favourite colour?"))
    assert trajectory.messages[-1].content.startswith("I do not know that.")
    assert trajectory.simulator_errors == 1


def test_a_value_that_only_a_tool_told_is_no_fact_of_the_customer() -> None:
    assert recorded_case(TRACE).facts == {"city": "Rome", "stars": "3", "check_in_date": "2019-03-08"}


def test_the_customer_corrects_a_call_made_with_other_values() -> None:
    trajectory = play(with_arguments(FIND, city="Oslo", stars="5"), assistant("There is none in Oslo."))
    assert trajectory.messages[-1].content == "No, the city is Rome and the stars is 3."


def test_a_call_with_half_its_arguments_right_stands_in_but_stays_missing() -> None:
    """Of what follows a mistake there is as much to learn as of the mistake: the episode does not end with it."""
    trajectory = play(with_arguments(FIND, city="Oslo"), *recorded_actions()[1:])
    assert trajectory.messages[3].result == [{"name": "Inn 7"}]
    assert [judged.is_correct for judged in trajectory.calls] == [False, True]
    assert (trajectory.missing_calls, trajectory.outcome) == (("Hotels.Find",), Outcome.UNRESOLVED)


def test_a_corrected_call_puts_the_episode_back_on_the_record() -> None:
    trajectory = play(with_arguments(FIND, city="Oslo", stars="5"), assistant("None."), *recorded_actions())
    assert [judged.is_correct for judged in trajectory.calls] == [False, True, True]
    assert (trajectory.outcome, trajectory.satisfaction_score) == (Outcome.RESOLVED, None)


def test_patience_ends_the_episode_as_abandoned() -> None:
    trajectory = play(*(assistant("I see.") for _ in range(9)))
    assert sum(message.role == "assistant" for message in trajectory.messages) == 3
    assert trajectory.outcome is Outcome.ABANDONED


def test_in_training_waiting_where_the_record_calls_ends_the_episode() -> None:
    """A customer who said it all again made waiting free, and training on it made a policy call later and less."""
    env = RecordedScenario(pack_of(TRACE)).create_environment()
    env.reset(seed=0, options={"case": recorded_case(TRACE)})
    assert env.step(assistant("I see."))[2]
    assert env.trajectory(()).outcome is Outcome.ABANDONED


def test_calls_without_end_are_cut_at_the_turn_limit() -> None:
    trajectory = play(*(with_arguments(FIND, city="Oslo", stars="5") for _ in range(40)))
    assert trajectory.is_truncated
    assert trajectory.outcome is Outcome.UNRESOLVED


def test_an_unknown_call_gets_the_answer_of_the_nearest_recorded_one() -> None:
    three = ToolCall(name="Hotels.Find", arguments={"city": "Oslo", "stars": "4", "pool": "yes"})
    other = Trace(conversation_id="c2", messages=(user("Hi"), assistant("", three), tool_result(three, ["Fjord"])), tools=TOOLS)
    near = play(assistant("", three.model_copy(update={"arguments": {"city": "Oslo", "stars": "4"}})), others=(other,))
    half = {"city": "Oslo", "stars": "4", "pool": "no", "spa": "yes"}
    far = play(assistant("", three.model_copy(update={"arguments": half})), others=(other,))
    assert near.messages[-1].result == ["Fjord"]
    assert far.messages[-1].result == {"error": "Hotels.Find found nothing for these arguments."}


def test_a_tool_that_refused_a_call_in_the_record_refuses_an_unknown_one_alike() -> None:
    bad = ToolCall(name="Hotels.Find", arguments={"city": "Atlantis"})
    refused = (user("Hi"), assistant("", bad), tool_result(bad, {"error": "no such city"}), assistant("", FIND), tool_result(FIND, []))
    other = Trace(conversation_id="c2", messages=refused, tools=TOOLS)
    trajectory = play(with_arguments(FIND, city="Oslo", stars="5"), others=(other,))
    assert trajectory.messages[-1].result == {"error": "no such city"}


def test_a_recorded_call_that_failed_may_be_made_and_need_not_be() -> None:
    bad = ToolCall(name="Hotels.Find", arguments={"city": "Atlantis"})
    messages = (user("Hi"), assistant("", bad), tool_result(bad, {"error": "no"}), assistant("", FIND), tool_result(FIND, []))
    trace = Trace(conversation_id="c2", messages=messages, tools=TOOLS)
    assert recorded_case(trace).expected_calls == (FIND,)
    with_it = play(assistant("", bad), assistant("", FIND), assistant("Bye."), trace=trace)
    without = play(assistant("", FIND), assistant("Bye."), trace=trace)
    assert all(judged.is_correct for judged in (*with_it.calls, *without.calls))
    assert with_it.missing_calls == without.missing_calls == ()


def test_a_repeated_call_gets_its_recorded_answers_in_order() -> None:
    messages = (user("Hi"), assistant("", FIND), tool_result(FIND, 1), assistant("", FIND), tool_result(FIND, 2), assistant("Bye."))
    trajectory = play(assistant("", FIND), assistant("", FIND), trace=Trace(conversation_id="c2", messages=messages, tools=TOOLS))
    assert [message.result for message in trajectory.messages if message.role == "tool"] == [1, 2]
    assert all(judged.is_correct for judged in trajectory.calls)


def test_words_between_two_turns_of_the_customer_are_one_turn() -> None:
    messages = (user("Hi"), user("Are you there?"), assistant("Yes."), assistant("How can I help?"), user("Bye"))
    recording = read_recording(Trace(conversation_id="c", messages=messages))
    assert recording.first_words == "Hi\nAre you there?"
    assert [(turn.words, turn.reply) for turn in recording.turns] == [("Yes.\nHow can I help?", "Bye")]


def test_equal_actions_lead_to_equal_states() -> None:
    hashes = []
    for city in ("Rome", "Rome", "Oslo"):
        env = environment()
        env.reset(seed=0, options={"case": recorded_case(TRACE)})
        env.step(with_arguments(FIND, city=city))
        hashes.append(env.state_hash())
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_pack_trains_on_accepted_conversations_only() -> None:
    failed = TRACE.model_copy(update={"conversation_id": "c2", "outcome": Outcome.UNRESOLVED})
    pack = make_recorded_pack([TRACE, failed], [failed.model_copy(update={"conversation_id": "c3"})], "digest")
    assert [case.case_id for case in pack.train] == ["c1"]
    assert [case.case_id for case in pack.held_out] == ["c3"]
    assert (pack.tools, pack.train[0].kind, pack.train[0].difficulty) == (TOOLS, "Hotels", "medium")


def test_a_log_without_a_tool_call_cannot_be_trained_on() -> None:
    silent = Trace(conversation_id="c", messages=(user("Hi"), assistant("Hello.")))
    with pytest.raises(InsufficientData, match="Training needs accepted conversations that call tools"):
        pack_of(silent)


def test_a_recording_without_a_customer_cannot_be_played() -> None:
    with pytest.raises(InvalidInput, match="A recording needs a customer who speaks"):
        read_recording(Trace(conversation_id="c", messages=(assistant("Hello."),)))


def test_a_case_without_a_recording_cannot_be_played() -> None:
    case = Case(case_id="x", scenario="other", kind="k", difficulty="easy", cluster_id="x", goal="g")
    with pytest.raises(InvalidInput, match=r"cases with a recording; 'x' has none\. Play it in 'other'"):
        environment().reset(seed=0, options={"case": case})


def test_a_pack_survives_its_bytes_with_shared_tools() -> None:
    pack = ScenarioPack.from_bytes(pack_of(TRACE, TRACE.model_copy(update={"conversation_id": "c2"})).to_bytes())
    recordings = [case.recording for case in pack.train if case.recording]
    assert recordings[0] == TRACE
    assert recordings[0].tools[0] is recordings[1].tools[0]


def test_a_case_is_drawn_from_the_training_cases() -> None:
    scenario = RecordedScenario(pack_of(TRACE))
    assert scenario.draw_case(np.random.default_rng(0)).case_id == "c1"
    assert scenario.broadcast_rewards(play(*recorded_actions())) == [pytest.approx(10 + 10 + 3.75)] * 5


def test_a_pack_is_played_in_its_own_scenario() -> None:
    pack = pack_of(TRACE)
    assert isinstance(scenario_of(pack), RecordedScenario)
    assert scenario_of(pack.model_copy(update={"scenario": "customer_support"})).name == "customer_support"


def test_a_recorded_pack_without_held_out_recordings_has_nothing_to_be_judged_on() -> None:
    """Its scenario is registered nowhere, and was looked for there."""
    with pytest.raises(InsufficientData):
        evaluate_held_out(AlwaysTalk(), pack_of(TRACE), subject=Subject(name="somebody", checkpoint_digest="d"), seed=0)
