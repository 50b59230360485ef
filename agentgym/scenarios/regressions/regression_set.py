"""The permanent set of regression cases of an agent: an append-only history in SQL, and the cases beside it.

What is in the set follows from the history, in which every addition and removal is a row with its reason; rows carry a digest of
themselves and of the row before, so that an edited history is noticed. What customers said is kept apart from it, so that it can be
forgotten: the history then still says that there was a case, and that it was forgotten.
"""

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Literal

import sqlalchemy as sql
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection

from agentgym.database import create_tables, erasing, lock, open_database, reachable
from agentgym.errors import ContractBroken, InvalidInput
from agentgym.scenarios.regressions.regression import Regression
from agentgym.traces.forgotten import id_digest

Change = Literal["added", "removed", "forgotten"]
_LOCK = "agentgym_regressions"
_WHAT = "The set of regression cases"

_metadata = sql.MetaData()
_history = sql.Table(
    "agentgym_regression_history",
    _metadata,
    sql.Column("agent", sql.String(256), primary_key=True),
    sql.Column("sequence", sql.Integer, primary_key=True),
    sql.Column("entry", sql.Text, nullable=False),
    sql.Column("chain", sql.String(64), nullable=False),
)
_cases = sql.Table(
    "agentgym_regression_cases",
    _metadata,
    sql.Column("agent", sql.String(256), primary_key=True),
    sql.Column("regression_id", sql.String(12), primary_key=True),
    sql.Column("content", sql.Text, nullable=False),
)


