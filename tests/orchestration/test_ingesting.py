"""What ingesting a log leaves for people to read."""

import json
from pathlib import Path

from prefect import flow

from agentgym.settings import Settings
from agentgym.traces.source import TraceSource, fingerprint
from tasks.traces import Ingested, ingest_traces


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
