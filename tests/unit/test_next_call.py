"""Reports on the next call of recorded dialogues, and what has to be beaten there."""

import os
from pathlib import Path

import pytest

from agentgym.episode import Action, Conversation, Outcome
from agentgym.errors import InsufficientData
from agentgym.evaluation.floors import AlwaysTalk, BagOfWords, fit_floors
from agentgym.evaluation.next_call import evaluate_next_call, recorded_steps
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.tools import Tool
from agentgym.traces.importers import import_traces
from agentgym.traces.trace import Trace
from agentgym.verdicts import EvaluationReport, Subject

SUBJECT = Subject(name="somebody", checkpoint_digest="d")
TOOLS = (Tool(name="Hotels_1.Find"), Tool(name="Trains_1.Find"))
SHARED_DATA = Path(os.environ.get("AGENTGYM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def find(service: str, **arguments: str) -> ToolCall:
    return ToolCall(name=f"{service}.Find", arguments=dict(arguments))


def dialogue(number: int, *calls: ToolCall) -> Trace:
    """The customer asks, the agent makes all calls in one message, and tells."""
    turns = (user("Please find me a hotel in Rome"), assistant("", *calls), *(tool_result(call, []) for call in calls))
    messages = (*turns, assistant("Nothing there."))
    return Trace(conversation_id=f"dialogue-{number}", messages=messages, tools=TOOLS, outcome=Outcome.RESOLVED)


class Answering:
    """Makes the same calls whenever the customer spoke last."""

    def __init__(self, *calls: ToolCall) -> None:
        self.message: Message = assistant("", *calls)

    def act(self, conversation: Conversation) -> Action:
        return Action(message=self.message if conversation.messages[-1].role == "user" else assistant("Done."))


def evaluate(policy: Answering | AlwaysTalk, *traces: Trace) -> EvaluationReport:
    return evaluate_next_call(policy, traces, subject=SUBJECT, trained_services={"Hotels_1"})


def means(report: EvaluationReport) -> dict[str, float]:
    return {name: estimate.mean for name, estimate in report.estimates.items()}


def test_the_right_tool_with_other_arguments_is_reliable_and_not_exact() -> None:
    traces = [dialogue(1, find("Hotels_1", city="Rome")), dialogue(2, find("Hotels_1", city="Oslo"))]
    report = evaluate(Answering(find("Hotels_1", city="rome ")), *traces)
    assert means(report) == {"reliability": 1.0, "precision": 1.0, "exact_call": 0.5}


def test_every_call_of_a_message_counts() -> None:
    traces = [dialogue(number, find("Hotels_1"), find("Hotels_1"), find("Trains_1")) for number in range(2)]
    report = evaluate(Answering(find("Hotels_1"), find("Trains_1")), *traces)
    assert means(report) == pytest.approx({"reliability": 2 / 3, "precision": 1.0, "exact_call": 2 / 3})


def test_a_call_made_twice_matches_a_recorded_one_once() -> None:
    traces = [dialogue(number, find("Hotels_1")) for number in range(2)]
    report = evaluate(Answering(find("Hotels_1"), find("Hotels_1")), *traces)
    assert means(report) == {"reliability": 1.0, "precision": 0.5, "exact_call": 1.0}


def test_a_call_where_the_record_talks_costs_precision_alone() -> None:
    traces = [dialogue(1, find("Hotels_1")), dialogue(2, find("Hotels_1")), dialogue(3), dialogue(4)]
    report = evaluate(Answering(find("Hotels_1")), *traces)
    assert means(report) == {"reliability": 1.0, "precision": 0.5, "exact_call": 1.0}


def test_services_unseen_in_training_are_reported_apart() -> None:
    traces = [dialogue(number, find("Hotels_1"), find("Trains_1")) for number in range(2)]
    report = evaluate(Answering(find("Hotels_1")), *traces)
    assert report.slices["seen"]["reliability"].mean == 1.0
    assert report.slices["unseen"]["reliability"].mean == 0.0
    assert "precision" not in report.slices["unseen"]


def test_an_invented_tool_counts_against_the_unseen_ones() -> None:
    report = evaluate(Answering(find("Nowhere")), dialogue(1, find("Trains_1")), dialogue(2, find("Trains_1")))
    assert report.slices["unseen"]["precision"].mean == 0.0


def test_always_talking_has_no_precision() -> None:
    report = evaluate(AlwaysTalk(), dialogue(1, find("Hotels_1")), dialogue(2, find("Hotels_1")))
    assert means(report) == {"reliability": 0.0, "exact_call": 0.0}


def test_a_policy_sees_what_really_happened_before() -> None:
    trace = dialogue(1, find("Hotels_1"))
    asked, told = recorded_steps(trace)
    assert (asked.conversation.messages, asked.recorded) == (trace.messages[:1], (find("Hotels_1"),))
    assert (told.conversation.messages, told.recorded) == (trace.messages[:3], ())


class Stumbling:
    def act(self, conversation: Conversation) -> Action:
        if conversation.conversation_id == "dialogue-2":
            raise KeyError("city")
        return Action(message=assistant("", find("Hotels_1")))


def test_a_crash_is_a_failure_of_its_dialogue() -> None:
    traces = [dialogue(number, find("Hotels_1")) for number in range(4)]
    report = evaluate_next_call(Stumbling(), traces, subject=SUBJECT, trained_services=())
    assert [failure.case_id for failure in report.failures] == ["dialogue-2"]
    assert report.failure_share == 1 / 4


def test_a_floor_needs_turns_that_call() -> None:
    with pytest.raises(InsufficientData, match="got 0 and"):
        BagOfWords.fit([dialogue(1)])


def test_a_floor_can_be_fitted_on_one_dialogue() -> None:
    floor = fit_floors([dialogue(1, find("Hotels_1", city="Rome"))])["tfidf_logistic_regression"]
    (asked, told) = recorded_steps(dialogue(2, find("Hotels_1")))
    assert floor.act(told.conversation).message.tool_calls == ()
    assert floor.act(asked.conversation).message.role == "assistant"


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"real dialogues are not at {SHARED_DATA}; set AGENTGYM_SHARED_DATA")
def test_a_bag_of_words_finds_half_the_calls_of_real_dialogues_and_few_whole_ones() -> None:
    train, held_out = (
        [item for item in import_traces(SHARED_DATA / "sgd" / part, "sgd") if isinstance(item, Trace)] for part in ("train", "dev")
    )
    train = train[::8]
    floor = BagOfWords.fit(train)
    services = {tool.service for trace in train for tool in trace.tools}
    report = evaluate_next_call(floor, held_out[::6], subject=SUBJECT, trained_services=services)
    assert report.estimates["reliability"].mean > 0.5
    assert 0.1 < report.estimates["exact_call"].mean < 0.4
