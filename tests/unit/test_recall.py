"""What a planner would have decided to say what a record says, and how probable that was."""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from pydantic import JsonValue

from agentgym.episode import Action, Conversation
from agentgym.messages import Message, ToolCall, assistant, system, user
from agentgym.policies.planner import Planner, PlannerConfig
from agentgym.scenarios.production_log import write_logs
from agentgym.scenarios.registry import load_world
from agentgym.training.warm_start import ImitationConfig, imitate

WORLD = load_world("customer_support")
LOG = tuple(write_logs(WORLD, WORLD.legacy_agent(), 90, 11))
NOW = datetime(2025, 3, 3, 9, tzinfo=UTC)
NOT_SAID: dict[str, JsonValue] = {"email": "nobody@nowhere.example"}


@pytest.fixture(scope="module")
def planner() -> Planner:
    return imitate(LOG[:60], tools=WORLD.tools, seed=0, config=ImitationConfig(planner=PlannerConfig(table_bits=14, hidden=16)))


def situations() -> Iterator[Conversation]:
    """Every point of the last conversations at which the agent acts."""
    for trace in LOG[60:]:
        for place, message in enumerate(trace.messages):
            if message.role == "assistant":
                yield conversation(*trace.messages[:place], name=trace.conversation_id)


def conversation(*messages: Message, name: str = "c") -> Conversation:
    return Conversation(conversation_id=name, messages=messages, tools=WORLD.tools, now=NOW)


def follows(action: Action) -> ToolCall | None:
    """A call that makes a question what was asked, and leaves an answer what it is."""
    kind, _, tool = action.decisions[0].choice.partition(" ")
    if kind != "ask":
        return None
    schema = next(declared for declared in WORLD.tools if declared.name == tool)
    return ToolCall(name=tool, arguments=dict.fromkeys(schema.required, "nobody said this"))


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_what_was_sampled_is_recalled_with_its_decisions_and_probabilities(planner: Planner, seed: int | None) -> None:
    points = list(situations())
    actions = planner.act_batch(points, rng=None if seed is None else np.random.default_rng(seed))
    assert {action.decisions[0].choice.partition(" ")[0] for action in actions} >= {"call", "ask", "inform"}
    for point, action in zip(points, actions, strict=True):
        recalled = planner.recall(point, action.message, next_call=follows(action))
        assert recalled is not None
        assert recalled.message == action.message
        assert [(made.name, made.choice) for made in recalled.decisions] == [(made.name, made.choice) for made in action.decisions]
        probabilities = [made.log_probability for made in action.decisions]
        # The same float32 sums in batches of other sizes.
        assert [made.log_probability for made in recalled.decisions] == pytest.approx(probabilities, abs=2e-5)


def test_the_network_gives_recalled_decisions_the_probabilities_they_carry(planner: Planner) -> None:
    points = list(situations())
    recalled = [
        planner.recall(point, action.message, next_call=None)
        for point, action in zip(points, planner.act_batch(points, rng=None), strict=True)
    ]
    decisions = [made for action in recalled if action is not None for made in action.decisions]
    batch = {name: torch.from_numpy(values) for name, values in planner.collate(decisions).items()}
    outputs = planner.network(batch)["log_probability"]
    assert outputs.tolist() == pytest.approx([made.log_probability for made in decisions], abs=1e-4)


def test_a_recalled_call_is_as_probable_as_it_is_frequent(planner: Planner) -> None:
    told = conversation(system("Ticket TCK-11111."), user("Reset my password. I am ann@example.com, or was it ann@example.org?"))
    counted = planner.act_batch([told] * 4000, rng=np.random.default_rng(0))
    call = max((action.message for action in counted if action.message.tool_calls), key=lambda message: message.tool_calls[0].name)
    recalled = planner.recall(told, call, next_call=None)
    assert recalled is not None
    probability = np.exp(sum(made.log_probability for made in recalled.decisions))
    share = sum(action.message == call for action in counted) / 4000
    # Four standard errors of a share of 4,000.
    assert share == pytest.approx(probability, abs=4 * np.sqrt(probability * (1 - probability) / 4000))


def test_words_are_a_question_when_the_next_call_lacks_what_it_needs(planner: Planner) -> None:
    point = conversation(system("Ticket TCK-11111."), user("Please reset my password."))
    asks = planner.recall(point, assistant("Who are you?"), next_call=ToolCall(name="lookup_user", arguments=NOT_SAID))
    informs = planner.recall(point, assistant("Who are you?"), next_call=None)
    assert asks is not None
    assert informs is not None
    assert [asks.decisions[0].choice, informs.decisions[0].choice] == ["ask lookup_user", "inform"]


TOLD = (system("Ticket TCK-11111."), user("Please reset my password, I am ann@example.com."))


@pytest.mark.parametrize(
    ("messages", "call"),
    [
        (TOLD, ToolCall(name="dance", arguments={})),
        (TOLD, ToolCall(name="lookup_user", arguments=NOT_SAID)),
        (TOLD, ToolCall(name="lookup_user", arguments={"email": "ann@example.com", "age": 7})),
        (TOLD, ToolCall(name="lookup_user", arguments={})),
        (TOLD, ToolCall(name="send_reset_link", arguments={"user_id": "USR-00000"})),
    ],
    ids=["unknown tool", "value nobody said", "argument the tool has not", "required argument left out", "no candidate at all"],
)
def test_what_the_planner_cannot_do_is_not_recalled(planner: Planner, messages: tuple[Message, ...], call: ToolCall) -> None:
    assert planner.recall(conversation(*messages), assistant("", call), next_call=call) is None


def test_several_calls_at_once_are_not_recalled(planner: Planner) -> None:
    call = ToolCall(name="lookup_user", arguments={"email": "ann@example.com"})
    assert planner.recall(conversation(*TOLD), assistant("", call), next_call=None) is not None
    assert planner.recall(conversation(*TOLD), assistant("", call, call), next_call=None) is None


def test_a_log_is_recalled_but_for_calls_of_invented_values_and_calls_already_answered(planner: Planner) -> None:
    outcomes = []
    for trace in LOG[60:]:
        made = list[tuple[str, object]]()
        for place, message in enumerate(trace.messages):
            if message.role == "assistant":
                calls = [(call.name, call.arguments) for call in message.tool_calls]
                is_of_use = not (calls and (calls[0] in made or trace.messages[place + 1].is_error))
                upcoming = next((call for later in trace.messages[place:] for call in later.tool_calls), None)
                recalled = planner.recall(conversation(*trace.messages[:place], name=trace.conversation_id), message, next_call=upcoming)
                outcomes.append((is_of_use, recalled is not None))
                made += calls
    assert np.mean([is_recalled for is_of_use, is_recalled in outcomes if is_of_use]) > 0.95
    assert np.mean([is_recalled for is_of_use, is_recalled in outcomes if not is_of_use]) < 0.5
