"""A dataset that never changes: validated traces in one Parquet file, split so that no customer is on both sides.

A row is a conversation: identifiers, outcome and scores as columns that any Parquet reader can query, its messages as JSON text. Tools are
kept once, in the file's footer, with the lineage and the clusters that are held out.
"""

import hashlib
import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from agentgym.errors import ContractBroken, InsufficientData, InvalidInput
from agentgym.messages import Message
from agentgym.store import ArtifactRef, Store
from agentgym.tools import Tool
from agentgym.traces.balance import ClassCensus, SplitBalance
from agentgym.traces.importers import SourceFile
from agentgym.traces.mining import ToolMiner
from agentgym.traces.trace import Trace

ROWS_IN_A_GROUP = 1_000
FOOTER_KEY = b"agentgym"

_COLUMNS = pa.schema(
    [
        ("conversation_id", pa.string()),
        ("customer_id", pa.string()),
        ("outcome", pa.string()),
        ("satisfaction_score", pa.float64()),
        ("agent_version", pa.string()),
        ("started_at", pa.string()),
        ("ended_at", pa.string()),
        ("agent_tokens", pa.int64()),
        ("latency_seconds", pa.float64()),
        ("tags", pa.string()),
        ("tools", pa.list_(pa.int32())),
        ("messages", pa.string()),
    ]
)
_MESSAGES = TypeAdapter(tuple[Message, ...])


