"""Who a customer is, mined from one conversation: what they said and when, and nothing that only a tool told."""

from datetime import UTC, date, datetime

import pytest

from agentgym.environments.customer_profile import CustomerProfile, Fact
from agentgym.environments.profile_mining import is_question
from agentgym.environments.spoken import Words, leaves, nothing_else, sentences
from agentgym.episode import Outcome
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.scenarios.customers import profile_of, read_values
from agentgym.traces.trace import Trace

FIND = ToolCall(name="Hotels.Find", arguments={"city": "Rome", "stars": "3", "sort": "price"})
BOOK = ToolCall(
    name="Hotels.Book", arguments={"hotel": "Inn Seven", "check_in_date": "2019-03-08", "rooms": "2", "breakfast": "True", "token": "t-481"}
)
TRACE = Trace(
    conversation_id="c1",
    started_at=datetime(2019, 3, 1, tzinfo=UTC),
    outcome=Outcome.RESOLVED,
    messages=(
        user("I need a hotel in Oslo, please."),
        assistant("How many stars?"),
        user("3 will do. No, make that a hotel in Rome."),
        assistant("", FIND),
        tool_result(FIND, [{"hotel": "Inn Seven", "token": "t-481"}, {"hotel": "Fjord"}]),
        assistant("There is the Inn Seven, with breakfast. For two rooms?"),
        user("Yes, the Inn Seven with breakfast, from next Friday."),
        assistant("", BOOK),
        tool_result(BOOK, {"status": "booked", "reference": "XK-77"}),
        assistant("It is booked."),
        user("Thanks, bye!"),
    ),
)


def known(*messages: Message, trace: Trace = TRACE) -> CustomerProfile:
    return profile_of(trace.model_copy(update={"messages": messages}) if messages else trace)


def facts() -> dict[str, Fact]:
    return {fact.name: fact for fact in known().facts}


def test_facts_are_what_the_customer_said_or_agreed_to() -> None:
    assert {name: fact.value for name, fact in facts().items()} == {
        "city": "Rome",
        "stars": "3",
        "check_in_date": "2019-03-08",
        "rooms": "2",
        "breakfast": "True",
    }


def test_what_only_a_tool_told_is_no_fact() -> None:
    """The token went from a result into a call, and nobody spoke of it."""
    assert "t-481" not in known().model_dump_json()


def test_what_nobody_spoke_of_is_the_agents_business() -> None:
    assert "sort" not in facts()


def test_what_was_picked_from_an_offer_is_a_choice() -> None:
    book = known().errands[1]
    assert [(choice.name, choice.value) for choice in book.choices] == [("hotel", "Inn Seven")]


def test_a_fact_tells_when_it_was_given_up() -> None:
    told = {name: (fact.turn, fact.disclosure) for name, fact in facts().items()}
    assert told == {
        "stars": (1, "asked"),
        "city": (1, "asked"),
        "check_in_date": (2, "asked"),
        "rooms": (None, "agreed"),
        "breakfast": (2, "asked"),
    }


def test_a_value_that_is_told_without_a_question_is_volunteered() -> None:
    (fact,) = known(user("Hi."), assistant("Hello."), user("A hotel in Rome."), assistant("", FIND)).facts
    assert (fact.name, fact.disclosure, fact.words) == ("city", "unasked", "A hotel in Rome.")


def test_a_value_of_the_first_words_is_told_at_once() -> None:
    assert [fact.disclosure for fact in known(user("A hotel in Rome."), assistant("", FIND)).facts] == ["at_once"]


def test_a_value_that_takes_anothers_place_is_a_correction() -> None:
    oslo = FIND.model_copy(update={"arguments": {"city": "Oslo"}})
    profile = known(
        user("A hotel in Oslo."), assistant("", oslo), tool_result(oslo, []), assistant("None."), user("Rome then."), assistant("", FIND)
    )
    fact = next(fact for fact in profile.facts if fact.value == "Rome")
    assert (fact.disclosure, fact.instead_of) == ("corrected", "Oslo")


