from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from agentgym.episode import Outcome
from agentgym.errors import ContractBroken, InsufficientData, InvalidInput
from agentgym.messages import ToolCall, assistant, system, tool_result, user
from agentgym.store import FileStore
from agentgym.tools import Tool
from agentgym.traces.importers import SourceFile
from agentgym.traces.snapshot import DatasetSnapshot, SplitConfig, held_out_part
from agentgym.traces.trace import Trace

FIND = Tool(name="find", description="Finds", parameters={"type": "object", "properties": {"n": {"type": "integer"}}}, writes=False)


def trace_of(number: int, *, customer: str | None = None, tools: tuple[Tool, ...] = (FIND,)) -> Trace:
    call = ToolCall(id="x", name="find", arguments={"n": number})
    return Trace(
        conversation_id=f"c{number}",
        customer_id=customer,
        messages=(system("Be kind."), user("Hello"), assistant("", call), tool_result(call, {"rows": [1.5, None]}), assistant("Done.")),
        tools=tools,
        outcome=Outcome.RESOLVED,
        satisfaction_score=4.0,
        started_at=datetime(2025, 1, 2, 3, 4, tzinfo=UTC),
        agent_tokens=12,
        latency_seconds=0.5,
        tags={"queue": "billing"},
    )


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def test_traces_come_back_as_they_were(store: FileStore) -> None:
    train, held_out = [trace_of(1), trace_of(2)], [trace_of(3)]
    snapshot = DatasetSnapshot.read(store, DatasetSnapshot.write(store, train, held_out=held_out))
    assert snapshot.train == tuple(train)
    assert snapshot.held_out == tuple(held_out)


def test_equal_inputs_give_an_equal_digest(store: FileStore) -> None:
    traces = [trace_of(number) for number in range(30)]
    assert DatasetSnapshot.write(store, traces) == DatasetSnapshot.write(store, iter(traces))
    assert DatasetSnapshot.write(store, traces) != DatasetSnapshot.write(store, traces, split=SplitConfig(seed=1))


def test_lineage_is_kept(store: FileStore) -> None:
    source = SourceFile(name="log.jsonl", digest="0" * 64)
    snapshot = DatasetSnapshot.read(store, DatasetSnapshot.write(store, [trace_of(1), trace_of(2)], sources=[source]))
    assert snapshot.sources == (source,)
    assert snapshot.split == SplitConfig()


def test_a_customer_is_on_one_side_only(store: FileStore) -> None:
    traces = [trace_of(number, customer=f"customer {number % 40}") for number in range(400)]
    snapshot = DatasetSnapshot.read(store, DatasetSnapshot.write(store, traces))
    assert not {trace.cluster_id for trace in snapshot.train} & {trace.cluster_id for trace in snapshot.held_out}
    assert len(snapshot.train) + len(snapshot.held_out) == 400


def test_the_held_out_share_is_near_what_was_asked_for() -> None:
    clusters = [f"customer {number}" for number in range(5_000)]
    share = len(held_out_part(clusters, SplitConfig(held_out_share=0.2, seed=3))) / 5_000
    assert share == pytest.approx(0.2, abs=3 * (0.2 * 0.8 / 5_000) ** 0.5)


def test_a_customer_stays_on_its_side_as_the_log_grows() -> None:
    few, many = [f"customer {number}" for number in range(500)], [f"customer {number}" for number in range(900)]
    assert held_out_part(few, SplitConfig()) == held_out_part(many, SplitConfig()) & set(few)


def test_two_customers_are_one_on_each_side() -> None:
    for seed in range(20):
        assert len(held_out_part(["one", "two"], SplitConfig(seed=seed))) == 1


def test_a_single_customer_cannot_be_split(store: FileStore) -> None:
    with pytest.raises(InsufficientData, match=r"at least two customers.* got 1"):
        DatasetSnapshot.write(store, [trace_of(1, customer="one"), trace_of(2, customer="one")])
    assert not store.root.exists()


def test_a_customer_in_both_logs_is_refused(store: FileStore) -> None:
    with pytest.raises(InvalidInput, match="1 are in both, such as 'one'"):
        DatasetSnapshot.write(store, [trace_of(1, customer="one")], held_out=[trace_of(2, customer="one")])
    assert not store.root.exists()


def test_an_empty_held_out_log_is_refused(store: FileStore) -> None:
    with pytest.raises(InsufficientData, match="A held-out log needs at least one conversation"):
        DatasetSnapshot.write(store, [trace_of(1)], held_out=[])


def test_logs_that_contradict_each_other_in_a_schema_are_refused(store: FileStore) -> None:
    other = FIND.model_copy(update={"parameters": {"type": "object"}})
    with pytest.raises(InvalidInput, match="A tool has one schema"):
        DatasetSnapshot.write(store, [trace_of(1)], held_out=[trace_of(2, tools=(other,))])


def test_tools_nobody_declared_are_inferred_and_in_scope_everywhere(store: FileStore) -> None:
    traces = [trace_of(number, tools=()) for number in range(10)]
    snapshot = DatasetSnapshot.read(store, DatasetSnapshot.write(store, traces))
    assert [tool.name for tool in snapshot.tools] == ["find"]
    assert all(trace.tools == snapshot.tools for trace in snapshot.train + snapshot.held_out)


def test_traces_share_their_tools(store: FileStore) -> None:
    snapshot = DatasetSnapshot.read(store, DatasetSnapshot.write(store, [trace_of(number) for number in range(10)]))
    assert len({id(tool) for trace in snapshot.train + snapshot.held_out for tool in trace.tools}) == 1


def test_columns_can_be_queried_by_any_parquet_reader(store: FileStore) -> None:
    ref = DatasetSnapshot.write(store, [trace_of(1), trace_of(2)])
    table = pq.read_table(ref.uri.removeprefix("file://"), columns=["conversation_id", "outcome", "satisfaction_score"])
    assert table.to_pylist()[0] == {"conversation_id": "c1", "outcome": "resolved", "satisfaction_score": 4.0}


def test_a_parquet_file_that_is_no_snapshot_is_refused(store: FileStore, tmp_path: Path) -> None:
    plain = tmp_path / "plain.parquet"
    pq.write_table(pq.read_table(DatasetSnapshot.write(store, [trace_of(1), trace_of(2)]).uri[7:]).replace_schema_metadata(), plain)
    with pytest.raises(ContractBroken, match="in its footer"):
        DatasetSnapshot.read(store, store.write(plain.read_bytes()))
