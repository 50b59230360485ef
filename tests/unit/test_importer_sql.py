import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agentgym.errors import InvalidInput, Unavailable
from agentgym.traces.importers import RejectedLine, import_traces
from agentgym.traces.source import TraceSource, fingerprint
from agentgym.traces.trace import Trace

COLUMNS = {"conversation_id": "ticket", "role": "author", "content": "text", "tool_name": "tool", "arguments": "args", "result": "answer"}
ROLES = {"customer": "user", "bot": "assistant", "api": "tool"}
MESSAGES = [
    ("customer", "Where is my order?", None, None, None),
    ("bot", None, "find_order", '{"number": 7}', None),
    ("api", None, "find_order", None, '{"status": "sent"}'),
    ("bot", "It is on its way.", None, None, None),
]


@pytest.fixture
def database(tmp_path: Path) -> sqlite3.Connection:
    """Two conversations, whose rows are mixed as they came."""
    connection = sqlite3.connect(tmp_path / "support.db")
    connection.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, ticket INTEGER, author, text, tool, args, answer)")
    rows = [(ticket, *message) for message in MESSAGES for ticket in (2, 1)]
    connection.executemany("INSERT INTO message (ticket, author, text, tool, args, answer) VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.commit()
    return connection


def log(tmp_path: Path, **fields: Any) -> Path:
    path = tmp_path / "support.json"
    known = {"url": f"sqlite:///{tmp_path / 'support.db'}", "columns": COLUMNS | {"order": "id"}, "roles": ROLES}
    path.write_text(json.dumps(({} if "query" in fields else {"table": "message"}) | known | fields))
    return path


def read(path: Path) -> list[Trace | RejectedLine]:
    return list(import_traces(path, "sql"))


def test_a_table_is_read_a_conversation_at_a_time_in_order(tmp_path: Path, database: sqlite3.Connection) -> None:
    first, second = read(log(tmp_path))
    assert isinstance(first, Trace)
    assert isinstance(second, Trace)
    assert (first.conversation_id, second.conversation_id) == ("1", "2")
    assert first.messages == second.messages
    assert [message.role for message in first.messages] == ["user", "assistant", "tool", "assistant"]
    assert first.messages[1].tool_calls[0].arguments == {"number": 7}
    assert first.messages[2].result == {"status": "sent"}


def test_a_query_gives_the_rows_it_asks_for(tmp_path: Path, database: sqlite3.Connection) -> None:
    query = "SELECT 't' || ticket AS ticket, author, text, tool, args, answer, id FROM message WHERE ticket = 2"
    (trace,) = read(log(tmp_path, query=query))
    assert (trace.conversation_id, isinstance(trace, Trace)) == ("t2", True)


def test_a_query_whose_conversations_are_mixed_is_to_be_sorted(tmp_path: Path, database: sqlite3.Connection) -> None:
    with pytest.raises(InvalidInput, match=r"those of '2' go on at support\.json:3\. Sort the rows by 'ticket' first"):
        read(log(tmp_path, query="SELECT * FROM message ORDER BY id"))


def breaking(row: int) -> str:
    """A query of the second conversation, then the first, that asks the impossible of one row, which SQLite notices when it comes there."""
    impossible = f"CASE WHEN id = {row} THEN abs(-9223372036854775807 - 1) ELSE text END AS text"
    half = f"SELECT ticket, author, {impossible}, tool, args, answer, id FROM message"
    return f"{half} WHERE ticket = 2 UNION ALL {half} WHERE ticket = 1"


@pytest.mark.parametrize(("row", "read_before"), [(5, 0), (8, 1)])
def test_a_database_that_goes_away_says_how_much_was_read(tmp_path: Path, database: sqlite3.Connection, row: int, read_before: int) -> None:
    with pytest.raises(Unavailable, match=rf"after {read_before} conversations support\.json got: integer overflow"):
        read(log(tmp_path, query=breaking(row)))


def test_rows_are_fetched_as_they_are_needed(tmp_path: Path, database: sqlite3.Connection) -> None:
    assert next(import_traces(log(tmp_path, query=breaking(8)), "sql")).conversation_id == "2"


def test_a_database_that_is_away_is_told_without_its_password(tmp_path: Path) -> None:
    path = log(tmp_path, url="postgresql+psycopg://ann:SECRET@127.0.0.1:1/support")
    with pytest.raises(Unavailable, match=r"after 0 conversations support\.json got: .*127\.0\.0\.1") as refusal:
        read(path)
    assert "SECRET" not in str(refusal.value)
    with pytest.raises(Unavailable, match="must be within reach"):
        fingerprint(TraceSource(path=path, format="sql"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "sqlite:////nowhere/support.db"}, "no file is at '/nowhere/support.db'"),
        ({"url": f"sqlite:////{'a' * 300}.db"}, "cannot: File name too long"),
        ({"url": "SECRET"}, "A log is read with a url and a query that gives rows; support.json got: Could not parse"),
        ({"url": "oracel://ann:SECRET@host"}, "Can't load plugin"),
        ({"url": "mysql+pymysql://ann:SECRET@host/db"}, "A database needs its driver; support.json needs 'pymysql'"),
        ({"query": "SELECT * FROM mesage"}, "a query that its database understands; support.json got: no such table: mesage"),
        ({"query": "SELECT"}, "syntax error|incomplete input"),
        ({"query": "SELECT * FROM message WHERE ticket = :ticket"}, r"without parameters; the one in support\.json has ':ticket'\. Write"),
        ({"query": "SELECT ticket AS tickets, author, text, tool, args, answer, id FROM message"}, "Did you mean 'tickets' for 'ticket'"),
        ({"query": "SELECT 1", "table": "message"}, "the mapping has both a `table` and a `query`, of which it needs one"),
        ({"table": None}, "the mapping has neither a `table` nor a `query`"),
        ({"columns": {}}, "columns.conversation_id is missing"),
    ],
)
def test_what_is_asked_wrongly_is_told_without_the_password(
    tmp_path: Path, database: sqlite3.Connection, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message) as refusal:
        read(log(tmp_path, **fields))
    assert "SECRET" not in str(refusal.value)


