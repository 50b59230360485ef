"""Imitation of a little help desk: identify by email, then refund young charges and escalate old ones; and the planner it makes."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from pydantic import JsonValue

from agentgym.episode import Action, Conversation, Decision, Outcome
from agentgym.errors import ContractBroken, InsufficientData
from agentgym.messages import Message, ToolCall, assistant, system, tool_result, user
from agentgym.policies.planner import Planner, PlannerConfig
from agentgym.tools import Tool
from agentgym.traces.trace import Trace
from agentgym.training.warm_start import ImitationConfig, accepted, imitate

NOW = datetime(2024, 5, 1, tzinfo=UTC)
SMALL = ImitationConfig(planner=PlannerConfig(table_bits=12, hidden=16))


def tool(name: str, **properties: dict[str, JsonValue]) -> Tool:
    return Tool(name=name, parameters={"type": "object", "properties": properties, "required": list(properties)}, writes=name != "look_up")


LOOK_UP = tool("look_up", email={"type": "string", "description": "email address of the account"})
REFUND = tool("refund", payment_id={"type": "string"}, amount={"type": "number"})
ESCALATE = tool("escalate", ticket_id={"type": "string"}, reason={"type": "string", "enum": ["too_old", "other"]})
TOOLS = (LOOK_UP, REFUND, ESCALATE)


def turn(call: ToolCall, result: JsonValue) -> tuple[Message, Message]:
    return assistant("", call), tool_result(call, result)


def record(number: int, *, outcome: Outcome = Outcome.RESOLVED) -> Trace:
    rng = np.random.default_rng(number)
    email, amount, days = f"user{number}@mail.example", float(rng.integers(5, 90)), int(rng.integers(1, 60))
    look_up = ToolCall(name="look_up", arguments={"email": email})
    payment: JsonValue = {"payment_id": f"PAY-{number}", "amount": amount, "days_since_charge": days}
    refund = ToolCall(name="refund", arguments={"payment_id": f"PAY-{number}", "amount": amount})
    escalate = ToolCall(name="escalate", arguments={"ticket_id": f"TCK-{number}", "reason": "too_old"})
    is_told = bool(rng.random() < 0.5)
    opening = user(f"Please refund me, I am {email}") if is_told else user("I want my money back")
    asked = () if is_told else (assistant("Could you please tell me the email address of the account?"), user(f"It is {email}"))
    end = turn(refund, {"status": "paid"}) if days < 30 else turn(escalate, {"status": "escalated"})
    messages = (system(f"Ticket TCK-{number}."), opening, *asked, *turn(look_up, payment), *end, assistant("That is done."))
    return Trace(conversation_id=f"c{number}", messages=messages, outcome=outcome, started_at=NOW)


@pytest.fixture(scope="module")
def planner() -> Planner:
    return imitate([record(number) for number in range(80)], tools=TOOLS, seed=0, config=SMALL)


def conversation(*messages: Message, tools: Sequence[Tool] = TOOLS) -> Conversation:
    return Conversation(conversation_id=str(hash(str(messages))), messages=messages, tools=tuple(tools), now=NOW)


def steps(trace: Trace) -> list[Conversation]:
    places = [place for place, message in enumerate(trace.messages) if message.role == "assistant"]
    return [conversation(*trace.messages[:place]) for place in places]


def sampled(planner: Planner, count: int = 12, *, copies: int = 1) -> list[Decision]:
    situations = copies * [step for number in range(1000, 1000 + count) for step in steps(record(number))]
    actions: list[Action] = planner.act_batch(situations, rng=np.random.default_rng(0))
    return [decision for action in actions for decision in action.decisions]


def test_imitation_repeats_what_new_customers_need(planner: Planner) -> None:
    traces = [record(number) for number in range(1000, 1020)]
    wanted = [message.tool_calls for trace in traces for message in trace.messages if message.role == "assistant"]
    made = [planner.act(step).message.tool_calls for trace in traces for step in steps(trace)]
    same = [
        [(call.name, call.arguments) for call in one] == [(call.name, call.arguments) for call in two]
        for one, two in zip(wanted, made, strict=True)
    ]
    assert np.mean(same) > 0.95


def test_the_planner_asks_for_what_is_missing(planner: Planner) -> None:
    assert planner.act(conversation(system("Ticket TCK-1."), user("I want my money back"))).message.content == (
        "Could you please tell me the email address of the account?"
    )


def test_arguments_have_the_type_of_their_schema(planner: Planner) -> None:
    refunds = [
        call for step in steps(record(1000)) + steps(record(1001)) for call in planner.act(step).message.tool_calls if call.name == "refund"
    ]
    assert all(isinstance(call.arguments["amount"], (int, float)) and not REFUND.violations(call.arguments) for call in refunds)


def test_a_required_argument_is_never_left_out(planner: Planner) -> None:
    situations = [step for number in range(1000, 1030) for step in steps(record(number))]
    calls = [call for action in planner.act_batch(situations, rng=np.random.default_rng(1)) for call in action.message.tool_calls]
    required = {tool.name: set(tool.required) for tool in TOOLS}
    assert calls
    assert all(required[call.name] == set(call.arguments) for call in calls)


def test_the_network_gives_each_decision_the_probability_it_was_sampled_with(planner: Planner) -> None:
    decisions = sampled(planner)
    batch = {name: torch.from_numpy(values) for name, values in planner.collate(decisions).items()}
    recomputed = planner.network(batch)["log_probability"].detach().numpy()
    np.testing.assert_allclose(recomputed, [decision.log_probability for decision in decisions], atol=5e-6)


def test_decisions_are_sampled_as_often_as_their_probability_says(planner: Planner) -> None:
    situation = conversation(system("Ticket TCK-1."), user("I am user1@mail.example or user2@mail.example, what about my money?"))
    actions = planner.act_batch([situation] * 4000, rng=np.random.default_rng(0))
    choices = [action.decisions[0].choice for action in actions]
    for action in {action.decisions[0].choice: action for action in actions}.values():
        probability = np.exp(action.decisions[0].log_probability)
        # Four standard errors of a share of 4,000.
        assert choices.count(action.decisions[0].choice) / 4000 == pytest.approx(probability, abs=4 * np.sqrt(0.25 / 4000))


def test_entropy_is_that_of_the_options(planner: Planner) -> None:
    decision = sampled(planner, 1)[0]
    others = [decision.evidence.kept(np.arange(len(decision.evidence.dense)), place) for place in range(len(decision.evidence.dense))]
    variants = [Decision(name="act", choice="", log_probability=0.0, evidence=options) for options in others]
    outputs = planner.network({name: torch.from_numpy(values) for name, values in planner.collate(variants).items()})
    log_probabilities = outputs["log_probability"].detach().numpy()
    assert np.exp(log_probabilities).sum() == pytest.approx(1, abs=1e-5)
    assert outputs["entropy"][0].item() == pytest.approx(-(np.exp(log_probabilities) * log_probabilities).sum(), abs=1e-5)


def test_gradients_reach_the_corrections(planner: Planner) -> None:
    network = planner.network
    network.zero_grad()
    batch = {name: torch.from_numpy(values) for name, values in planner.collate(sampled(planner)).items()}
    network(batch)["log_probability"].sum().backward()
    assert all(head.correction.grad is not None and head.correction.grad.abs().sum() > 0 for head in (network.act, network.argument))


def test_a_loaded_planner_learns_corrections_and_keeps_what_it_imitated(planner: Planner) -> None:
    loaded = Planner.from_checkpoint(planner.to_checkpoint()).network
    learning = {name for name, parameter in loaded.named_parameters() if parameter.requires_grad}
    assert learning == {"act.correction", "argument.correction"}


def test_decisions_of_one_kind_alone_can_be_collated(planner: Planner) -> None:
    acts = [decision for decision in sampled(planner) if decision.name == "act"]
    batch = {name: torch.from_numpy(values) for name, values in planner.collate(acts).items()}
    assert planner.network(batch)["log_probability"].shape == (len(acts),)


def test_a_decision_of_another_policy_cannot_be_collated(planner: Planner) -> None:
    with pytest.raises(ContractBroken, match="carries str"):
        planner.collate([Decision(name="act", choice="inform", log_probability=0.0, evidence="a token")])


def test_the_planner_serves_tools_it_never_saw(planner: Planner) -> None:
    cancel = tool("cancel_order", order_id={"type": "string", "description": "id of the order"})
    messages = (user("Cancel my order ORD-77"),)
    actions = planner.act_batch([conversation(*messages, tools=(cancel,))] * 50, rng=np.random.default_rng(0))
    calls = {call.arguments["order_id"] for action in actions for call in action.message.tool_calls}
    assert calls <= {"ORD-77"}


def test_a_planner_without_tools_talks(planner: Planner) -> None:
    assert planner.act(conversation(user("hello"), tools=())).message.tool_calls == ()


def test_equal_seeds_make_equal_planners() -> None:
    traces = [record(number) for number in range(12)]
    one, two = (imitate(traces, tools=TOOLS, seed=3, config=SMALL).to_checkpoint() for _ in range(2))
    assert one.digest == two.digest
    assert imitate(traces, tools=TOOLS, seed=4, config=SMALL).to_checkpoint().weights_digest != one.weights_digest


def test_failed_conversations_are_left_out_and_unknown_outcomes_are_not() -> None:
    traces = [
        record(1),
        record(2, outcome=Outcome.ABANDONED),
        record(3, outcome=Outcome.UNRESOLVED),
        record(4).model_copy(update={"outcome": None}),
    ]
    assert [trace.conversation_id for trace in accepted(traces)] == ["c1", "c4"]


def test_imitation_of_nothing_but_talk_is_refused() -> None:
    talk = Trace(conversation_id="c", messages=(user("hello"), assistant("Hello.")), started_at=NOW)
    with pytest.raises(InsufficientData, match="at least one accepted call"):
        imitate([talk], tools=TOOLS, seed=0, config=SMALL)


def test_progress_reaches_the_end() -> None:
    told: list[tuple[str, float]] = []
    imitate(
        [record(number) for number in range(6)],
        tools=TOOLS,
        seed=0,
        config=SMALL,
        on_progress=lambda stage, share: told.append((stage, share)),
    )
    assert told[-1] == ("acts", 1.0)
    assert list(dict.fromkeys(stage for stage, _ in told)) == ["reading", "arguments", "weighing", "acts"]


def test_decisions_between_the_same_options_are_laid_out_once(planner: Planner) -> None:
    decisions = sampled(planner, copies=4)
    batch = planner.collate(decisions)
    assert len(batch["act_imitated"]) == len(planner.collate(sampled(planner))["act_imitated"])
    outputs = planner.network({name: torch.from_numpy(values) for name, values in batch.items()})
    assert outputs["log_probability"].tolist() == pytest.approx([decision.log_probability for decision in decisions], abs=1e-4)
