"""Which values the words of a message may mean."""

from datetime import date

from agentgym.policies.planner.gazetteer import Gazetteer
from agentgym.policies.planner.mentions import find_mentions, question_words


def texts(said: str, *, is_user: bool = True, gazetteer: Gazetteer | None = None) -> set[str]:
    mentions = find_mentions(said, is_user=is_user, question=(), gazetteer=gazetteer or Gazetteer(), today=date(2019, 3, 1))
    return {mention.value for mention in mentions if mention.kind == "text"}


def test_a_capitalised_name_is_found_whole_and_in_parts() -> None:
    assert {"Isla Restaurant", "San Bruno"} <= texts("I want Isla Restaurant in San Bruno", is_user=False)


def test_small_words_of_the_customer_are_candidates_but_not_those_of_the_agent() -> None:
    assert "indian food" in texts("some indian food please")
    assert texts("some indian food please", is_user=False) == set()


def test_a_known_value_is_found_in_any_case_and_written_as_known() -> None:
    known = Gazetteer(names={"hotel california": "Hotel California"})
    assert "Hotel California" in texts("play hotel california", is_user=False, gazetteer=known)


def test_a_short_name_stands_for_the_long_one() -> None:
    assert "San Francisco" in texts("a flight to SF")


def test_a_mention_keeps_the_words_before_it() -> None:
    mentions = find_mentions("leaving from Boston", is_user=True, question=("city",), gazetteer=Gazetteer(), today=date(2019, 3, 1))
    boston = next(mention for mention in mentions if mention.value == "Boston")
    assert boston.near == {"leaving", "from", "city"}


def test_question_words_are_those_of_the_question_alone() -> None:
    assert question_words("I found three. Which city should I search?") == ("city", "search")
    assert question_words("Here you are.") == ()
