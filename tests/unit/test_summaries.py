from io import StringIO

from rich.console import Console

from agentgym.cli.summaries import decision_lines, report_table
from agentgym.statistics import Estimate
from agentgym.verdicts import Check, EvaluationReport, PromotionDecision, Subject

HALF = Estimate(mean=0.5, standard_error=0.05, clusters=40, low=0.4, high=0.6)
GAIN = Check(name="gain:tool_reliability", outcome="passed", statement="tool_reliability went up.")
CASES = Check(name="cases", outcome="passed", statement="Both were evaluated on the same cases.")


def decision(*checks: Check) -> PromotionDecision:
    subject = Subject(name="version 2", checkpoint_digest="c")
    return PromotionDecision(
        evidence="play",
        primary_metric="tool_reliability",
        case_set_digest="d",
        challenger=subject,
        champion=None,
        challenger_report_digest="r",
        champion_report_digest=None,
        checks=checks,
        criteria={},
    )


def test_a_promotion_is_told_by_its_gain_and_the_rest_as_a_count():
    assert [line.split("[/] ")[1] for line in decision_lines(decision(CASES, GAIN))] == [GAIN.statement, "1 other checks passed."]


def test_a_refusal_is_told_by_what_stands_against_it():
    worse = Check(name="success_rate", outcome="failed", statement="success_rate fell.")
    assert [line.split("[/] ")[1] for line in decision_lines(decision(GAIN, worse))] == [worse.statement, "1 other checks passed."]


def test_the_kinds_of_case_stand_below_their_metric():
    estimates = {"tool_reliability": HALF, "success_rate": HALF}
    report = EvaluationReport(
        evidence="play",
        subject=Subject(name="logs", checkpoint_digest="c"),
        scenario="toy",
        case_set_digest="d",
        seed=0,
        estimates=estimates,
        slices={"refund_request": {"tool_reliability": HALF}},
        rows=(),
    )
    console = Console(file=StringIO(), width=100)
    console.print(report_table([report], slices="tool_reliability"))
    labels = [line.split("50.0%")[0].strip() for line in console.file.getvalue().splitlines()[1:]]
    assert labels == ["tool reliability", "refund request", "success rate"]