class SplitConfig(BaseModel):
    """How a log is split when no held-out log comes with it.

    A cluster's side follows from the seed and its name alone, so it stays where it is as the log grows. Classes are therefore not kept
    alike on both sides; `DatasetSnapshot.balance` says how alike they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    held_out_share: float = Field(default=0.2, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)


class _Footer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    tools: tuple[Tool, ...]
    sources: tuple[SourceFile, ...]
    held_out_sources: tuple[SourceFile, ...]
    split: SplitConfig | None
    held_out_clusters: tuple[str, ...]
    balance: SplitBalance | None = None


@dataclass(frozen=True, kw_only=True)
class DatasetSnapshot:
    """Traces to learn from and traces to judge on, and where they came from.

    tools: all in the log; also the scope of every trace that declares none.   split: None when the held-out log was given.
    balance: classes on both sides; None in snapshots from before they were counted.
    """

    digest: str
    train: tuple[Trace, ...]
    held_out: tuple[Trace, ...]
    tools: tuple[Tool, ...]
    sources: tuple[SourceFile, ...]
    held_out_sources: tuple[SourceFile, ...]
    split: SplitConfig | None
    balance: SplitBalance | None = None

    @classmethod
    def write(
        cls,
        store: Store,
        traces: Iterable[Trace],
        *,
        held_out: Iterable[Trace] | None = None,
        sources: Sequence[SourceFile] = (),
        held_out_sources: Sequence[SourceFile] = (),
        split: SplitConfig | None = None,
    ) -> ArtifactRef:
        """Writes a snapshot; equal traces, sources and split give the same reference.

        held_out: a log of its own to judge on; without it a share of the clusters in `traces` is held out, as `split` says.
        Raises InsufficientData when there is nothing to split, InvalidInput when the two logs share a customer or contradict
        each other in a tool's schema. Nothing is written then.
        """
        split = (split or SplitConfig()) if held_out is None else None
        file, columns = io.BytesIO(), _Columns()
        with pq.ParquetWriter(file, _COLUMNS, compression="zstd") as writer:
            train_clusters = columns.write(writer, traces)
            if split:
                held_out_clusters = held_out_part(train_clusters, split)
            else:
                held_out_clusters = frozenset(columns.write(writer, held_out or ()))
                _refuse_shared(train_clusters, held_out_clusters)
            footer = _Footer(
                tools=columns.miner.tools,
                sources=tuple(sources),
                held_out_sources=tuple(held_out_sources),
                split=split,
                held_out_clusters=tuple(sorted(held_out_clusters)),
                balance=columns.census.balance(held_out_clusters),
            )
            writer.add_key_value_metadata({FOOTER_KEY.decode(): footer.model_dump_json()})
        return store.write(file.getvalue(), suffix=".parquet")

    @classmethod
    def read(cls, store: Store, ref: ArtifactRef) -> Self:
        file = pq.ParquetFile(io.BytesIO(store.read(ref)))
        footer = _read_footer(file, ref)
        held_out_clusters = frozenset(footer.held_out_clusters)
        traces = tuple(trace for batch in file.iter_batches(ROWS_IN_A_GROUP) for trace in _traces(batch, footer.tools))
        return cls(
            digest=ref.digest,
            train=tuple(trace for trace in traces if trace.cluster_id not in held_out_clusters),
            held_out=tuple(trace for trace in traces if trace.cluster_id in held_out_clusters),
            tools=footer.tools,
            sources=footer.sources,
            held_out_sources=footer.held_out_sources,
            split=footer.split,
            balance=footer.balance,
        )

    @classmethod
    def write_without(cls, store: Store, ref: ArtifactRef, conversation_ids: Collection[str]) -> ArtifactRef:
        """The snapshot `ref` as it would have been without these conversations, written anew; `ref` itself stays.

        Raises InsufficientData when too little is left for a snapshot.
        """
        file = pq.ParquetFile(io.BytesIO(store.read(ref)))
        footer = _read_footer(file, ref)
        held_out_clusters = frozenset(footer.held_out_clusters)
        # A trace that declared no tools must go on declaring none.
        rows = (trace for batch in file.iter_batches(ROWS_IN_A_GROUP) for trace in _traces(batch, footer.tools, undeclared=()))
        kept = [trace for trace in rows if trace.conversation_id not in conversation_ids]
        sources: Any = {"sources": footer.sources, "held_out_sources": footer.held_out_sources}
        if footer.split is not None:
            return cls.write(store, kept, split=footer.split, **sources)
        train = [trace for trace in kept if trace.cluster_id not in held_out_clusters]
        return cls.write(store, train, held_out=[trace for trace in kept if trace.cluster_id in held_out_clusters], **sources)


def conversation_ids_in(store: Store, ref: ArtifactRef) -> frozenset[str]:
    """Whose conversations a snapshot holds, without reading what was said in them."""
    column = pq.read_table(io.BytesIO(store.read(ref)), columns=["conversation_id"])["conversation_id"]
    return frozenset(column.to_pylist())


def read_balance(store: Store, ref: ArtifactRef) -> SplitBalance | None:
    """How alike both sides of a snapshot are, without reading its conversations; None where it was not counted."""
    return _read_footer(pq.ParquetFile(io.BytesIO(store.read(ref))), ref).balance


def held_out_part(clusters: Iterable[str], split: SplitConfig) -> frozenset[str]:
    """The clusters that are held out: those whose hash falls into the share, and at least one; never all.

    Raises InsufficientData with fewer than two clusters.
    """
    ordered = sorted(set(clusters), key=lambda cluster: _position(cluster, split.seed))
    if len(ordered) < 2:
        raise InsufficientData(
            f"A split needs at least two customers, or conversations where customers are unknown; got {len(ordered)}. "
            "Import more conversations, or give a held-out log of its own."
        )
    share = sum(_position(cluster, split.seed) < split.held_out_share for cluster in ordered)
    return frozenset(ordered[: min(max(share, 1), len(ordered) - 1)])


class _Columns:
    """Turns traces into rows, and gathers what the footer says of all of them."""

    def __init__(self) -> None:
        self.miner = ToolMiner()
        self.census = ClassCensus()
        # Counted as the miner lists declared tools: by first appearance.
        self._positions: dict[str, int] = {}

    def write(self, writer: pq.ParquetWriter, traces: Iterable[Trace]) -> set[str]:
        """Writes a row for each trace; gives their clusters."""
        clusters, remaining = set[str](), iter(traces)
        while group := tuple(islice(remaining, ROWS_IN_A_GROUP)):
            clusters.update(trace.cluster_id for trace in group)
            writer.write_table(pa.Table.from_pylist([self._row(trace) for trace in group], schema=_COLUMNS))
        return clusters

    def _row(self, trace: Trace) -> dict[str, Any]:
        self.miner.observe(trace)
        self.census.observe(trace)
        row = {name: getattr(trace, name) for name in _COLUMNS.names}
        row |= {name: row[name] and row[name].isoformat() for name in ("started_at", "ended_at")}
        row["tools"] = [self._positions.setdefault(tool.name, len(self._positions)) for tool in trace.tools] or None
        row["tags"] = orjson.dumps(trace.tags, option=orjson.OPT_SORT_KEYS).decode()
        row["messages"] = _MESSAGES.dump_json(trace.messages, exclude_defaults=True).decode()
        return row


def _traces(batch: pa.RecordBatch, tools: tuple[Tool, ...], *, undeclared: tuple[Tool, ...] | None = None) -> Iterator[Trace]:
    """Rows as traces. What is read was validated before it was written and is held by its digest, so only messages are parsed again.

    undeclared: the scope of a trace that declared no tools; None for all of them.
    """
    scope = tools if undeclared is None else undeclared
    for row in batch.to_pylist():
        row["messages"] = _MESSAGES.validate_json(row["messages"])
        row["tags"] = orjson.loads(row["tags"])
        row["tools"] = scope if row["tools"] is None else tuple(tools[position] for position in row["tools"])
        yield Trace.model_validate(row)


def _read_footer(file: pq.ParquetFile, ref: ArtifactRef) -> _Footer:
    metadata = file.metadata.metadata or {}
    if FOOTER_KEY not in metadata:
        raise ContractBroken(f"A snapshot carries its tools and lineage in its footer; {ref.uri} has none. Take the snapshot again.")
    return _Footer.model_validate_json(metadata[FOOTER_KEY])


def _refuse_shared(train: set[str], held_out: frozenset[str]) -> None:
    if not held_out:
        raise InsufficientData("A held-out log needs at least one conversation; it has none. Give one that has, or leave it away.")
    if shared := train & held_out:
        raise InvalidInput(
            f"Training and held-out logs must share no customer; {len(shared)} are in both, such as {min(shared)!r}. "
            "Take them out of one, or leave the held-out log away to split by customer."
        )


def _position(cluster: str, seed: int) -> float:
    """Where a cluster falls between 0 and 1, from its name and the seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{cluster}".encode()).digest()[:8]) / 2**64