class RegressionEntry(BaseModel):
    """One change of the set.

    source: SHA-256 of the id of the conversation it came from, which the history outlives; source_digest is that of its content.
    digest: of the case as it was added.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    change: Change
    regression_id: str
    source: str
    source_digest: str
    digest: str
    reason: str = Field(min_length=1)
    at: datetime


class RegressionSet:
    """The regression cases of one agent, in the SQL database at `url`."""

    def __init__(self, url: str, agent: str) -> None:
        self._engine = open_database(url, is_wal=True)
        self.agent = agent
        with self._writing() as connection:
            create_tables(connection, _metadata)

    def add(self, regression: Regression, *, reason: str, at: datetime) -> bool:
        """Adds the case; whether it was not in the set before."""
        with self._writing() as connection:
            if regression.regression_id in self._standing(connection):
                return False
            self._append(connection, "added", regression, reason, at)
            row = {"agent": self.agent, "regression_id": regression.regression_id, "content": regression.model_dump_json()}
            connection.execute(_cases.delete().where(*self._row(regression.regression_id)))
            connection.execute(_cases.insert().values(row))
            return True

    def remove(self, regression_id: str, *, reason: str, at: datetime) -> Regression:
        """Takes a case out of the set; the history keeps that it was there, and why it is not. Raises InvalidInput when it is not in it."""
        with self._writing() as connection:
            standing = self._standing(connection)
            if regression_id not in standing:
                known = ", ".join(standing) or "none"
                raise InvalidInput(f"A case is removed that is in the set; {regression_id!r} is not. There are: {known}.")
            removed = standing[regression_id]
            self._append(connection, "removed", removed, reason, at)
            return removed

    def holding(self, conversations: Collection[str]) -> tuple[str, ...]:
        """The ids of the cases, those too that were removed, in which something of these conversations is kept."""
        with self._reading() as connection:
            return tuple(sorted(self._holding(connection, conversations)))

    def forget(self, conversations: Collection[str], *, at: datetime) -> tuple[str, ...]:
        """Deletes what is kept of these conversations, also of cases that were removed before; gives the ids of its cases."""
        with reachable(self._engine, _WHAT), erasing(self._engine) as connection:
            lock(connection, _LOCK)
            held = self._holding(connection, conversations)
            for regression_id in (due := sorted(held)):
                entry = held[regression_id].model_copy(
                    update={"change": "forgotten", "reason": "The conversation was forgotten.", "at": at}
                )
                self._append_entry(connection, entry)
                connection.execute(_cases.delete().where(*self._row(regression_id)))
            return tuple(due)

    def cases(self) -> tuple[Regression, ...]:
        """What is in the set, in the order it was added."""
        with self._reading() as connection:
            return tuple(self._standing(connection).values())

    def history(self) -> tuple[RegressionEntry, ...]:
        """Every change, the oldest first. Raises ContractBroken when it was edited."""
        with self._reading() as connection:
            return self._entries(connection)

    def _holding(self, connection: Connection, conversations: Collection[str]) -> dict[str, RegressionEntry]:
        """The latest entry of each case that was made of one of these and is not forgotten, by id."""
        last = {entry.regression_id: entry for entry in self._entries(connection)}
        kept = {name: Regression.model_validate_json(content).conversations for name, content in self._contents(connection).items()}
        asked = frozenset(conversations)
        return {name: entry for name, entry in last.items() if entry.change != "forgotten" and kept.get(name, frozenset()) & asked}

    def _standing(self, connection: Connection) -> dict[str, Regression]:
        """The cases in the set, by id."""
        last = {entry.regression_id: entry for entry in self._entries(connection)}
        contents = self._contents(connection)
        return {name: _read(contents.get(name), entry) for name, entry in last.items() if entry.change == "added"}

    def _contents(self, connection: Connection) -> dict[str, str]:
        """What is kept of the cases, removed ones too, by id."""
        rows = connection.execute(_cases.select().where(_cases.c.agent == self.agent)).all()
        return {row.regression_id: row.content for row in rows}

    def _entries(self, connection: Connection) -> tuple[RegressionEntry, ...]:
        query = _history.select().where(_history.c.agent == self.agent).order_by(_history.c.sequence)
        before = ""
        rows = connection.execute(query).all()
        for number, row in enumerate(rows, start=1):
            before = _chained(before, row.entry)
            if row.chain != before or row.sequence != number:
                raise ContractBroken(
                    f"Regression cases are only ever appended; of {self.agent!r} entry {number} was edited or one before it removed. "
                    "Restore the database from a backup."
                )
        return tuple(RegressionEntry.model_validate_json(row.entry) for row in rows)

    def _append(self, connection: Connection, change: Change, regression: Regression, reason: str, at: datetime) -> None:
        if not reason.strip():
            raise InvalidInput("Whoever reads the history must learn why a case came or went; the reason is empty. Give one (--reason).")
        entry = RegressionEntry(
            change=change,
            regression_id=regression.regression_id,
            source=id_digest(regression.source),
            source_digest=regression.source_digest,
            digest=regression.digest,
            reason=reason,
            at=at,
        )
        self._append_entry(connection, entry)

    def _append_entry(self, connection: Connection, entry: RegressionEntry) -> None:
        query = _history.select().where(_history.c.agent == self.agent).order_by(_history.c.sequence.desc()).limit(1)
        last = connection.execute(query).first()
        text = entry.model_dump_json()
        chain = _chained(last.chain if last else "", text)
        row = {"agent": self.agent, "sequence": last.sequence + 1 if last else 1, "entry": text, "chain": chain}
        connection.execute(_history.insert().values(row))

    def _row(self, regression_id: str) -> tuple[sql.ColumnElement[bool], ...]:
        return _cases.c.agent == self.agent, _cases.c.regression_id == regression_id

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with reachable(self._engine, _WHAT), self._engine.connect() as connection, connection.begin():
            lock(connection, _LOCK)
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with reachable(self._engine, _WHAT), self._engine.connect() as connection, connection.begin():
            yield connection


def agents_with_regressions(url: str) -> tuple[str, ...]:
    """The agents that have, or had, regression cases in the SQL database at `url`."""
    engine = open_database(url, is_wal=True)
    with reachable(engine, _WHAT), engine.connect() as connection:
        if not sql.inspect(connection).has_table(_history.name):
            return ()
        query = sql.select(_history.c.agent).distinct().order_by(_history.c.agent)
        return tuple(connection.execute(query).scalars())


def _read(content: str | None, entry: RegressionEntry) -> Regression:
    regression = Regression.model_validate_json(content) if content is not None else None
    if regression is None or regression.digest != entry.digest:
        raise ContractBroken(
            f"A regression case stays as it was added; {entry.regression_id!r} is {'changed' if content else 'gone'}. "
            "Restore the database from a backup, or remove the case with a reason."
        )
    return regression


def _chained(before: str, text: str) -> str:
    """SHA-256 of an entry as it is stored and of the digest of the entry before."""
    return hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()
