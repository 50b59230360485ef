import numpy as np

from agentgym.environments.case import Case
from agentgym.environments.conversation import UserTurn
from agentgym.environments.user_simulator import ScriptedCustomer, opening_of
from agentgym.scenarios import ScenarioRegistry, WorldScenario

SCENARIO = ScenarioRegistry().load("customer_support")
assert isinstance(SCENARIO, WorldScenario)
CASES = [SCENARIO.case(kind="refund_request", customer=f"CUS-{number:05d}", number=number) for number in range(400)]
TELLS_NOTHING = next(case for case in CASES if not opening_of(SCENARIO.world, case).facts and not case.facts["email_at_first"])
ASK_EMAIL = "Could you please tell me the email address of the account?"


class Talk:
    """A customer of a case, spoken to while there is work to do."""

    def __init__(self, case: Case) -> None:
        self.customer = ScriptedCustomer(SCENARIO.world)
        self.opening = self.customer.open(case, np.random.default_rng(0))

    def say(self, words: str, *, is_closed: bool = False) -> UserTurn:
        return self.customer.reply(words, messages=(), is_closed=is_closed)

    def hear(self, words: str) -> str:
        return self.say(words).content or ""


def test_the_customer_tells_what_is_asked_and_nothing_else() -> None:
    answer = Talk(TELLS_NOTHING).hear(ASK_EMAIL)
    assert str(TELLS_NOTHING.facts["email"]) in answer
    assert not any(words in answer for words in ("need it", "outage", "wrong plan"))


def test_the_opening_withholds_what_it_does_not_volunteer() -> None:
    assert str(TELLS_NOTHING.facts["email"]) not in Talk(TELLS_NOTHING).opening


def test_several_questions_are_answered_at_once() -> None:
    talk = Talk(TELLS_NOTHING)
    answer = talk.hear("Please tell me your email and your name.")
    assert str(TELLS_NOTHING.facts["email"]) in answer
    assert str(TELLS_NOTHING.facts["name"]) in answer
    assert talk.customer.annoyances == 0


def test_being_asked_again_annoys() -> None:
    talk = Talk(TELLS_NOTHING)
    talk.say(ASK_EMAIL)
    assert talk.hear(ASK_EMAIL).startswith(("As I", "Again", "I already", "I just"))
    assert talk.customer.annoyances == 1


def test_being_asked_what_the_opening_told_annoys() -> None:
    case = next(case for case in CASES if "email" in opening_of(SCENARIO.world, case).facts and not case.facts["email_at_first"])
    talk = Talk(case)
    assert str(case.facts["email"]) in talk.opening
    talk.say(ASK_EMAIL)
    assert talk.customer.annoyances == 1


def test_a_word_is_no_question() -> None:
    talk = Talk(TELLS_NOTHING)
    assert str(TELLS_NOTHING.facts["email"]) not in talk.hear("I will look into your email.")
    assert talk.customer.annoyances == 1


def test_a_mistake_is_corrected_when_asked_again_without_annoyance() -> None:
    case = next(case for case in CASES if case.facts["email_at_first"] and not opening_of(SCENARIO.world, case).facts)
    talk = Talk(case)
    assert str(case.facts["email_at_first"]) in talk.hear(ASK_EMAIL)
    corrected = talk.hear(ASK_EMAIL)
    assert str(case.facts["email"]) in corrected
    assert any(words in corrected for words in ("mistyped", "typo", "right one", "should be"))
    assert talk.customer.annoyances == 0
    talk.say(ASK_EMAIL)
    assert talk.customer.annoyances == 1


def test_a_question_nobody_can_answer_is_not_met_with_a_reminder() -> None:
    assert Talk(TELLS_NOTHING).hear("What is the id of your invoice?").startswith(("I", "How", "No idea", "Sorry", "Hm"))
    assert Talk(TELLS_NOTHING).hear("I am on it.").startswith(("And", "So", "Okay", "Fine", "I am still", "Is", "Was"))


def test_patience_ends_the_conversation() -> None:
    talk = Talk(TELLS_NOTHING)
    turns = [talk.say("One moment.").has_left for _ in range(SCENARIO.world.behaviour.personas[TELLS_NOTHING.persona].patience)]
    assert turns == [False] * (len(turns) - 1) + [True]


def test_a_served_customer_leaves_with_a_word() -> None:
    turn = Talk(TELLS_NOTHING).say("All done.", is_closed=True)
    assert turn.has_left
    assert turn.content


def test_equal_cases_open_with_equal_words_and_most_cases_with_their_own() -> None:
    openings = [Talk(case).opening for case in CASES]
    assert openings == [Talk(case).opening for case in CASES]
    assert len(set(openings)) > 0.7 * len(CASES)
