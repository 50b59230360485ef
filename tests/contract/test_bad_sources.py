"""What is wrong with a log's files: told at once and clearly, with everything before it accounted for and nothing half-written."""

import gzip
import json
import sqlite3
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from agentgym.errors import AgentGymError, InvalidInput, Unavailable
from agentgym.messages import ToolCall, assistant, user
from agentgym.store import FileStore
from agentgym.traces import validation
from agentgym.traces.importers import BUILT_IN_FORMATS, RejectedLine, import_traces
from agentgym.traces.ingestion import ingest
from agentgym.traces.source import Fingerprint, TraceSource, fingerprint
from agentgym.traces.trace import Trace
from agentgym.traces.validation import load_validated

COLUMNS = {"conversation_id": "ticket", "role": "author", "content": "text", "tool_name": "tool", "arguments": "args", "result": "answer"}
NO_FILES = Fingerprint(files=())
ROWS = [("user", "Hi", None, None, None), ("assistant", None, "find", '{"n": 1}', "7"), ("assistant", "There.", None, None, None)]


def conversation(number: int, words: str = "Hi") -> dict[str, Any]:
    call = {"role": "assistant", "tool_calls": [{"id": "x", "name": "find", "arguments": {"n": number}}]}
    messages = [{"role": "user", "content": words}, call, {"role": "tool", "tool_call_id": "x", "result": number}]
    return {"conversation_id": f"c{number}", "messages": messages}


def write_log(path: Path, count: int = 5) -> Path:
    path.write_text("".join(json.dumps(conversation(number)) + "\n" for number in range(count)))
    return path


def ids_and_reasons(path: Path, format: str = "jsonl") -> list[str]:
    items = import_traces(path, format)
    return [item.reasons[0] if isinstance(item, RejectedLine) else item.conversation_id for item in items]


@pytest.mark.parametrize("format", [name for name in BUILT_IN_FORMATS if name not in ("csv", "sql", "sgd")])
def test_a_json_log_read_as_another_format_is_refused_or_accounted_for(tmp_path: Path, format: str) -> None:
    (tmp_path / "rows.csv").write_text("ticket,author\n1,user\n")
    with pytest.raises(InvalidInput, match="looks like CSV"):
        list(import_traces(tmp_path / "rows.csv", format))
    (tmp_path / "db.json").write_text(json.dumps({"url": "sqlite://", "table": "t", "columns": {"conversation_id": "a", "role": "b"}}))
    with pytest.raises(InvalidInput, match="Use sql"):
        list(import_traces(tmp_path / "db.json", format))


@pytest.mark.parametrize("content", [b"SQLite format 3\x00" + bytes(100), b"PAR1" + bytes(100), "ticket,author".encode("utf-16")])
def test_rows_that_are_a_database_or_in_another_encoding_are_named(tmp_path: Path, content: bytes) -> None:
    mapping = tmp_path / "mapping.json"
    mapping.write_text(json.dumps({"columns": COLUMNS}))
    (tmp_path / "log.csv").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"looks like|UTF-16"):
        list(import_traces(tmp_path / "log.csv", "csv", mapping=mapping))


