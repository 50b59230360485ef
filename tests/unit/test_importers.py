import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from agentgym.episode import Outcome
from agentgym.errors import InvalidInput
from agentgym.traces.importers import RejectedLine, TraceFormat, import_traces, read_records
from agentgym.traces.importers.chat import read_conversation
from agentgym.traces.importers.record import Record
from agentgym.traces.trace import Trace

SHORT_FORM: dict[str, Any] = {
    "conversation_id": "c1",
    "customer_id": 7,
    "messages": [
        {"role": "user", "content": "Where is my order?"},
        {"role": "assistant", "tool_calls": [{"name": "find_order", "arguments": {"customer": 7}}]},
        {"role": "tool", "name": "find_order", "result": {"status": "sent"}},
        {"role": "assistant", "content": "It is on its way."},
    ],
}
OPENAI_FORM: dict[str, Any] = {
    "id": "c1",
    "messages": [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Where is my order?"}]},
        {"role": "assistant", "content": None, "tool_calls": [_call := {"id": "x", "function": {"name": "find", "arguments": '{"n": 1}'}}]},
        {"role": "tool", "tool_call_id": "x", "content": '{"status": "sent"}'},
        {"role": "assistant", "content": "It is on its way."},
    ],
    "tools": [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}],
}


def write_lines(path: Path, *values: object) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def traces_of(path: Path, format: TraceFormat = "jsonl") -> list[Trace]:
    return [item for item in import_traces(path, format) if isinstance(item, Trace)]


def rejected_of(path: Path, format: TraceFormat = "jsonl") -> list[RejectedLine]:
    return [item for item in import_traces(path, format) if isinstance(item, RejectedLine)]


def test_short_form_keeps_calls_and_results_as_json(tmp_path: Path) -> None:
    (trace,) = traces_of(write_lines(tmp_path / "log.jsonl", SHORT_FORM))
    assert trace.customer_id == "7"
    assert trace.messages[1].tool_calls[0].arguments == {"customer": 7}
    assert trace.messages[2].result == {"status": "sent"}


