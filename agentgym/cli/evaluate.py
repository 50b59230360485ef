"""`agentgym evaluate`: a registered version on other traces, or in a world, without training."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgym.cli.session import session
from agentgym.errors import InvalidInput
from agentgym.settings import Settings, make_workspace
from agentgym.traces.source import TraceSource

if TYPE_CHECKING:
    from agentgym.episode import Policy
    from agentgym.registry import ModelVersion
    from agentgym.verdicts import EvaluationReport, Subject


def run_evaluate(
    reference: str,
    source: TraceSource | None,
    *,
    scenario: str,
    cases: int,
    seed: int,
    agent: str,
    is_json: bool,
    customer: str | None = None,
) -> None:
    """customer: plays recorded conversations; None asks for their next calls."""
    with session(is_json=is_json) as run:
        make_workspace(run.settings)
        from agentgym.cli import summaries
        from tasks.registry import open_registry

        version = open_registry(agent, run.settings).resolve(reference)
        evaluated = _evaluated(version, source, scenario=scenario, customer=customer, cases=cases, seed=seed, settings=run.settings)
        edges = [evaluated.edges] if evaluated.edges else []
        shown = [*summaries.without_floors(evaluated.baselines), evaluated.report]
        floors = {floor.subject.name: floor.estimates for floor in summaries.play_floors_of(evaluated.baselines)}
        run.screen.show(summaries.report_table(shown, slices=next(iter(evaluated.report.estimates))))
        run.screen.show(*summaries.floor_lines(floors))
        if edges:
            run.screen.show("", summaries.edge_table(edges))
        run.screen.finish(
            {
                "version": summaries.version_json(version),
                "evaluation": summaries.evaluation_json(evaluated.report, evaluated.baselines),
                "edge_cases": summaries.edges_json(edges),
            }
        )


@dataclass(frozen=True, kw_only=True)
class _Evaluated:
    """The version's report, the baselines', and the one on edge cases; None where there are too few."""

    report: "EvaluationReport"
    baselines: Sequence["EvaluationReport"] = ()
    edges: "EvaluationReport | None" = None


def _evaluated(
    version: "ModelVersion",
    source: TraceSource | None,
    *,
    scenario: str,
    customer: str | None,
    cases: int,
    seed: int,
    settings: Settings,
) -> _Evaluated:
    from agentgym.policies.checkpoint import load_policy
    from agentgym.scenarios.from_traces import RECORDED
    from agentgym.verdicts import Subject
    from tasks.artifacts import read_checkpoint

    policy = load_policy(read_checkpoint(version.checkpoint, settings), environment=os.environ)
    subject = Subject(name=f"version {version.version}", checkpoint_digest=version.checkpoint.digest)
    if scenario != RECORDED:
        if customer is not None:
            raise InvalidInput(
                f"A kind of customer is chosen for recorded conversations; {scenario!r} declares its own. Leave --customer out."
            )
        return _played(policy, subject, source, scenario=scenario, cases=cases, seed=seed, settings=settings)
    if source is None:
        raise InvalidInput(
            "Recorded conversations are replayed from traces; no --traces were given. Give some, or a --scenario to play in."
        )
    if customer is not None:
        return _played_recordings(policy, subject, source, version, customer=customer, seed=seed, settings=settings)
    return _replayed(policy, subject, source, version, seed, settings)


def _played(
    policy: "Policy", subject: "Subject", source: TraceSource | None, *, scenario: str, cases: int, seed: int, settings: Settings
) -> _Evaluated:
    from agentgym.evaluation.edge import evaluate_edge_cases
    from agentgym.evaluation.evaluate import evaluate_policy
    from agentgym.evaluation.held_out import assess_logs
    from agentgym.evaluation.play_floors import evaluate_play_floors
    from agentgym.scenarios.edge_cases.making import with_edge_cases
    from agentgym.scenarios.pack import ScenarioPack
    from agentgym.scenarios.registry import load_world
    from tasks.reading import usable_traces

    world = load_world(scenario)
    traces = usable_traces(source, settings, scenario=scenario) if source else ()
    judged = tuple(map(world.case_from_trace, traces)) if source else tuple(world.generate_cases(cases, seed=seed))
    played = evaluate_policy(policy, world, judged, subject=subject, seed=seed)
    logs = [assess_logs(traces, world, log_digest=played.case_set_digest)] if source else []
    floors = evaluate_play_floors(world, judged, judged, train_digest=played.case_set_digest, seed=seed)
    pack = ScenarioPack(scenario=world.name, tools=world.tools, train=(), held_out=judged, snapshot_digest=played.case_set_digest)
    return _Evaluated(
        report=played,
        baselines=[*logs, *floors],
        edges=evaluate_edge_cases(policy, with_edge_cases(pack), subject=subject, seed=seed),
    )


def _replayed(
    policy: "Policy", subject: "Subject", source: TraceSource, version: "ModelVersion", seed: int, settings: Settings
) -> _Evaluated:
    from agentgym.evaluation.edge import evaluate_edge_cases
    from agentgym.evaluation.held_out import evaluate_floors, evaluate_recordings
    from agentgym.scenarios.edge_cases.making import with_edge_cases
    from agentgym.scenarios.from_traces import RECORDED, recorded_case
    from tasks.artifacts import read_pack, read_snapshot
    from tasks.reading import usable_traces

    traces = usable_traces(source, settings, scenario=RECORDED)
    pack, snapshot = read_pack(version.source("pack"), settings), read_snapshot(version.source("snapshot"), settings)
    with_edges = with_edge_cases(
        pack.model_copy(
            update={"held_out": tuple(recorded_case(trace) for trace in traces if any(said.role == "user" for said in trace.messages))}
        )
    )
    return _Evaluated(
        report=evaluate_recordings(policy, traces, pack, subject=subject),
        baselines=evaluate_floors(snapshot.train, traces, pack, train_digest=snapshot.digest),
        edges=evaluate_edge_cases(policy, with_edges, subject=subject, seed=seed),
    )


def _played_recordings(
    policy: "Policy",
    subject: "Subject",
    source: TraceSource,
    version: "ModelVersion",
    *,
    customer: str,
    seed: int,
    settings: Settings,
) -> _Evaluated:
    from agentgym.evaluation.evaluate import evaluate_policy
    from agentgym.scenarios.customers import customer_kind
    from agentgym.scenarios.from_traces import RECORDED, RecordedScenario, make_recorded_pack
    from tasks.artifacts import read_snapshot
    from tasks.language_model import language_model
    from tasks.reading import usable_traces

    kind = customer_kind(customer)
    model = language_model(settings) if kind == "language" else None
    snapshot = read_snapshot(version.source("snapshot"), settings)
    pack = make_recorded_pack(snapshot.train, usable_traces(source, settings, scenario=RECORDED), snapshot.digest)
    scenario = RecordedScenario(pack, customer=kind, model=model)
    return _Evaluated(report=evaluate_policy(policy, scenario, pack.held_out, subject=subject, seed=seed))
