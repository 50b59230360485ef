"""Who was champion when, and why: an append-only history in SQL, written by one process at a time.

MLflow keeps no history of its aliases and moves them without asking what they were. So the truth is here, one durable row for every
change, and the aliases are its shadow. Each row carries a digest of itself and of the row before: a history that was edited afterwards
is noticed when it is read.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

import sqlalchemy as sql
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError

from agentgym.database import lock, open_database, reachable
from agentgym.errors import ContractBroken, InvalidInput
from agentgym.verdicts import ABTestReport, PromotionDecision

Alias = Literal["champion", "challenger", "previous"]
Change = Literal["bootstrap", "challenge", "promotion", "rollback", "repair"]
OpenConversations = Literal["stay", "move"]
ALIASES: tuple[Alias, ...] = ("champion", "challenger", "previous")
_LOCK = "agentgym_registry"
_WHAT = "The registry's history"


class Pointer(BaseModel):
    """A model version. The digest tells it from another one that has its number, in a database that was set up anew."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    checkpoint_digest: str


class Standing(BaseModel):
    """Which version each alias means; None where it means none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    champion: Pointer | None = None
    challenger: Pointer | None = None
    previous: Pointer | None = None

    def versions(self) -> dict[Alias, int]:
        pointers = {alias: getattr(self, alias) for alias in ALIASES}
        return {alias: pointer.version for alias, pointer in pointers.items() if pointer}


class HistoryEntry(BaseModel):
    """One change, and how things stood after it.

    change: `challenge` makes a challenger, `promotion` a champion; `repair` puts back what somebody moved by hand.
    decision, report: the offline and the online verdict it rests on; both None where a reason alone was enough.
    open_conversations: what a change of champion means for conversations under way: they stay with who began them, or move at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence: int = Field(ge=1)
    at: datetime
    change: Change
    standing: Standing
    reason: str = Field(min_length=1)
    decision: PromotionDecision | None = None
    report: ABTestReport | None = None
    open_conversations: OpenConversations = "stay"


_metadata = sql.MetaData()
_history = sql.Table(
    "agentgym_registry_history",
    _metadata,
    sql.Column("name", sql.String(256), primary_key=True),
    sql.Column("sequence", sql.Integer, primary_key=True),
    sql.Column("entry", sql.Text, nullable=False),
    sql.Column("chain", sql.String(64), nullable=False),
)
_shown = sql.Table(
    "agentgym_registry_shown",
    _metadata,
    sql.Column("name", sql.String(256), primary_key=True),
    sql.Column("standing", sql.Text, nullable=False),
)


class Ledger:
    """The history of one registered model."""

    def __init__(self, url: str, name: str) -> None:
        self._engine = open_database(url)
        self._name = name
        with reachable(self._engine, _WHAT), self._engine.begin() as connection:
            lock(connection, _LOCK)
            _metadata.create_all(connection)

    def entries(self) -> tuple[HistoryEntry, ...]:
        """Every change, the oldest first. Raises ContractBroken when a row was edited or removed."""
        with reachable(self._engine, _WHAT), self._engine.connect() as connection:
            return _read_entries(connection, self._name)

    def sequence(self) -> int:
        """The number of the last change; 0 before the first. A look that costs little, for those who look often."""
        latest = sql.select(sql.func.max(_history.c.sequence)).where(_history.c.name == self._name)
        with reachable(self._engine, _WHAT), self._engine.connect() as connection:
            return connection.execute(latest).scalar() or 0

    @contextmanager
    def locked(self) -> Iterator["LockedLedger"]:
        """The ledger while nobody else can write to it; what is appended is durable when the block ends without an error."""
        with reachable(self._engine, _WHAT), self._engine.begin() as connection:
            lock(connection, _LOCK)
            yield LockedLedger(connection, self._name)


class LockedLedger:
    """A ledger inside its lock."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self.entries = _read_entries(connection, name)

    @property
    def standing(self) -> Standing:
        return self.entries[-1].standing if self.entries else Standing()

    def append(
        self,
        change: Change,
        standing: Standing,
        reason: str,
        *,
        at: datetime,
        decision: PromotionDecision | None = None,
        report: ABTestReport | None = None,
        open_conversations: OpenConversations = "stay",
    ) -> HistoryEntry:
        entry = HistoryEntry(
            sequence=len(self.entries) + 1,
            at=at,
            change=change,
            standing=standing,
            reason=reason,
            decision=decision,
            report=report,
            open_conversations=open_conversations,
        )
        text = entry.model_dump_json()
        row = {
            "name": self._name,
            "sequence": entry.sequence,
            "entry": text,
            "chain": _chained(_chain_of(self._connection, self._name), text),
        }
        self._connection.execute(_history.insert().values(row))
        self.entries = (*self.entries, entry)
        return entry

    def shown(self) -> Standing:
        """What the aliases were last set to from here; what differs from it was not moved from here."""
        found = self._connection.execute(sql.select(_shown.c.standing).where(_shown.c.name == self._name)).scalar()
        return Standing.model_validate_json(found) if found else Standing()

    def mark_shown(self, standing: Standing) -> None:
        self._connection.execute(_shown.delete().where(_shown.c.name == self._name))
        self._connection.execute(_shown.insert().values(name=self._name, standing=standing.model_dump_json()))


def open_ledger(tracking_uri: str, name: str, *, history_url: str | None = None) -> Ledger:
    """The history of the agent `name`, without MLflow.   history_url: None for the one beside MLflow's database."""
    return Ledger(history_url or history_url_beside(tracking_uri), name)


def history_url_beside(tracking_uri: str) -> str:
    """Where the history lives when nobody says: in MLflow's own database, or beside it in another file when that is SQLite.

    SQLite locks whole files, and the history's lock is held while MLflow writes.
    """
    if tracking_uri.startswith(("http://", "https://", "databricks")):
        raise InvalidInput(f"A tracking server keeps no history; {tracking_uri!r} is one. Give history_url, an SQL database.")
    try:
        url = make_url(tracking_uri)
    except ArgumentError as error:
        raise InvalidInput(
            f"MLflow is tracked in SQL or by a server; {tracking_uri!r} is not an SQL address. Use sqlite:///PATH."
        ) from error
    if not url.drivername.startswith("sqlite"):
        return tracking_uri
    path = Path(url.database or "mlflow.db")
    return url.set(database=str(path.with_name(f"{path.stem}-history{path.suffix}"))).render_as_string(hide_password=False)


def _read_entries(connection: Connection, name: str) -> tuple[HistoryEntry, ...]:
    rows = connection.execute(_history.select().where(_history.c.name == name).order_by(_history.c.sequence)).all()
    before = ""
    for number, row in enumerate(rows, start=1):
        before = _chained(before, row.entry)
        if row.chain != before or row.sequence != number:
            raise ContractBroken(
                f"The history of {name!r} is only ever appended to; entry {number} was edited or one before it removed. "
                "Restore it from a backup."
            )
    return tuple(HistoryEntry.model_validate_json(row.entry) for row in rows)


def _chained(before: str, text: str) -> str:
    """SHA-256 of an entry as it is stored, for what entries hold may grow, and of the digest of the entry before."""
    return hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()


def _chain_of(connection: Connection, name: str) -> str:
    last = sql.select(_history.c.chain).where(_history.c.name == name).order_by(_history.c.sequence.desc()).limit(1)
    return connection.execute(last).scalar() or ""
