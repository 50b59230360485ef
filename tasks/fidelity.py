"""Whether an environment may be trained in: how it answers held-out conversations, before anything learns from it."""

from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict

from agentgym.errors import InvalidInput, Refused
from agentgym.scenarios.fidelity import FidelityBar, FidelityReport, measure_fidelity
from agentgym.scenarios.fidelity.report import Verdict, by_weight
from agentgym.settings import Settings
from agentgym.store import ArtifactRef
from agentgym.tracking import track_step
from agentgym.verdicts import WaivedFidelity
from tasks.artifacts import read_pack, read_snapshot, read_value, write_value
from tasks.showing import fidelity_markdown
from tasks.step import cached_step
from tasks.training import tracking


class Fidelity(BaseModel):
    """A report by reference, with its verdict at hand for the flow to branch on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    report: ArtifactRef
    verdict: Verdict


@cached_step
def measure_environment(snapshot: ArtifactRef, pack: ArtifactRef, bar: FidelityBar, settings: Settings) -> Fidelity:
    """The report on the environment of the pack's cases, on the conversations of the snapshot that are held out."""
    lineage = {"snapshot_digest": snapshot.digest, "pack_digest": pack.digest}
    with track_step("fidelity", tracking=tracking(settings), parameters=bar, lineage=lineage) as run:
        report = measure_fidelity(read_pack(pack, settings), read_snapshot(snapshot, settings).held_out, bar=bar)
        measured = {"field_match": report.all_tools.field_match, "reward_order": report.ranks[0].kendall}
        run.log_metrics({name: figure.estimate.mean for name, figure in measured.items() if figure.estimate})
        run.log_tags({"verdict": report.verdict})
    create_markdown_artifact(fidelity_markdown(report), key="fidelity", description=f"{report.scenario}: {report.verdict}")
    return Fidelity(report=write_value(report, settings), verdict=report.verdict)


def require_fidelity(fidelity: Fidelity, waiver: str | None, settings: Settings) -> WaivedFidelity | None:
    """What was waived, None where nothing had to be. Raises Refused when the environment fell below the bar and no reason is given."""
    if waiver is not None and not waiver.strip():
        raise InvalidInput(f"A waiver needs a reason, which the history keeps; got {waiver!r}. Say why.")
    if fidelity.verdict != "failed":
        return None
    report = read_fidelity(fidelity, settings)
    if waiver is None:
        raise Refused(report.refusal)
    failed = tuple(check.statement for check in by_weight(report.failed_checks))
    return WaivedFidelity(reason=waiver.strip(), failed=failed)


def read_fidelity(fidelity: Fidelity, settings: Settings) -> FidelityReport:
    return read_value(fidelity.report, FidelityReport, settings)