def test_a_sentence_needs_what_the_customer_had_only_heard() -> None:
    (saying,) = known().errands[1].utterances[0].sayings
    assert saying.needs == ("inn seven",)


def test_the_goal_is_the_first_words_and_the_last_errand_is_leave_taking() -> None:
    profile = known()
    assert profile.goal == "I need a hotel in Oslo, please."
    assert [errand.tool for errand in profile.errands] == ["Hotels.Find", "Hotels.Book", None]
    assert profile.errands[-1].utterances[0].sayings[0].text == "Thanks, bye!"


def test_patience_is_the_longest_wait_of_the_record_and_at_least_the_floor() -> None:
    """Five turns tell nothing new; after the fifth something is done."""
    waiting = [message for _ in range(5) for message in (assistant("One moment."), user("Well?"))]
    messages = (user("A hotel in Rome."), *waiting, assistant("", FIND))
    assert known(*messages).patience_turns == 4
    assert profile_of(TRACE.model_copy(update={"messages": messages}), patience_floor=6).patience_turns == 6


def test_a_call_that_failed_is_no_errand() -> None:
    profile = known(user("A hotel in Rome."), assistant("", FIND), tool_result(FIND, {"error": "no"}), assistant("", FIND))
    assert [errand.tool for errand in profile.errands] == ["Hotels.Find", None]


@pytest.mark.parametrize(
    ("words", "mood"), [("Thanks a lot!", "friendly"), ("This is ridiculous!!", "upset"), ("A hotel.", "plain")], ids=lambda text: text
)
def test_the_mood_is_in_the_words(words: str, mood: str) -> None:
    assert known(user(words), assistant("Hm.")).persona.mood == mood


def test_a_persona_tells_length_and_case() -> None:
    persona = known(user("hotel rome"), assistant("For when?"), user("friday")).persona
    assert (persona.words_per_turn, persona.is_terse, persona.is_lower_case) == (1.5, True, True)
    assert persona.describe() == "plain, writes tersely and in lower case"


def test_annotations_of_the_log_change_nothing() -> None:
    marked = TRACE.model_copy(update={"tags": {"goal": "spy"}, "satisfaction_score": 1.0, "customer_id": "u1"})
    assert profile_of(marked) == known()


def test_a_profile_survives_its_json() -> None:
    assert CustomerProfile.model_validate_json(known().model_dump_json()) == known()


def test_a_list_is_read_without_its_numbers() -> None:
    assert sentences("1. One-way\n2. It's just me.") == ["One-way", "It's just me."]
    assert not Words(text="3. Economy", today=date(2019, 3, 1), read=read_values).says("3")


def test_a_value_is_found_however_it_is_written() -> None:
    words = Words(
        text="Next Friday, half past 6 in the evening, for two, in SF (ref. mia-li 3668).", today=date(2019, 3, 1), read=read_values
    )
    assert all(words.says(value) for value in ("2019-03-08", "18:30", 2, "San Francisco", "mia_li_3668"))
    assert not any(words.says(value) for value in ("2019-03-09", "San", True, "no"))


def test_a_spelling_is_forgiven_where_the_beginning_is_the_same() -> None:
    words = Words(text="Some theatre plays", today=date(2019, 3, 1), read=nothing_else)
    assert words.resembles("Theater")
    assert not words.resembles("Play")


def test_leaves_go_by_the_names_on_the_way() -> None:
    assert list(leaves({"flights": [{"no": "A1"}, {"no": "B2"}], "cabin": None})) == [("flights.no", "A1"), ("flights.no", "B2")]


@pytest.mark.parametrize("words", ["Which city?", "Please tell me the city.", "Let me know the city.", "Please confirm: Rome."])
def test_a_question_needs_no_mark(words: str) -> None:
    assert is_question(words)
    assert not is_question("There is one in Rome.")
