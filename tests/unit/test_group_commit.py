"""Many callers, one disk: writes are durable when they are acknowledged, and fail together when the database does."""

import threading
from pathlib import Path

import pytest
import sqlalchemy as sql
from sqlalchemy.engine import Connection

from agentgym.database import open_database
from agentgym.errors import Unavailable
from agentgym.serving.group_commit import GroupCommit

_metadata = sql.MetaData()
_notes = sql.Table("notes", _metadata, sql.Column("note", sql.Integer, primary_key=True))


@pytest.fixture
def engine(tmp_path: Path) -> sql.Engine:
    engine = open_database(f"sqlite:///{tmp_path / 'notes.db'}", is_wal=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        _metadata.create_all(connection)
    return engine


def write(note: int):
    def add(connection: Connection) -> int:
        connection.execute(_notes.insert().values(note=note))
        return note

    return add


def notes(engine: sql.Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(sql.select(_notes.c.note).order_by(_notes.c.note)).scalars())


def test_what_is_acknowledged_can_be_read(engine):
    commit = GroupCommit(engine, lock_name="notes", what="The notes")
    assert commit.submit(write(7)).result(timeout=10) == 7
    assert notes(engine) == [7]
    commit.close()


def test_everything_submitted_before_closing_is_written(engine):
    commit = GroupCommit(engine, lock_name="notes", what="The notes")
    futures = [commit.submit(write(note)) for note in range(1000)]
    commit.close()
    assert [future.result(timeout=0) for future in futures] == notes(engine) == list(range(1000))


def test_callers_share_commits(engine):
    commits: list[int] = []
    sql.event.listen(engine, "commit", lambda connection: commits.append(1))
    commit = GroupCommit(engine, lock_name="notes", what="The notes")
    for note in range(500):
        commit.submit(write(note))
    commit.close()
    assert 1 <= len(commits) < 100


def held_up(commit: GroupCommit) -> threading.Event:
    """Keeps the thread busy until the event is set, so that what is submitted meanwhile becomes one group."""
    is_busy, go_on = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        is_busy.set()
        go_on.wait(10)

    commit.submit(hold)
    assert is_busy.wait(10)
    return go_on


def test_a_write_that_fails_fails_alone_and_leaves_nothing(engine):
    commit = GroupCommit(engine, lock_name="notes", what="The notes")
    go_on = held_up(commit)
    good = [commit.submit(write(note)) for note in (1, 4)]
    half = commit.submit(lambda connection: (write(2)(connection), write(1)(connection)))
    broken = commit.submit(lambda connection: 1 / 0)
    go_on.set()
    with pytest.raises(Unavailable, match="The notes must be readable and writable"):
        half.result(timeout=10)
    with pytest.raises(ZeroDivisionError):
        broken.result(timeout=10)
    assert [future.result(timeout=10) for future in good] == notes(engine) == [1, 4]
    commit.close()


def test_whoever_gives_up_waiting_stops_nobody_else(engine):
    """A cancelled future once ended the thread, and with it every answer of the replica."""
    commit = GroupCommit(engine, lock_name="notes", what="The notes")
    go_on = held_up(commit)
    given_up, other = commit.submit(write(1)), commit.submit(write(2))
    assert given_up.cancel()
    go_on.set()
    assert other.result(timeout=10) == 2
    assert commit.is_alive
    commit.close()
