"""What a recorded tool answers to calls that were recorded, and to calls that were not."""

from collections.abc import Sequence
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from agentgym.environments.recorded_answers import Answered, RecordedAnswers
from agentgym.environments.recording import Recording, read_recording
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.traces.trace import Trace

Told = tuple[ToolCall, JsonValue]


def call(tool: str, /, **arguments: JsonValue) -> ToolCall:
    return ToolCall(name=tool, arguments=arguments)


def recording(*told: Told, name: str = "c") -> Recording:
    messages: list[Message] = [user("Hello")]
    for made, result in told:
        messages += [assistant("", made), tool_result(made, result)]
    return read_recording(Trace(conversation_id=name, messages=tuple(messages)))


def answers(*recordings: Sequence[Told]) -> RecordedAnswers:
    return RecordedAnswers(recording(*told, name=f"c{number}") for number, told in enumerate(recordings))


def hotel(number: int) -> dict[str, JsonValue]:
    return {"hotel": f"Inn {number}", "city": f"Town {number % 3}", "phone": f"555-{number:04}", "stars": str(1 + number % 5)}


def booking(number: int, date: str) -> Told:
    return call("book", hotel=f"Inn {number}", city=f"Town {number % 3}", date=date), {**hotel(number), "date": date, "status": "booked"}


# Hotels 0 to 8 in three towns; each recording searches a town, then books one of its hotels.
SEARCHES = [(call("find", city=f"Town {town}"), [hotel(number) for number in range(town, 9, 3)]) for town in range(3)]
STAYS: list[list[Told]] = [[SEARCHES[number % 3], booking(number, f"2024-05-0{1 + number}")] for number in range(6)]


def test_a_recorded_call_gets_its_recorded_result() -> None:
    found = answers(*STAYS).answer(booking(4, "2024-05-05")[0])
    assert found == Answered(result=booking(4, "2024-05-05")[1], basis="exact")


def test_a_recorded_refusal_is_repeated_to_the_same_call() -> None:
    refused = (call("find", city="Atlantis"), {"error": "no such city"})
    assert answers([refused], *STAYS).answer(refused[0]) == Answered(result=refused[1], basis="exact")


def test_a_call_about_a_known_thing_is_completed_from_what_is_known_of_it() -> None:
    """Nobody ever booked hotel 7: its phone comes from the search, the date from the call, the status from all bookings."""
    made, result = booking(7, "2024-06-30")
    assert answers(*STAYS).answer(made) == Answered(result=result, basis="consistent")


def test_a_thing_that_only_this_episode_was_told_of_is_known_in_it() -> None:
    new = {"hotel": "Palace", "city": "Town 9", "phone": "555-9999", "stars": "5"}
    made = call("book", hotel="Palace", city="Town 9", date="2024-06-30")
    found = answers(*STAYS).answer(made, [(call("find", city="Town 9"), [new])])
    assert found == Answered(result={**new, "date": "2024-06-30", "status": "booked"}, basis="consistent")


def test_a_thing_that_nobody_was_told_of_is_unknown() -> None:
    found = answers(*STAYS).answer(call("book", hotel="Palace", city="Town 9", date="2024-06-30"))
    assert found == Answered(result={"error": "book found nothing for these arguments."}, basis="unknown")


def test_a_row_is_no_source_when_it_agrees_in_something_that_identifies_nothing() -> None:
    """Town 1 is that of other hotels; the recordings show that a hotel in the same town tells nothing of this one."""
    found = answers(*STAYS).answer(call("book", hotel="Palace", city="Town 1", date="2024-06-30"))
    assert found.basis == "unknown"


def test_a_narrower_search_filters_what_a_broader_one_found() -> None:
    towns = {0: range(0, 24, 3), 1: range(1, 30, 3), 2: range(2, 24, 3)}
    broad = [[(call("find", city=f"Town {town}"), [hotel(n) for n in numbers])] for town, numbers in towns.items()]
    narrow = [[(call("find", city="Town 0", stars=stars), [hotel(n) for n in towns[0] if hotel(n)["stars"] == stars])] for stars in "123"]
    log = answers(*broad, *narrow)
    two_stars = [hotel(n) for n in towns[2] if n % 5 == 1]
    assert log.answer(call("find", city="Town 2", stars="2")) == Answered(result=two_stars, basis="consistent")
    assert log.answer(call("find", city="Town 2", stars="6")) == Answered(result=[], basis="consistent")


def test_a_near_call_gets_the_nearest_recorded_result_and_says_so() -> None:
    fares = [(call("fare", start=f"Street {n}", end="Station", riders="2"), {"fare": f"{n}.40"}) for n in range(4)]
    found = answers(*([told] for told in fares)).answer(call("fare", start="Street 2", end="Station", riders="1"))
    assert found == Answered(result={"fare": "2.40"}, basis="nearest")


def test_a_tool_that_always_says_the_same_says_it_to_any_call() -> None:
    notes = [(call("note", text=f"Note {number}"), "Noted.") for number in range(3)]
    thoughts = [(call("think", thought=f"Thought {number}"), None) for number in range(3)]
    found = answers(notes, thoughts)
    assert found.answer(call("note", text="Another")) == Answered(result="Noted.", basis="consistent")
    assert found.answer(call("think", thought="Another")) == Answered(result=None, basis="consistent")


