"""Who was champion when, and why: an append-only history in SQL, written by one process at a time.

MLflow keeps no history of its aliases and moves them without asking what they were. So the truth is here, one durable row for every
change, and the aliases are its shadow. Each row carries a digest of itself and of the row before: a history that was edited afterwards
is noticed when it is read.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

import sqlalchemy as sql
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from agentgym.errors import ContractBroken, InvalidInput, Unavailable
from agentgym.tracking import make_folder_of
from agentgym.verdicts import PromotionDecision

Alias = Literal["champion", "challenger", "previous"]
Change = Literal["bootstrap", "challenge", "promotion", "rollback", "repair"]
ALIASES: tuple[Alias, ...] = ("champion", "challenger", "previous")
LOCK_TIMEOUT_SECONDS = 30


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
    decision: the verdict it rests on; None where a reason alone was enough.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence: int = Field(ge=1)
    at: datetime
    change: Change
    standing: Standing
    reason: str = Field(min_length=1)
    decision: PromotionDecision | None = None

    def chained(self, before: str) -> str:
        """SHA-256 of this entry and of the digest of the entry before."""
        return hashlib.sha256(f"{before}\n{self.model_dump_json()}".encode()).hexdigest()


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
        self._engine = _open_engine(url)
        self._name = name
        with _reachable(self._engine), self._engine.begin() as connection:
            _lock(connection)
            _metadata.create_all(connection)

    def entries(self) -> tuple[HistoryEntry, ...]:
        """Every change, the oldest first. Raises ContractBroken when a row was edited or removed."""
        with _reachable(self._engine), self._engine.connect() as connection:
            return _read_entries(connection, self._name)

    @contextmanager
    def locked(self) -> Iterator["LockedLedger"]:
        """The ledger while nobody else can write to it; what is appended is durable when the block ends without an error."""
        with _reachable(self._engine), self._engine.begin() as connection:
            _lock(connection)
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
        self, change: Change, standing: Standing, reason: str, *, at: datetime, decision: PromotionDecision | None = None
    ) -> HistoryEntry:
        sequence = len(self.entries) + 1
        entry = HistoryEntry(sequence=sequence, at=at, change=change, standing=standing, reason=reason, decision=decision)
        before = _chain_of(self._connection, self._name)
        row = {"name": self._name, "sequence": sequence, "entry": entry.model_dump_json(), "chain": entry.chained(before)}
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
    entries: Sequence[HistoryEntry] = [HistoryEntry.model_validate_json(row.entry) for row in rows]
    before = ""
    for number, (row, entry) in enumerate(zip(rows, entries, strict=True), start=1):
        before = entry.chained(before)
        if row.chain != before or row.sequence != number:
            raise ContractBroken(
                f"The history of {name!r} is only ever appended to; entry {number} was edited or one before it removed. "
                "Restore it from a backup."
            )
    return tuple(entries)


def _chain_of(connection: Connection, name: str) -> str:
    last = sql.select(_history.c.chain).where(_history.c.name == name).order_by(_history.c.sequence.desc()).limit(1)
    return connection.execute(last).scalar() or ""


def _open_engine(url: str) -> Engine:
    address = make_url(url)
    if not address.drivername.startswith("sqlite"):
        return sql.create_engine(address, pool_pre_ping=True)
    make_folder_of(url)
    engine = sql.create_engine(address, poolclass=sql.NullPool, connect_args={"timeout": LOCK_TIMEOUT_SECONDS})

    @sql.event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: object, _: object) -> None:
        # Python's driver would begin a deferred transaction by itself, which two processes can both enter before either writes.
        connection.isolation_level = None  # type: ignore[attr-defined]

    return engine


def _lock(connection: Connection) -> None:
    """Waits until no other process writes, and keeps others from it until the transaction ends."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(sql.text("SELECT pg_advisory_xact_lock(hashtext('agentgym_registry'))"))


@contextmanager
def _reachable(engine: Engine) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise Unavailable(
            f"The registry's history must be readable and writable; {engine.url} said {error.orig}. "
            "Check that the database is up and that no other promotion is stuck, then run again."
        ) from error
