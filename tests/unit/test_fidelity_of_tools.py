"""A shop whose tools are known, its log, and mocks of it: one that is true, and some that are broken on purpose."""

from collections.abc import Callable, Sequence

import pytest
from pydantic import JsonValue

from agentgym.environments.recorded_answers import Answered, History
from agentgym.messages import ToolCall, assistant, tool_result, user
from agentgym.scenarios.fidelity.answering import Mock, recorded_mock
from agentgym.scenarios.fidelity.bar import FidelityBar, judge_tool
from agentgym.scenarios.fidelity.put_calls import put_to_mock, put_to_world
from agentgym.scenarios.fidelity.report import FidelityCheck, ToolFidelity
from agentgym.scenarios.fidelity.tools import all_tools_fidelity, tool_fidelities
from agentgym.scenarios.lookup import Lookup
from agentgym.scenarios.production_log import write_logs
from agentgym.scenarios.world_scenario import WorldScenario
from agentgym.traces.trace import Trace

# Things are numbered alike, and each number comes up equally often.
NUMBERS = 10
TRAINING, HELD_OUT = range(40), range(40, 70)
Tool = Callable[[ToolCall, History], JsonValue]


def call(name: str, **arguments: JsonValue) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


def shop(asked: ToolCall, history: History) -> JsonValue:
    """get_price tells of a product, close_order closes an order, get_order tells of one, open_ticket gives something new each time."""
    number = asked.arguments.get("number")
    if asked.name == "get_price":
        return {"product": f"product {number}", "cents": 100 * int(str(number))}
    if asked.name == "get_order":
        is_closed = any(done.name == "close_order" and done.arguments == asked.arguments for done, _ in history)
        return {"order": f"order {number}", "status": "closed" if is_closed else "open"}
    return {"done": True} if asked.name == "close_order" else {"ticket": asked.arguments["subject"], "queue": "shop"}


def conversation(number: int, tool: Tool = shop) -> Trace:
    """Of one customer: a price, then an order before and after it is closed."""
    of = number % NUMBERS
    asked = [call("get_price", number=of), call("get_order", number=of), call("close_order", number=of), call("get_order", number=of)]
    return recorded(number, [*asked, call("open_ticket", subject=f"subject {number}")], tool)


def recorded(number: int, asked: Sequence[ToolCall], tool: Tool) -> Trace:
    messages, history = [user("Hello.")], list[tuple[ToolCall, JsonValue]]()
    for each in asked:
        history.append((each, tool(each, tuple(history))))
        messages += [assistant("", each), tool_result(*history[-1])]
    return Trace(conversation_id=f"c{number}", messages=(*messages, assistant("Done.")))


def true_mock(asked: ToolCall, history: History) -> Answered:
    """Answers as the shop does."""
    return Answered(result=shop(asked, history), basis="consistent")


def altered(name: str, tool: Tool) -> Mock:
    """The true mock, but for one tool."""
    return lambda asked, history: Answered(result=tool(asked, history) if asked.name == name else shop(asked, history), basis="consistent")


def shuffled(asked: ToolCall, history: History) -> JsonValue:
    """The answer that belongs to the call for the next number."""
    return shop(call(asked.name, number=(int(str(asked.arguments["number"])) + 1) % NUMBERS), history)


def forgetful(asked: ToolCall, _: History) -> JsonValue:
    """The shop as it was before anything was written."""
    return shop(asked, ())


def always_failing(_: ToolCall, __: History) -> JsonValue:
    return {"error": "The service is down."}


def ignorant(asked: ToolCall, history: History) -> Answered:
    """Knows nothing, and says so."""
    return Answered(result=always_failing(asked, history), basis="unknown")


def fidelities(mock: Mock, held_out: Sequence[Trace] | None = None, train: Sequence[Trace] | None = None) -> dict[str, ToolFidelity]:
    known = list(map(conversation, TRAINING)) if train is None else train
    put = put_to_mock(mock, known, list(map(conversation, HELD_OUT)) if held_out is None else held_out)
    return {tool.tool: tool for tool in (*tool_fidelities(put), all_tools_fidelity(put))}