def test_openai_form_is_read_into_the_same_shape(tmp_path: Path) -> None:
    (trace,) = traces_of(write_lines(tmp_path / "log.jsonl", OPENAI_FORM), "openai")
    assert [message.role for message in trace.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert trace.messages[1].content == "Where is my order?"
    assert trace.messages[2].tool_calls[0].arguments == {"n": 1}
    assert (trace.messages[3].name, trace.messages[3].result) == ("find", {"status": "sent"})
    assert trace.tools[0].name == "find"


def test_both_forms_may_alternate_line_by_line(tmp_path: Path) -> None:
    traces = traces_of(write_lines(tmp_path / "log.jsonl", SHORT_FORM, OPENAI_FORM | {"id": "c2"}))
    assert [trace.conversation_id for trace in traces] == ["c1", "c2"]


def test_a_result_that_is_no_json_stays_text(tmp_path: Path) -> None:
    log = json.loads(json.dumps(OPENAI_FORM))
    log["messages"][3]["content"] = "Error: no such order"
    (trace,) = traces_of(write_lines(tmp_path / "log.jsonl", log))
    assert trace.messages[3].content == "Error: no such order"
    assert trace.messages[3].result is None
    assert trace.messages[3].is_error


def test_answers_to_a_repeated_call_id_are_paired_by_position(tmp_path: Path) -> None:
    first = {"role": "assistant", "tool_calls": [{"id": "x", "function": {"name": "one", "arguments": "{}"}}]}
    second = {"role": "assistant", "tool_calls": [{"id": "x", "function": {"name": "two", "arguments": "{}"}}]}
    answer = {"role": "tool", "tool_call_id": "x", "content": "1"}
    (trace,) = traces_of(write_lines(tmp_path / "log.jsonl", {"messages": [first, answer, second, answer]}))
    assert [trace.messages[1].name, trace.messages[3].name] == ["one", "two"]


def test_answers_in_another_order_than_the_calls_are_paired_by_id(tmp_path: Path) -> None:
    calls = [{"id": name, "function": {"name": name, "arguments": "{}"}} for name in ("one", "two")]
    answers = [{"role": "tool", "tool_call_id": name, "content": "1"} for name in ("two", "one")]
    (trace,) = traces_of(write_lines(tmp_path / "log.jsonl", {"messages": [{"role": "assistant", "tool_calls": calls}, *answers]}))
    assert [message.name for message in trace.messages[1:]] == ["two", "one"]


def test_what_the_log_adds_becomes_tags(tmp_path: Path) -> None:
    (trace,) = traces_of(write_lines(tmp_path / "log.jsonl", SHORT_FORM | {"queue": "billing", "nested": {"a": 1}}))
    assert trace.tags == {"queue": "billing"}


def test_a_conversation_without_id_is_named_after_its_place(tmp_path: Path) -> None:
    (trace,) = traces_of(write_lines(tmp_path / "log.jsonl", {"messages": SHORT_FORM["messages"]}))
    assert trace.conversation_id == "log.jsonl:1"


def test_conversations_without_ids_on_one_line_have_different_names(tmp_path: Path) -> None:
    """An array is often written on a single line, and all but its first conversation were taken for repetitions."""
    path = tmp_path / "log.json"
    path.write_text(json.dumps([{"messages": SHORT_FORM["messages"]}] * 3))
    assert [trace.conversation_id for trace in traces_of(path)] == ["log.json:1", "log.json:1.2", "log.json:1.3"]


def test_a_result_that_is_content_but_no_text_is_the_result(tmp_path: Path) -> None:
    log = json.loads(json.dumps(OPENAI_FORM))
    log["messages"][3]["content"] = {"status": "sent"}
    assert traces_of(write_lines(tmp_path / "log.jsonl", log))[0].messages[3].result == {"status": "sent"}


@pytest.mark.parametrize("layout", ["array", "indented array", "single", "gzip", "byte order mark"])
def test_every_layout_of_a_file_gives_the_same_traces(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "log.json"
    text = {
        "array": json.dumps([SHORT_FORM]),
        "indented array": json.dumps([SHORT_FORM], indent=2),
        "single": json.dumps(SHORT_FORM, indent=2),
        "gzip": json.dumps(SHORT_FORM),
        "byte order mark": "\ufeff" + json.dumps(SHORT_FORM),
    }[layout]
    path.write_bytes(gzip.compress(text.encode()) if layout == "gzip" else text.encode())
    assert traces_of(path) == traces_of(write_lines(tmp_path / "plain.jsonl", SHORT_FORM))


def test_an_array_larger_than_the_window_is_read_whole(tmp_path: Path) -> None:
    """Strings cut by the window's end, and a value longer than the window, look like broken JSON until more is read."""
    long = {"conversation_id": "long", "messages": [{"role": "user", "content": "ä" * 3_000_000}]}
    short = [SHORT_FORM | {"conversation_id": f"c{number}"} for number in range(5_000)]
    path = tmp_path / "log.json"
    path.write_text(json.dumps([*short, long, SHORT_FORM], ensure_ascii=False))
    traces = traces_of(path)
    assert [trace.conversation_id for trace in traces] == [f"c{number}" for number in range(5_000)] + ["long", "c1"]
    assert len(traces[-2].messages[0].content) == 3_000_000


def test_broken_json_on_line_17_costs_that_line_alone(tmp_path: Path) -> None:
    lines = [json.dumps(SHORT_FORM | {"conversation_id": f"c{number}"}) for number in range(1, 31)]
    lines[16] = lines[16][:40]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(lines))
    (rejected,) = rejected_of(path)
    assert (rejected.source, rejected.line) == ("log.jsonl", 17)
    assert rejected.reasons[0].startswith("A line must be JSON")
    assert len(traces_of(path)) == 29


def test_a_first_line_of_any_length_is_a_line(tmp_path: Path) -> None:
    """A line longer than what is looked at to tell the layout was once taken for an object over several lines."""
    long = SHORT_FORM | {"queue": "x" * 100_000}
    path = tmp_path / "log.jsonl"
    path.write_text(f"{json.dumps(long)}\noops\n{json.dumps(SHORT_FORM)}\n")
    assert [item.line for item in rejected_of(path)] == [2]
    assert len(traces_of(path)) == 2


def test_a_broken_element_of_an_array_names_its_line_and_ends_the_file(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(f'[\n{json.dumps(SHORT_FORM)},\n{{"messages": oops}},\n{json.dumps(SHORT_FORM)}\n]')
    assert len(traces_of(path)) == 1
    assert [(item.line, "on line 3" in item.reasons[0]) for item in rejected_of(path)] == [(3, True)]


def test_a_number_that_is_not_finite_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(SHORT_FORM).replace('"sent"', "NaN"))
    assert rejected_of(path)[0].reasons == ("Numbers must be finite; messages.2.result.status is not.",)


def test_a_score_that_is_not_finite_is_refused_by_name(tmp_path: Path) -> None:
    (rejected,) = rejected_of(write_lines(tmp_path / "log.jsonl", SHORT_FORM | {"satisfaction_score": float("nan")}))
    assert rejected.conversation_id == "c1"
    assert rejected.reasons[0].startswith("satisfaction_score")


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (3, "A conversation must be an object"),
        ({"messages": ["hello"]}, "Every message must be an object; message 0 is str."),
        ({"messages": [{"role": "assistant", "tool_calls": "f"}]}, "The tool_calls of a message must be a list"),
        ({"messages": [{"role": "assistant", "tool_calls": ["f"]}]}, "Every tool call must be an object"),
        ({"messages": [], "tools": {"f": 1}}, "Tools are declared as a list"),
        ({"messages": [], "tools": [3]}, "A tool declaration needs a function"),
        ({"messages": [], "tools": [{"name": "f", "parameters": {"type": "strng"}}]}, "A tool's parameters must be a JSON Schema"),
        ({"messages": [], "tools": [{"name": "f", "parameters": True}]}, "A tool declares its parameters as a JSON Schema object"),
        ({"messages": [{"role": "clerk"}]}, "messages.0.role: "),
    ],
)
def test_a_line_that_holds_no_conversation_says_why(tmp_path: Path, log: object, reason: str) -> None:
    (rejected,) = rejected_of(write_lines(tmp_path / "log.jsonl", log))
    assert rejected.reasons[0].startswith(reason)


