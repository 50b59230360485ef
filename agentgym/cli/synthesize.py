"""`agentgym synthesize`: more out of a log: edge cases, copies to train on, the same conversations in another business."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from agentgym.cli.out_file import compressed_as_named, require_out_file
from agentgym.cli.session import session
from agentgym.errors import InvalidInput
from agentgym.settings import Settings, make_workspace
from agentgym.store import write_atomically, writing_atomically
from agentgym.traces.source import TraceSource

if TYPE_CHECKING:
    from agentgym.scenarios.edge_cases.made import EdgeCases
    from agentgym.scenarios.pack import ScenarioPack
    from agentgym.traces.trace import Trace


def run_synthesize(
    source: TraceSource,
    *,
    out: Path,
    business: Path | None,
    augmentation: Mapping[str, Any] | None,
    edge_cases: int | None,
    reference: str | None,
    scenario: str,
    seed: int,
    agent: str,
    is_json: bool,
) -> None:
    """augmentation: fields of AugmentationConfig; None for no copies.   edge_cases: of each kind; None for none.

    reference: of the version that plays the edge cases.
    """
    with session(is_json=is_json) as run:
        from tasks.reading import usable_traces

        require_out_file(out, source)
        _require_something(business, augmentation, edge_cases, scenario)
        make_workspace(run.settings)
        traces = usable_traces(source, run.settings, scenario=scenario)
        told: dict[str, Any] = {"out": str(out), "read": len(traces)}
        if business is not None:
            traces = _adapted(traces, business)
            told["adapted"] = len(traces)
        if augmentation is not None:
            traces = _augmented(traces, augmentation, told)
        if edge_cases is None:
            _write_traces(out, traces)
        else:
            pack, made = _pack(traces, scenario, edge_cases, seed)
            told |= _edges_json(made) | _difficulty(pack, made, reference, seed=seed, agent=agent, settings=run.settings)
            write_atomically(out, pack.to_bytes())
        told["diversity"] = _diversity(traces)
        run.screen.show(*_lines(told))
        run.screen.finish(told)


def _require_something(business: Path | None, augmentation: Mapping[str, Any] | None, edge_cases: int | None, scenario: str) -> None:
    from agentgym.scenarios.from_traces import RECORDED

    if business is None and augmentation is None and edge_cases is None:
        raise InvalidInput(
            "Something must be made of the log; nothing was asked for. Give --edge, --augment, --business, or several of them."
        )
    if scenario != RECORDED and (business is not None or augmentation is not None):
        raise InvalidInput(
            f"The conversations of a declared world follow from its declaration; those of {scenario!r} cannot be rewritten. "
            "Use --edge alone for it, or leave --scenario away."
        )


def _adapted(traces: "tuple[Trace, ...]", business: Path) -> "tuple[Trace, ...]":
    from agentgym.scenarios.synthesis.adaptation import adapt, read_mapping

    return adapt(traces, read_mapping(business))


def _augmented(traces: "tuple[Trace, ...]", asked: Mapping[str, Any], told: dict[str, Any]) -> "tuple[Trace, ...]":
    """The log with its copies; what was made of it is added to `told`."""
    from pydantic import ValidationError

    from agentgym.scenarios.synthesis.augmentation import AugmentationConfig, augment_training_part, require_copies

    try:
        config = AugmentationConfig.model_validate(asked)
    except ValidationError as error:
        fault = error.errors()[0]
        raise InvalidInput(f"Augmentation makes more than 0 and at most 20 copies; {fault['loc'][0]}: {fault['msg']}. Mend it.") from error
    made = require_copies(augment_training_part(traces, config))
    told |= {"copies": len(made.copies), "trained_on": made.trained_on, "held_out": made.held_out, "dropped": made.dropped}
    told["diversity_before"] = _diversity(traces)
    return (*traces, *made.copies)


def _pack(traces: "Sequence[Trace]", scenario: str, per_kind: int, seed: int) -> "tuple[ScenarioPack, EdgeCases]":
    """The cases behind the traces, split as a snapshot of them is, with edge cases of those that are held out."""
    from agentgym.evaluation.next_call import trace_set_digest
    from agentgym.scenarios.edge_cases.making import make_edge_cases
    from agentgym.scenarios.from_traces import RECORDED, make_recorded_pack
    from agentgym.scenarios.registry import load_world
    from agentgym.traces.snapshot import SplitConfig, held_out_part

    held_out = held_out_part((trace.cluster_id for trace in traces), SplitConfig())
    train = [trace for trace in traces if trace.cluster_id not in held_out]
    judged = [trace for trace in traces if trace.cluster_id in held_out]
    digest = trace_set_digest(traces)
    pack = make_recorded_pack(train, judged, digest) if scenario == RECORDED else load_world(scenario).make_pack(train, judged, digest)
    made = make_edge_cases(pack, per_kind=per_kind, seed=seed)
    return pack.model_copy(update={"edge": made.cases}), made


def _edges_json(made: "EdgeCases") -> dict[str, Any]:
    return {"edge_cases": made.counts, "tried": made.tried, "skipped": made.skipped}


def _difficulty(
    pack: "ScenarioPack", made: "EdgeCases", reference: str | None, *, seed: int, agent: str, settings: Settings
) -> dict[str, Any]:
    """Structural, and as the version plays them where one was named."""
    if not made.cases:
        return {}
    from agentgym.evaluation.edge import evaluate_edge_cases
    from agentgym.policies.checkpoint import load_policy
    from agentgym.scenarios.synthesis.diversity import difficulty_of
    from agentgym.verdicts import Subject
    from tasks.artifacts import read_checkpoint
    from tasks.registry import open_registry

    reports = {}
    if reference is not None:
        version = open_registry(agent, settings).resolve(reference)
        subject = Subject(name=f"version {version.version}", checkpoint_digest=version.checkpoint.digest)
        policy = load_policy(read_checkpoint(version.checkpoint, settings), environment=os.environ)
        if report := evaluate_edge_cases(policy, pack, subject=subject, seed=seed):
            reports[subject.name] = report
    return {"difficulty": difficulty_of(made.cases, reports).model_dump()}


def _diversity(traces: "Sequence[Trace]") -> dict[str, Any]:
    from agentgym.scenarios.synthesis.diversity import diversity_of

    return diversity_of(traces).model_dump()


def _write_traces(out: Path, traces: "Sequence[Trace]") -> None:
    with writing_atomically(out) as whole, compressed_as_named(whole, out) as file:
        file.writelines(orjson.dumps(trace.model_dump(mode="json", exclude_defaults=True)) + b"\n" for trace in traces)


def _lines(told: Mapping[str, Any]) -> list[str]:
    lines = [f"{told['read']} conversations read; written to {told['out']}."]
    if "copies" in told:
        lines.append(f"{told['copies']} copies of {told['trained_on']} training conversations; {told['held_out']} are held out.")
        lines += [f"  {count:>6}  {reason}" for reason, count in told["dropped"].items()]
    lines += [f"  {count:>6}  {kind.replace('_', ' ')}" for kind, count in told.get("edge_cases", {}).items()]
    lines += [f"  no {kind.replace('_', ' ')}: {reason}" for kind, reason in told.get("skipped", {}).items()]
    for name, solved in told.get("difficulty", {}).get("solved", {}).items():
        lines.append(f"{name} solves " + ", ".join(f"{share:.0%} {kind.replace('_', ' ')}" for kind, share in solved.items()))
    found = told["diversity"]
    distance = "undefined" if found["distance"] is None else f"{found['distance']:.2f}"
    counts = f"{found['kinds']} kinds, {found['call_sequences']} orders of calls, {found['vocabulary']} words"
    return [*lines, f"{counts}; distance to the nearest other conversation {distance}."]
