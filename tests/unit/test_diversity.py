"""How much a set of conversations holds, and how hard its cases are."""

import pytest

from agentgym.errors import InsufficientData
from agentgym.evaluation.evaluate import evaluate_policy
from agentgym.evaluation.floors import AlwaysTalk
from agentgym.messages import ToolCall, assistant, user
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.synthesis.diversity import Distinct, difficulty_of, diversity_of
from agentgym.traces.trace import Trace
from agentgym.verdicts import Subject

SENTENCES = ("where is the parcel that was promised", "please turn off all the lights now", "my invoice of may looks rather strange")


def conversation(number: int, words: str, tool: str = "A.find") -> Trace:
    return Trace(conversation_id=str(number), messages=(user(words), assistant("", ToolCall(name=tool))))


def test_conversations_with_nothing_in_common_are_as_far_apart_as_can_be() -> None:
    found = diversity_of([conversation(number, words) for number, words in enumerate(SENTENCES)])
    assert (found.conversations, found.kinds, found.call_sequences) == (3, 1, 1)
    assert found.vocabulary == len({word for words in SENTENCES for word in words.split()})
    assert found.distance == 1


def test_copies_are_at_no_distance() -> None:
    assert diversity_of([conversation(number, SENTENCES[0]) for number in range(3)]).distance == 0


def test_kinds_and_orders_of_calls_are_counted() -> None:
    found = diversity_of([conversation(1, SENTENCES[0]), conversation(2, SENTENCES[1], "B.find"), conversation(3, SENTENCES[2], "B.book")])
    assert (found.kinds, found.call_sequences) == (2, 3)


def test_one_conversation_has_no_distance_and_none_no_diversity() -> None:
    assert diversity_of([conversation(1, SENTENCES[0])]).distance is None
    with pytest.raises(InsufficientData):
        diversity_of([])


def test_names_and_numbers_count_where_copies_are_told_apart() -> None:
    distinct = Distinct([conversation(1, "send seven parcels to number 11 of the long road")])
    assert distinct.add(conversation(2, "send seven parcels to number 94 of the short road"))
    assert not distinct.add(conversation(3, "send seven parcels to number 94 of the short road"))


def test_difficulty_is_what_is_due_and_who_solved_it() -> None:
    world = CustomerSupport()
    cases = list(world.generate_cases(12, seed=1))
    reports = {
        name: evaluate_policy(policy, world, cases, subject=Subject(name=name, checkpoint_digest=name), seed=0)
        for name, policy in (("expert", world.expert()), ("talk", AlwaysTalk()))
    }
    found = difficulty_of(cases, reports)
    assert (found.cases, sum(found.by_calls_due.values())) == (12, 12)
    assert found.due_calls == sum(len(case.expected_calls) for case in cases) / 12
    assert (found.solved["expert"]["all"], found.solved["talk"]["all"]) == (1.0, 0.0)
    with pytest.raises(InsufficientData):
        difficulty_of([])