def test_a_compressed_log_cut_short_stops_the_run_with_nothing_written(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl.gz"
    log.write_bytes(gzip.compress(write_log(tmp_path / "plain.jsonl", 2000).read_bytes())[:-200])
    source = TraceSource(path=log)
    with pytest.raises(InvalidInput, match="A log must be readable to its end"):
        ingest(source, fingerprint(source), FileStore(tmp_path / "store"), make_redactor=lambda: None, processes=1)
    assert not (tmp_path / "store").exists()


def test_a_line_of_a_hundred_megabytes_is_rejected_without_being_held(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", 2)
    with log.open("ab") as file:
        file.write(b'{"conversation_id": "long", "messages": "')
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n' + json.dumps(conversation(2)).encode())
    tracemalloc.start()
    first, second, reason, last = ids_and_reasons(log)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (first, second, last) == ("c0", "c1", "c2")
    assert reason == "A conversation must fit 67,108,864 bytes; this line does not."
    assert peak < 2.2 * 67_108_864


@pytest.mark.parametrize("depth", [300, 10_000, 1_000_000])
def test_nesting_without_end_costs_its_line(tmp_path: Path, depth: int) -> None:
    log = tmp_path / "log.jsonl"
    deep = '{"conversation_id": "deep", "messages": ' + "[" * depth + "]" * depth + "}"
    log.write_text("\n".join((json.dumps(conversation(0)), deep, json.dumps(conversation(1)))))
    first, reason, last = ids_and_reasons(log)
    assert (first, last) == ("c0", "c1")
    assert reason.startswith(("A conversation must be", "A line must be JSON", "Every message must be an object"))


def test_schemas_that_refer_to_themselves_are_no_trap(tmp_path: Path) -> None:
    cyclic = {"type": "object", "properties": {"n": {"$ref": "#"}}}
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(conversation(1) | {"tools": [{"name": "find", "parameters": cyclic}]}) + "\n" + json.dumps(conversation(2)))
    report = load_validated(log, "jsonl", max_quarantined_share=1.0).report
    assert (report.read, report.accepted, report.quarantined) == (2, 1, 1)


def test_a_value_that_holds_itself_cannot_be_logged_and_is_no_message() -> None:
    """JSON has no cycles; an importer of another package could hand one on."""
    arguments: dict[str, Any] = {}
    arguments["self"] = arguments
    with pytest.raises(ValueError, match="recursion"):
        Trace(conversation_id="c", messages=(user("Hi"), assistant("", ToolCall(name="find", arguments=arguments))))


def test_another_encoding_costs_its_lines(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    written = [json.dumps(conversation(number, "Grüße"), ensure_ascii=False) for number in range(3)]
    log.write_bytes(b"\n".join((written[0].encode(), written[1].encode("latin-1"), written[2].encode())))
    first, reason, last = ids_and_reasons(log)
    assert (first, last, "iconv" in reason) == ("c0", "c2", True)


def write_database(folder: Path, *, broken_row: int | None = None) -> Path:
    """A hundred conversations; SQLite finds the page of one row broken when it comes to it."""
    database = folder / "support.db"
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA page_size = 512")
        connection.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, ticket, author, text, tool, args, answer)")
        rows = [(ticket, *row) for ticket in range(100, 200) for row in ROWS]
        connection.executemany("INSERT INTO message (ticket, author, text, tool, args, answer) VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.close()
    if broken_row is not None:
        content = bytearray(database.read_bytes())
        middle = (len(content) // 512 * broken_row // 300) * 512
        content[middle : middle + 512] = b"\xff" * 512
        database.write_bytes(content)
    log = folder / "support.json"
    query = "SELECT * FROM message ORDER BY id"
    log.write_text(json.dumps({"url": f"sqlite:///{database}", "query": query, "columns": COLUMNS}))
    return log


def test_a_database_that_breaks_in_the_middle_says_how_far_it_was_read_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "BATCH_CONVERSATIONS", 10)
    source, read = TraceSource(path=write_database(tmp_path, broken_row=200), format="sql"), list[int]()
    with pytest.raises((Unavailable, InvalidInput), match=r"malformed|disk image"):
        ingest(source, NO_FILES, FileStore(tmp_path / "store"), make_redactor=lambda: None, processes=1, on_progress=read.append)
    assert read
    assert not (tmp_path / "store").exists()


def test_a_database_without_the_columns_is_refused_before_a_row_is_read(tmp_path: Path) -> None:
    log = write_database(tmp_path)
    mapping = json.loads(log.read_text())
    log.write_text(json.dumps(mapping | {"columns": COLUMNS | {"outcome": {"column": "how it ended", "values": {}}}}))
    with pytest.raises(InvalidInput, match="'how it ended' is not among those of"):
        load_validated(log, "sql")


def test_a_folder_in_which_one_file_is_broken_accounts_for_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    write_log(folder / "a.jsonl", 2)
    (folder / "b.json").write_text('[{"messages": [}')
    (folder / "c.jsonl").write_text(json.dumps(conversation(7)))
    first, second, reason, last = ids_and_reasons(folder)
    assert (first, second, last) == ("c0", "c1", "c7")
    assert reason.startswith("A log must be JSON")


def test_a_mapping_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("ticket,author\n1,user\n")
    (tmp_path / "mapping.json").write_text("{columns}")
    with pytest.raises(AgentGymError, match=r"mapping\.json' must be JSON"):
        list(import_traces(tmp_path / "log.csv", "csv", mapping=tmp_path / "mapping.json"))