def test_conversations_share_equal_tools(tmp_path: Path) -> None:
    first, second = traces_of(write_lines(tmp_path / "log.jsonl", OPENAI_FORM, OPENAI_FORM | {"id": "c2"}))
    assert first.tools[0] is second.tools[0]


def test_tools_beside_the_log_are_in_scope_of_conversations_that_declare_none(tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text(json.dumps(OPENAI_FORM["tools"]))
    (trace,) = traces_of(write_lines(tmp_path / "log.jsonl", SHORT_FORM))
    assert [tool.name for tool in trace.tools] == ["find"]


def test_a_folder_is_read_file_by_file_without_schemas_and_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    write_lines(tmp_path / "b.jsonl", {"messages": SHORT_FORM["messages"]})
    write_lines(tmp_path / "inner" / "a.json", {"messages": SHORT_FORM["messages"]})
    write_lines(tmp_path / ".hidden.jsonl", SHORT_FORM)
    (tmp_path / "schema.json").write_text("[]")
    assert [trace.conversation_id for trace in traces_of(tmp_path)] == ["b.jsonl:1", "inner/a.json:1"]


@pytest.mark.parametrize(
    ("content", "looks"),
    [(b"PAR1\x00\x01", "Parquet"), (b"id,text,score\n1,hello,3\n", "CSV"), (b"<html>", "HTML"), (b"PK\x03\x04", "ZIP")],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes, looks: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=f"looks like .*{looks}"):
        traces_of(path)


def test_a_log_in_another_format_says_which_to_use(tmp_path: Path) -> None:
    sgd = write_lines(tmp_path / "sgd.jsonl", {"dialogue_id": "1", "services": [], "turns": []})
    with pytest.raises(InvalidInput, match=r"looks like sgd\. Use sgd"):
        traces_of(sgd, "jsonl")
    with pytest.raises(InvalidInput, match=r"looks like openai\. Use openai"):
        traces_of(write_lines(tmp_path / "chat.jsonl", OPENAI_FORM), "sgd")


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"A format is one of .*, sgd; got 'yaml'\. Choose"):
        traces_of(write_lines(tmp_path / "log.jsonl", SHORT_FORM), "yaml")
    with pytest.raises(InvalidInput, match=r"got 'opnai'\. Did you mean 'openai'"):
        traces_of(write_lines(tmp_path / "log.jsonl", SHORT_FORM), "opnai")


