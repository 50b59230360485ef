import csv
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentgym.errors import AgentGymError, InvalidInput
from agentgym.traces.importers import Record, RejectedLine, import_traces, read_records
from agentgym.traces.importers.json_values import MAX_VALUE_CHARACTERS
from agentgym.traces.source import TraceSource, fingerprint
from agentgym.traces.tables import Memory, flatten
from agentgym.traces.trace import Trace

COLUMNS = {"conversation_id": "ticket", "role": "author", "content": "text", "tool_name": "tool", "arguments": "args", "result": "answer"}
MORE = {"customer_id": "customer", "outcome": "end", "satisfaction_score": "stars", "timestamp": "at"}
ROLES = {"customer": "user", "bot": "assistant", "api": "tool", "note": None}
HEADER = ["ticket", "author", "text", "tool", "args", "answer"]
ROWS = [
    ["t1", "customer", "Where is my order?", "", "", ""],
    ["t1", "bot", "", "find_order", '{"number": 7}', ""],
    ["t1", "api", "", "find_order", "", '{"status": "sent"}'],
    ["t1", "bot", "It is on its way.", "", "", ""],
]


def read(tmp_path: Path, rows: list[list[str]], header: list[str] = HEADER, **mapping: Any) -> list[Trace | RejectedLine]:
    with (tmp_path / "log.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=mapping.get("delimiter", ",")[:1]).writerows([header, *rows])
    return read_file(tmp_path / "log.csv", **mapping)


def read_file(path: Path, **mapping: Any) -> list[Trace | RejectedLine]:
    file = path.parent / "mapping.json"
    file.write_text(json.dumps({"columns": COLUMNS, "roles": ROLES, **mapping}))
    return list(import_traces(path, "csv", mapping=file))


def trace_of(items: list[Trace | RejectedLine]) -> Trace:
    (trace,) = items
    assert isinstance(trace, Trace), trace
    return trace


def reasons(items: list[Trace | RejectedLine]) -> list[str]:
    return [reason for item in items if isinstance(item, RejectedLine) for reason in item.reasons]


def test_rows_of_a_conversation_become_its_messages(tmp_path: Path) -> None:
    trace = trace_of(read(tmp_path, ROWS))
    assert [message.role for message in trace.messages] == ["user", "assistant", "tool", "assistant"]
    assert trace.messages[1].tool_calls[0].arguments == {"number": 7}
    assert (trace.messages[2].name, trace.messages[2].result) == ("find_order", {"status": "sent"})
    assert trace.messages[3].content == "It is on its way."


def test_words_beside_a_call_and_its_result_come_after_them(tmp_path: Path) -> None:
    """Before the call, they would tell its result."""
    row = ["t1", "bot", "It is on its way.", "find_order", "{}", "sent"]
    trace = trace_of(read(tmp_path, [row]))
    assert [(message.role, message.content) for message in trace.messages] == [
        ("assistant", ""),
        ("tool", "sent"),
        ("assistant", "It is on its way."),
    ]


def test_a_row_of_a_tool_with_arguments_is_call_and_result(tmp_path: Path) -> None:
    trace = trace_of(read(tmp_path, [ROWS[0], ["t1", "api", "", "find_order", '{"number": 7}', "no such order"]]))
    assert [message.role for message in trace.messages] == ["user", "assistant", "tool"]
    assert (trace.messages[2].content, trace.messages[2].result) == ("no such order", None)


def test_words_and_calls_of_one_turn_in_several_rows_are_one_message(tmp_path: Path) -> None:
    said = ["t1", "bot", "One moment.", "", "", ""]
    trace = trace_of(read(tmp_path, [ROWS[0], said, ROWS[1], ROWS[1], ROWS[2], ROWS[2]]))
    assert [message.role for message in trace.messages] == ["user", "assistant", "tool", "tool"]
    assert (trace.messages[1].content, len(trace.messages[1].tool_calls)) == ("One moment.", 2)


def test_what_the_mapping_knows_of_a_conversation_is_taken_from_its_rows(tmp_path: Path) -> None:
    header = [*HEADER, "customer", "end", "stars", "at"]
    rows = [
        [*row, "ann", end, stars, at]
        for row, end, stars, at in zip(ROWS, ["", "", "", "resolved"], ["", "", "3", "4.5"], "1234", strict=True)
    ]
    moments = [[*row[:-1], f"2024-05-0{row[-1]} 10:00:00"] for row in rows]
    trace = trace_of(read(tmp_path, moments, header, columns=COLUMNS | MORE))
    assert (trace.customer_id, trace.outcome, trace.satisfaction_score) == ("ann", "resolved", 4.5)
    assert trace.started_at is not None
    assert trace.ended_at is not None
    assert (trace.started_at.day, trace.ended_at.day) == (1, 4)


def test_how_a_conversation_ended_may_be_said_in_other_words(tmp_path: Path) -> None:
    said = {"column": "end", "values": {"solved": "resolved", "open": None, "1": "escalated"}}
    rows = [[f"t{number}", *row[1:], end] for number, end in enumerate(("solved", "open", "1", "lost")) for row in ROWS]
    items = read(tmp_path, rows, [*HEADER, "end"], columns=COLUMNS | {"outcome": said})
    assert [item.outcome for item in items if isinstance(item, Trace)] == ["resolved", None, "escalated"]
    (reason,) = reasons(items)
    assert reason.startswith("outcome: Input should be 'resolved', 'escalated', 'unresolved' or 'abandoned'")


def test_an_outcome_in_an_absent_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'ended' is not among"):
        read(tmp_path, ROWS, columns=COLUMNS | {"outcome": {"column": "ended", "values": {}}})


@pytest.mark.parametrize("orders", [["10", "9", "8", "7"], ["2024-04", "2024-03", "2024-02", "2024-01"]])
def test_rows_are_put_in_order_by_number_or_by_text(tmp_path: Path, orders: list[str]) -> None:
    rows = [[*row, order] for row, order in zip(ROWS, orders, strict=True)]
    trace = trace_of(read(tmp_path, rows, [*HEADER, "place"], columns=COLUMNS | {"order": "place"}))
    assert [message.role for message in trace.messages] == ["assistant", "tool", "assistant", "user"]


@pytest.mark.parametrize(
    ("orders", "reason"),
    [
        (["9", "10", "11", ""], "Every row says in 'place' where it stands in its conversation; the one in log.csv:5 does not."),
        (["9", "10", "x", "12"], "Rows are in order by numbers, or by dates; 'place' in log.csv:4 is 'x' beside numbers."),
    ],
)
def test_rows_whose_order_is_not_known_are_in_none(tmp_path: Path, orders: list[str], reason: str) -> None:
    rows = [[*row, order] for row, order in zip(ROWS, orders, strict=True)]
    assert reasons(read(tmp_path, rows, [*HEADER, "place"], columns=COLUMNS | {"order": "place"})) == [reason]


def test_rows_that_are_mapped_to_nothing_are_not_said(tmp_path: Path) -> None:
    assert trace_of(read(tmp_path, [*ROWS, ["t1", "note", "SECRET", "", "", ""]])) == trace_of(read(tmp_path, ROWS))


def test_conversations_must_be_contiguous_and_the_first_that_comes_back_is_named(tmp_path: Path) -> None:
    rows = [ROWS[0], ["t2", *ROWS[0][1:]], ROWS[1]]
    with pytest.raises(InvalidInput, match=r"must follow each other; those of 't1' go on at log\.csv:4\. Sort the rows by 'ticket' first"):
        read(tmp_path, rows)


def test_a_conversation_may_go_on_in_the_next_file(tmp_path: Path) -> None:
    for name, rows in (("a", ROWS[:2]), ("b", ROWS[2:])):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([HEADER, *rows])
    (tmp_path / "mapping.json").write_text(json.dumps({"columns": COLUMNS, "roles": ROLES}))
    (trace,) = import_traces(tmp_path, "csv", mapping=tmp_path / "mapping.json")
    assert isinstance(trace, Trace)
    assert len(trace.messages) == 4


def test_a_quoted_cell_may_hold_lines_and_be_longer_than_the_modules_own_bound(tmp_path: Path) -> None:
    long = 'Dear all,\n"quoted"\n' + "x" * 200_000
    rows = [["t1", "customer", long, "", "", ""], ["t2", "clerk", "hello", "", "", ""]]
    told, rejected = read(tmp_path, rows)
    assert isinstance(told, Trace)
    assert told.messages[0].content == long
    assert isinstance(rejected, RejectedLine)
    assert rejected.line == 5


def test_another_delimiter_is_said_in_the_mapping(tmp_path: Path) -> None:
    assert len(trace_of(read(tmp_path, ROWS, delimiter=";")).messages) == 4


def test_absent_columns_are_named_at_once_with_near_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"'tickets', 'xyz' are not among those of .*log\.csv.*Did you mean 'ticket' for 'tickets'\?"):
        read(tmp_path, ROWS, columns=COLUMNS | {"conversation_id": "tickets", "outcome": "xyz"})


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has 'ticket' more than once"):
        read(tmp_path, ROWS, ["ticket", "author", "text", "tool", "args", "answer", "ticket"])


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        ({"columns": {"role": "author"}}, "columns.conversation_id is missing"),
        ({"roles": {"bot": "robot"}}, "roles.bot must be one of 'system', 'user'"),
        ({"delimiter": ";;"}, "delimiter must be one character"),
        ({"colums": {}}, "colums is not known"),
    ],
)
def test_a_mapping_that_is_wrong_says_where(tmp_path: Path, mapping: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInput, match=f"A mapping says in JSON what the columns of rows mean; in .*{reason}"):
        read(tmp_path, ROWS, **mapping)


