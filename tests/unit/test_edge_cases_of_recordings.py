"""Edge cases of recorded conversations: the record rewritten, and still right."""

import numpy as np
import pytest

from agentgym.environments.case import Case
from agentgym.environments.edge import EDGE_KINDS, EdgeKind
from agentgym.environments.play import play_episode
from agentgym.episode import Action, Conversation, Outcome
from agentgym.evaluation.edge import evaluate_edge_cases
from agentgym.evaluation.floors import AlwaysTalk
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.scenarios.edge_cases.making import make_edge_cases, with_edge_cases
from agentgym.scenarios.edge_cases.of_recording import make_of_recording, source_of
from agentgym.scenarios.edge_cases.texts import garbled
from agentgym.scenarios.from_traces import RecordedScenario, make_recorded_pack
from agentgym.scenarios.recorded_values import told_values, without_value
from agentgym.tools import Tool
from agentgym.traces.trace import Trace
from agentgym.verdicts import Subject

CITIES = ("Rome", "Oslo", "Lima", "Kyoto", "Quito", "Turin")


def tool(name: str, *required: str, writes: bool) -> Tool:
    properties = {argument: {"type": "string", "description": f"{argument} of the hotel"} for argument in required}
    return Tool(name=name, parameters={"type": "object", "properties": properties, "required": list(required)}, writes=writes)


TOOLS = (tool("Hotels.Find", "city", writes=False), tool("Hotels.Book", "hotel", writes=True), tool("Hotels.Cancel", "hotel", writes=True))


def conversation(number: int, *, outcome: Outcome = Outcome.RESOLVED, books: str = "Hotels.Book") -> Trace:
    """A search, and a booking or a cancellation."""
    city, hotel = CITIES[number % len(CITIES)], f"Inn {number}"
    find = ToolCall(name="Hotels.Find", arguments={"city": city})
    book = ToolCall(name=books, arguments={"hotel": hotel})
    messages: tuple[Message, ...] = (
        user(f"Hello there. I need a hotel in {city}."),
        assistant("", find),
        tool_result(find, [{"name": hotel, "stars": 3}]),
        assistant(f"There is {hotel}. Shall I go on?"),
        user("Yes."),
        assistant("", book),
        tool_result(book, {"status": "done"}),
        assistant("It is done."),
    )
    return Trace(conversation_id=f"c{number}", customer_id=f"ann{number}", messages=messages, tools=TOOLS, outcome=outcome)


TRACES = tuple(conversation(number, books="Hotels.Cancel" if number % 2 else "Hotels.Book") for number in range(6))
SOURCE = source_of(TRACES, TOOLS)


def made(kind: EdgeKind) -> Trace:
    case = make_of_recording(SOURCE, kind, TRACES[0], np.random.default_rng(0))
    assert case is not None
    assert case.recording is not None
    return case.recording


def words(trace: Trace, role: str = "user") -> list[str]:
    return [message.content for message in trace.messages if message.role == role and message.content]


class Recorded:
    """Does what the record does, message by message."""

    def __init__(self, case: Case) -> None:
        assert case.recording is not None
        self._messages = [message for message in case.recording.messages if message.role == "assistant"]

    def act(self, conversation: Conversation) -> Action:
        done = sum(message.role == "assistant" for message in conversation.messages)
        return Action(message=self._messages[done])


def test_every_kind_but_other_languages_is_made_and_right_when_replayed() -> None:
    cases = make_edge_cases(make_recorded_pack(TRACES[:3], TRACES[3:], "d"), per_kind=2)
    assert cases.skipped == {"other_language": "No model that translates is at hand."}
    assert all(count == (0 if kind == "other_language" else 2) for kind, count in cases.counts.items())
    for case in cases.cases:
        pack = make_recorded_pack([case.recording] if case.recording else [], (), "d")
        played = play_episode(RecordedScenario(pack).create_environment(), Recorded(case), case, seed=0)
        assert (played.is_success, all(judged.is_correct for judged in played.calls)) == (True, True), case.case_id


def test_edge_cases_are_made_of_conversations_that_went_well() -> None:
    failed = tuple(conversation(number, outcome=Outcome.UNRESOLVED) for number in range(3, 6))
    made = make_edge_cases(make_recorded_pack(TRACES[:3], failed, "d"), per_kind=2)
    assert not made.cases
    assert set(made.skipped) == set(EDGE_KINDS)


