"""A version, and what it is seen beside, on the held-out cases of a pack.

Cases of a world are played; recordings are asked for their next call.
"""

from collections.abc import Callable, Mapping, Sequence

from agentgym.episode import Policy
from agentgym.errors import InvalidInput
from agentgym.evaluation.evaluate import PlayedCase, case_set_digest, evaluate_policy, report_played
from agentgym.evaluation.floors import fit_floors
from agentgym.evaluation.next_call import evaluate_next_call
from agentgym.scenarios.from_traces import scenario_of
from agentgym.scenarios.pack import ScenarioPack
from agentgym.scenarios.world_scenario import WorldScenario
from agentgym.tools import Tool
from agentgym.traces.trace import Trace
from agentgym.verdicts import EvaluationReport, Subject

OnProgress = Callable[[int, int], None]


def evaluate_held_out(
    policy: Policy, pack: ScenarioPack, *, subject: Subject, seed: int, on_progress: OnProgress | None = None
) -> EvaluationReport:
    """The report on which versions of an agent are compared."""
    recordings = held_out_recordings(pack)
    if recordings:
        services = trained_services(pack)
        return evaluate_next_call(policy, recordings, subject=subject, trained_services=services, tools=pack.tools, on_progress=on_progress)
    return evaluate_policy(policy, scenario_of(pack), pack.held_out, subject=subject, seed=seed, on_progress=on_progress)


def evaluate_recordings(
    policy: Policy, recordings: Sequence[Trace], trained_on: ScenarioPack, *, subject: Subject, on_progress: OnProgress | None = None
) -> EvaluationReport:
    """The next calls of these recordings, apart for services that were in the training part of `trained_on` and services that were not."""
    known = {tool.name: tool for tool in trained_on.tools}
    return evaluate_next_call(
        policy,
        [_with_tools_as_known(trace, known) for trace in recordings],
        subject=subject,
        trained_services=trained_services(trained_on),
        tools=trained_on.tools,
        on_progress=on_progress,
    )


def evaluate_floors(
    train: Sequence[Trace], recordings: Sequence[Trace], trained_on: ScenarioPack, *, train_digest: str
) -> list[EvaluationReport]:
    """What predictors without skill reach on these recordings: the reports a version must be well above."""
    floors = fit_floors(train, tools=trained_on.tools)
    subjects = {name: Subject(name=name, checkpoint_digest=train_digest) for name in floors}
    return [evaluate_recordings(policy, recordings, trained_on, subject=subjects[name]) for name, policy in floors.items()]


def assess_logs(traces: Sequence[Trace], scenario: WorldScenario, *, log_digest: str) -> EvaluationReport:
    """How the agent in the logs did, by the measures that versions are judged by."""
    if not traces:
        raise InvalidInput(f"Logs of {scenario.name!r} are assessed trace by trace; got none. Give a log with conversations.")
    played = [PlayedCase(trajectory=scenario.assess_trace(trace)) for trace in traces]
    return report_played(
        played,
        subject=Subject(name="logs", checkpoint_digest=log_digest),
        scenario=scenario.name,
        case_set=case_set_digest(map(scenario.case_from_trace, traces)),
        seed=0,
        baseline=scenario.create_environment().reward_weights,
    )


def trained_services(pack: ScenarioPack) -> frozenset[str]:
    """Services whose tools were in scope of a conversation to train on."""
    recordings = (case.recording for case in pack.train if case.recording is not None)
    return frozenset(tool.service for trace in recordings for tool in trace.tools or pack.tools)


def held_out_recordings(pack: ScenarioPack) -> list[Trace]:
    return [case.recording for case in pack.held_out if case.recording is not None]


def _with_tools_as_known(trace: Trace, known: Mapping[str, Tool]) -> Trace:
    """The trace with tools that equal a known one written as that: two logs may list the arguments of one tool in different orders."""
    return trace.model_copy(update={"tools": tuple(known[tool.name] if known.get(tool.name) == tool else tool for tool in trace.tools)})
