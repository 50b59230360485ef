"""What a person sees of a step in the Prefect UI: tables, reasons and pictures."""

import base64
import io
from collections.abc import Sequence

from agentgym.scenarios.fidelity.report import FidelityReport, by_weight
from agentgym.scenarios.fidelity.table import TOOL_COLUMNS, tool_rows
from agentgym.statistics import Estimate
from agentgym.traces.balance import SplitBalance
from agentgym.traces.ingestion import JudgedLog
from agentgym.training.result import IterationMetrics
from agentgym.verdicts import ABTestReport, EvaluationReport, PromotionDecision, RewardAudit

SIGNS = {"passed": "✓", "failed": "✗", "inconclusive": "?", "not_measured": "–"}


def evaluation_table(reports: Sequence[EvaluationReport]) -> list[dict[str, str]]:
    """A row for each metric, overall and by kind, a column for each report."""
    rows = [_row("all", metric, reports, [report.estimates.get(metric) for report in reports]) for metric in reports[0].estimates]
    primary = next(iter(reports[0].estimates))
    slices = [_row(kind, primary, reports, [report.slices.get(kind, {}).get(primary) for report in reports]) for kind in reports[0].slices]
    return rows + slices


def _row(kind: str, metric: str, reports: Sequence[EvaluationReport], estimates: Sequence[Estimate | None]) -> dict[str, str]:
    cells = {report.subject.name: "undefined" if cell is None else str(cell) for report, cell in zip(reports, estimates, strict=True)}
    return {"cases": kind, "metric": metric, **cells}


def decision_markdown(decision: PromotionDecision) -> str:
    champion = decision.champion.name if decision.champion else "no champion"
    lines = [f"- {SIGNS[check.outcome]} **{check.name}**: {check.statement}" for check in decision.checks]
    return "\n".join([f"# {decision.verdict}: {decision.challenger.name} against {champion}", "", *lines])


def fidelity_markdown(report: FidelityReport) -> str:
    """The verdict, every check in words, and a row for each tool."""
    lines = [f"- {SIGNS[check.outcome]} **{check.name}**: {check.statement} {check.repair}".rstrip() for check in by_weight(report.checks)]
    rows = [f"| {' | '.join(cells)} |" for cells in (TOOL_COLUMNS, ["---"] * len(TOOL_COLUMNS), *tool_rows(report))]
    return "\n".join([f"# Fidelity of {report.scenario}: {report.verdict.replace('_', ' ')}", "", *rows, "", *lines])


def audit_markdown(audit: RewardAudit) -> str:
    """What every player was paid, highest first, then what was asked of each."""
    ordered = sorted(audit.players.items(), key=lambda named: -named[1].reward.mean)
    terms = {name: ", ".join(f"{term} {points:.2f}" for term, points in player.terms.items() if points) for name, player in ordered}
    rows = [f"| {name} | {player.role} | {player.reward} | {terms[name]} |" for name, player in ordered]
    lines = [f"- {SIGNS[check.outcome]} **{check.name}**: {check.statement}" for check in audit.checks]
    table = ["| player | as | reward for a case | of which |", "| --- | --- | ---: | --- |", *rows, ""] if rows else []
    return "\n".join([f"# {audit.verdict}: the reward of {audit.scenario}, played on {audit.cases} cases", "", *table, *lines])


def ab_test_table(report: ABTestReport) -> list[dict[str, str]]:
    """A row for each arm."""
    return [
        {
            "arm": name,
            "version": arm.subject.name,
            "share": f"{arm.weight:.0%}",
            "customers": str(arm.customers),
            "conversations": str(arm.conversations),
            "outcomes known": str(arm.outcomes),
            "success": "undefined" if arm.success_rate is None else f"{arm.success_rate:.1%}",
            "failed requests": f"{arm.failures} of {arm.requests}",
        }
        for name, arm in (("control", report.control), ("treatment", report.treatment))
    ]


def ab_test_markdown(report: ABTestReport) -> str:
    lines = [f"- {SIGNS[check.outcome]} **{check.name}**: {check.statement}" for check in report.checks]
    return "\n".join(
        [f"# {report.verdict.replace('_', ' ')}: {report.treatment.subject.name} against {report.control.subject.name}", "", *lines]
    )


def quality_markdown(log: JudgedLog, quarantine_uri: str) -> str:
    report = log.report
    reasons = [f"| {reason} | {count} |" for reason, count in report.reasons.items()] or ["| nothing was put aside | 0 |"]
    redacted = [f"Placeholders stand for {', '.join(f'{count} × {kind}' for kind, count in report.redacted.items())}."]
    lines = [
        f"# {report.accepted} of {report.read} conversations can be used",
        f"{report.tool_calls} tool calls; {report.quarantined} conversations put aside in `{quarantine_uri}`.",
        *(redacted if report.redacted else ()),
        f"{report.near_duplicates} nearly repeat an earlier one; they are used all the same.",
        "",
        "| rule that was broken | conversations |",
        "| --- | ---: |",
        *reasons,
    ]
    return "\n".join(lines)


def balance_markdown(balance: SplitBalance) -> str:
    """A row for each class: its share of what is learned from, and of what is judged on."""
    rows = [
        f"| {each.feature} | {each.value} | {balance.train_share(each):.1%} | {balance.held_out_share(each):.1%} |"
        for each in balance.classes
    ]
    one_sided = [f"On one side only: {', '.join(f'{each.feature} {each.value}' for each in balance.one_sided)}.", ""]
    lines = [
        f"# {balance.train} conversations to learn from, {balance.held_out} to judge on",
        "No customer is on both sides; a side follows from the customer's name, not from how a conversation ended.",
        "",
        *(one_sided if balance.one_sided else ()),
        "| class | is | learned from | judged on |",
        "| --- | --- | ---: | ---: |",
        *rows,
    ]
    return "\n".join(lines)


def learning_curve(curve: Sequence[IterationMetrics]) -> bytes:
    """Tool reliability, success and reward over iterations, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    shares, rewards = figure.subplots(1, 2)
    iterations = [metrics.iteration for metrics in curve]
    shares.plot(iterations, [metrics.tool_reliability for metrics in curve], label="tool reliability")
    shares.plot(iterations, [metrics.success_rate for metrics in curve], label="success")
    shares.set(xlabel="iteration", ylabel="share of sampled rollouts", ylim=(0, 1))
    shares.legend()
    rewards.plot(iterations, [metrics.reward for metrics in curve], color="tab:green")
    rewards.set(xlabel="iteration", ylabel="mean reward")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    return picture.getvalue()


def data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