def test_rows_without_a_mapping_are_refused(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("a,b\n")
    with pytest.raises(InvalidInput, match="Rows need a mapping"):
        list(import_traces(tmp_path / "log.csv", "csv"))


def test_what_is_wrong_with_a_row_costs_its_conversation(tmp_path: Path) -> None:
    other = ["t2", "customer", "Hello", "", "", ""]
    items = read(tmp_path, [*ROWS, ["t1", "short"], other, ["", *other[1:]], ["t3", "clerk", "Hi", "", "", ""]])
    assert reasons(items) == [
        "A row has a cell for each of the 6 columns; log.csv:6 has 2.",
        "A row belongs to a conversation; its column 'ticket' is empty.",
        "A role is one of system, user, assistant, tool, or mapped to one; 'clerk' in log.csv:9 is not.",
    ]
    assert [item.conversation_id for item in items] == ["t1", "t2", None, "t3"]


def test_bytes_that_are_no_text_cost_their_conversation(tmp_path: Path) -> None:
    read(tmp_path, [["t0", *ROWS[0][1:]], *ROWS])
    path = tmp_path / "log.csv"
    path.write_bytes(path.read_bytes().replace(b"on its way", b"M\xfcnchen"))
    accepted, rejected = read_file(path)
    assert accepted.conversation_id == "t0"
    assert isinstance(rejected, RejectedLine)
    assert rejected.reasons == ("A log must be UTF-8; log.csv:6 is not. Convert it: `iconv -f ENCODING -t UTF-8`.",)


def test_a_quote_that_is_never_closed_is_told_and_costs_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(",".join(HEADER) + '\nt0,customer,Hi,,,\nt1,customer,Hi,,,\nt1,bot,"It is,,,\nt2,customer,Hi,,,\n')
    accepted, rejected = read_file(path)
    assert accepted.conversation_id == "t0"
    assert isinstance(rejected, RejectedLine)
    assert (rejected.conversation_id, rejected.line) == ("t1", 3)
    assert rejected.reasons[0].startswith("A log must be CSV; unexpected end of data in log.csv:")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04", "looks like a ZIP archive"),
        ("ticket,author\n".encode("utf-16"), "UTF-8; .*UTF-16"),
        (b'{"messages": []}', "looks like jsonl"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        read_file(path)


def test_a_csv_read_as_json_says_how_to_read_it(tmp_path: Path) -> None:
    read(tmp_path, ROWS)
    with pytest.raises(InvalidInput, match=r"looks like CSV\. Use csv with a mapping"):
        list(import_traces(tmp_path / "log.csv", "jsonl"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mangled_cell_costs_no_other_conversation(tmp_path: Path, data: st.DataObject) -> None:
    rows = [list(row) for row in ROWS]
    for _ in range(data.draw(st.integers(1, 4))):
        row = data.draw(st.sampled_from(rows))
        row[data.draw(st.integers(1, 5))] = data.draw(st.text(max_size=5) | st.sampled_from(["{", "null", "[1]", '"', "nan", "bot", "api"]))
    items = read(tmp_path, [["t0", *ROWS[0][1:]], *rows, ["t2", *ROWS[0][1:]]])
    assert [item.conversation_id for item in items] == ["t0", "t1", "t2"]
    assert isinstance(items[0], Trace)
    assert isinstance(items[2], Trace)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mangled_bytes_are_read_or_refused_and_never_crash(tmp_path: Path, data: st.DataObject) -> None:
    read(tmp_path, [["t0", *ROWS[0][1:]], *ROWS])
    content = bytearray((tmp_path / "log.csv").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=6))
    (tmp_path / "log.csv").write_bytes(bytes(content))
    (tmp_path / "mapping.json").write_text(json.dumps({"columns": COLUMNS, "roles": ROLES}))
    with suppress(AgentGymError):
        records = list(read_records(tmp_path / "log.csv", "csv", mapping=tmp_path / "mapping.json"))
        flatten([record for record in records if isinstance(record, Record)], Memory())
        orjson.dumps([item.conversation_id for item in records])


def test_a_conversation_without_end_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentgym.traces.importers.rows.MAX_ROWS", 3)
    items = read(tmp_path, [*ROWS, ["t2", *ROWS[0][1:]]])
    assert reasons(items) == ["A conversation has at most 3 rows; this one has more."]
    assert items[1].conversation_id == "t2"
    assert csv.field_size_limit() == MAX_VALUE_CHARACTERS


def test_the_fingerprint_of_rows_is_also_that_of_their_mapping(tmp_path: Path) -> None:
    """Else a run would take what an earlier mapping made of the same rows."""
    read(tmp_path, ROWS)
    source = TraceSource(path=tmp_path / "log.csv", format="csv", mapping=tmp_path / "mapping.json")
    before = fingerprint(source)
    (tmp_path / "mapping.json").write_text("{}")
    assert [old == new for old, new in zip(before.files, fingerprint(source).files, strict=True)] == [True, False]


@pytest.mark.parametrize(
    ("mapping", "fault"),
    [
        ([], "the mapping must be an object"),
        ({"columns": []}, "columns must be an object"),
        ({"columns": COLUMNS | {"role": 7}}, "columns.role must be text"),
        ({"columns": COLUMNS | {"outcome": {"column": "end"}}}, "columns.outcome.values is missing"),
    ],
)
def test_what_is_wrong_in_a_mapping_is_told_without_the_names_of_classes(tmp_path: Path, mapping: Any, fault: str) -> None:
    (tmp_path / "log.csv").write_text("ticket,author\n")
    (tmp_path / "mapping.json").write_text(json.dumps(mapping))
    with pytest.raises(InvalidInput, match=rf"mapping\.json', {fault}\. Mend it"):
        list(import_traces(tmp_path / "log.csv", "csv", mapping=tmp_path / "mapping.json"))


@pytest.mark.parametrize(("name", "fact"), [("absent.json", "is not there"), ("folder", "is a folder")])
def test_a_mapping_that_is_no_file_is_told_as_the_mapping(tmp_path: Path, name: str, fact: str) -> None:
    (tmp_path / "log.csv").write_text("ticket,author\n")
    (tmp_path / "folder").mkdir()
    source = TraceSource(path=tmp_path / "log.csv", format="csv", mapping=tmp_path / name)
    for read_it in (lambda: fingerprint(source), lambda: list(read_records(source.path, "csv", mapping=source.mapping))):
        with pytest.raises(InvalidInput, match=rf"A mapping \(--mapping\) is a JSON file; '.*{name}' {fact}\. Check the path"):
            read_it()


@pytest.mark.parametrize("format", ["jsonl", "otlp", "sgd"])
def test_a_mapping_for_a_format_without_rows_is_refused(tmp_path: Path, format: str) -> None:
    (tmp_path / "log.json").write_text('{"messages": []}')
    (tmp_path / "mapping.json").write_text(json.dumps({"columns": COLUMNS}))
    with pytest.raises(InvalidInput, match=rf"which only csv asks for; the log is read as {format}\. Leave the mapping"):
        list(import_traces(tmp_path / "log.json", format, mapping=tmp_path / "mapping.json"))
