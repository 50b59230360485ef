"""What holds for every format: the same conversation told in each of them is the same, and whatever is wrong with a file is told."""

import copy
import gzip
import json
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentgym.errors import AgentGymError, InvalidInput
from agentgym.messages import Message
from agentgym.traces.importers import Log, LogFormat, Place, Record, RejectedLine, formats, import_traces, read_each, read_records
from agentgym.traces.importers.formats import find_format, format_names, known_format
from agentgym.traces.tables import Memory, flatten
from agentgym.traces.trace import Trace

ARGUMENTS = json.dumps({"number": 7})
RESULT = json.dumps({"status": "sent"})
QUESTION, ANSWER = "Where is my order?", "It is on its way."


def chat(name: str) -> list[Any]:
    call = {"id": "1", "type": "function", "function": {"name": "find_order", "arguments": ARGUMENTS}}
    messages = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": RESULT},
        {"role": "assistant", "content": ANSWER},
    ]
    return [{"id": name, "messages": messages}]


def openai_batch(name: str) -> list[Any]:
    *asked, said = chat(name)[0]["messages"]
    answer = {"custom_id": name, "response": {"status_code": 200, "body": {"choices": [{"message": said}]}}, "error": None}
    return [{"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": {"messages": asked}}, answer]


def openai_responses(name: str) -> list[Any]:
    items = [
        {"role": "user", "content": QUESTION},
        {"type": "function_call", "call_id": "1", "name": "find_order", "arguments": ARGUMENTS},
        {"type": "function_call_output", "call_id": "1", "output": RESULT},
    ]
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": ANSWER}]}
    return [{"id": name, "object": "response", "input": items, "output": [said]}]


def sharegpt(name: str) -> list[Any]:
    call = f'<tool_call>{{"name": "find_order", "arguments": {ARGUMENTS}}}</tool_call>'
    told = (("human", QUESTION), ("gpt", call), ("tool", RESULT), ("gpt", ANSWER))
    return [{"id": name, "conversations": [{"from": speaker, "value": text} for speaker, text in told]}]


def langfuse(name: str) -> list[Any]:
    *asked, said = chat(name)[0]["messages"]
    observation = {"type": "GENERATION", "startTime": "2024-05-15T10:00:01Z", "input": {"messages": asked[:2]}, "output": asked[1]}
    last = {"type": "GENERATION", "startTime": "2024-05-15T10:00:03Z", "input": {"messages": asked}, "output": said}
    run = {"type": "TOOL", "name": "find_order", "startTime": "2024-05-15T10:00:02Z", "input": {"number": 7}, "output": {"status": "sent"}}
    return [{"id": f"trace of {name}", "sessionId": name, "timestamp": "2024-05-15T10:00:00Z", "observations": [observation, run, last]}]


def mlflow(name: str) -> list[Any]:
    *asked, said = chat(name)[0]["messages"]
    values = {
        "mlflow.spanType": "CHAT_MODEL",
        "mlflow.spanInputs": {"messages": asked},
        "mlflow.spanOutputs": {"choices": [{"message": said}]},
    }
    attributes = {key: json.dumps(value) for key, value in values.items()}
    span = {"name": "chat", "start_time_unix_nano": 1_715_767_200_000_000_000, "attributes": attributes}
    return [{"info": {"trace_id": "tr-1", "trace_metadata": {"mlflow.trace.session": name}}, "data": {"spans": [span]}}]