def checks(tools: dict[str, ToolFidelity], bar: FidelityBar = FidelityBar()) -> list[FidelityCheck]:  # noqa: B008 - frozen
    return [check for tool in tools.values() for check in judge_tool(tool, bar)]


def failures(tools: dict[str, ToolFidelity]) -> set[tuple[str, str]]:
    """Tool and check, of what failed for a single tool."""
    return {(check.subject, check.name) for check in checks(tools) if check.outcome == "failed" and check.subject != "all tools"}


def check_of(tools: dict[str, ToolFidelity], subject: str, name: str) -> FidelityCheck:
    return next(check for check in checks(tools) if (check.subject, check.name) == (subject, name))


def test_a_true_mock_passes_whatever_can_be_measured() -> None:
    tools = fidelities(true_mock)
    assert {check.outcome for check in checks(tools)} == {"passed", "not_measured"}
    for name in ("get_price", "get_order", "close_order"):
        assert check_of(tools, name, "results").outcome == "passed"


def test_the_gain_is_over_an_answer_drawn_at_random() -> None:
    """Each field of a price is in one of ten training answers, so a random answer holds a tenth of them; the right one holds all."""
    price = fidelities(true_mock)["get_price"]
    assert price.chance.mean == pytest.approx(1 / NUMBERS)
    assert price.gain.mean == pytest.approx(1 - 1 / NUMBERS)


def test_answers_shuffled_among_the_calls_of_a_tool_are_caught_and_the_tool_is_named() -> None:
    """The next product's price shares no field, and is less like the right one than a random one."""
    tools = fidelities(altered("get_price", shuffled))
    assert failures(tools) == {("get_price", "results"), ("get_price", "replays"), ("get_price", "recall")}
    assert (tools["get_price"].result_match.mean, tools["get_order"].result_match.mean) == (0.0, 1.0)
    assert check_of(tools, "get_price", "results").repair


def test_a_log_in_which_results_are_paired_wrongly_makes_a_mock_that_is_caught() -> None:
    """The mock gives what the log says; only other conversations tell that the log is wrong."""
    broken = [
        conversation(number, lambda asked, history: (shuffled if asked.name == "get_price" else shop)(asked, history))
        for number in TRAINING
    ]
    tools = fidelities(recorded_mock(broken), train=broken)
    assert ("get_price", "results") in failures(tools)
    assert check_of(tools, "get_price", "recall").outcome == "passed"


def test_a_tool_that_always_errs_is_caught_and_named() -> None:
    tools = fidelities(altered("get_price", always_failing))
    assert ("get_price", "errors") in failures(tools)
    assert {tool for tool, _ in failures(tools)} == {"get_price"}
    assert tools["get_price"].error_gap.mean == 1.0


def test_a_tool_that_training_saw_only_fail_is_caught_where_others_saw_it_work() -> None:
    """A mock says `unknown` to each call, which is no claim: but nothing else can ever be had of this tool."""
    broken = [
        conversation(number, lambda asked, history: (always_failing if asked.name == "get_price" else shop)(asked, history))
        for number in TRAINING
    ]
    assert ("get_price", "errors") in failures(fidelities(recorded_mock(broken), train=broken))


def test_writes_that_change_nothing_are_caught_and_the_write_is_named() -> None:
    tools = fidelities(altered("get_order", forgetful))
    assert ("close_order", "effects") in failures(tools)
    assert (tools["close_order"].effects.mean, fidelities(true_mock)["close_order"].effects.mean) == (0.0, 1.0)


def test_a_number_that_is_new_each_time_is_asked_of_no_mock() -> None:
    """Of a ticket only the queue can be known; every answer holds it, so there is nothing to gain, and nothing to miss."""
    ticket = fidelities(true_mock)["open_ticket"]
    assert (ticket.chance.mean, ticket.gain.mean) == (1.0, 0.0)
    assert check_of({"open_ticket": ticket}, "open_ticket", "results").outcome == "passed"


