"""The A/B tests of an agent: every start, ramp and end as a row of its own, one running test at most."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from agentgym.ab_tests.ab_test import ABTest
from agentgym.database import create_tables, lock, open_database, reachable
from agentgym.errors import InvalidInput, Refused
from agentgym.verdicts import ABTestReport

_LOCK = "agentgym_experience"
_WHAT = "The log of A/B tests"

_metadata = sql.MetaData()
_changes = sql.Table(
    "agentgym_ab_tests",
    _metadata,
    sql.Column("agent", sql.String(256), primary_key=True),
    sql.Column("revision", sql.Integer, primary_key=True),
    sql.Column("test_id", sql.String(128), nullable=False),
    sql.Column("at", sql.String(40), nullable=False),
    sql.Column("test", sql.Text, nullable=False),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TestChanges:
    """The tests as they stand, and each change since an earlier look.

    revision: of the last change, 0 before the first.   latest: the test that began last.   changed: tests as each change left them.
    """

    __test__ = False

    revision: int
    latest: ABTest | None
    changed: tuple[ABTest, ...] = ()


class ABTestLog:
    """The tests of one agent. `revision` counts every change of any of them."""

    def __init__(self, url: str, agent: str) -> None:
        self._agent = agent
        self._engine = open_database(url, is_wal=True)
        with reachable(self._engine, _WHAT), self._engine.begin() as connection:
            lock(connection, _LOCK)
            create_tables(connection, _metadata)

    def start(self, test: ABTest) -> ABTest:
        """The test, begun; the same test started again changes nothing. Raises Refused while another one runs."""
        with reachable(self._engine, _WHAT), self._engine.begin() as connection:
            lock(connection, _LOCK)
            _, latest = _latest(connection, self._agent)
            if latest is not None and latest.test_id == test.test_id:
                return latest
            if latest is not None and latest.is_running:
                raise Refused(
                    f"One test runs at a time, so that no customer is in two; {latest.test_id!r} runs since "
                    f"{latest.started_at:%Y-%m-%d %H:%M}. Wait for its verdict, or stop it: agentgym ab stop."
                )
            return self._append(connection, test, at=test.started_at)

    def ramp(self, weights: Mapping[str, float], *, at: datetime) -> ABTest:
        """The running test with other shares. Raises InvalidInput when none runs."""
        with reachable(self._engine, _WHAT), self._engine.begin() as connection:
            lock(connection, _LOCK)
            running = _running(connection, self._agent)
            if dict(weights) == running.weights:
                return running
            return self._append(connection, running.model_copy(update={"weights": dict(weights)}), at=at)

    def end(
        self, test_id: str, *, at: datetime, report: ABTestReport | None = None, open_conversations: Literal["stay", "move"] = "stay"
    ) -> ABTest:
        """The test, ended; ending it again changes nothing. Raises InvalidInput when it is not the latest."""
        with reachable(self._engine, _WHAT), self._engine.begin() as connection:
            lock(connection, _LOCK)
            _, latest = _latest(connection, self._agent)
            if latest is None or latest.test_id != test_id:
                raise InvalidInput(f"Only the latest test can be ended; {test_id!r} is not. Look at it: agentgym ab status.")
            if not latest.is_running:
                return latest
            ended = latest.model_copy(update={"ended_at": at, "report": report, "open_conversations": open_conversations})
            return self._append(connection, ended, at=at)

    def changes_since(self, revision: int) -> TestChanges:
        """What has happened to tests after this revision."""
        rows_of_agent = _changes.select().where(_changes.c.agent == self._agent)
        with reachable(self._engine, _WHAT), self._engine.connect() as connection:
            newest = connection.execute(rows_of_agent.order_by(_changes.c.revision.desc()).limit(1)).first()
            later = rows_of_agent.where(_changes.c.revision > revision).order_by(_changes.c.revision)
            rows = connection.execute(later).all()
        # A change may have been appended between the two looks; the later look knows of it.
        last = rows[-1] if rows else newest
        return TestChanges(
            revision=last.revision if last else 0,
            latest=ABTest.model_validate_json(last.test) if last else None,
            changed=tuple(ABTest.model_validate_json(row.test) for row in rows),
        )

    def latest(self) -> tuple[int, ABTest | None]:
        """The revision, 0 before the first test, and the test that began last."""
        with reachable(self._engine, _WHAT), self._engine.connect() as connection:
            return _latest(connection, self._agent)

    def running(self) -> ABTest:
        """The test that runs. Raises InvalidInput when none does."""
        with reachable(self._engine, _WHAT), self._engine.connect() as connection:
            return _running(connection, self._agent)

    def _append(self, connection: Connection, test: ABTest, *, at: datetime) -> ABTest:
        revision, _ = _latest(connection, self._agent)
        row = {
            "agent": self._agent,
            "revision": revision + 1,
            "test_id": test.test_id,
            "at": at.isoformat(),
            "test": test.model_dump_json(),
        }
        connection.execute(_changes.insert().values(row))
        return test


def _latest(connection: Connection, agent: str) -> tuple[int, ABTest | None]:
    newest = _changes.select().where(_changes.c.agent == agent).order_by(_changes.c.revision.desc()).limit(1)
    row = connection.execute(newest).first()
    return (row.revision, ABTest.model_validate_json(row.test)) if row else (0, None)


def _running(connection: Connection, agent: str) -> ABTest:
    _, latest = _latest(connection, agent)
    if latest is None or not latest.is_running:
        ended = f"the last one, {latest.test_id!r}, has ended" if latest else f"{agent!r} has had none"
        raise InvalidInput(f"There must be a running test; {ended}. Start one: agentgym ab start.")
    return latest
