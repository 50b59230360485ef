"""The Parquet file of a snapshot while it is written: rows as they come, and at the end, in its footer, what is known of all."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from agentgym.errors import InsufficientData, InvalidInput, Unavailable
from agentgym.tools import Tool
from agentgym.traces.balance import ClassCensus, SplitBalance
from agentgym.traces.importers import SourceFile
from agentgym.traces.mining import ToolEvidence, ToolMiner
from agentgym.traces.rows import SCHEMA, with_tools
from agentgym.traces.trace import Trace

ROWS_IN_A_GROUP = 1_000
FOOTER_KEY = b"agentgym"


class SplitConfig(BaseModel):
    """How a log is split when no held-out log comes with it.

    A cluster's side follows from the seed and its name alone, so it stays where it is as the log grows. Classes are therefore not kept
    alike on both sides; `DatasetSnapshot.balance` says how alike they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    held_out_share: float = Field(default=0.2, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)


class Footer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    tools: tuple[Tool, ...]
    sources: tuple[SourceFile, ...]
    held_out_sources: tuple[SourceFile, ...]
    split: SplitConfig | None
    held_out_clusters: tuple[str, ...]
    balance: SplitBalance | None = None


class SnapshotFile:
    """Writes rows to `path`; `close` writes the footer, and only then it is a snapshot. Memory holds one group of rows.

    split: which clusters are held out; None when a log of its own is, whose rows come after `begin_held_out`.
    """

    def __init__(self, path: Path, *, split: SplitConfig | None) -> None:
        self.miner = ToolMiner()
        self._split, self._census = split, ClassCensus()
        self._held_out: set[str] | None = None
        self._shared: set[str] = set()
        # Counted as the miner lists declared tools: by first appearance.
        self._positions: dict[str, int] = {}
        self._waiting: list[pa.Table] = []
        # Words hardly ever repeat, and looking for repetitions costs.
        repeating = [name for name in SCHEMA.names if name != "messages"]
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=repeating)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def begin_held_out(self) -> None:
        """What is added from now on is held out."""
        self._held_out = set()

    def add(self, rows: pa.Table, observed: Iterable[Trace | ToolEvidence]) -> None:
        """Rows without tools, and of each what tells of its tools. Raises InvalidInput when a tool is declared with another schema."""
        positions = list[list[int] | None]()
        last: tuple[Tool, ...] = ()
        for trace in observed:
            self.miner.observe(trace)
            if trace.tools is not last or not positions:
                last, at = trace.tools, [self._positions.setdefault(tool.name, len(self._positions)) for tool in trace.tools]
            positions.append(at or None)
        self._count(rows)
        self._waiting.append(with_tools(rows, positions))
        self._write(at_least=ROWS_IN_A_GROUP)

    def close(self, *, sources: Sequence[SourceFile], held_out_sources: Sequence[SourceFile]) -> SplitBalance:
        """Raises InsufficientData when there is nothing to split, InvalidInput when both logs share a customer."""
        held_out = self._held_out_clusters()
        self._write(at_least=1)
        balance = self._census.balance(held_out)
        footer = Footer(
            tools=self.miner.tools,
            sources=tuple(sources),
            held_out_sources=tuple(held_out_sources),
            split=self._split,
            held_out_clusters=tuple(sorted(held_out)),
            balance=balance,
        )
        self._writer.add_key_value_metadata({FOOTER_KEY.decode(): footer.model_dump_json()})
        with _room():
            self._writer.close()
        return balance

    def _count(self, rows: pa.Table) -> None:
        columns = (rows.column(name).to_pylist() for name in ("customer_id", "conversation_id", "outcome", "tags"))
        for customer, conversation, outcome, tags in zip(*columns, strict=True):
            cluster = customer or conversation
            if self._held_out is not None and cluster not in self._held_out:
                self._shared |= {cluster} if self._census.knows(cluster) else set()
                self._held_out.add(cluster)
            self._census.count(cluster, outcome, orjson.loads(tags))

    def _write(self, *, at_least: int) -> None:
        """Groups of rows are of one size however they came, so that equal conversations give equal bytes."""
        waiting = sum(map(len, self._waiting))
        if waiting < at_least:
            return
        rows = pa.concat_tables(self._waiting)
        whole = waiting if at_least < ROWS_IN_A_GROUP else waiting - waiting % ROWS_IN_A_GROUP
        with _room():
            self._writer.write_table(rows.slice(0, whole).combine_chunks(), row_group_size=ROWS_IN_A_GROUP)
        self._waiting = [rows.slice(whole).combine_chunks()] if whole < waiting else []

    def _held_out_clusters(self) -> frozenset[str]:
        if self._split is not None:
            return held_out_part(self._census.clusters(), self._split)
        if not self._held_out:
            raise InsufficientData("A held-out log needs at least one conversation; it has none. Give one that has, or leave it away.")
        if self._shared:
            raise InvalidInput(
                f"Training and held-out logs must share no customer; {len(self._shared)} are in both, such as {min(self._shared)!r}. "
                "Take them out of one, or leave the held-out log away to split by customer."
            )
        return frozenset(self._held_out)


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"Temporary files need room; {error}. Make some, or set TMPDIR to where there is.") from error


def held_out_part(clusters: Iterable[str], split: SplitConfig) -> frozenset[str]:
    """The clusters that are held out: those whose hash falls into the share, and at least one; never all.

    Raises InsufficientData with fewer than two clusters.
    """
    held_out, ends = set[str](), list[tuple[float, str]]()
    for cluster in clusters:
        position = _position(cluster, split.seed)
        # Only the first and the last are needed for a share that nobody, or everybody, falls into.
        ends = sorted({*ends, (position, cluster)})
        ends = [ends[0], ends[-1]] if len(ends) > 2 else ends
        if position < split.held_out_share:
            held_out.add(cluster)
    if len(ends) < 2:
        raise InsufficientData(
            f"A split needs at least two customers, or conversations where customers are unknown; got {len(ends)}. "
            "Import more conversations, or give a held-out log of its own."
        )
    (_, first), (position, last) = ends
    return frozenset({first} if not held_out else held_out - ({last} if position < split.held_out_share else set()))


def _position(cluster: str, seed: int) -> float:
    """Where a cluster falls between 0 and 1, from its name and the seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{cluster}".encode()).digest()[:8]) / 2**64
