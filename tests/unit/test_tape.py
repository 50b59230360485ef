"""Tape mode, and the count of how calls were answered."""

import pytest

from agentgym.environments.answer_counts import AnswerCounts
from agentgym.environments.conversation import ConversationEnv
from agentgym.environments.tool_mocker import ToolMocker
from agentgym.episode import Action, Conversation
from agentgym.errors import InsufficientData, NotOnTape
from agentgym.evaluation.evaluate import evaluate_policy
from agentgym.messages import ToolCall, assistant, tool_result, user
from agentgym.scenarios.from_traces import RecordedScenario, make_recorded_pack
from agentgym.traces.trace import Trace
from agentgym.verdicts import Subject


def find(number: int, **more: int) -> ToolCall:
    return ToolCall(name="find", arguments={"n": number, "page": 1, **more})


def trace(number: int) -> Trace:
    made = find(number)
    messages = (user(f"Find {number}."), assistant("", made), tool_result(made, [number]), assistant("Here."), user("Bye."))
    return Trace(conversation_id=f"c{number}", messages=messages)


PACK = make_recorded_pack([trace(number) for number in range(4)], (), "digest")


def opened(*, tape: bool) -> ConversationEnv:
    """In the case of number 0."""
    env = RecordedScenario(PACK, tape=tape).create_environment()
    env.reset(seed=0, options={"case": PACK.train[0]})
    return env


def counts(env: ConversationEnv) -> AnswerCounts:
    assert isinstance(env.backend, ToolMocker)
    return env.backend.answer_counts


def test_on_the_tape_an_episode_goes_as_recorded() -> None:
    env = opened(tape=True)
    env.step(assistant("", find(0)))
    assert env.step(assistant("Here."))[2]
    assert env.trajectory(()).missing_calls == ()


def test_a_call_that_is_not_on_the_tape_fails_the_episode_and_is_named() -> None:
    with pytest.raises(NotOnTape, match=r"every call must be on the recording; find\(n=9, page=1\) is not left on 'c0'\. Make"):
        opened(tape=True).step(assistant("", find(9)))


def test_a_call_recorded_in_another_conversation_is_not_on_this_tape() -> None:
    with pytest.raises(NotOnTape):
        opened(tape=True).step(assistant("", find(1)))


def test_a_call_is_on_the_tape_as_often_as_it_was_recorded() -> None:
    env = opened(tape=True)
    env.step(assistant("", find(0)))
    with pytest.raises(NotOnTape):
        env.step(assistant("", find(0)))


def test_an_environment_may_differ_from_its_scenario() -> None:
    env = RecordedScenario(PACK).create_environment(tape=True)
    env.reset(seed=0, options={"case": PACK.train[0]})
    with pytest.raises(NotOnTape):
        env.step(assistant("", find(9)))


class Finder:
    """Always calls `find` with the number it was made with, once, then talks."""

    def __init__(self, number: int) -> None:
        self._call = assistant("", find(number))

    def act(self, conversation: Conversation) -> Action:
        return Action(message=assistant("Here.") if conversation.messages[-1].role == "tool" else self._call)


def test_an_evaluation_counts_the_episode_as_a_failure_and_goes_on() -> None:
    """Case 1 is played to its end; the others fail, with the call in their message."""
    with pytest.raises(InsufficientData, match=r"got 1 of 1, and 3 that crashed\. The first failure: NotOnTape: .*find\(n=1, page=1\)"):
        evaluate_policy(
            Finder(1), RecordedScenario(PACK, tape=True), PACK.train, subject=Subject(name="finder", checkpoint_digest="d"), seed=0
        )


def test_the_mock_counts_on_what_basis_it_answered() -> None:
    env = opened(tape=False)
    for made in (find(0), find(2), find(0, page=2), find(9, page=9)):
        env.step(assistant("", made))
    assert counts(env) == AnswerCounts(exact=2, unknown=2)
    env.reset(seed=0, options={"case": PACK.train[0]})
    assert counts(env) == AnswerCounts()


def test_a_call_that_stands_in_for_a_recorded_one_is_answered_nearly() -> None:
    env = opened(tape=False)
    env.step(assistant("", find(0, page=2)))
    assert counts(env) == AnswerCounts(nearest=1)


def test_counts_of_episodes_add_up() -> None:
    total = AnswerCounts(exact=1, nearest=2) + AnswerCounts(exact=3, consistent=1, unknown=4)
    assert total == AnswerCounts(exact=4, consistent=1, nearest=2, unknown=4)
    assert total.calls == 11