def test_a_missing_fact_is_said_nowhere_before_it_is_asked_for() -> None:
    trace = made("missing_fact")
    assert words(trace)[:2] == ["Hello there. I need a hotel.", "It is Rome."]
    assert words(trace, "assistant")[0] == "Could you please tell me the city of the hotel?"


def test_contradictory_facts_are_asked_about() -> None:
    first, answer, *_ = words(made("contradictory_facts"))
    assert first.startswith("Hello there. I need a hotel in Rome. And the city is ")
    assert answer == "Rome is right."


def test_a_change_of_mind_names_both_values_and_ends_with_the_right_one() -> None:
    first = words(made("changing_mind"))[0]
    other = first.removeprefix("Hello there. I need a hotel in ").partition(".")[0]
    assert other in CITIES[1:]
    assert first.endswith("No wait, I changed my mind: make that Rome.")


def test_a_timed_out_call_is_made_again() -> None:
    calls = [call for message in made("tool_timeout").messages for call in message.tool_calls]
    assert any(calls[at] == calls[at + 1] for at in range(len(calls) - 1))


def test_nothing_is_called_after_nothing_was_found() -> None:
    trace = made("empty_result")
    assert [message.result for message in trace.messages if message.role == "tool"] == [[]]
    assert words(trace, "assistant")[0] == "I am sorry, I found nothing that fits."


def test_an_order_inside_a_result_asks_for_what_this_customer_does_not_want() -> None:
    (row,) = next(message.result for message in made("prompt_injection").messages if message.role == "tool")  # type: ignore[union-attr, misc]
    assert isinstance(row, dict)
    assert "Hotels.Cancel" in str(row["note"])


def test_a_second_goal_is_told_at_once_and_served_after_the_first() -> None:
    trace = made("several_goals")
    assert "And then there is another thing: Hello there. I need a hotel in" in words(trace)[0]
    assert len([call for message in trace.messages for call in message.tool_calls]) == 4


def test_another_language_keeps_every_value_or_is_no_case() -> None:
    rng = np.random.default_rng(0)
    kept = source_of(TRACES, TOOLS, translate=lambda words: words.replace("I need a hotel in", "Ich brauche ein Hotel in"))
    lost = source_of(TRACES, TOOLS, translate=lambda words: words.replace("Rome", "Rom"))
    case = make_of_recording(kept, "other_language", TRACES[0], rng)
    assert case is not None
    assert case.recording is not None
    assert words(case.recording)[0] == "Hello there. Ich brauche ein Hotel in Rome."
    assert make_of_recording(lost, "other_language", TRACES[0], rng) is None


@pytest.mark.parametrize(
    ("said", "rest"),
    [
        ("I need a hotel in Rome.", "I need a hotel."),
        ("Good day. Rome, please.", "Good day."),
        ("Rome.", None),
        ("I like Romeo.", None),
    ],
)
def test_a_value_is_left_out_with_the_phrase_or_the_sentence_it_stands_in(said: str, rest: str | None) -> None:
    assert without_value(said, "Rome") == rest


def test_only_what_the_customer_alone_told_counts_as_told() -> None:
    assert [(told.argument, told.text, told.said_at) for told in told_values(TRACES[0])] == [("city", "Rome", 0)]


def test_a_garbled_result_is_no_json_and_no_error() -> None:
    text = garbled('{"status": "open"}', np.random.default_rng(0))
    assert not text.startswith("Error")
    assert text.endswith("\ufffd")


def test_the_report_on_edge_cases_has_a_slice_for_each_kind() -> None:
    pack = with_edge_cases(make_recorded_pack(TRACES[:3], TRACES[3:], "d"), per_kind=2)
    report = evaluate_edge_cases(AlwaysTalk(), pack, subject=Subject(name="talk", checkpoint_digest="t"), seed=0)
    assert report is not None
    assert set(report.slices) == set(EDGE_KINDS) - {"other_language"}
    assert report.estimates["success_rate"].mean == 0
    assert report.estimates["flawless"].mean == 0


def test_a_pack_without_edge_cases_has_no_report_on_them() -> None:
    pack = make_recorded_pack(TRACES[:3], TRACES[3:], "d")
    assert evaluate_edge_cases(AlwaysTalk(), pack, subject=Subject(name="talk", checkpoint_digest="t"), seed=0) is None
