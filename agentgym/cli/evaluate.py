"""`agentgym evaluate`: a registered version on other traces, or in a world, without training."""

import os
from typing import TYPE_CHECKING

from agentgym.cli.session import session
from agentgym.errors import InvalidInput
from agentgym.settings import Settings, make_workspace
from agentgym.traces.source import TraceSource

if TYPE_CHECKING:
    from agentgym.episode import Policy
    from agentgym.registry import ModelVersion
    from agentgym.traces.trace import Trace
    from agentgym.verdicts import EvaluationReport, Subject


def run_evaluate(reference: str, source: TraceSource | None, *, scenario: str, cases: int, seed: int, agent: str, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        make_workspace(run.settings)
        from agentgym.cli.summaries import evaluation_json, floor_lines, play_floors_of, report_table, version_json, without_floors
        from tasks.registry import open_registry

        version = open_registry(agent, run.settings).resolve(reference)
        report, *baselines = _reports(version, source, scenario=scenario, cases=cases, seed=seed, settings=run.settings)
        run.screen.show(report_table([*without_floors(baselines), report], slices=next(iter(report.estimates))))
        run.screen.show(*floor_lines({floor.subject.name: floor.estimates for floor in play_floors_of(baselines)}))
        run.screen.finish({"version": version_json(version), "evaluation": evaluation_json(report, baselines)})


def _reports(
    version: "ModelVersion", source: TraceSource | None, *, scenario: str, cases: int, seed: int, settings: Settings
) -> list["EvaluationReport"]:
    """The version's report, then the baselines'."""
    from agentgym.policies.checkpoint import load_policy
    from agentgym.scenarios.from_traces import RECORDED
    from agentgym.verdicts import Subject
    from tasks.artifacts import read_checkpoint

    policy = load_policy(read_checkpoint(version.checkpoint, settings), environment=os.environ)
    subject = Subject(name=f"version {version.version}", checkpoint_digest=version.checkpoint.digest)
    if scenario != RECORDED:
        return _played(policy, subject, source, scenario=scenario, cases=cases, seed=seed, settings=settings)
    if source is None:
        raise InvalidInput(
            "Recorded conversations are replayed from traces; no --traces were given. Give some, or a --scenario to play in."
        )
    return _replayed(policy, subject, source, version, settings)


def _played(
    policy: "Policy", subject: "Subject", source: TraceSource | None, *, scenario: str, cases: int, seed: int, settings: Settings
) -> list["EvaluationReport"]:
    from agentgym.evaluation.evaluate import evaluate_policy
    from agentgym.evaluation.held_out import assess_logs
    from agentgym.evaluation.play_floors import evaluate_play_floors
    from agentgym.scenarios.registry import load_world

    world = load_world(scenario)
    traces = () if source is None else _validated(source, scenario, settings)
    played_cases = [world.case_from_trace(trace) for trace in traces] if source else list(world.generate_cases(cases, seed=seed))
    played = evaluate_policy(policy, world, played_cases, subject=subject, seed=seed)
    logs = [assess_logs(traces, world, log_digest=played.case_set_digest)] if source else []
    floors = evaluate_play_floors(world, played_cases, played_cases, train_digest=played.case_set_digest, seed=seed)
    return [played, *logs, *floors]


def _replayed(
    policy: "Policy", subject: "Subject", source: TraceSource, version: "ModelVersion", settings: Settings
) -> list["EvaluationReport"]:
    from agentgym.evaluation.held_out import evaluate_floors, evaluate_recordings
    from agentgym.scenarios.from_traces import RECORDED
    from tasks.artifacts import read_pack, read_snapshot

    traces = _validated(source, RECORDED, settings)
    pack, snapshot = read_pack(version.source("pack"), settings), read_snapshot(version.source("snapshot"), settings)
    replayed = evaluate_recordings(policy, traces, pack, subject=subject)
    return [replayed, *evaluate_floors(snapshot.train, traces, pack, train_digest=snapshot.digest)]


def _validated(source: TraceSource, scenario: str, settings: Settings) -> "tuple[Trace, ...]":
    """Redacted as the traces were that the version learned from: with the secret of the same workspace."""
    from agentgym.traces.validation import load_validated
    from tasks.redaction import redactor_of

    validated = load_validated(
        source.path,
        source.format,
        mapping=source.mapping,
        limit=source.limit,
        max_quarantined_share=source.max_quarantined_share,
        redactor=redactor_of(source, settings, scenario=scenario),
    )
    return validated.traces
