"""`agentgym improve`: one turn of the loop on a user's own traces."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from agentgym.cli.console import Screen
from agentgym.cli.session import session
from agentgym.errors import Refused
from agentgym.scenarios.from_traces import RECORDED
from agentgym.scenarios.registry import ScenarioRegistry
from agentgym.settings import Settings, make_workspace
from agentgym.traces.source import TraceSource, fingerprint
from agentgym.training.config import TrainingConfig

if TYPE_CHECKING:
    from flows.improve_agent import Improvement


def run_improve(
    source: TraceSource | None,
    *,
    scenario: str,
    asked: Mapping[str, Any],
    seed: int,
    agent: str,
    waive_live_test: str | None,
    waive_fidelity: str | None,
    is_json: bool,
) -> None:
    """asked: fields of the training's configuration, in place of what suits the scenario."""
    with session(is_json=is_json) as run:
        # A mistyped path or name is told at once, not after Prefect has started.
        if source is not None:
            fingerprint(source)
        if scenario != RECORDED:
            ScenarioRegistry().load(scenario)
        training = TrainingConfig.suited_to(scenario, seed=seed, **asked)
        make_workspace(run.settings)
        from agentgym.cli.watching import watching
        from flows.improve_agent import improve_agent

        with watching(run.screen) as times:
            improvement = improve_agent(
                source,
                scenario=scenario,
                training=training,
                agent=agent,
                seed=seed,
                waive_live_test=waive_live_test,
                waive_fidelity=waive_fidelity,
            )
        summary = improvement_json(improvement, run.settings, waiver=training.waive_audit) | {"stages": [asdict(time) for time in times]}
        show_improvement(improvement, run.settings, run.screen, waiver=training.waive_audit)
        run.screen.finish(summary)
    if not improvement.gate.promote:
        raise typer.Exit(Refused.exit_code)


def improvement_json(improvement: "Improvement", settings: Settings, *, waiver: str | None = None) -> dict[str, Any]:
    """`evaluation` is that of the version that stands after the decision: the challenger where it was accepted, else the incumbent.

    waiver: why the reward was trained by although its audit refused it.
    """
    from agentgym.cli.summaries import audit_json, decision_json, edges_json, evaluation_json, version_json
    from tasks.audit import read_audit
    from tasks.evaluation import read_decision, read_reports
    from tasks.fidelity import read_fidelity

    challenger, incumbent, *baselines = read_reports(improvement.report_refs, settings)
    fidelity = read_fidelity(improvement.fidelity, settings)
    evaluations = {
        "challenger": version_json(improvement.challenger) | {"evaluation": evaluation_json(challenger, baselines)},
        "incumbent": version_json(improvement.incumbent) | {"evaluation": evaluation_json(incumbent, baselines)},
    }
    standing = evaluations["challenger" if improvement.gate.promote else "incumbent"]
    return {
        **evaluations,
        "standing_version": standing["version"],
        "evaluation": standing["evaluation"],
        "decision": decision_json(read_decision(improvement.gate, settings)),
        "reward_audit": None if improvement.audit is None else audit_json(read_audit(improvement.audit, settings), waiver=waiver),
        "edge_cases": edges_json(read_reports(improvement.edge_reports, settings)),
        "traces": improvement.ingested.counts,
        "fidelity": {
            "verdict": fidelity.verdict,
            "failed": [check.statement for check in fidelity.failed_checks],
            "report": improvement.fidelity.report.uri,
        },
    }


def show_improvement(improvement: "Improvement", settings: Settings, screen: Screen, *, waiver: str | None = None) -> None:
    from agentgym.cli.fidelity import verdict_line
    from agentgym.cli.summaries import audit_lines, decision_lines, edge_table, floor_lines, play_floors_of, report_table, without_floors
    from tasks.audit import read_audit
    from tasks.evaluation import read_decision, read_reports
    from tasks.fidelity import read_fidelity

    challenger, incumbent, *baselines = read_reports(improvement.report_refs, settings)
    decision = read_decision(improvement.gate, settings)
    screen.show(verdict_line(read_fidelity(improvement.fidelity, settings)), "")
    if improvement.audit is not None:
        screen.show(*audit_lines(read_audit(improvement.audit, settings), waiver=waiver))
    screen.show(report_table([*without_floors(baselines), incumbent, challenger], slices=decision.primary_metric))
    screen.show(*floor_lines({floor.subject.name: floor.estimates for floor in play_floors_of(baselines)}))
    if edges := read_reports(improvement.edge_reports, settings):
        screen.show("", edge_table(edges[::-1]))
    screen.show(f"\n[bold]{decision.verdict}[/]: {decision.challenger.name} against {incumbent.subject.name}", *decision_lines(decision))