def test_a_sentence_that_names_the_arguments_names_those_of_the_call() -> None:
    sent = [(call("send", user=f"ann_{n}", amount=10 * n), f"Sent {10 * n} to ann_{n}.") for n in range(1, 5)]
    found = answers(sent).answer(call("send", user="bob_7", amount=99))
    assert found == Answered(result="Sent 99 to bob_7.", basis="consistent")


def test_an_argument_left_out_has_the_value_it_had_then() -> None:
    rides = [(call("ride", to=f"Street {n}"), {"to": f"Street {n}", "seats": "1"}) for n in range(4)]
    shared = [(call("ride", to=f"Road {n}", seats=str(n)), {"to": f"Road {n}", "seats": str(n)}) for n in range(2, 6)]
    found = answers(rides, shared)
    assert found.answer(call("ride", to="Alley 1")) == Answered(result={"to": "Alley 1", "seats": "1"}, basis="consistent")
    assert found.answer(call("ride", to="Alley 1", seats="7")).result == {"to": "Alley 1", "seats": "7"}


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        ("Error: order W-100 not found", "Error: order W-777 not found"),
        ({"error": "order W-100 not found"}, {"error": "order W-777 not found"}),
    ],
    ids=["text", "object"],
)
def test_an_unknown_call_is_refused_as_the_tool_refused_and_names_its_own_arguments(refusal: JsonValue, expected: JsonValue) -> None:
    found = answers([(call("get_order", order_id="W-100"), refusal)]).answer(call("get_order", order_id="W-777"))
    assert found == Answered(result=expected, basis="unknown")


def test_a_tool_that_never_refused_refuses_in_the_form_of_the_others() -> None:
    found = answers([(call("get_order", order_id="W-100"), "Error: not found"), (call("get_user", user_id="ann"), {"name": "Ann"})])
    assert found.answer(call("get_user", user_id="bob")).result == "Error: get_user found nothing for these arguments."


def test_a_search_that_once_found_nothing_finds_nothing_when_it_is_not_known() -> None:
    found = answers(*STAYS, [(call("find", city="Desert"), [])])
    assert found.answer(call("find", city="Atlantis")) == Answered(result=[], basis="unknown")


def test_what_the_episode_was_told_is_told_again() -> None:
    """A balance that no recording holds: asking twice gives it twice."""
    told = (call("balance", account="checking"), {"balance": 5, "account": "checking"})
    assert answers(*STAYS).answer(told[0], [told]) == Answered(result=told[1], basis="consistent")


def test_the_cases_own_recording_goes_before_all_others() -> None:
    own = recording((call("find", city="Town 0"), []), name="own").calls
    assert answers(*STAYS).answer(call("find", city="Town 0"), own=own) == Answered(result=[], basis="exact")


# ---- What broken logs hold: the mock must neither fall over nor pass what it made up for exact.


def test_a_recording_whose_results_contradict_each_other_is_not_believed() -> None:
    """Every booking tells another phone than the search: what a search tells then identifies nothing, and no booking is made up."""
    broken = [[SEARCHES[n % 3], (booking(n, "2024-05-01")[0], {**booking(n, "2024-05-01")[1], "phone": n, "stars": n})] for n in range(6)]
    assert answers(*broken).answer(booking(7, "2024-06-30")[0]).basis in ("nearest", "unknown")


ODD: list[JsonValue] = [None, "", [], {}, [[]], [None], [{}], {"rows": [{}]}, 7, True, [1, {"a": 1}], "not JSON {", {"": ""}]


def test_odd_results_are_answered_as_they_were_recorded() -> None:
    found = answers([(call("odd", number=n), result) for n, result in enumerate(ODD)])
    assert [found.answer(call("odd", number=n)).result for n in range(len(ODD))] == ODD
    assert found.answer(call("odd", number=99)).basis == "unknown"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b", "Error: no"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "city", "x"]), inner, max_size=3),
    max_leaves=6,
)
calls = st.builds(
    call, st.sampled_from(["find", "get", "set"]), **{name: st.sampled_from(["a", "b", 1, None, ["a"]]) for name in ("id", "city")}
)
told_lists = st.lists(st.tuples(calls, json_values), max_size=5)


@settings(max_examples=60, deadline=None)
@given(st.lists(told_lists, max_size=4), told_lists, calls)
def test_answers_are_deterministic_and_change_nothing(logs: list[list[Told]], history: list[Told], made: ToolCall) -> None:
    recordings = [recording(*told, name=f"c{number}") for number, told in enumerate(logs)]
    before = deepcopy((recordings, history))
    asked = RecordedAnswers(recordings)
    first = asked.answer(made, history)
    assert first == asked.answer(made, history) == RecordedAnswers(recordings).answer(made, list(history))
    assert (recordings, history) == before


@settings(max_examples=60, deadline=None)
@given(st.lists(told_lists, min_size=1, max_size=4))
def test_every_recorded_call_is_answered_exactly_with_a_result_it_had(logs: list[list[Told]]) -> None:
    recordings = [recording(*told, name=f"c{number}") for number, told in enumerate(logs)]
    asked = RecordedAnswers(recordings)
    recorded = [each for one in recordings for each in one.calls]
    for each in recorded:
        found = asked.answer(each.call)
        assert found.basis == "exact"
        assert any(found.result == other.result for other in recorded if other.key == each.key)
