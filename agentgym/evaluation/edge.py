"""How a policy does where something goes wrong: its edge cases, kind by kind, beside the held-out cases and never among them."""

from collections.abc import Callable

from agentgym.episode import Policy
from agentgym.evaluation.evaluate import assemble_report, evaluate_policy
from agentgym.scenarios.from_traces import RECORDED, RecordedScenario, scenario_of
from agentgym.scenarios.pack import ScenarioPack
from agentgym.scenarios.scenario import Scenario
from agentgym.verdicts import CaseRow, EvaluationReport, Measure, Subject

FLAWLESS = "flawless"


def evaluate_edge_cases(
    policy: Policy, pack: ScenarioPack, *, subject: Subject, seed: int, on_progress: Callable[[int, int], None] | None = None
) -> EvaluationReport | None:
    """The report on the pack's edge cases, all of them played, a slice for each kind; None where they are of fewer than two customers.

    `flawless` is the share solved without a wrong call: an order that was slipped into a result is often harmless, and obeyed all the same.
    """
    if len({case.cluster_id for case in pack.edge}) < 2:
        return None
    played = evaluate_policy(policy, _scenario(pack), pack.edge, subject=subject, seed=seed, on_progress=on_progress)
    return assemble_report(
        "play",
        [_with_flawless(row) for row in played.rows],
        played.failures,
        subject=subject,
        scenario=played.scenario,
        case_set=played.case_set_digest,
        seed=seed,
    )


def _scenario(pack: ScenarioPack) -> Scenario:
    """The recorded one gives a conversation as many turns as the longest it plays; two wishes in one make a longer one."""
    return RecordedScenario(pack.model_copy(update={"held_out": pack.edge})) if pack.scenario == RECORDED else scenario_of(pack)


def _with_flawless(row: CaseRow) -> CaseRow:
    calls, success = row.measures["tool_reliability"], row.measures["success_rate"]
    is_flawless = success.numerator == 1 and calls.numerator == calls.denominator
    return row.model_copy(update={"measures": {**row.measures, FLAWLESS: Measure(numerator=float(is_flawless))}})
