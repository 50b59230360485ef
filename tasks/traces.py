"""From log files to a snapshot: what can be trusted goes on, the rest is put aside with its reasons."""

from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict

from agentgym.scenarios.from_traces import RECORDED
from agentgym.settings import Settings
from agentgym.store import ArtifactRef, open_store, write_atomically
from agentgym.traces.balance import SplitBalance
from agentgym.traces.ingestion import JudgedLog, ingest
from agentgym.traces.source import Fingerprint, TraceSource, fingerprint
from agentgym.traces.validation import ValidationReport
from tasks.forgotten import forgotten_conversations, forgotten_in
from tasks.reading import reading_progress
from tasks.redaction import redactor_of, secret_name
from tasks.showing import balance_markdown, quality_markdown
from tasks.step import cached_step, step


class Ingested(BaseModel):
    """quarantine: JSON lines, one for each conversation that was put aside; with a held-out log, of both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    snapshot: ArtifactRef
    quarantine: ArtifactRef
    quality: ValidationReport
    held_out_quality: ValidationReport | None
    balance: SplitBalance | None

    @property
    def counts(self) -> dict[str, Any]:
        return {
            "read": self.quality.read,
            "accepted": self.quality.accepted,
            "quarantined": self.quality.quarantined,
            "reasons": self.quality.reasons,
            "redacted": self.quality.redacted,
            "near_duplicates": self.quality.near_duplicates,
            "forgotten": self.quality.forgotten,
            "quarantine": self.quarantine.uri,
            "split": self.balance.model_dump() if self.balance else None,
        }


@step
def fingerprint_source(source: TraceSource, settings: Settings) -> Fingerprint:
    """Which files the source is, by digest, so that the steps after this one know whether they saw them before."""
    found = fingerprint(source)
    forgotten = forgotten_conversations(settings)
    secret = secret_name(settings) if source.redact else None
    return found.model_copy(update={"secret_name": secret, "forgotten": forgotten.name if forgotten else None})


@cached_step
def ingest_traces(source: TraceSource, files: Fingerprint, settings: Settings, scenario: str = RECORDED) -> Ingested:
    """The snapshot of what can be trusted in the source, redacted.

    scenario: a world's own conversations stay as they are, for nobody is behind them.
    """
    with reading_progress(source) as report:
        done = ingest(
            source,
            files,
            open_store(settings.store),
            make_redactor=lambda: redactor_of(source, settings, scenario=scenario),
            is_forgotten=forgotten_in(settings),
            on_progress=report,
        )
    folder = settings.workspace / "data-docs" / done.snapshot.digest[:12]
    _show_quality(done.log, source.path, done.quarantine, folder)
    if done.held_out:
        _show_quality(done.held_out, source.held_out, done.quarantine, folder / "held-out")
    create_markdown_artifact(balance_markdown(done.balance), key="split-balance", description=str(source.path))
    return Ingested(
        snapshot=done.snapshot,
        quarantine=done.quarantine,
        quality=done.log.report,
        held_out_quality=done.held_out.report if done.held_out else None,
        balance=done.balance,
    )


def _show_quality(log: JudgedLog, path: Path | None, quarantine: ArtifactRef, folder: Path) -> None:
    for name, page in log.data_docs.items():
        write_atomically(folder / name, page.encode())
    create_markdown_artifact(quality_markdown(log, quarantine.uri), key="data-quality", description=str(path))
