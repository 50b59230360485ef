"""What ingesting a log leaves for people to read."""

import json
from pathlib import Path

from prefect import flow

from agentgym.settings import Settings
from agentgym.store import open_store
from agentgym.traces.source import TraceSource, fingerprint
from tasks.redaction import SECRET_FILE
from tasks.traces import Ingested, fingerprint_source, ingest_traces


@flow
def ingesting(source: TraceSource, settings: Settings) -> Ingested:
    return ingest_traces(source, fingerprint(source), settings)


def write_log(path: Path, *customers: str) -> Path:
    def conversation(customer: str) -> dict[str, object]:
        call = {"role": "assistant", "tool_calls": [{"name": "look_up", "arguments": {"name": customer}}]}
        messages = [{"role": "user", "content": f"I am {customer}."}, call, {"role": "tool", "name": "look_up", "result": True}]
        return {"conversation_id": f"{path.stem}-{customer}", "customer_id": customer, "messages": messages}

    path.write_text("".join(json.dumps(conversation(customer)) + "\n" for customer in customers))
    return path


def test_both_logs_have_their_pages(tmp_path: Path, settings: Settings) -> None:
    source = TraceSource(path=write_log(tmp_path / "log.jsonl", "Ann", "Bob"), held_out=write_log(tmp_path / "other.jsonl", "Cem"))
    ingested = ingesting(source, settings)
    pages = settings.workspace / "data-docs" / ingested.snapshot.digest[:12]
    assert {page.name for page in pages.glob("*.html")} == {"conversations.html", "messages.html", "tool_calls.html"}
    assert {page.name for page in (pages / "held-out").glob("*.html")} == {page.name for page in pages.glob("*.html")}


def test_what_was_ingested_as_it_is_is_not_used_where_it_must_be_redacted(tmp_path: Path, settings: Settings) -> None:
    source = TraceSource(path=write_log(tmp_path / "log.jsonl", "ann@example.com", "bob@example.com"))
    plain = ingesting(source.model_copy(update={"redact": False}), settings)
    redacted = ingesting(source, settings)
    assert plain.snapshot != redacted.snapshot
    assert (plain.quality.redacted, redacted.quality.redacted) == ({}, {"email": 6, "customer_id": 2})
    assert redacted.balance
    assert (redacted.balance.train, redacted.balance.held_out) == (1, 1)
    assert b"ann@example.com" not in open_store(settings.store).read(redacted.snapshot)


def test_a_new_secret_means_to_ingest_again(tmp_path: Path, settings: Settings) -> None:
    source = TraceSource(path=write_log(tmp_path / "log.jsonl", "Ann", "Bob"))
    before = fingerprint_source.fn(source, settings)
    assert fingerprint_source.fn(source, settings) == before
    (settings.workspace / SECRET_FILE).unlink()
    assert fingerprint_source.fn(source, settings).secret_name != before.secret_name
    assert fingerprint_source.fn(source.model_copy(update={"redact": False}), settings).secret_name is None
