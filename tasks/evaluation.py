"""How good a version is, and whether it may take the champion's place."""

import os
from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from pydantic import BaseModel, ConfigDict

from agentgym.evaluation.edge import evaluate_edge_cases
from agentgym.evaluation.held_out import assess_logs, evaluate_floors, evaluate_held_out, held_out_recordings
from agentgym.evaluation.play_floors import evaluate_play_floors
from agentgym.evaluation.promotion import PromotionCriteria, decide_promotion
from agentgym.evaluation.regressions import RegressionReport, play_regressions
from agentgym.policies.checkpoint import load_policy
from agentgym.scenarios.from_traces import RECORDED
from agentgym.scenarios.registry import load_world
from agentgym.settings import Settings
from agentgym.store import ArtifactRef
from agentgym.tracking import track_step
from agentgym.verdicts import EvaluationReport, PromotionDecision, Subject, Verdict
from tasks.artifacts import read_checkpoint, read_pack, read_snapshot, read_value, write_value
from tasks.progress import report_progress
from tasks.regressions import open_regressions
from tasks.showing import decision_markdown, evaluation_table
from tasks.step import cached_step, step
from tasks.training import tracking


class Gate(BaseModel):
    """A decision by reference, with its verdict at hand for the flow to branch on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decision: ArtifactRef
    verdict: Verdict

    @property
    def promote(self) -> bool:
        return self.verdict == "promote"


@cached_step
def evaluate_checkpoint(checkpoint: ArtifactRef, pack: ArtifactRef, name: str, seed: int, settings: Settings) -> ArtifactRef:
    """The report of a checkpoint on the pack's held-out cases."""
    subject = Subject(name=name, checkpoint_digest=checkpoint.digest)
    lineage = {"checkpoint_digest": checkpoint.digest, "pack_digest": pack.digest}
    with track_step("evaluate", tracking=tracking(settings), parameters={"name": name, "seed": seed}, lineage=lineage) as run:
        policy = load_policy(read_checkpoint(checkpoint, settings), environment=os.environ)
        cases = read_pack(pack, settings)
        report = evaluate_held_out(policy, cases, subject=subject, seed=seed, on_progress=report_progress)
        run.log_metrics({metric: estimate.mean for metric, estimate in report.estimates.items()})
    create_table_artifact(evaluation_table([report]), key="evaluation", description=f"{name} on held-out cases")
    return write_value(report, settings)


@cached_step
def evaluate_edges(checkpoint: ArtifactRef, pack: ArtifactRef, name: str, seed: int, settings: Settings) -> ArtifactRef | None:
    """The report of a checkpoint on the pack's edge cases, seen beside the held-out ones; None where there are too few."""
    policy = load_policy(read_checkpoint(checkpoint, settings), environment=os.environ)
    subject = Subject(name=name, checkpoint_digest=checkpoint.digest)
    report = evaluate_edge_cases(policy, read_pack(pack, settings), subject=subject, seed=seed, on_progress=report_progress)
    if report is None:
        return None
    create_table_artifact(evaluation_table([report]), key="edge-cases", description=f"{name} where something goes wrong")
    return write_value(report, settings)


@step
def evaluate_regressions(checkpoint: ArtifactRef, agent: str, name: str, seed: int, settings: Settings) -> ArtifactRef | None:
    """Which regression cases of the agent a checkpoint passes; None where it has none. The set grows, so it is always looked at."""
    regressions = open_regressions(agent, settings).cases()
    if not regressions:
        return None
    policy = load_policy(read_checkpoint(checkpoint, settings), environment=os.environ)
    subject = Subject(name=name, checkpoint_digest=checkpoint.digest)
    report = play_regressions(policy, regressions, subject=subject, seed=seed)
    return write_value(report, settings) if report else None


@cached_step
def evaluate_baselines(snapshot: ArtifactRef, pack: ArtifactRef, settings: Settings) -> list[ArtifactRef]:
    """What a version is seen beside: where there is a world to play in, the agent in the logs and players without skill; else predictors
    without skill."""
    dataset, cases = read_snapshot(snapshot, settings), read_pack(pack, settings)
    if cases.scenario == RECORDED:
        reports = evaluate_floors(dataset.train, held_out_recordings(cases), cases, train_digest=snapshot.digest)
    else:
        world = load_world(cases.scenario)
        logs = assess_logs((*dataset.train, *dataset.held_out), world, log_digest=snapshot.digest)
        reports = [logs, *evaluate_play_floors(world, cases.train, cases.held_out, train_digest=snapshot.digest, seed=0)]
    return [write_value(report, settings) for report in reports]


@cached_step
def decide_on_promotion(
    challenger: ArtifactRef,
    champion: ArtifactRef,
    settings: Settings,
    regressions: ArtifactRef | None = None,
    champion_regressions: ArtifactRef | None = None,
) -> Gate:
    """The gate's verdict on two reports, and on the regression cases where the agent has some."""
    reports = [read_value(ref, EvaluationReport, settings) for ref in (champion, challenger)]
    past = [None if ref is None else read_value(ref, RegressionReport, settings) for ref in (regressions, champion_regressions)]
    criteria = PromotionCriteria.for_evidence(reports[1].evidence)
    decision = decide_promotion(reports[1], reports[0], criteria, regressions=past[0], champion_regressions=past[1])
    create_table_artifact(evaluation_table(reports), key="comparison", description="Champion and challenger on the same held-out cases")
    create_markdown_artifact(decision_markdown(decision), key="decision", description=decision.verdict)
    return Gate(decision=write_value(decision, settings), verdict=decision.verdict)


def read_decision(gate: Gate, settings: Settings) -> PromotionDecision:
    return read_value(gate.decision, PromotionDecision, settings)


def read_reports(refs: Sequence[ArtifactRef], settings: Settings) -> list[EvaluationReport]:
    return [read_value(ref, EvaluationReport, settings) for ref in refs]
