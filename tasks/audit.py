"""Whether a reward pays for honest work only, asked before anything is trained by it."""

from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel, ConfigDict

from agentgym.evaluation import audit
from agentgym.reward import RewardWeights
from agentgym.scenarios.from_traces import scenario_of
from agentgym.settings import Settings
from agentgym.store import ArtifactRef
from agentgym.verdicts import AuditVerdict, RewardAudit
from tasks.artifacts import read_pack, read_value, write_value
from tasks.progress import report_progress
from tasks.showing import audit_markdown
from tasks.step import cached_step


class Audited(BaseModel):
    """An audit by reference, with its verdict at hand for the flow to branch on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    audit: ArtifactRef
    verdict: AuditVerdict


@cached_step
def audit_reward(pack: ArtifactRef, reward: RewardWeights | None, seed: int, settings: Settings) -> Audited:
    """Adversaries play the pack's training cases for the reward that training would use."""
    cases = read_pack(pack, settings)
    found = audit.audit_reward(scenario_of(cases), cases.train, reward=reward, seed=seed, on_progress=report_progress)
    create_markdown_artifact(audit_markdown(found), key="reward-audit", description=found.verdict)
    return Audited(audit=write_value(found, settings), verdict=found.verdict)


def require_audited(audited: Audited | None, waiver: str | None, settings: Settings) -> None:
    """Raises Refused when the reward was refused and nobody gave a reason to train by it all the same."""
    if audited is not None:
        audit.require_sound_reward(read_audit(audited, settings), waiver=waiver)


def read_audit(audited: Audited, settings: Settings) -> RewardAudit:
    return read_value(audited.audit, RewardAudit, settings)
