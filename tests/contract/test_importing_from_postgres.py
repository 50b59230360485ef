"""A log in a real Postgres: types that SQLite lacks, a cursor on the server, and a server that ends the session."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from agentgym.errors import InvalidInput, Unavailable
from agentgym.traces.importers import import_traces
from agentgym.traces.importers.sql import ROWS_AT_A_TIME
from agentgym.traces.source import TraceSource, fingerprint
from agentgym.traces.trace import Trace

CONVERSATIONS = 3_000
COLUMNS = {
    "conversation_id": "ticket",
    "role": "author",
    "content": "text",
    "tool_name": "tool",
    "arguments": "args",
    "result": "answer",
    "timestamp": "at",
    "satisfaction_score": "stars",
}

CALLED = (
    "'assistant', 'It is on its way.', 'find_order', JSONB '{\"number\": 7}', JSON '{\"status\": \"sent\"}', "
    "TIMESTAMPTZ '2024-05-15 10:01+02', 4.5"
)


@pytest.fixture
def engine(postgres_url: str) -> Iterator[sqlalchemy.Engine]:
    """A schema with conversations of two rows: a question, and a call with its result and the words about it."""
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA support")
        connection.exec_driver_sql(
            "CREATE TABLE support.message "
            "(ticket uuid, author text, text text, tool text, args jsonb, answer json, at timestamptz, stars numeric)"
        )
        for row in ("'user', 'Where is my order?', NULL, NULL, NULL, TIMESTAMPTZ '2024-05-15 10:00+02', NULL", CALLED):
            numbers = f"generate_series(1, {CONVERSATIONS}) AS n"
            connection.exec_driver_sql(f"INSERT INTO support.message SELECT md5(n::text)::uuid, {row} FROM {numbers}")
    yield engine
    with engine.begin() as connection:
        # A test that failed may still hold its cursor.
        connection.exec_driver_sql("SET lock_timeout = '5s'")
        connection.exec_driver_sql("DROP SCHEMA support CASCADE")
    engine.dispose()


@pytest.fixture
def log(tmp_path: Path, postgres_url: str) -> Path:
    path = tmp_path / "support.json"
    path.write_text(json.dumps({"url": postgres_url, "table": "support.message", "columns": COLUMNS}))
    return path


def test_types_of_the_database_become_json(engine: sqlalchemy.Engine, log: Path) -> None:
    traces = list(import_traces(log, "sql"))
    assert len(traces) == CONVERSATIONS
    trace = traces[0]
    assert isinstance(trace, Trace)
    assert [message.role for message in trace.messages] == ["user", "assistant", "tool", "assistant"]
    assert (trace.messages[1].tool_calls[0].arguments, trace.messages[2].result) == ({"number": 7}, {"status": "sent"})
    assert (len(trace.conversation_id), trace.satisfaction_score) == (36, 4.5)
    assert trace.started_at is not None
    assert trace.started_at.timestamp() == 1_715_760_000


def test_a_session_that_the_server_ends_says_how_much_was_read(engine: sqlalchemy.Engine, log: Path) -> None:
    traces = import_traces(log, "sql")
    read = [next(traces)]
    with engine.begin() as connection:
        ended = connection.exec_driver_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'")
        assert len(ended.all()) == 1
    with pytest.raises(Unavailable, match=r"after \d+ conversations support\.json got: ") as refusal:
        read += traces
    # No more than what had been fetched.
    assert 0 < len(read) <= ROWS_AT_A_TIME
    assert f"after {len(read)} conversations" in str(refusal.value)


def test_the_fingerprint_of_a_table_stays_until_a_row_changes(engine: sqlalchemy.Engine, log: Path) -> None:
    source = TraceSource(path=log, format="sql")
    before = fingerprint(source)
    assert fingerprint(source) == before
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE support.message SET stars = 1 WHERE ticket = md5('7')::uuid")
    assert fingerprint(source) != before


def test_a_function_that_writes_is_refused_by_the_server(engine: sqlalchemy.Engine, log: Path) -> None:
    """The query is a SELECT; only the server knows what its function does."""
    with engine.begin() as connection:
        body = "DELETE FROM support.message; SELECT 'c1'"
        connection.exec_driver_sql(f"CREATE FUNCTION support.emptied() RETURNS text LANGUAGE sql AS $$ {body} $$")
    query = "SELECT support.emptied() AS ticket, author, text, tool, args, answer, at, stars FROM support.message"
    mapping = json.loads(log.read_text())
    log.write_text(json.dumps({"url": mapping["url"], "columns": COLUMNS, "query": query}))
    with pytest.raises(InvalidInput, match="cannot execute DELETE in a read-only transaction"):
        list(import_traces(log, "sql"))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM support.message").scalar() == 2 * CONVERSATIONS