def otlp(name: str) -> list[Any]:
    call = {"type": "tool_call", "id": "1", "name": "find_order", "arguments": {"number": 7}}
    asked = [
        {"role": "user", "parts": [{"type": "text", "content": QUESTION}]},
        {"role": "assistant", "parts": [call]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": {"status": "sent"}}]},
    ]
    said = [{"role": "assistant", "parts": [{"type": "text", "content": ANSWER}]}]
    values = {"gen_ai.conversation.id": name, "gen_ai.input.messages": json.dumps(asked), "gen_ai.output.messages": json.dumps(said)}
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]
    span = {"traceId": f"trace of {name}", "name": "chat", "startTimeUnixNano": "1715767200000000000", "attributes": attributes}
    return [{"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}]


EXAMPLES: dict[str, Callable[[str], list[Any]]] = {
    "openai": chat,
    "openai_batch": openai_batch,
    "openai_responses": openai_responses,
    "sharegpt": sharegpt,
    "langfuse": langfuse,
    "mlflow": mlflow,
    "otlp": otlp,
}


def write(path: Path, values: list[Any]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def example(folder: Path, name: str, *conversations: str) -> Path:
    """A log in the format of this name, with these conversations."""
    return write(folder / f"{name}.jsonl", [line for conversation in conversations for line in EXAMPLES[name](conversation)])


def traces_of(path: Path, format: str) -> list[Trace]:
    return [item for item in import_traces(path, format) if isinstance(item, Trace)]


def told(message: Message) -> object:
    calls = [(call.name, call.arguments) for call in message.tool_calls]
    return message.role, message.content, calls, message.name, message.result


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_format_tells_the_same_conversation(tmp_path: Path, name: str) -> None:
    (trace, other) = traces_of(example(tmp_path, name, "c1", "c2"), name)
    assert [told(message) for message in trace.messages] == [
        ("user", QUESTION, [], None, None),
        ("assistant", "", [("find_order", {"number": 7})], None, None),
        ("tool", "", [], "find_order", {"status": "sent"}),
        ("assistant", ANSWER, [], None, None),
    ]
    assert (trace.conversation_id, other.conversation_id) == ("c1", "c2")


@pytest.mark.parametrize("written", EXAMPLES)
@pytest.mark.parametrize("asked", [*EXAMPLES, "sgd", "csv"])
def test_a_log_read_as_another_format_is_refused_with_the_right_one_named(tmp_path: Path, written: str, asked: str) -> None:
    path = example(tmp_path, written, "c1")
    if asked == written:
        assert traces_of(path, asked)
        return
    with pytest.raises(InvalidInput, match=rf"read as {asked} and looks like {written}\. Use {written}\."):
        list(read_records(path, asked))


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("layout", ["array", "indented", "gzip", "zstandard", "byte order mark"])
def test_every_layout_of_a_file_gives_the_same_traces(tmp_path: Path, name: str, layout: str) -> None:
    path = example(tmp_path, name, "c1", "c2")
    plain, values = traces_of(path, name), [json.loads(line) for line in path.read_text().splitlines()]
    compressed = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(compressed, "zstd") as file:
        file.write(path.read_bytes())
    path.write_bytes(
        {
            "array": json.dumps(values).encode(),
            "indented": b"\n".join(json.dumps(value, indent=2).encode() for value in values),
            "gzip": gzip.compress(path.read_bytes()),
            "zstandard": compressed.getvalue().to_pybytes(),
            "byte order mark": b"\xef\xbb\xbf" + path.read_bytes(),
        }[layout]
    )
    assert traces_of(path, name) == plain


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_compressed_log_cut_short_is_refused(tmp_path: Path, name: str, suffix: str) -> None:
    content = example(tmp_path, name, *(f"c{number}" for number in range(200))).read_bytes()
    compressed = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(compressed, "zstd") as file:
        file.write(content)
    path = tmp_path / f"log.jsonl{suffix}"
    path.write_bytes((gzip.compress(content) if suffix == ".gz" else compressed.getvalue().to_pybytes())[:-40])
    with pytest.raises(InvalidInput, match="A log must be readable to its end"):
        list(import_traces(path, name))


def test_logs_in_a_folder_are_found_compressed_too(tmp_path: Path) -> None:
    content = example(tmp_path, "openai", "c1").read_bytes()
    compressed = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(compressed, "zstd") as file:
        file.write(content)
    (tmp_path / "a.jsonl.zst").write_bytes(compressed.getvalue().to_pybytes())
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(content))
    assert len(traces_of(tmp_path, "openai")) == 3


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_line_in_another_encoding_costs_that_line(tmp_path: Path, name: str) -> None:
    path = example(tmp_path, name, "c1")
    path.write_bytes(path.read_bytes() + b'{"text": "M\xfcller"}\n')
    *traces, last = sorted(import_traces(path, name), key=lambda item: isinstance(item, RejectedLine))
    assert isinstance(last, RejectedLine)
    assert "iconv" in last.reasons[0]
    assert len(traces) == 1


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("depth", [300, 10_000])
def test_json_without_end_is_rejected_and_the_rest_is_read(tmp_path: Path, name: str, depth: int) -> None:
    path = example(tmp_path, name, "c1", "c2")
    first, rest = path.read_text().split("\n", 1)
    path.write_text(first[:-1] + f', "deep": {"[" * depth}{"]" * depth}}}\n' + rest)
    records = list(read_records(path, name))
    flatten([record for record in records if isinstance(record, Record)], Memory())
    assert "c2" in {item.conversation_id for item in records if isinstance(item, Record)}
    reasons = [item.reasons[0] for item in records if isinstance(item, RejectedLine)]
    assert depth == 300 or reasons[0].startswith("A line must be JSON")


@pytest.mark.parametrize("name", ["openai", "openai_batch", "openai_responses", "sharegpt", "langfuse"])
def test_a_result_that_nests_without_end_is_rejected(tmp_path: Path, name: str) -> None:
    """Nesting that the parser reads and the writer refuses ended the validation with a traceback."""
    path = example(tmp_path, name, "c1", "c2")
    path.write_text(path.read_text().replace(json.dumps(RESULT), json.dumps("[" * 300 + "]" * 300), 1))
    rejected, read = sorted(read_records(path, name), key=lambda item: item.conversation_id or "")
    assert isinstance(rejected, RejectedLine)
    assert rejected.reasons == ("A conversation must be JSON that every parser reads; Recursion limit reached.",)
    assert isinstance(read, Record)


def nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value: the object or list, and the key or index."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, key
        yield from nodes(item)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8) | st.sampled_from([ARGUMENTS, "{", "[1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "name", "type", "x"]), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("name", EXAMPLES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mangled_conversation_costs_no_other_one(tmp_path: Path, name: str, data: st.DataObject) -> None:
    """Anything may stand anywhere in a line, or be absent: it is accepted or rejected with a reason, and its neighbours are as before."""
    mangled = copy.deepcopy(EXAMPLES[name]("c1"))
    for _ in range(data.draw(st.integers(1, 3))):
        places = list(nodes(mangled))
        if places:
            parent, key = data.draw(st.sampled_from(places))
            if isinstance(parent, dict) and data.draw(st.booleans()):
                del parent[key]
            else:
                parent[key] = data.draw(JSON)
    path = write(tmp_path / "log.jsonl", [*EXAMPLES[name]("c0"), *mangled, *EXAMPLES[name]("c2")])
    records = list(read_records(path, name))
    untouched = [record for record in records if record.conversation_id in ("c0", "c2")]
    flatten([record for record in records if isinstance(record, Record)], Memory())
    assert {len(record.to_trace().messages) for record in untouched} == {4}
    assert len(untouched) == 2
    # Spans without a word of models are of some other part of a program.
    assert len(records) > 2 or name == "otlp"
    assert all(reason.strip() for record in records if isinstance(record, RejectedLine) for reason in record.reasons)


@pytest.mark.parametrize("name", EXAMPLES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mangled_bytes_are_read_or_refused_and_never_crash(tmp_path: Path, name: str, data: st.DataObject) -> None:
    path = example(tmp_path, name, "c1", "c2")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=6))
    path.write_bytes(bytes(content))
    try:
        records = list(read_records(path, name))
    except AgentGymError:
        return
    flatten([record for record in records if isinstance(record, Record)], Memory())
    assert all(isinstance(item, Trace | RejectedLine) for item in import_traces(path, name))


def test_an_unknown_format_names_near_ones() -> None:
    with pytest.raises(InvalidInput, match=r"A format is one of .*; got 'openai_bach'\. Did you mean 'openai_batch'"):
        known_format("openai_bach")


def read_notes(log: Log) -> Iterator[Record | RejectedLine]:
    def note(value: Any, place: Place) -> Iterator[Record]:
        yield place.record([{"role": "user", "content": value["note"], "tool_calls": []}], conversation_id=None)

    yield from read_each(log, note)


NOTES = LogFormat(name="notes", holds="notes", read=read_notes, looks_like=lambda value: "note" in value)


def offer(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    entry = EntryPoint(name="notes", value=value, group=formats.ENTRY_POINT_GROUP)
    monkeypatch.setattr(formats, "entry_points", lambda *, group: [entry] if group == "agentgym.importers" else [])


def test_an_installed_package_adds_its_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentgym.traces.importers.notes", NOTES, raising=False)
    offer(monkeypatch, "agentgym.traces.importers:notes")
    (trace,) = traces_of(write(tmp_path / "log.jsonl", [{"note": "Hello."}]), "notes")
    assert trace.messages[0].content == "Hello."
    assert "notes" in format_names()
    with pytest.raises(InvalidInput, match="looks like openai"):
        traces_of(example(tmp_path, "openai", "c1"), "notes")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("agentgym.nowhere:notes", "must lead to a format; 'notes'"),
        ("agentgym.errors:InvalidInput", "must be a LogFormat; 'notes' is type"),
    ],
)
def test_a_package_that_offers_no_format_is_named(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    offer(monkeypatch, value)
    with pytest.raises(InvalidInput, match=message):
        find_format("notes")
