"""Which arguments hold an agent's own words, and what that means for the calls that have them."""

from collections.abc import Callable

import pytest

from agentgym.environments.reward_function import RewardFunction
from agentgym.messages import ToolCall, assistant, tool_result, user
from agentgym.scenarios.from_traces import RecordedScenario, make_recorded_pack, recorded_case
from agentgym.traces.own_words import EXACT, CallKeys, learn_call_keys
from agentgym.traces.trace import Trace

SUMMARIES = (
    "The customer wants to cancel a booking that is too old.",
    "Asks for a refund beyond what the rules allow us.",
    "Somebody was charged twice and is rather upset about it.",
    "A change of passengers that only a colleague can make.",
    "Wants compensation for a delayed flight without being a member.",
    "Cannot log in any more and has lost the telephone.",
)
WORDED = CallKeys(frozenset({("transfer", "summary")}))


def transfer(summary: str, queue: str = "refunds") -> ToolCall:
    return ToolCall(name="transfer", arguments={"summary": summary, "queue": queue})


def handed_over(number: int, summary: str, *, said: str = "I need somebody.") -> Trace:
    call = transfer(summary)
    return Trace(
        conversation_id=f"c{number}",
        customer_id=f"u{number}",
        messages=(user(said), assistant("", call), tool_result(call, {"ok": True}), assistant("A colleague takes over.")),
    )


LOG = [handed_over(number, summary) for number, summary in enumerate(SUMMARIES)]


def test_sentences_that_nobody_said_before_are_the_agents_own() -> None:
    assert learn_call_keys(LOG) == WORDED


@pytest.mark.parametrize(
    "summary",
    [
        lambda number: SUMMARIES[0],
        lambda number: f"ORD-{number:04d}",
        lambda number: "Paris, Berlin",
    ],
    ids=["always the same", "an identifier", "few words"],
)
def test_values_that_repeat_or_are_no_sentences_are_not(summary: Callable[[int], str]) -> None:
    assert learn_call_keys([handed_over(number, summary(number)) for number in range(6)]) == EXACT


def test_what_the_customer_said_is_not_the_agents_own() -> None:
    assert learn_call_keys([handed_over(number, each, said=f"Tell them: {each}") for number, each in enumerate(SUMMARIES)]) == EXACT


def test_four_values_tell_nothing() -> None:
    assert learn_call_keys(LOG[:4]) == EXACT


def test_only_the_wording_does_not_count() -> None:
    key = WORDED.of(transfer(SUMMARIES[0]))
    assert WORDED.of(transfer("Wants money back.")) == key
    assert EXACT.of(transfer("Wants money back.")) != EXACT.of(transfer(SUMMARIES[0]))
    assert len({key, *(WORDED.of(call) for call in (transfer(SUMMARIES[0], "sales"), transfer(""), transfer("7")))}) == 4
    assert WORDED.of(ToolCall(name="transfer", arguments={"queue": "refunds"})) != key


def test_a_call_in_other_words_is_right_where_the_record_makes_one() -> None:
    scenario = RecordedScenario(make_recorded_pack(LOG[:-1], LOG[-1:], "digest"))
    rewards = {}
    for name, call in {
        "own": transfer("A locked account; the telephone is gone."),
        "other queue": transfer(SUMMARIES[-1], "sales"),
        "nothing": transfer(""),
    }.items():
        environment = scenario.create_environment()
        environment.reset(seed=0, options={"case": recorded_case(LOG[-1])})
        environment.step(assistant("", call))
        environment.step(assistant("A colleague takes over."))
        rewards[name] = environment.trajectory(()).reward
    assert rewards["own"] == 20.0
    assert max(rewards["other queue"], rewards["nothing"]) < 0


def test_the_function_of_rewards_judges_calls_alike() -> None:
    reward_fn = RewardFunction.fit(LOG)
    terms = reward_fn.terms([assistant("", transfer("In other words altogether."))], ground_truth=LOG[0])
    assert (terms["outcome"], terms["tools"]) == (10.0, 10.0)
