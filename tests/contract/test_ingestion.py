"""A log becomes a snapshot batch by batch: the same however many processes read it, whole or not at all."""

import gc
import json
import operator
import os
import pickle
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from agentgym.errors import AgentGymError, InvalidInput, Unavailable
from agentgym.garbage import rarely_collecting
from agentgym.store import FileStore
from agentgym.traces import crew, preparation, validation
from agentgym.traces.crew import prepared_batches
from agentgym.traces.importers import Record, read_records
from agentgym.traces.ingestion import Ingestion, ingest
from agentgym.traces.preparation import Item, batches
from agentgym.traces.redaction import Redactor
from agentgym.traces.snapshot import DatasetSnapshot
from agentgym.traces.source import TraceSource, fingerprint

SECRET = b"a secret for tests, 32 bytes long"
FIND = {"name": "find", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}


def conversation(number: int) -> dict[str, Any]:
    """Every seventh is broken, every ninth declares no tools, every eleventh is of a customer who came before."""
    call = {"id": "x", "name": "find", "arguments": {"n": "seven" if number % 7 == 3 else number}}
    messages = [
        {"role": "user", "content": f"I am person{number}@mail.org. Find {number}, please, as soon as you can."},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "x", "result": {"found": number}},
    ]
    tools = [] if number % 9 == 0 else [FIND]
    return {"conversation_id": f"c{number}", "customer_id": f"u{number % 11}", "messages": messages, "tools": tools}


def write_log(path: Path, count: int) -> Path:
    path.write_text("".join("oops\n" if number % 50 == 25 else json.dumps(conversation(number)) + "\n" for number in range(count)))
    return path


def ingested(log: Path, store: Path, **options: Any) -> Ingestion:
    source = TraceSource(path=log, **options.pop("source", {}))
    options.setdefault("make_redactor", lambda: Redactor(SECRET))
    return ingest(source, fingerprint(source), FileStore(store), **options)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "BATCH_CONVERSATIONS", 40)


@pytest.mark.usefixtures("small_batches")
def test_a_snapshot_is_the_same_however_many_processes_read_the_log(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", 200)
    one, two = (ingested(log, tmp_path / f"store {count}", processes=count) for count in (1, 2))
    assert (one.snapshot.digest, one.quarantine.digest, one.log.report) == (two.snapshot.digest, two.quarantine.digest, two.log.report)
    report = two.log.report
    assert report.quarantined == sum(number % 50 == 25 or (number % 7 == 3 and number % 9 != 0) for number in range(200))
    assert report.read == report.accepted + report.quarantined == 200
    assert report.redacted["email"] == 200 - 4


@pytest.mark.usefixtures("small_batches")
def test_it_is_the_snapshot_of_the_accepted_traces(tmp_path: Path) -> None:
    log, store = write_log(tmp_path / "log.jsonl", 100), FileStore(tmp_path / "store")
    snapshot = DatasetSnapshot.read(store, ingested(log, tmp_path / "store", processes=2).snapshot)
    traces = validation.load_validated(log, "jsonl", redactor=Redactor(SECRET), processes=1).traces
    assert sorted((*snapshot.train, *snapshot.held_out), key=lambda trace: int(trace.conversation_id[1:])) == [
        trace if trace.tools else trace.model_copy(update={"tools": snapshot.tools}) for trace in traces
    ]


def test_batches_and_groups_of_rows_leave_no_trace_in_the_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, digests = write_log(tmp_path / "log.jsonl", 100), set()
    for size, judged in ((7, 1), (7, 20), (1000, 1000)):
        monkeypatch.setattr(validation, "BATCH_CONVERSATIONS", size)
        monkeypatch.setattr(validation, "JUDGED_CONVERSATIONS", judged)
        made = ingested(log, tmp_path / f"store {size} {judged}", processes=1)
        digests.add((made.snapshot.digest, made.log.report.model_dump_json()))
    assert len(digests) == 1


def test_what_was_kept_out_is_no_original_of_what_is_mended_later(tmp_path: Path) -> None:
    """A score out of range, and a call that its schema refuses; each comes again, mended, under its own id and under another one."""
    bad_score, bad_call = conversation(1) | {"satisfaction_score": 99}, conversation(3)
    mended = [conversation(1), conversation(1) | {"conversation_id": "again"}, conversation(3) | {"tools": []}]
    lines = [bad_score, bad_call, *mended, conversation(2)]
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = validation.load_validated(log, "jsonl", max_quarantined_share=1.0)
    assert [trace.conversation_id for trace in found.traces] == ["c1", "c3", "c2"]
    assert [(line.line, len(line.reasons)) for line in found.rejected] == [(1, 1), (2, 1), (4, 1)]
    assert found.rejected[2].reasons == ("A conversation is in the log once; copy_of is 'c1'.",)


def test_progress_is_told_after_each_batch_and_ends_with_all_that_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "BATCH_CONVERSATIONS", 40)
    log, told = write_log(tmp_path / "log.jsonl", 100), list[int]()
    ingested(log, tmp_path / "store", processes=2, on_progress=told.append)
    assert told == [40, 80, 100]


