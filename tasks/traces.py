"""From log files to a snapshot: what can be trusted goes on, the rest is put aside with its reasons."""

from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict

from agentgym.settings import Settings
from agentgym.store import ArtifactRef, open_store, write_atomically
from agentgym.traces.snapshot import DatasetSnapshot
from agentgym.traces.source import Fingerprint, TraceSource, fingerprint
from agentgym.traces.validation import ValidatedTraces, ValidationReport, load_validated
from tasks.showing import quality_markdown
from tasks.step import cached_step, step


class Ingested(BaseModel):
    """quarantine: JSON lines, one for each conversation that was put aside; with a held-out log, of both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    snapshot: ArtifactRef
    quarantine: ArtifactRef
    quality: ValidationReport
    held_out_quality: ValidationReport | None

    @property
    def counts(self) -> dict[str, Any]:
        return {
            "read": self.quality.read,
            "accepted": self.quality.accepted,
            "quarantined": self.quality.quarantined,
            "reasons": self.quality.reasons,
            "quarantine": self.quarantine.uri,
        }


@step
def fingerprint_source(source: TraceSource, settings: Settings) -> Fingerprint:
    """Which files the source is, by digest, so that the steps after this one know whether they saw them before."""
    return fingerprint(source)


@cached_step
def ingest_traces(source: TraceSource, files: Fingerprint, settings: Settings) -> Ingested:
    """The snapshot of what can be trusted in the source."""
    share = source.max_quarantined_share
    train = load_validated(source.path, source.format, mapping=source.mapping, limit=source.limit, max_quarantined_share=share)
    held_out = _held_out(source)
    store = open_store(settings.store)
    snapshot = DatasetSnapshot.write(
        store,
        train.traces,
        held_out=held_out.traces if held_out else None,
        sources=files.files,
        held_out_sources=files.held_out_files,
    )
    quarantine = store.write(train.quarantine() + (held_out.quarantine() if held_out else b""), suffix=".quarantine.jsonl")
    folder = settings.workspace / "data-docs" / snapshot.digest[:12]
    _show_quality(train, source.path, quarantine, folder)
    if held_out:
        _show_quality(held_out, source.held_out, quarantine, folder / "held-out")
    return Ingested(snapshot=snapshot, quarantine=quarantine, quality=train.report, held_out_quality=held_out.report if held_out else None)


def _show_quality(validated: ValidatedTraces, path: Path | None, quarantine: ArtifactRef, folder: Path) -> None:
    for name, page in validated.data_docs.items():
        write_atomically(folder / name, page.encode())
    create_markdown_artifact(quality_markdown(validated, quarantine.uri), key="data-quality", description=str(path))


def _held_out(source: TraceSource) -> ValidatedTraces | None:
    if source.held_out is None:
        return None
    share = source.max_quarantined_share
    return load_validated(source.held_out, source.format, mapping=source.mapping, max_quarantined_share=share)
