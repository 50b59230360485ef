import pytest

from agentgym.policies.planner.vocabulary import Vocabulary
from agentgym.policies.planner.word_weights import learn_word_weights

VOCABULARY = Vocabulary(["the", "password", "migration", "reset"])


@pytest.mark.parametrize("typed", ["imgration", "migratoin", "migraton", "migrationn", "migrstion"])
def test_a_word_one_slip_from_a_known_one_is_read_as_that(typed: str) -> None:
    assert VOCABULARY.read(f"The {typed}!") == ("the", "migration")


def test_a_word_nobody_used_before_is_left_out() -> None:
    assert VOCABULARY.read("reset the password of olgapatel01") == ("reset", "the", "password")


def test_a_short_word_is_never_taken_for_another() -> None:
    assert VOCABULARY.read("hte password") == ("password",)


def test_of_two_words_as_near_the_more_usual_is_meant() -> None:
    assert Vocabulary(["host", "cost"]).read("lost most") == ("host", "host")


def test_without_known_words_all_are_kept() -> None:
    assert Vocabulary().read("Olga Patel") == ("olga", "patel")


def test_words_of_many_conversations_are_known_the_most_usual_first() -> None:
    weights = learn_word_weights([["a", "b"], ["a", "b"], ["a", "b", "c"], ["a", "c"]])
    assert weights.usual_first(least_conversations=3) == ["a", "b"]