def test_too_few_calls_measure_nothing() -> None:
    few = list(map(conversation, HELD_OUT))[:9]
    tools = fidelities(altered("get_price", shuffled), held_out=few)
    check = check_of(tools, "get_price", "results")
    assert (check.outcome, "only 9 observations" in check.statement) == ("not_measured", True)


def test_a_tool_that_training_never_called_is_not_measured() -> None:
    strange = [recorded(number, [call("get_weather", city="Rome")], lambda _, __: {"degrees": 20}) for number in HELD_OUT]
    tools = fidelities(ignorant, held_out=strange)
    assert [check.outcome for check in checks({"get_weather": tools["get_weather"]})] == ["not_measured"]
    assert tools["get_weather"].covered.estimate is None


def test_a_schema_that_refuses_what_worked_is_caught() -> None:
    """Training gave numbers as numbers, so the schema known from it takes no text."""
    other = [recorded(number, [call("get_price", number=str(number % NUMBERS))], shop) for number in HELD_OUT]
    tools = fidelities(true_mock, held_out=other)
    assert ("get_price", "arguments") in failures(tools)
    assert tools["get_price"].covered.mean == 0.0


def test_entities_are_known_where_training_has_seen_them() -> None:
    """The products 0 to 9 are in training and 10 to 19 are not: half of the held-out calls."""
    mixed = [
        recorded(number, [call("get_price", number=number % 20)], lambda asked, _: {"number": asked.arguments["number"]})
        for number in range(20)
    ]
    train = [trace for number, trace in enumerate(mixed) if number < NUMBERS]
    assert fidelities(true_mock, held_out=mixed, train=train)["get_price"].covered.mean == 0.5


def test_answers_are_counted_by_their_basis() -> None:
    """Of five calls two are about an order: the mock gives the nearest it has, which is right before the order is closed and not after."""

    def mock(asked: ToolCall, history: History) -> Answered:
        if asked.name == "get_order":
            return Answered(result=shop(asked, ()), basis="nearest")
        return ignorant(asked, history) if asked.name == "open_ticket" else Answered(result=shop(asked, history), basis="exact")

    bases = fidelities(mock)["all tools"].bases
    assert {basis: fidelity.share.mean for basis, fidelity in bases.items()} == {
        "exact": 0.4,
        "consistent": 0.0,
        "nearest": 0.4,
        "unknown": 0.2,
    }
    assert [bases[basis].result_match.mean for basis in ("exact", "nearest", "unknown")] == [1.0, 0.5, 0.0]
    # One of the two fields of an order is its status.
    assert bases["nearest"].field_match.mean == 0.75


def test_a_mock_that_says_it_knows_nothing_is_judged_for_it_only_where_a_bar_is_set() -> None:
    """A ticket is about a subject that training never had."""
    tools = {"open_ticket": fidelities(ignorant)["open_ticket"]}
    asked = {check.name: check.outcome for check in checks(tools, FidelityBar(min_known=0.9, max_unknown=0.5))}
    assert (asked["entities"], asked["unknown"]) == ("failed", "failed")
    assert not {"entities", "unknown"} & {check.name for check in checks(tools)}


def lookup_log(count: int) -> list[Trace]:
    return list(write_logs(Lookup(), Lookup().expert(), count, 3))


def test_a_world_answers_its_own_log_as_recorded() -> None:
    put = put_to_world(Lookup(), lookup_log(60))
    assert all(row.is_same for row in put.rows)
    assert all_tools_fidelity(put).bases == {}


def test_a_world_that_was_declared_otherwise_is_caught_and_the_tool_named() -> None:
    world = Lookup().world
    changed = world.tools["find_order"].model_copy(update={"returns": {"state": "=order.status"}})
    other = WorldScenario(world.model_copy(update={"tools": {**world.tools, "find_order": changed}}))
    put = put_to_world(other, lookup_log(300))
    failed = {check.subject for tool in tool_fidelities(put) for check in judge_tool(tool, FidelityBar()) if check.outcome == "failed"}
    assert failed == {"find_order"}
