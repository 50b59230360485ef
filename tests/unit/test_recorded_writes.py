"""What an episode has written is read in it, and nowhere else."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from agentgym.environments.recorded_answers import Answered, RecordedAnswers
from agentgym.environments.recording import Recording, read_recording
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.traces.trace import Trace

Told = tuple[ToolCall, JsonValue]


def call(tool: str, /, **arguments: JsonValue) -> ToolCall:
    return ToolCall(name=tool, arguments=arguments)


def recording(told: Sequence[Told], name: str) -> Recording:
    messages: list[Message] = [user("Hello")]
    for made, result in told:
        messages += [assistant("", made), tool_result(made, result)]
    return read_recording(Trace(conversation_id=name, messages=tuple(messages)))


def answers(*logs: Sequence[Told]) -> RecordedAnswers:
    return RecordedAnswers([recording(told, f"c{number}") for number, told in enumerate(logs)])


def order(number: int, status: str = "open", address: str = "Old Road 1") -> dict[str, JsonValue]:
    return {"order_id": f"W{number}", "status": status, "address": address, "total": 10 * number}


def read(number: int) -> ToolCall:
    return call("get_order", order_id=f"W{number}")


def cancel(number: int) -> ToolCall:
    return call("cancel_order", order_id=f"W{number}")


def move(number: int, to: str) -> ToolCall:
    return call("move_order", order_id=f"W{number}", to=to)


# Cancelling shows the order as it then is; moving says only that it was done, and is seen in reads before and after.
CANCELLED: list[list[Told]] = [[(read(n), order(n)), (cancel(n), order(n, "cancelled"))] for n in range(4)]
MOVED: list[list[Told]] = [
    [(read(n), order(n)), (move(n, f"New Road {n}"), "done"), (read(n), order(n, address=f"New Road {n}"))] for n in range(4, 6)
]
READ: list[list[Told]] = [[(read(n), order(n))] for n in range(6, 9)]
LISTS: list[list[Told]] = [[(call("list_orders", user="ann"), [order(7), order(8)])], [(call("list_orders", user="bob"), [order(6)])]]


def test_a_read_after_a_write_shows_what_the_write_showed() -> None:
    log = answers(*CANCELLED, *MOVED, *READ)
    assert log.answer(read(7)) == Answered(result=order(7), basis="exact")
    history = [(cancel(7), order(7, "cancelled"))]
    assert log.answer(read(7), history) == Answered(result=order(7, "cancelled"), basis="consistent")


def test_a_write_that_shows_nothing_has_the_effect_it_had_in_the_recordings() -> None:
    log = answers(*CANCELLED, *MOVED, *READ)
    found = log.answer(read(7), [(move(7, "Harbour 3"), "done")])
    assert found == Answered(result=order(7, address="Harbour 3"), basis="consistent")


def test_the_write_itself_is_answered_from_what_the_episode_has_read() -> None:
    """Order 99 is in no recording: the episode read it."""
    new = {**order(99), "total": 5}
    found = answers(*CANCELLED, *READ).answer(cancel(99), [(read(99), new)])
    assert found == Answered(result={**new, "status": "cancelled"}, basis="consistent")


def test_a_write_is_seen_in_lists_that_hold_the_thing() -> None:
    log = answers(*CANCELLED, *MOVED, *READ, *LISTS)
    found = log.answer(call("list_orders", user="ann"), [(cancel(8), order(8, "cancelled"))])
    assert found == Answered(result=[order(7), order(8, "cancelled")], basis="consistent")


def test_writes_add_up_and_the_later_one_wins() -> None:
    log = answers(*CANCELLED, *MOVED, *READ)
    history = [(move(7, "Harbour 3"), "done"), (move(7, "Harbour 4"), "done"), (cancel(7), order(7, "cancelled", "Harbour 4"))]
    assert log.answer(read(7), history).result == order(7, "cancelled", "Harbour 4")


def test_a_write_of_another_thing_changes_nothing() -> None:
    log = answers(*CANCELLED, *MOVED, *READ)
    assert log.answer(read(7), [(cancel(8), order(8, "cancelled"))]) == Answered(result=order(7), basis="exact")


def test_a_write_that_was_refused_changes_nothing() -> None:
    log = answers(*CANCELLED, *MOVED, *READ)
    assert log.answer(read(7), [(cancel(7), {"error": "already shipped"})]) == Answered(result=order(7), basis="exact")


def test_a_change_whose_value_no_recording_shows_makes_the_read_a_near_one() -> None:
    """A transfer changes the balance; to what, nobody can tell from the call."""
    balance, pay = call("balance", account="A"), call("pay", account="A", amount=3)
    told: list[Told] = [(balance, {"account": "A", "balance": 10}), (pay, "paid"), (balance, {"account": "A", "balance": 7})]
    more: list[Told] = [(balance, {"account": "A", "balance": 50}), (pay, "paid"), (balance, {"account": "A", "balance": 47})]
    found = answers(told, more).answer(balance, [(pay, "paid")])
    assert found == Answered(result={"account": "A", "balance": 10}, basis="nearest")


def test_reads_of_two_kinds_of_one_thing_are_no_writes() -> None:
    """A shipment has another status than its order; reading it changes neither."""
    logs: list[list[Told]] = [
        [(read(n), order(n)), (call("track", order_id=f"W{n}"), {"order_id": f"W{n}", "status": "on its way", "carrier": "X"})]
        for n in range(5)
    ]
    log = answers(*logs)
    assert log.answer(read(3), [logs[3][1]]) == Answered(result=order(3), basis="exact")


def test_a_tool_after_which_reads_stay_the_same_writes_nothing() -> None:
    logs: list[list[Told]] = [
        [(read(n), order(n)), (call("quote", order_id=f"W{n}"), {**order(n), "total": 1}), (read(n), order(n))] for n in range(5)
    ]
    assert answers(*logs).answer(read(3), [logs[3][1]]) == Answered(result=order(3), basis="exact")


def test_a_read_recorded_after_a_write_is_not_what_another_episode_reads_first() -> None:
    """In one log order 7 was cancelled before it was first read."""
    after: list[Told] = [(cancel(7), order(7, "cancelled")), (read(7), order(7, "cancelled"))]
    assert answers(after, *CANCELLED, *READ).answer(read(7)) == Answered(result=order(7), basis="exact")


@settings(max_examples=40, deadline=None)
@given(st.integers(6, 8), st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8), st.lists(st.integers(6, 8), max_size=3))
def test_a_read_shows_the_last_address_written_whatever_was_read_between(number: int, street: str, between: list[int]) -> None:
    log = answers(*CANCELLED, *MOVED, *READ)
    history: list[Told] = [(move(number, "First"), "done"), (move(number, street), "done")]
    for other in between:
        history.append((read(other), log.answer(read(other), history).result))
    found = log.answer(read(number), history)
    assert found.result == order(number, address=street)
    assert log.answer(read(number)).result == order(number)
