"""Our side: a log ingested as `agentgym improve` does it, without Prefect around it. Prints one JSON object."""

import argparse
import json
import resource
import time
from pathlib import Path

from agentgym.cli.memory import peak_memory
from agentgym.store import FileStore
from agentgym.traces.ingestion import ingest
from agentgym.traces.redaction import SECRET_BYTES, Redactor
from agentgym.traces.source import TraceSource, fingerprint


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("log", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--format", default="jsonl")
    parser.add_argument("--processes", type=int)
    given = parser.parse_args()
    source = TraceSource(path=given.log, format=given.format)
    with peak_memory() as memory:
        started = time.perf_counter()
        done = ingest(
            source,
            fingerprint(source),
            FileStore(given.store),
            make_redactor=lambda: Redactor(b"0" * SECRET_BYTES),
            processes=given.processes,
        )
        seconds = time.perf_counter() - started
    report = done.log.report
    print(
        json.dumps(
            {
                "conversations": report.read,
                "accepted": report.accepted,
                "quarantined": report.quarantined,
                "near_duplicates": report.near_duplicates,
                "redacted": report.redacted,
                "seconds": seconds,
                "cpu_seconds": cpu_seconds(),
                "peak_memory_bytes": memory.peak_bytes,
                "snapshot_bytes": Path(done.snapshot.uri.removeprefix("file://")).stat().st_size,
            }
        )
    )


def cpu_seconds() -> float:
    """Of this process and those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