@pytest.mark.parametrize("mapping", [False, True])
def test_a_name_that_no_file_can_have_is_bad_input(tmp_path: Path, mapping: bool) -> None:
    """Python's own checks of paths raise for it."""
    log, too_long = tmp_path / "log.csv", tmp_path / ("a" * 300)
    log.write_text("a,b")
    with pytest.raises(InvalidInput, match="cannot: File name too long"):
        list(import_traces(log, "csv", mapping=too_long) if mapping else import_traces(too_long, "jsonl"))


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nothing is at"):
        traces_of(tmp_path / "nowhere.jsonl")


def test_a_folder_without_logs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has none"):
        traces_of(tmp_path)


def test_a_gzip_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(SHORT_FORM).encode() * 2_000)[:-40])
    with pytest.raises(InvalidInput, match="A log must be readable to its end"):
        traces_of(path)


def test_an_sgd_file_without_its_schema_is_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "dialogues_001.json", {"dialogue_id": "1", "services": [], "turns": []})
    with pytest.raises(InvalidInput, match="SGD dialogues need their schema"):
        traces_of(path, "sgd")


def sgd_dialogue() -> dict[str, Any]:
    call = {"method": "Find", "parameters": {"city": "Rome"}}
    frame = {"service": "Hotels_1", "actions": [{"act": "NOTIFY_FAILURE"}], "service_call": call, "service_results": [{"name": "Inn"}]}
    turns = [
        {"speaker": "USER", "utterance": "A hotel in Rome", "frames": [{"state": {"secret": 1}, "actions": []}]},
        {"speaker": "SYSTEM", "utterance": "The Inn?", "frames": [frame]},
    ]
    return {"dialogue_id": "1", "services": ["Hotels_1"], "turns": turns}


SGD_SCHEMA = [
    {
        "service_name": "Hotels_1",
        "slots": [
            {"name": "city", "description": "City of the hotel", "is_categorical": False, "possible_values": []},
            {"name": "stars", "description": "Its class", "is_categorical": True, "possible_values": ["3", "4"]},
        ],
        "intents": [
            {
                "name": "Find",
                "description": "Find a hotel",
                "is_transactional": False,
                "required_slots": ["city"],
                "optional_slots": {"stars": "dontcare"},
            }
        ],
    }
]


def write_sgd(folder: Path, *dialogues: object) -> Path:
    folder.mkdir()
    (folder / "schema.json").write_text(json.dumps(SGD_SCHEMA))
    (folder / "dialogues_001.json").write_text(json.dumps(dialogues, indent=2))
    return folder


@pytest.mark.parametrize("name", [[], True, {"a": 1}, 7])
def test_an_sgd_dialogue_without_turns_has_an_id_only_where_that_is_text(tmp_path: Path, name: object) -> None:
    (line,) = import_traces(write_sgd(tmp_path / "train", {"dialogue_id": name}), "sgd")
    assert isinstance(line, RejectedLine)
    assert line.conversation_id is None


def test_an_sgd_call_comes_before_the_words_that_speak_of_its_result(tmp_path: Path) -> None:
    (trace,) = traces_of(write_sgd(tmp_path / "train", sgd_dialogue()), "sgd")
    assert [message.role for message in trace.messages] == ["user", "assistant", "tool", "assistant"]
    assert trace.messages[1].tool_calls[0].name == "Hotels_1.Find"
    assert trace.conversation_id == "train/1"
    assert trace.outcome is Outcome.UNRESOLVED
    assert "secret" not in trace.model_dump_json()


