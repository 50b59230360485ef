"""`reward_fn(response, ground_truth=…)`: calls by what the record called, words by what it said, nothing for what nobody knows."""

import pytest

from agentgym.environments.reward_function import REPLY_REWARD, RewardFunction, learn_satisfaction_words
from agentgym.episode import Outcome
from agentgym.errors import InsufficientData, InvalidInput
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.traces.trace import Trace

FIND = ToolCall(name="find", arguments={"city": "Rome", "stars": 3})
GOOD = (
    user("A 3 star hotel in Rome?"),
    assistant("", FIND),
    tool_result(FIND, [{"name": "Inn 7"}]),
    assistant("Inn 7 in Rome has 3 stars."),
)
TRACE = Trace(conversation_id="c", messages=GOOD, outcome=Outcome.RESOLVED)
reward_fn = RewardFunction()


def test_what_the_record_did_is_worth_most() -> None:
    """10 for the outcome, 10 for the calls, 5 for likeness, 5 for quality; nobody said how satisfied they were."""
    assert reward_fn(GOOD, ground_truth=TRACE) == pytest.approx(30.0)
    assert reward_fn(GOOD, ground_truth=GOOD) == pytest.approx(30.0)


def test_a_wrong_call_costs_more_than_a_missing_one() -> None:
    wrong = assistant("", FIND.model_copy(update={"arguments": {"city": "Oslo", "stars": 3}}))
    assert reward_fn.terms([wrong], ground_truth=TRACE)["tools"] == pytest.approx(-20 / 2)
    assert reward_fn.terms([assistant("Inn 7.")], ground_truth=TRACE)["tools"] == 0.0
    assert reward_fn([wrong], ground_truth=TRACE) < reward_fn([assistant("Inn 7.")], ground_truth=TRACE) < 0


def test_a_call_counts_as_often_as_the_record_makes_it() -> None:
    terms = reward_fn.terms([assistant("", FIND, FIND)], ground_truth=TRACE)
    assert (terms["outcome"], terms["tools"]) == (10.0, pytest.approx((10 - 20) / 2))


def test_a_call_that_failed_on_record_may_be_tried_and_need_not_be() -> None:
    bad = ToolCall(name="find", arguments={"city": "Atlantis"})
    record = (GOOD[0], assistant("", bad), tool_result(bad, {"error": "no such city"}), *GOOD[1:])
    assert reward_fn(record, ground_truth=record) == reward_fn(GOOD, ground_truth=record)


def test_words_are_held_against_the_reply_they_are_most_like_and_calls_are_not_judged() -> None:
    terms = reward_fn.terms("Inn 7 in Rome has 3 stars.", ground_truth=TRACE)
    assert terms == pytest.approx({"guidelines": 0.0, "similarity": 5.0, "quality": 5.0, "expressed_satisfaction": 0.0})
    assert reward_fn("Inn 7 in Rome has 3 stars.", ground_truth="Inn 7 in Rome has 3 stars.") == pytest.approx(10.0)


@pytest.mark.parametrize("words", ["", "You are a wonderful customer!", "A 3 star hotel in Rome?", "One moment, please."])
def test_empty_and_flattering_words_and_copies_are_worth_less_than_half_an_answer(words: str) -> None:
    assert reward_fn(words, ground_truth=TRACE) < reward_fn("Inn 7 in Rome has 3 stars.", ground_truth=TRACE) / 2


def test_a_failed_record_is_no_example() -> None:
    failed = TRACE.model_copy(update={"outcome": Outcome.UNRESOLVED})
    assert set(reward_fn.terms(GOOD, ground_truth=failed)) == {"guidelines", "similarity", "quality", "expressed_satisfaction"}
    assert reward_fn.terms(GOOD, ground_truth=failed)["similarity"] == 0.0


def test_messages_may_come_in_openais_form() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"city": "rome", "stars": 3}'}}
    told = [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "assistant", "content": "Inn 7 in Rome has 3 stars."}]
    assert reward_fn(told, ground_truth=TRACE) == pytest.approx(reward_fn(GOOD[1:], ground_truth=TRACE))
    with pytest.raises(InvalidInput, match="A message needs a role"):
        reward_fn({"content": "hello"}, ground_truth=TRACE)


def served(number: int, *, is_glad: bool) -> Trace:
    last = user("Thanks, lovely!" if is_glad else "That is useless.")
    messages: tuple[Message, ...] = (*GOOD, last)
    return Trace(conversation_id=str(number), messages=messages, satisfaction_score=5.0 if is_glad else 1.0)


def test_satisfaction_is_read_as_recorded_customers_expressed_it() -> None:
    fitted = RewardFunction.fit([served(number, is_glad=number % 2 == 0) for number in range(40)])
    glad, angry = (fitted.terms((*GOOD, user(words)), ground_truth=TRACE)["expressed_satisfaction"] for words in ("Lovely", "Useless"))
    assert 0 <= angry < REPLY_REWARD.expressed_satisfaction / 2 < glad <= REPLY_REWARD.expressed_satisfaction


def test_satisfaction_is_learned_from_outcomes_where_nobody_scored() -> None:
    traces = [served(number, is_glad=number % 2 == 0) for number in range(40)]
    ended = [
        trace.model_copy(
            update={"satisfaction_score": None, "outcome": Outcome.RESOLVED if trace.satisfaction_score == 5 else Outcome.ABANDONED}
        )
        for trace in traces
    ]
    assert learn_satisfaction_words(ended).words == learn_satisfaction_words(traces).words
    with pytest.raises(InsufficientData):
        learn_satisfaction_words([TRACE])
