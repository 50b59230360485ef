"""From log files to a snapshot: what can be trusted goes on, the rest is put aside with its reasons."""

from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict

from agentgym.scenarios.from_traces import RECORDED
from agentgym.settings import Settings
from agentgym.store import ArtifactRef, open_store, write_atomically
from agentgym.traces.balance import SplitBalance
from agentgym.traces.snapshot import DatasetSnapshot, read_balance
from agentgym.traces.source import Fingerprint, TraceSource, fingerprint
from agentgym.traces.validation import ValidatedTraces, ValidationReport, load_validated
from tasks.forgotten import forgotten_conversations, forgotten_in
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
    train = load_validated(
        source.path,
        source.format,
        mapping=source.mapping,
        limit=source.limit,
        max_quarantined_share=source.max_quarantined_share,
        redactor=redactor_of(source, settings, scenario=scenario),
        is_forgotten=forgotten_in(settings),
    )
    held_out = _held_out(source, settings, scenario)
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
    balance = read_balance(store, snapshot)
    if balance:
        create_markdown_artifact(balance_markdown(balance), key="split-balance", description=str(source.path))
    return Ingested(
        snapshot=snapshot,
        quarantine=quarantine,
        quality=train.report,
        held_out_quality=held_out.report if held_out else None,
        balance=balance,
    )


def _show_quality(validated: ValidatedTraces, path: Path | None, quarantine: ArtifactRef, folder: Path) -> None:
    for name, page in validated.data_docs.items():
        write_atomically(folder / name, page.encode())
    create_markdown_artifact(quality_markdown(validated, quarantine.uri), key="data-quality", description=str(path))


def _held_out(source: TraceSource, settings: Settings, scenario: str) -> ValidatedTraces | None:
    if source.held_out is None:
        return None
    return load_validated(
        source.held_out,
        source.format,
        mapping=source.mapping,
        max_quarantined_share=source.max_quarantined_share,
        redactor=redactor_of(source, settings, scenario=scenario),
        is_forgotten=forgotten_in(settings),
    )