def test_an_sgd_service_becomes_tools_with_json_schema(tmp_path: Path) -> None:
    (trace,) = traces_of(write_sgd(tmp_path / "train", sgd_dialogue()), "sgd")
    (tool,) = trace.tools
    assert tool.required == ("city",)
    assert tool.properties["stars"] == {"type": "string", "description": "Its class", "enum": ["3", "4"]}
    assert tool.writes is False


def test_an_sgd_dialogue_of_an_unknown_service_is_rejected(tmp_path: Path) -> None:
    (rejected,) = rejected_of(write_sgd(tmp_path / "train", sgd_dialogue() | {"services": ["Taxi_1"]}), "sgd")
    assert "'Taxi_1' is missing or wrong" in rejected.reasons[0]


@pytest.mark.parametrize("depth", [70, 200, 260])
@pytest.mark.parametrize("where", ["tools", "result"])
def test_what_nests_deeper_than_every_reader_reads_is_put_aside(tmp_path: Path, where: str, depth: int) -> None:
    """A schema of 120 levels ended its checker, a result of 200 the reader of the snapshot."""
    deep: object = {}
    for _ in range(depth):
        deep = {"properties": deep, "type": "object"} if where == "tools" else [deep]
    tools = [{"type": "function", "function": {"name": "find", "parameters": deep}}] if where == "tools" else []
    answer = {"role": "tool", "name": "find", "result": deep if where == "result" else 1}
    messages = [*OPENAI_FORM["messages"][:1], {"role": "assistant", "tool_calls": [{"name": "find", "arguments": {}}]}, answer]
    path = write_lines(tmp_path / "log.jsonl", {"conversation_id": "c1", "messages": messages, "tools": tools}, OPENAI_FORM)
    records = list(read_records(path, "jsonl"))
    assert [isinstance(each, RejectedLine) for each in records] == [True, False]
    assert "every parser reads" in records[0].reasons[0]


def test_pairing_answers_with_calls_takes_time_in_proportion_to_them() -> None:
    """Twenty thousand calls with ids that all repeat once took a minute; now the work is linear, and the order still decides."""
    calls = [{"id": "same", "function": {"name": f"tool_{number}", "arguments": "{}"}} for number in range(20_000)]
    answers = [{"role": "tool", "tool_call_id": "same", "content": "{}"} for _ in calls]
    record = read_conversation({"messages": [{"role": "assistant", "tool_calls": calls}, *answers]}, source="log", line=1)
    assert isinstance(record, Record)
    assert [message["name"] for message in record.messages[1:]] == [f"tool_{number}" for number in range(20_000)]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://example.com/x.jsonl", r"files, folders and s3://; 'https://example\.com/x\.jsonl' is none of them"),
        ("https://ann:SECRET@example.com/x?key=SECRET", r"'https://example\.com/x' is none of them"),
        ("https://example.com/x?key=a@SECRET", r"'https://…' is none of them"),
        ("postgresql://ann:SECRET@host/db", r"'postgresql://host/db' is its address\. .*--format sql"),
        ("postgresql+psycopg://ann:SEC/SECRET@SECRET@host/db?password=SECRET", r"'postgresql\+psycopg://host/db' is its address"),
        ("mysql://ann:S?SECRET@host/db", r"'mysql://…' is its address"),
        ("jdbc:sqlserver://host/db;password=SECRET", r"'jdbc:sqlserver://host/db' is its address"),
    ],
)
def test_an_address_is_no_log_and_its_password_is_not_repeated(url: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told) as refusal:
        list(import_traces(Path(url), "jsonl"))
    assert "SECRET" not in str(refusal.value)


@pytest.mark.parametrize("name", ["tau_bench", "tau-bench"])
def test_the_format_of_tau_bench_is_told_to_be_that_of_openai(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match=rf"got '{name}'\. Runs of tau-bench are read by 'openai'"):
        list(import_traces(tmp_path, name))
