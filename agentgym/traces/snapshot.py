"""A dataset that never changes: validated traces in one Parquet file, split so that no customer is on both sides.

A row is a conversation: identifiers, outcome and scores as columns that any Parquet reader can query, its messages as JSON text. Tools are
kept once, in the file's footer, with the lineage and the clusters that are held out.
"""

import io
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from agentgym.errors import ContractBroken
from agentgym.store import ArtifactRef, Store
from agentgym.tools import Tool
from agentgym.traces.balance import SplitBalance
from agentgym.traces.importers import SourceFile
from agentgym.traces.rows import rows_of, traces_of
from agentgym.traces.snapshot_file import FOOTER_KEY, ROWS_IN_A_GROUP, Footer, SnapshotFile, SplitConfig, held_out_part
from agentgym.traces.trace import Trace

__all__ = ["DatasetSnapshot", "SplitConfig", "held_out_part", "read_balance"]


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
        with tempfile.TemporaryDirectory(prefix="agentgym-") as folder:
            path = Path(folder) / "snapshot.parquet"
            with SnapshotFile(path, split=(split or SplitConfig()) if held_out is None else None) as file:
                _add(file, traces)
                if held_out is not None:
                    file.begin_held_out()
                    _add(file, held_out)
                file.close(sources=sources, held_out_sources=held_out_sources)
            return store.write_file(path, suffix=".parquet")

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


def _add(file: SnapshotFile, traces: Iterable[Trace]) -> None:
    remaining = iter(traces)
    while group := tuple(islice(remaining, ROWS_IN_A_GROUP)):
        file.add(rows_of(group), group)


def _traces(batch: pa.RecordBatch, tools: tuple[Tool, ...], *, undeclared: tuple[Tool, ...] | None = None) -> Iterator[Trace]:
    """undeclared: the scope of a trace that declared no tools; None for all of them."""
    unsaid = tools if undeclared is None else undeclared
    positions = batch.column("tools").to_pylist()
    scopes = [unsaid if row is None else tuple(tools[position] for position in row) for row in positions]
    return traces_of(batch.drop_columns(["tools"]), scopes)


def _read_footer(file: pq.ParquetFile, ref: ArtifactRef) -> Footer:
    metadata = file.metadata.metadata or {}
    if FOOTER_KEY not in metadata:
        raise ContractBroken(f"A snapshot carries its tools and lineage in its footer; {ref.uri} has none. Take the snapshot again.")
    return Footer.model_validate_json(metadata[FOOTER_KEY])
