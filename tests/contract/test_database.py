"""One database for several writers, on real SQLite files."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sql

from agentgym import database
from agentgym.database import lock, open_database, reachable
from agentgym.errors import InvalidInput, Unavailable


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'new' / 'numbers.db'}"


def count_up(url: str, *, is_wal: bool) -> None:
    """Reads and writes in one transaction, so that two who enter it together would write the same number."""
    engine = open_database(url, is_wal=is_wal)
    with engine.begin() as connection:
        lock(connection, "numbers")
        connection.execute(sql.text("CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY)"))
        connection.execute(sql.text("INSERT INTO numbers SELECT 1 + coalesce(max(number), 0) FROM numbers"))
    engine.dispose()


@pytest.mark.parametrize("is_wal", [False, True])
def test_writers_at_once_wait_for_each_other(url: str, is_wal: bool) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: count_up(url, is_wal=is_wal), range(40)))
    with open_database(url).connect() as connection:
        assert connection.execute(sql.text("SELECT count(*), max(number) FROM numbers")).one() == (40, 40)


def test_an_error_in_a_transaction_leaves_nothing(url: str) -> None:
    count_up(url, is_wal=True)
    engine = open_database(url, is_wal=True)

    def delete_and_fail() -> None:
        with engine.begin() as connection:
            lock(connection, "numbers")
            connection.execute(sql.text("DELETE FROM numbers"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        delete_and_fail()
    with engine.connect() as connection:
        assert connection.execute(sql.text("SELECT count(*) FROM numbers")).scalar() == 1


def test_a_write_ahead_log_is_forced_to_disk_at_every_commit(url: str) -> None:
    with open_database(url, is_wal=True).connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_the_switch_to_a_write_ahead_log_waits_for_who_writes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite answers "database is locked" at once there, without the timeout that it keeps everywhere else."""
    count_up(url, is_wal=False)
    writer = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(database, "sleep", lambda _: writer.execute("COMMIT"))
    with open_database(url, is_wal=True).connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_database_that_does_not_answer_is_unavailable_and_named(tmp_path: Path) -> None:
    (tmp_path / "numbers.db").write_text("This is a diary. " * 100)
    engine = open_database(f"sqlite:///{tmp_path / 'numbers.db'}")
    told = pytest.raises(Unavailable, match=r"^The numbers must be readable and writable; .*numbers.db said")
    with told, reachable(engine, "The numbers"), engine.begin() as connection:
        lock(connection, "numbers")


@pytest.mark.parametrize("url", ["somewhere", "oracle_of_delphi://agent:secret@host/numbers"])
def test_an_address_that_is_none_is_bad_input_and_tells_no_password(url: str) -> None:
    with pytest.raises(InvalidInput, match="A database is sqlite:///PATH") as caught:
        open_database(url)
    assert "secret" not in str(caught.value)
