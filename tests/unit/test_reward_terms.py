"""The terms of what was said: off by default, bounded, and paid to nobody who failed."""

from typing import Any

import pytest
from pydantic import ValidationError

from agentgym.episode import Outcome
from agentgym.messages import assistant, user
from agentgym.reward import ConductRule, RewardWeights, SatisfactionWords, Spoken, reward_terms, spoken_terms

GOOD = (user("Where is my parcel?"), assistant("Your parcel arrives tomorrow."), user("Great, thanks"))
RULES = (ConductRule(name="greets", says="hello"), ConductRule(name="no slang", never_says="dude"))
WORDS = SatisfactionWords(at_rest=0.5, words={"great": 0.3, "awful": -0.6})
WEIGHTS = RewardWeights(guidelines=4, similarity=3, quality=2, expressed_satisfaction=1, rules=RULES, satisfaction_words=WORDS)


def spoken(recorded: tuple[str, ...] = ("Your parcel arrives tomorrow.",)) -> Spoken:
    return Spoken(messages=GOOD, replies=["Your parcel arrives tomorrow."], recorded=recorded)


def terms_of(outcome: Outcome, weights: RewardWeights) -> dict[str, float]:
    usual: dict[str, Any] = {"calls": (), "missing_calls": (), "satisfaction_score": None, "agent_tokens": 100, "simulated_seconds": 24.0}
    return reward_terms(**usual, outcome=outcome, weights=weights, spoken=spoken())


def test_without_a_weight_nothing_of_what_was_said_is_paid() -> None:
    """Tokens: 5 x (1 - 100/500); seconds: 3 x (1 - 24/240)."""
    expected = {"outcome": 10.0, "tools": 0.0, "token_saving": 4.0, "speed": pytest.approx(2.7), "satisfaction": 0.0}
    assert terms_of(Outcome.RESOLVED, RewardWeights()) == expected


def test_each_term_is_its_share_of_its_weight() -> None:
    """One of two rules is broken; the reply is the recorded one, without a fault; "great" lifts 0.5 to 0.8."""
    terms = spoken_terms(spoken(), WEIGHTS, is_success=True)
    assert terms == pytest.approx({"guidelines": -2.0, "similarity": 3.0, "quality": 2.0, "expressed_satisfaction": 0.8})


def test_fine_words_on_a_ticket_that_failed_are_worth_nothing() -> None:
    terms = terms_of(Outcome.UNRESOLVED, WEIGHTS)
    assert (terms["similarity"], terms["quality"], terms["expressed_satisfaction"]) == (0.0, 0.0, 0.0)
    assert terms["guidelines"] == -2.0


def test_where_nobody_knows_the_outcome_words_are_worth_as_much_as_they_are_like_the_record() -> None:
    alike, unlike = (spoken_terms(spoken(recorded), WEIGHTS, is_success=None) for recorded in (("Your parcel arrives tomorrow.",), ("No",)))
    assert alike["quality"] == pytest.approx(2.0)
    assert unlike == {"guidelines": -2.0, "similarity": 0.0, "quality": 0.0, "expressed_satisfaction": 0.0}


@pytest.mark.parametrize(
    ("field", "weight"),
    [({"rules": RULES}, "guidelines"), ({"encoder": "m"}, "similarity"), ({"satisfaction_words": WORDS}, "expressed_satisfaction")],
)
def test_what_no_weight_reads_is_refused(field: dict[str, Any], weight: str) -> None:
    with pytest.raises(ValidationError, match=f"'{weight}', whose weight is 0"):
        RewardWeights(**field)


def test_weights_travel_as_json() -> None:
    assert RewardWeights.model_validate_json(WEIGHTS.model_dump_json()) == WEIGHTS
