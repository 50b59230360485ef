"""What both sides of a split hold, and that a side follows from a name alone."""

from pathlib import Path

import numpy as np
import pytest

from agentgym.episode import Outcome
from agentgym.messages import assistant, user
from agentgym.store import FileStore
from agentgym.traces.balance import ClassCensus, ClassCount, SplitBalance
from agentgym.traces.snapshot import DatasetSnapshot, SplitConfig, held_out_part, read_balance
from agentgym.traces.trace import Trace
from tasks.showing import balance_markdown


def trace_of(number: int, customer: str, outcome: Outcome | None = None, **tags: str) -> Trace:
    messages = (user("Hello"), assistant("Hi"))
    return Trace(conversation_id=f"c{number}", customer_id=customer, messages=messages, outcome=outcome, tags=tags)


LOG = [
    trace_of(1, "Ann", Outcome.RESOLVED, queue="billing"),
    trace_of(2, "Ann", Outcome.UNRESOLVED, queue="access"),
    trace_of(3, "Bob", Outcome.RESOLVED, queue="billing", note="x"),
    trace_of(4, "Cem"),
]
BALANCE = SplitBalance(
    train=2,
    held_out=2,
    classes=(
        ClassCount(feature="outcome", value="resolved", train=1, held_out=1),
        ClassCount(feature="outcome", value="unknown", train=1, held_out=0),
        ClassCount(feature="outcome", value="unresolved", train=0, held_out=1),
        ClassCount(feature="queue", value="billing", train=1, held_out=1),
        ClassCount(feature="queue", value="access", train=0, held_out=1),
    ),
)


def balance_of(*traces: Trace, held_out: frozenset[str]) -> SplitBalance:
    census = ClassCensus()
    for trace in traces:
        census.observe(trace)
    return census.balance(held_out)


def test_classes_are_counted_on_each_side_by_outcome_and_by_tag() -> None:
    assert balance_of(*LOG, held_out=frozenset({"Ann"})) == BALANCE
    resolved = BALANCE.classes[0]
    assert (BALANCE.train_share(resolved), BALANCE.held_out_share(resolved)) == (0.5, 0.5)


def test_a_class_on_one_side_only_is_told() -> None:
    assert [counted.value for counted in BALANCE.one_sided] == ["unknown", "unresolved", "access"]
    shown = balance_markdown(BALANCE)
    assert "On one side only: outcome unknown, outcome unresolved, queue access." in shown
    assert "| queue | billing | 50.0% | 50.0% |" in shown


def test_a_tag_with_a_value_for_everybody_is_no_class() -> None:
    traces = [trace_of(number, f"customer {number}", queue=f"queue {number}") for number in range(21)]
    assert {counted.feature for counted in balance_of(*traces, held_out=frozenset({"customer 1"})).classes} == {"outcome"}


def test_a_snapshot_keeps_its_balance(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    ref = DatasetSnapshot.write(store, LOG[2:], held_out=LOG[:2])
    assert read_balance(store, ref) == DatasetSnapshot.read(store, ref).balance == BALANCE


def test_a_customer_whose_conversations_end_otherwise_stays_on_its_side(tmp_path: Path) -> None:
    """What would follow from classes would change with the next conversation: of the customer, or of any other one."""
    store, rng = FileStore(tmp_path / "store"), np.random.default_rng(0)
    sides = []
    for size in (300, 600):
        outcomes = rng.choice([*Outcome], size=size)
        log = [trace_of(number, f"customer {number % 60}", Outcome(outcome)) for number, outcome in enumerate(outcomes)]
        snapshot = DatasetSnapshot.read(store, DatasetSnapshot.write(store, log))
        sides.append({trace.cluster_id for trace in snapshot.held_out})
    assert sides[0] == sides[1]


def test_the_share_of_a_class_differs_by_chance_alone() -> None:
    """Of 100 seeds, the mean share of held-out customers of a class of 30% lies within four standard errors of it, its spread too."""
    customers = [f"customer {number}" for number in range(500)]
    is_rare = {customer: number % 10 < 3 for number, customer in enumerate(customers)}
    shares = []
    for seed in range(100):
        held_out = held_out_part(customers, SplitConfig(seed=seed))
        shares.append(np.mean([is_rare[customer] for customer in held_out]))
    expected = (0.3 * 0.7 / 100 * 400 / 499) ** 0.5  # about 100 of 500 drawn without replacement
    assert np.mean(shares) == pytest.approx(0.3, abs=4 * expected / 100**0.5)
    assert np.std(shares) == pytest.approx(expected, rel=0.3)
