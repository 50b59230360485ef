"""How like the recorded customer the simulated one is, on conversations small enough to count by hand."""

import pytest

from agentgym.environments.offers import wrong_facts
from agentgym.environments.questions import Cues, is_yes_or_no, learn_cues, recorded_questions, what_is_asked
from agentgym.episode import Outcome, Trajectory
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.scenarios.customer_fidelity import match_customer, match_customers
from agentgym.scenarios.customers import profile_of
from agentgym.scenarios.from_traces import RecordedScenario, make_recorded_pack, recorded_case
from agentgym.tools import Tool
from agentgym.traces.trace import Trace

FIND = ToolCall(name="find_table", arguments={"town": "Bergen", "guests": "4", "day": "Sunday"})
TOOL = Tool(name="find_table", parameters={"type": "object", "properties": {name: {"type": "string"} for name in FIND.arguments}})
TRACE = Trace(
    conversation_id="t1",
    tools=(TOOL,),
    messages=(
        user("A table, please."),
        assistant("In which town?"),
        user("In Bergen."),
        assistant("How many guests?"),
        user("We are 4 guests."),
        assistant("On which day?"),
        user("On Sunday."),
        assistant("", FIND),
        tool_result(FIND, [{"place": "Fisketorget"}]),
        assistant("There is one."),
        user("Thanks."),
    ),
)


def episode(*messages: Message, outcome: Outcome = Outcome.RESOLVED) -> Trajectory:
    return Trajectory(
        case_id="t1",
        kind="k",
        cluster_id="t1",
        messages=messages,
        actions=(),
        calls=(),
        missing_calls=(),
        outcome=outcome,
        satisfaction_score=None,
        agent_tokens=0,
        simulated_seconds=0.0,
        reward_terms={},
    )


def test_a_recorded_customer_is_like_itself() -> None:
    match = match_customer(recorded_case(TRACE), episode(*TRACE.messages))
    assert (match.recorded_turns, match.simulated_turns, match.recorded_facts, match.told_facts) == (5, 5, 3, 3)
    assert (match.order_agreement, match.leaks, match.has_abandoned) == (1.0, (), False)


def test_the_order_is_that_of_pairs_told_in_different_turns() -> None:
    """Of town < guests < day, guests < town < day keeps two of three pairs."""
    match = match_customer(recorded_case(TRACE), episode(user("Hi"), user("We are 4."), user("In Bergen."), user("On Sunday.")))
    assert (match.told_facts, match.order_agreement) == (3, pytest.approx(2 / 3))


def test_an_order_of_facts_told_at_once_is_undefined() -> None:
    match = match_customer(recorded_case(TRACE), episode(user("A table for 4 in Bergen on Sunday.")))
    assert (match.simulated_turns, match.told_facts, match.order_agreement) == (1, 3, None)


def test_a_leak_and_an_abandonment_are_told() -> None:
    match = match_customer(recorded_case(TRACE), episode(user("The Fisketorget!"), outcome=Outcome.ABANDONED))
    assert (match.leaks, match.has_abandoned) == (("fisketorget",), True)


def test_the_recorded_agent_meets_a_customer_who_knows_nothing_of_the_record() -> None:
    other = TRACE.model_copy(update={"conversation_id": "t2"})
    scenario = RecordedScenario(make_recorded_pack([other], (), "digest"), customer="goal")
    (match,) = match_customers([TRACE], scenario)
    assert (match.conversation_id, match.recorded_turns, match.simulated_turns) == ("t1", 5, 5)
    assert (match.told_facts, match.order_agreement, match.leaks, match.simulator_errors) == (3, 1.0, (), 0)


# --- what questions ask for ---


def test_recorded_questions_know_what_was_not_told_yet() -> None:
    assert [(question, sorted(untold), told) for question, untold, told in recorded_questions(profile_of(TRACE))] == [
        ("In which town?", ["day", "guests", "town"], {"town"}),
        ("How many guests?", ["day", "guests"], {"guests"}),
        ("On which day?", ["day"], {"day"}),
    ]


def test_cues_are_the_share_of_questions_with_a_word_that_were_for_the_argument() -> None:
    """`party` was in six questions that could have been for guests, and all of them were: (6 + 1 · 6/12) / (6 + 1)."""
    traces = [
        Trace(conversation_id=f"a{at}", tools=(TOOL,), messages=(
            user("Hi"), assistant("How big is your party?"), user("4 guests"), assistant("", FIND)))
        for at in range(6)
    ] + [
        Trace(conversation_id=f"b{at}", tools=(TOOL,), messages=(
            user("Hi"), assistant("Where to?"), user("Bergen"), assistant("And?"), user("4"), assistant("", FIND)))
        for at in range(6)
    ]  # fmt: skip
    cues = learn_cues(profile_of(trace) for trace in traces)
    assert cues.chance("guests", {"party"}) == pytest.approx((6 + 12 / 18) / 7)
    assert cues.chance("day", {"party"}) is None
    assert what_is_asked("How big is your party?", (), cues, known=("guests", "day")).names == ("guests",)


@pytest.mark.parametrize(
    ("words", "names"),
    [("Which town?", ("town",)), ("How many will you be?", ("guests",)), ("When do you come?", ("day",)), ("Here you are.", ())],
)
def test_without_anything_learned_names_and_question_words_tell(words: str, names: tuple[str, ...]) -> None:
    assert what_is_asked(words, (TOOL,), Cues(), known=()).names == names


@pytest.mark.parametrize(
    ("question", "expected"),
    [("Shall I book it?", True), ("How about Sunday?", True), ("Which day would you like?", False), ("Sunday, right?", True)],
)
def test_a_yes_or_no_answers_what_has_no_question_word(question: str, expected: bool) -> None:
    assert is_yes_or_no(question) is expected


def test_a_call_is_held_against_the_facts() -> None:
    errand = profile_of(TRACE).errands[0]
    wrong = wrong_facts(FIND.model_copy(update={"arguments": {"town": "bergen", "guests": "5", "day": "Sunday"}}), errand)
    assert [fact.name for fact in wrong] == ["guests"]