def test_a_log_is_read_no_further_than_two_batches_for_each_process(tmp_path: Path) -> None:
    log, read = write_log(tmp_path / "log.jsonl", 200), []

    def followed() -> Iterator[list[Item]]:
        for batch in batches(read_records(log, "jsonl"), conversations=10):
            read.append(len(batch))
            yield batch

    for number, _ in enumerate(prepared_batches(followed(), None, processes=2), 1):
        assert len(read) <= number + 4
    assert number == 20


def test_long_conversations_make_short_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "BATCH_BYTES", 100)
    records = [Record(source="log", line=line, fields={}, json_bytes=60) for line in range(5)]
    assert [len(batch) for batch in batches(records)] == [2, 2, 1]


def test_a_redactor_goes_to_another_process_with_its_secret_and_not_its_counts() -> None:
    redactor = Redactor(SECRET)
    said = redactor.redact_text("Write to ann@mail.org")
    other = pickle.loads(pickle.dumps(redactor))
    assert other.redact_text("Write to ann@mail.org") == said
    assert (other.counts, redactor.counts) == ({"email": 1}, {"email": 1})


@pytest.mark.usefixtures("small_batches")
def test_what_cannot_go_to_another_process_is_done_in_this_one(tmp_path: Path) -> None:
    log, asked = write_log(tmp_path / "log.jsonl", 100), list[str | None]()
    redactor = Redactor(SECRET, is_made_up=lambda record: asked.append(record.conversation_id) or False)  # type: ignore[func-returns-value]
    ingested(log, tmp_path / "store", make_redactor=lambda: redactor, processes=2)
    assert len(asked) == 98


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


@pytest.mark.usefixtures("small_batches")
def test_what_a_worker_raises_is_raised_here_and_nothing_is_left(tmp_path: Path, temporary: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", 100)
    redactor = Redactor(SECRET, is_made_up=operator.attrgetter("absent"))
    with pytest.raises(AttributeError, match="absent"):
        ingested(log, tmp_path / "store", make_redactor=lambda: redactor, processes=2)
    assert not (tmp_path / "store").exists()
    assert not list(temporary.iterdir())


@pytest.mark.usefixtures("small_batches")
def test_a_worker_that_is_killed_ends_the_run_with_nothing_written(tmp_path: Path, temporary: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", 400)

    def kill(read: int) -> None:
        for child in psutil.Process().children():
            # One that is dead already has no command any more.
            with suppress(psutil.Error):
                if "agentgym.traces.crew" in " ".join(child.cmdline()):
                    os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(Unavailable, match="A process that prepares conversations must live until they are; one ended with -9"):
        ingested(log, tmp_path / "store", processes=2, on_progress=kill)
    assert not (tmp_path / "store").exists()
    assert not list(temporary.iterdir())


@pytest.mark.usefixtures("small_batches")
def test_no_worker_outlives_the_run(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children()}
    ingested(write_log(tmp_path / "log.jsonl", 100), tmp_path / "store", processes=2)
    assert {child.pid for child in psutil.Process().children()} <= before


def unusable(tmp_path: Path) -> Sequence[dict[str, Any]]:
    write_log(tmp_path / "other.jsonl", 30)
    (tmp_path / "broken.jsonl").write_text("oops\n" * 5)
    return ({"held_out": tmp_path / "other.jsonl"}, {"held_out": tmp_path / "broken.jsonl"}, {"max_quarantined_share": 0.0})


@pytest.mark.parametrize("number", range(3))
def test_nothing_is_written_when_a_log_is_refused(tmp_path: Path, temporary: Path, number: int) -> None:
    """Both share customers; the held-out log is unusable; more is quarantined than allowed."""
    log = write_log(tmp_path / "log.jsonl", 60)
    with pytest.raises(InvalidInput):
        ingested(log, tmp_path / "store", source=unusable(tmp_path)[number])
    assert not (tmp_path / "store").exists()
    assert not list(temporary.iterdir())


def test_how_far_a_log_was_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "BATCH_CONVERSATIONS", 20)
    told: list[int] = []
    write_log(tmp_path / "other.jsonl", 30)
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(conversation(number) | {"customer_id": "Ann"}) + "\n" for number in range(100, 150)))
    with pytest.raises(AgentGymError):
        ingested(log, tmp_path / "store", processes=1, on_progress=told.append, source={"max_quarantined_share": 0.1})
    ingested(log, tmp_path / "store", processes=1, on_progress=told.append, source={"held_out": tmp_path / "other.jsonl"})
    assert told == [20, 40, 50, 20, 40, 50, 70, 80]


def test_cores_are_those_this_process_may_use() -> None:
    assert 1 <= crew.available_cores() <= crew.MOST_PROCESSES


def test_garbage_is_collected_as_before_once_a_log_is_read_or_refused(tmp_path: Path) -> None:
    before = gc.get_threshold()
    with rarely_collecting():
        assert gc.get_threshold()[0] > before[0]
    (tmp_path / "log.jsonl").write_text("nothing\n")
    with pytest.raises(AgentGymError):
        ingested(tmp_path / "log.jsonl", tmp_path / "store", processes=1)
    assert gc.get_threshold() == before
