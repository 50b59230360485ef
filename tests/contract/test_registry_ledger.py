"""The registry's history on a real SQLite file."""

import hashlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentgym.errors import InvalidInput, Unavailable
from agentgym.registry.ledger import HistoryEntry, Ledger, Pointer, Standing, history_url_beside

NOW = datetime(2025, 3, 3, 9, tzinfo=UTC)


def append(ledger: Ledger, version: int) -> HistoryEntry:
    standing = Standing(champion=Pointer(version=version, checkpoint_digest="d"))
    with ledger.locked() as locked:
        return locked.append("bootstrap", standing, f"Version {version} is first.", at=NOW)


def test_writers_at_once_lose_nothing_and_keep_one_order(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'history.db'}"

    def write(writer: int) -> None:
        for number in range(5):
            append(Ledger(url, "agent"), writer * 10 + number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    entries = Ledger(url, "agent").entries()
    assert [entry.sequence for entry in entries] == list(range(1, 21))


def test_an_error_inside_the_lock_leaves_no_entry(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'history.db'}", "agent")

    def append_and_fail() -> None:
        with ledger.locked() as locked:
            locked.append("bootstrap", Standing(), "Nobody is first.", at=NOW)
            raise InvalidInput("Changed my mind.")

    with pytest.raises(InvalidInput):
        append_and_fail()
    assert ledger.entries() == ()


def test_an_entry_written_before_entries_held_reports_still_verifies(tmp_path: Path) -> None:
    """The chain was over an entry as its model wrote it, so a model with one more field broke every history there was."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'history.db'}", "agent")
    text = '{"sequence":1,"at":"2025-03-03T09:00:00Z","change":"bootstrap","standing":{},"reason":"It was here before.","decision":null}'
    with sqlite3.connect(tmp_path / "history.db") as connection:
        chain = hashlib.sha256(f"\n{text}".encode()).hexdigest()
        connection.execute("INSERT INTO agentgym_registry_history VALUES ('agent', 1, ?, ?)", (text, chain))
    append(ledger, 2)
    first, second = ledger.entries()
    assert (first.report, first.open_conversations, second.sequence) == (None, "stay", 2)


def test_agents_in_one_database_have_their_own_history(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'history.db'}"
    append(Ledger(url, "support"), 1)
    append(Ledger(url, "sales"), 7)
    assert [entry.standing.champion.version for entry in Ledger(url, "sales").entries() if entry.standing.champion] == [7]


def test_a_history_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "history.db").write_text("This is a diary, not a database. " * 50)
    with pytest.raises(Unavailable, match="readable and writable"):
        Ledger(f"sqlite:///{tmp_path / 'history.db'}", "agent")


@pytest.mark.parametrize(
    ("tracking_uri", "history"),
    [
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow-history.db"),
        ("postgresql+psycopg://agent:secret@db/mlflow", "postgresql+psycopg://agent:secret@db/mlflow"),
    ],
)
def test_the_history_lives_with_mlflows_database(tracking_uri: str, history: str) -> None:
    assert history_url_beside(tracking_uri) == history


@pytest.mark.parametrize("tracking_uri", ["http://127.0.0.1:5000", "databricks"])
def test_a_tracking_server_keeps_no_history(tracking_uri: str) -> None:
    with pytest.raises(InvalidInput, match="Give history_url"):
        history_url_beside(tracking_uri)


def test_a_tracking_address_that_is_none_is_bad_input() -> None:
    with pytest.raises(InvalidInput, match="not an SQL address"):
        history_url_beside("somewhere")
