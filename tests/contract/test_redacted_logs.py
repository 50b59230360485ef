"""Nothing that is kept of a log holds personal data, and the log is worth what it was worth before."""

import json
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from agentgym.cli import main
from agentgym.errors import InvalidInput
from agentgym.scenarios.production_log import write_logs
from agentgym.scenarios.registry import load_world
from agentgym.settings import Settings
from agentgym.store import FileStore
from agentgym.traces.redaction import Redactor
from agentgym.traces.snapshot import DatasetSnapshot
from agentgym.traces.source import TraceSource
from agentgym.traces.validation import ValidatedTraces, load_validated
from tasks.redaction import SECRET_FILE, redactor_of

SECRET = b"a secret for tests, 32 bytes long"
PERSONAL = (
    "ann3@example.com",
    "(415) 555-2671",
    "4155552671",
    "4111 1111 1111 1111",
    "sk-abcDEF1234567890abcd",
    "123 Main Street",
    "CUS-3",
)


FIND = {
    "name": "find",
    "parameters": {
        "type": "object",
        "properties": {
            "email": {"type": "string", "format": "email", "pattern": "^[^@ ]+@[^@ ]+[.][a-z]+$"},
            "phone": {"type": "string", "pattern": "^[0-9]{10}$"},
        },
        "required": ["email", "phone"],
        "additionalProperties": False,
    },
}


def conversation(number: int) -> dict[str, Any]:
    email = f"ann{number}@example.com"
    return {
        "conversation_id": f"c{number} of {email}",
        "customer_id": f"CUS-{number}",
        "outcome": "resolved",
        "tools": [FIND],
        "messages": [
            {"role": "user", "content": f"I am {email}, call (415) 555-2671. My card is 4111 1111 1111 1111, I live at 123 Main Street."},
            {"role": "assistant", "tool_calls": [{"name": "find", "arguments": {"email": email, "phone": "4155552671"}}]},
            {"role": "tool", "name": "find", "result": {"rows": [{"email": email, "api_key": "sk-abcDEF1234567890abcd"}]}},
            {"role": "assistant", "content": f"Hello {email}."},
        ],
    }


def write_log(path: Path, count: int = 12) -> Path:
    """The third conversation is to be quarantined for what holds an e-mail itself, and so is a line that cannot be read."""
    conversations = [conversation(number) for number in range(count)]
    conversations[2]["outcome"] = "mail to ann3@example.com"
    unreadable = conversation(count) | {"conversation_id": "ann3@example.com", "tools": [{"asked by": "ann3@example.com"}]}
    path.write_text("".join(json.dumps(each) + "\n" for each in [*conversations, unreadable]))
    return path


def redacted(path: Path) -> ValidatedTraces:
    return load_validated(path, "jsonl", redactor=Redactor(SECRET))


def test_snapshot_quarantine_and_data_docs_hold_placeholders_only(tmp_path: Path) -> None:
    found, store = redacted(write_log(tmp_path / "log.jsonl")), FileStore(tmp_path / "store")
    snapshot = DatasetSnapshot.read(store, DatasetSnapshot.write(store, found.traces))
    traces = b"".join(orjson.dumps(trace.model_dump(mode="json")) for trace in (*snapshot.train, *snapshot.held_out))
    kept = traces.decode() + found.quarantine().decode() + "".join(found.data_docs.values())
    assert "redacted.example" in found.quarantine().decode()
    assert not [value for value in PERSONAL if value in kept]


def test_the_report_counts_what_was_replaced_by_kind(tmp_path: Path) -> None:
    report = redacted(write_log(tmp_path / "log.jsonl")).report
    # In each of twelve conversations the e-mail is mentioned five times; once in an outcome, and twice of the line that cannot be read.
    assert report.redacted == {"email": 63, "phone": 24, "card": 12, "address": 12, "key": 12, "customer_id": 12}
    assert load_validated(tmp_path / "log.jsonl", "jsonl").report.redacted == {}


def test_redaction_puts_nothing_into_quarantine(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.jsonl")
    assert redacted(path).report.accepted == load_validated(path, "jsonl").report.accepted == 11


def test_a_customer_is_still_one_cluster(tmp_path: Path) -> None:
    log = [conversation(number) | {"customer_id": f"CUS-{number % 4}"} for number in range(12)]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in log))
    assert [trace.cluster_id for trace in redacted(path).traces[:4]] == [trace.cluster_id for trace in redacted(path).traces[4:8]]


def test_the_held_out_log_gets_the_placeholders_of_its_workspace(tmp_path: Path) -> None:
    settings, source = Settings().inside(tmp_path / "workspace"), TraceSource(path=write_log(tmp_path / "log.jsonl"))
    first, second = (load_validated(source.path, "jsonl", redactor=redactor_of(source, settings)).traces for _ in range(2))
    elsewhere = redactor_of(source, Settings().inside(tmp_path / "elsewhere"))
    assert first == second != load_validated(source.path, "jsonl", redactor=elsewhere).traces
    assert redactor_of(source.model_copy(update={"redact": False}), settings) is None


def test_names_that_nobody_finds_stop_the_run(tmp_path: Path) -> None:
    source = TraceSource(path=tmp_path, redact_names=True)
    with pytest.raises(InvalidInput, match="leave redact_names off"):
        redactor_of(source, Settings().inside(tmp_path / "workspace"))


def test_a_worlds_own_log_makes_its_cases_and_everything_else_in_it_is_redacted(tmp_path: Path) -> None:
    """The cases of a world are made again from the ids of its made-up customers; a stranger among them is somebody."""
    world, path = load_world("customer_support"), tmp_path / "log.jsonl"
    log = [trace.model_dump(mode="json", exclude_defaults=True) for trace in write_logs(world, world.legacy_agent(), 20, 1)]
    stranger = conversation(3) | {"tags": log[0]["tags"], "customer_id": "CUS-3"}
    stranger["messages"].insert(0, {"role": "system", "content": "Be kind."})
    path.write_text("".join(json.dumps(each) + "\n" for each in [*log, stranger]))
    source = TraceSource(path=path)
    redactor = redactor_of(source, Settings().inside(tmp_path / "workspace"), scenario="customer_support")
    *own, other = load_validated(path, "jsonl", redactor=redactor).traces
    assert own == list(write_logs(world, world.legacy_agent(), 20, 1))
    assert "ann3@example.com" not in other.model_dump_json()


def test_a_look_at_a_log_says_what_would_be_redacted_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTGYM_WORKSPACE", str(tmp_path / "workspace"))
    log = str(write_log(tmp_path / "log.jsonl"))
    assert told(capsys, monkeypatch, log)["redacted"]["card"] == 12
    assert told(capsys, monkeypatch, log, "--no-redact")["redacted"] == {}
    assert not (tmp_path / "workspace" / SECRET_FILE).exists()


def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", ["agentgym", "traces", "validate", *arguments, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found
