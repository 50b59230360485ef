"""`agentgym scenarios regressions`: failures as minimal cases that may not come back."""

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agentgym.cli.session import session
from agentgym.errors import InsufficientData, InvalidInput
from agentgym.settings import Settings, make_workspace
from agentgym.traces.source import TraceSource

if TYPE_CHECKING:
    from agentgym.scenarios.regressions.regression import Regression
    from agentgym.traces.trace import Trace

Minimise = Callable[["Trace"], "Regression"]


def list_regression_cases(*, agent: str, with_history: bool, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        make_workspace(run.settings)
        from rich.table import Table

        from tasks.regressions import open_regressions

        regressions = open_regressions(agent, run.settings)
        cases, history = regressions.cases(), regressions.history() if with_history else ()
        table = Table("case", "from", "messages", "what failed", box=None)
        for case in cases:
            table.add_row(case.regression_id, case.source, f"{case.messages_after} of {case.messages_before}", case.what)
        changes = [f"{entry.at:%Y-%m-%d %H:%M} {entry.change} {entry.regression_id}: {entry.reason}" for entry in history]
        run.screen.show(f"{len(cases)} regression cases of {agent!r}", "", table, *changes)
        found: dict[str, Any] = {"regressions": list(map(_json, cases))}
        run.screen.finish(found | ({"history": [entry.model_dump(mode="json") for entry in history]} if with_history else {}))


def add_regression_cases(
    source: TraceSource,
    *,
    conversations: Sequence[str],
    reference: str | None,
    scenario: str,
    reason: str,
    most: int,
    seed: int,
    agent: str,
    is_json: bool,
) -> None:
    """reference: of the version whose failures are kept; None for those of the log."""
    with session(is_json=is_json) as run:
        make_workspace(run.settings)
        from tasks.reading import usable_traces
        from tasks.regressions import open_regressions

        traces = usable_traces(source, run.settings, scenario=scenario)
        minimise = _minimiser(traces, reference, scenario=scenario, seed=seed, agent=agent, settings=run.settings)
        regressions, added, passed_over = open_regressions(agent, run.settings), [], {}
        for trace, regression in _regressions(_chosen(traces, conversations), minimise, is_asked=bool(conversations)):
            if isinstance(regression, str):
                passed_over[trace.conversation_id] = regression
            elif regressions.add(regression, reason=reason, at=datetime.now(UTC)):
                added.append(regression)
                run.screen.show(f"{regression.regression_id} {regression.source}: {_size(regression)}; {regression.what}")
            if len(added) == most:
                break
        run.screen.show(f"{len(added)} added, {len(regressions.cases())} in the set; {len(passed_over)} conversations are no case.")
        run.screen.show(*(f"  {told}" for told in sorted(set(passed_over.values()))[:5]))
        run.screen.finish({"added": list(map(_json, added)), "in_the_set": len(regressions.cases()), "passed_over": passed_over})


def remove_regression_case(regression_id: str, *, reason: str, agent: str, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        make_workspace(run.settings)
        from tasks.regressions import open_regressions

        removed = open_regressions(agent, run.settings).remove(regression_id, reason=reason, at=datetime.now(UTC))
        run.screen.show(f"{regression_id} is out of the set: {reason}")
        run.screen.finish({"removed": _json(removed), "reason": reason})


def _regressions(traces: Sequence["Trace"], minimise: Minimise, *, is_asked: bool) -> Iterator[tuple["Trace", "Regression | str"]]:
    """The case of each conversation, or why there is none; that is an error for those that were asked for by name."""
    for trace in traces:
        try:
            yield trace, minimise(trace)
        except (InvalidInput, InsufficientData) as error:
            if is_asked:
                raise
            yield trace, str(error)


def _minimiser(traces: Sequence["Trace"], reference: str | None, *, scenario: str, seed: int, agent: str, settings: Settings) -> Minimise:
    from agentgym.scenarios.from_traces import RECORDED
    from agentgym.scenarios.registry import load_world
    from agentgym.scenarios.regressions.of_recording import regression_of_failure, regression_of_version
    from agentgym.scenarios.regressions.of_world import regression_of_case, regression_of_trace
    from agentgym.traces.own_words import learn_call_keys

    keys = learn_call_keys(traces)
    if reference is None:
        if scenario == RECORDED:
            return lambda trace: regression_of_failure(trace, traces, keys=keys)
        world = load_world(scenario)
        return lambda trace: regression_of_trace(world, trace)
    policy, name = _version(reference, agent, settings)
    if scenario == RECORDED:
        return lambda trace: regression_of_version(trace, policy, name=name, keys=keys, seed=seed)
    world = load_world(scenario)
    return lambda trace: regression_of_case(world, world.case_from_trace(trace), policy, name=name, seed=seed)


def _version(reference: str, agent: str, settings: Settings) -> tuple[Any, str]:
    from agentgym.policies.checkpoint import load_policy
    from tasks.artifacts import read_checkpoint
    from tasks.registry import open_registry

    version = open_registry(agent, settings).resolve(reference)
    return load_policy(read_checkpoint(version.checkpoint, settings), environment=os.environ), f"version {version.version}"


def _chosen(traces: Sequence["Trace"], conversations: Sequence[str]) -> list["Trace"]:
    known = {trace.conversation_id: trace for trace in traces}
    if missing := sorted(set(conversations) - known.keys()):
        raise InvalidInput(
            f"A conversation is named by its id in the log; {missing[0]!r} is not in it. It begins with {next(iter(known))!r}."
        )
    return [known[name] for name in conversations] if conversations else list(traces)


def _size(regression: "Regression") -> str:
    return f"{regression.messages_before} messages before, {regression.messages_after} after {regression.tests} replays"


def _json(regression: "Regression") -> dict[str, Any]:
    content = regression.model_dump(mode="json", exclude={"case", "replay"})
    replay = [message.model_dump(mode="json", exclude_defaults=True) for message in regression.replay]
    return {"regression_id": regression.regression_id, "kind": regression.case.kind, **content, "replay": replay}
