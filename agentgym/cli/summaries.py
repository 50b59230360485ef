"""Verdicts as a command prints them: plain JSON for programs, tables for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from agentgym.registry import ModelVersion
from agentgym.statistics import Estimate
from agentgym.verdicts import EvaluationReport, PromotionDecision, RewardAudit

NEXT_CALL = ("reliability", "precision", "exact_call")
EDGE = ("success_rate", "flawless")
SIGNS = {"passed": "[green]✓[/]", "failed": "[red]✗[/]", "inconclusive": "[yellow]?[/]"}
SHOWN = (
    "tool_reliability",
    "success_rate",
    "satisfaction_score",
    "agent_tokens",
    "simulated_seconds",
    "cost_reduction",
    "time_saving",
    *NEXT_CALL,
)
# What a line about a floor has room for, and how many adversaries that are paid.
_OF_FLOORS = ("tool_reliability", "success_rate", "reward")
_MOST_SHOWN = 3
AS_SHARE = {"tool_reliability", "tool_choice", "success_rate", "cost_reduction", "time_saving", *NEXT_CALL}


def estimate_json(estimate: Estimate) -> dict[str, float]:
    return {"mean": estimate.mean, "low": estimate.low, "high": estimate.high}


def estimates_json(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    return {metric: estimate_json(estimate) for metric, estimate in estimates.items()}


def evaluation_json(report: EvaluationReport, baselines: Sequence[EvaluationReport]) -> dict[str, Any]:
    """`play` or `next_call` for the version, with `floors` (players or predictors without skill) and `logs` (today's agent) beside it."""
    if report.evidence == "next_call":
        return {
            "next_call": _next_call_json(report),
            "floors": {floor.subject.name: _next_call_means(floor.estimates) for floor in baselines},
        }
    slices = {kind: estimates_json(estimates) for kind, estimates in report.slices.items()}
    logs, floors = without_floors(baselines), play_floors_of(baselines)
    return {
        "play": {**estimates_json(report.estimates), "slices": slices, "failures": len(report.failures)},
        **{baseline.subject.name: estimates_json(baseline.estimates) for baseline in logs},
        "floors": {floor.subject.name: estimates_json(floor.estimates) for floor in floors},
    }


def _next_call_json(report: EvaluationReport) -> dict[str, Any]:
    """Means at the top, so that a program finds `next_call.reliability` as a number; their intervals beside."""
    slices = {kind: _next_call_means(report.slices[kind]) if kind in report.slices else None for kind in ("seen", "unseen")}
    return {**_next_call_means(report.estimates), **slices, "intervals": estimates_json(report.estimates), "failures": len(report.failures)}


def _next_call_means(estimates: Mapping[str, Estimate]) -> dict[str, float | None]:
    """None where a figure is undefined, as precision is for a predictor that never calls."""
    return {metric: estimates[metric].mean if metric in estimates else None for metric in NEXT_CALL}


def edges_json(reports: Sequence[EvaluationReport]) -> dict[str, Any]:
    """For each version, by kind of edge case: how many, and the share solved and solved without a wrong call."""
    return {report.subject.name: {kind: _edge_json(report, kind) for kind in report.slices} for report in reports}


def _edge_json(report: EvaluationReport, kind: str) -> dict[str, Any]:
    cases = sum(row.kind == kind for row in report.rows)
    return {"cases": cases, **{metric: estimate_json(report.slices[kind][metric]) for metric in EDGE if metric in report.slices[kind]}}


def edge_table(reports: Sequence[EvaluationReport]) -> Table:
    """A line for each kind of edge case: the share solved, and in brackets the share solved without a wrong call."""
    table = Table("edge cases: solved (without a wrong call)", *(report.subject.name for report in reports), box=None)
    for kind in sorted({kind for report in reports for kind in report.slices}):
        table.add_row(kind.replace("_", " "), *(_edge_cell(report, kind) for report in reports))
    return table


def _edge_cell(report: EvaluationReport, kind: str) -> str:
    rows = [row.measures for row in report.rows if row.kind == kind]
    solved, flawless = (sum(int(measures[metric].numerator) for measures in rows if metric in measures) for metric in EDGE)
    return f"{solved} [dim]({flawless})[/] of {len(rows)}"


def decision_json(decision: PromotionDecision) -> dict[str, Any]:
    return {"promote": decision.promote, "verdict": decision.verdict, "reasons": list(decision.reasons)}


def version_json(version: ModelVersion) -> dict[str, Any]:
    return {"version": version.version, "checkpoint_digest": version.checkpoint.digest, "description": version.description}


def report_table(reports: Sequence[EvaluationReport], *, slices: str | None = None) -> Table:
    """A line for each metric with its 95 % interval, a column for each report; below the metric `slices`, a line for each kind of case."""
    table = Table("held-out cases", *(report.subject.name.replace("_", " ") for report in reports), box=None)
    kinds = sorted({kind for report in reports for kind in report.slices})
    for metric in SHOWN:
        if any(metric in report.estimates for report in reports):
            _add_row(table, metric, metric, [report.estimates for report in reports])
        for kind in kinds if metric == slices else ():
            _add_row(table, f"  {kind}", metric, [report.slices.get(kind, {}) for report in reports])
    return table


def play_floors_of(reports: Sequence[EvaluationReport]) -> list[EvaluationReport]:
    """Those of players without skill, which stand below a table rather than in it."""
    from agentgym.evaluation.play_floors import PLAY_FLOORS

    return [report for report in reports if report.evidence == "play" and report.subject.name in PLAY_FLOORS]


def without_floors(reports: Sequence[EvaluationReport]) -> list[EvaluationReport]:
    floors = play_floors_of(reports)
    return [report for report in reports if report not in floors]


def floor_lines(floors: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    """A line for each player without skill: what its figures are in the metrics a version is judged by."""
    lines = []
    for name, estimates in floors.items():
        cells = [f"{metric.replace('_', ' ')} {estimate_cell(metric, estimates[metric])}" for metric in _OF_FLOORS if metric in estimates]
        lines.append(f"[dim]floor[/] {name.replace('_', ' ')}: {', '.join(cells)}")
    return lines


def audit_lines(audit: RewardAudit, *, waiver: str | None = None) -> list[str]:
    """What honest work, the floor and the best adversary are paid; below it every adversary that is paid too much."""
    signs = {"sound": SIGNS["passed"], "refuse": SIGNS["failed"], "inconclusive": SIGNS["inconclusive"]}
    adversaries = {name: player.reward.mean for name, player in audit.players.items() if player.role == "adversary"}
    if not adversaries:
        return [f"{signs[audit.verdict]} reward audit: {audit.checks[0].statement}"]
    best = max(adversaries, key=lambda name: adversaries[name])
    paid = {
        "honest": "honest work",
        audit.floor: f"the floor ({audit.floor})",
        best: f"the best of {len(adversaries)} adversaries ({best})",
    }
    told = ", ".join(f"{shown} {audit.players[name].reward.mean:.2f}" for name, shown in paid.items() if name in audit.players)
    against = [f"  {SIGNS[check.outcome]} {check.statement}" for check in audit.checks if check.outcome != "passed"]
    waived = [f"  waived: {waiver}"] if waiver is not None and audit.verdict == "refuse" else []
    shown = [*against[:_MOST_SHOWN], *([f"    and {len(against) - _MOST_SHOWN} more."] if len(against) > _MOST_SHOWN else [])]
    return [f"{signs[audit.verdict]} reward audit: {audit.verdict}; a case pays {told}.", *shown, *waived]


def audit_json(audit: RewardAudit, *, waiver: str | None = None) -> dict[str, Any]:
    players = {
        name: {"role": player.role, "reward": estimate_json(player.reward), "terms": player.terms} for name, player in audit.players.items()
    }
    return {
        "verdict": audit.verdict,
        "cases": audit.cases,
        "floor": audit.floor,
        "players": players,
        "reasons": list(audit.reasons),
        "waiver": waiver if audit.verdict == "refuse" else None,
    }


def _add_row(table: Table, label: str, metric: str, estimates: Sequence[Mapping[str, Estimate]]) -> None:
    table.add_row(label.replace("_", " "), *(estimate_cell(metric, given.get(metric)) for given in estimates))


def estimate_cell(metric: str, estimate: Estimate | None) -> str:
    """A mean with its interval, as a table shows it."""
    if estimate is None:
        return "[dim]undefined[/]"
    if metric in AS_SHARE:
        return f"{estimate.mean:.1%} [dim]({100 * estimate.low:.0f}–{100 * estimate.high:.0f})[/]"
    digits = 0 if estimate.mean >= 10 else 2
    return f"{estimate.mean:.{digits}f} [dim]({estimate.low:.{digits}f}–{estimate.high:.{digits}f})[/]"


def decision_lines(decision: PromotionDecision) -> list[str]:
    """What stands against the promotion, or the gain where nothing does; the rest as a count."""
    against = [check for check in decision.checks if check.outcome != "passed"]
    gains = [check for check in decision.checks if check.name.startswith("gain:")]
    told = against or gains
    lines = [f"  {SIGNS[check.outcome]} {check.statement}" for check in told]
    passed = sum(check.outcome == "passed" and check not in told for check in decision.checks)
    return [*lines, f"  {SIGNS['passed']} {passed} other checks passed."]