ALL = "ticket, author, text, tool, args, answer, id"


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        (f"DELETE FROM message RETURNING {ALL}", "begins with 'DELETE'"),
        (f"/* SELECT */ update message SET text = 'x' RETURNING {ALL}", "begins with 'update'"),
        (f"WITH gone AS (DELETE FROM message RETURNING *) SELECT {ALL} FROM gone", "has DELETE"),
        (f"WITH one AS (SELECT 1) UPDATE message SET text = 'x' RETURNING {ALL}", "has UPDATE"),
        ("SELECT * INTO copied FROM message", "has INTO"),
        ("SELECT * FROM message; DROP TABLE message", "goes on after a semicolon"),
        ("SELEKT", "begins with 'SELEKT'"),
        (" -- nothing", "is empty"),
    ],
)
def test_a_query_that_is_not_one_select_is_refused_before_it_is_sent(
    tmp_path: Path, database: sqlite3.Connection, query: str, fault: str
) -> None:
    with pytest.raises(InvalidInput, match=rf"one SELECT, .*; the query in support\.json {fault}\. Select the rows"):
        read(log(tmp_path, query=query))
    assert database.execute("SELECT COUNT(*), COUNT(DISTINCT text) FROM message").fetchone() == (8, 2)


@pytest.mark.parametrize(
    "query",
    [
        f"-- delete from message;\nSELECT {ALL} FROM message WHERE ticket = 2 AND 'insert into x; (update y' <> 'it''s';",
        f"WITH two AS (SELECT * FROM message WHERE ticket = 2) SELECT {ALL} FROM two",
        f"SELECT replace(ticket, '(delete x)', '') AS ticket, {ALL[8:]} FROM (SELECT * FROM message WHERE ticket = 2)",
    ],
)
def test_a_select_may_speak_of_changes(tmp_path: Path, database: sqlite3.Connection, query: str) -> None:
    (trace,) = read(log(tmp_path, query=query))
    assert trace.conversation_id == "2"


def test_the_database_is_told_that_it_is_only_read(tmp_path: Path, database: sqlite3.Connection) -> None:
    query = "SELECT 'c' || query_only AS ticket, 'user' AS author, 'Hi' AS text, '' AS tool, '' AS args, '' AS answer, 1 AS id"
    (trace,) = read(log(tmp_path, query=f"{query} FROM pragma_query_only"))
    assert trace.conversation_id == "c1"


def test_a_cell_that_is_no_text_costs_its_conversation(tmp_path: Path, database: sqlite3.Connection) -> None:
    database.execute("UPDATE message SET text = x'fffe' WHERE id = 2")
    database.commit()
    rejected, trace = read(log(tmp_path))
    assert isinstance(trace, Trace)
    assert isinstance(rejected, RejectedLine)
    assert rejected.reasons == ("A cell holds text, a number, a date or JSON; bytes in support.json:1 is none.",)
    assert rejected.conversation_id == "1"


def test_the_fingerprint_follows_the_rows_and_what_they_mean_and_not_the_password(tmp_path: Path, database: sqlite3.Connection) -> None:
    def digest(**fields: Any) -> str:
        return fingerprint(TraceSource(path=log(tmp_path, **fields), format="sql")).files[0].digest

    before = digest()
    assert digest(url=f"sqlite:///{tmp_path / 'support.db'}?timeout=9") == before
    assert digest(roles={}) != before
    database.execute("UPDATE message SET text = 'Where?' WHERE id = 1")
    database.commit()
    assert digest() != before


def test_the_file_that_names_a_database_is_recognised(tmp_path: Path, database: sqlite3.Connection) -> None:
    with pytest.raises(InvalidInput, match=r"looks like sql\. Use sql"):
        list(import_traces(log(tmp_path), "jsonl"))


@pytest.mark.parametrize("format", ["sql", "jsonl", "csv"])
def test_a_database_in_place_of_the_file_that_names_it_says_what_to_write(
    tmp_path: Path, database: sqlite3.Connection, format: str
) -> None:
    mapping = tmp_path / "columns.json"
    mapping.write_text(json.dumps({"columns": COLUMNS}))
    with pytest.raises(InvalidInput, match=r"looks like an SQLite database\. Write a file with its `url`, .* sql \(--format sql\)"):
        list(import_traces(tmp_path / "support.db", format, mapping=mapping if format == "csv" else None))


def test_the_fingerprint_of_a_database_itself_says_what_to_write(tmp_path: Path, database: sqlite3.Connection) -> None:
    with pytest.raises(InvalidInput, match=r"looks like an SQLite database\. Write a file"):
        fingerprint(TraceSource(path=tmp_path / "support.db", format="sql"))


def test_a_mapping_beside_the_file_that_names_a_database_is_refused(tmp_path: Path, database: sqlite3.Connection) -> None:
    path = log(tmp_path)
    with pytest.raises(InvalidInput, match=r"For sql the log itself is the mapping, .*\. Write its columns into the log's file"):
        list(import_traces(path, "sql", mapping=path))
