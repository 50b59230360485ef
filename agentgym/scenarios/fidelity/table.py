"""A fidelity report as rows of text, for people."""

from agentgym.scenarios.fidelity.answering import BASES
from agentgym.scenarios.fidelity.figures import Figure
from agentgym.scenarios.fidelity.report import CustomerFidelity, FidelityReport, RankFidelity, ToolFidelity

TOOL_COLUMNS = ("tool", "calls", *BASES, "same result", "same fields", "gain", "errors", "of the record", "covered", "verdict")
_SIGNS = {"failed": "fails", "passed": "passes", "not_measured": "not measured"}


def tool_rows(report: FidelityReport) -> list[list[str]]:
    """A row for each tool, the one of all tools last.

    errors: the environment's rate on all calls, then the record's.   gain: over an answer of the tool drawn at random.
    """
    return [_row(tool, report) for tool in (*report.tools, report.all_tools)]


def tool_lines(report: FidelityReport) -> list[str]:
    """The same as lines of text, their columns aligned: a name of a tool is never cut."""
    table = [list(TOOL_COLUMNS), *tool_rows(report)]
    widths = [max(len(row[place]) for row in table) for place in range(len(TOOL_COLUMNS))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in table]


def other_lines(report: FidelityReport) -> list[str]:
    """What was measured of the customer and of the whole, whether there is a bar for it or not."""
    return [*map(_customer_line, report.customers), *map(_rank_line, report.ranks)]


def _row(tool: ToolFidelity, report: FidelityReport) -> list[str]:
    bases = [_percent(tool.bases[basis].share) if tool.bases else "" for basis in BASES]
    return [
        tool.tool,
        str(tool.calls),
        *bases,
        _percent(tool.result_match),
        _percent(tool.field_match),
        "" if tool.gain.estimate is None else f"{tool.gain.estimate.mean:+.2f}",
        _percent(tool.errors),
        _percent(tool.recorded_errors),
        _percent(tool.covered),
        _verdict(tool, report),
    ]


def _verdict(tool: ToolFidelity, report: FidelityReport) -> str:
    outcomes = {check.outcome for check in report.checks if check.part == "tool" and check.subject == tool.tool}
    judged = [check for check in report.checks if check.subject == tool.tool and check.tells_of_answers]
    return _SIGNS["failed" if "failed" in outcomes else "passed" if judged else "not_measured"]


def _customer_line(customer: CustomerFidelity) -> str:
    return (
        f"customer with the {customer.agent} agent: length ×{_shown(customer.length_ratio)}, difference "
        f"{_shown(customer.length_difference)} turns, order of facts {_shown(customer.order)}, facts told {_shown(customer.told)}, "
        f"questions answered {_shown(customer.answered)}"
    )


def _rank_line(ranks: RankFidelity) -> str:
    if ranks.kendall.estimate is None:
        return f"reward and {ranks.judgement}: not measured. {ranks.kendall.reason}"
    return (
        f"reward and {ranks.judgement} of {ranks.kendall.observations} recorded agents: tau-b {_shown(ranks.kendall)}, "
        f"rho {_shown(ranks.spearman)}, tau-b inside customers {_shown(ranks.within)}"
    )


def _shown(figure: Figure) -> str:
    return "undefined" if figure.estimate is None else str(figure.estimate)


def _percent(figure: Figure) -> str:
    return "–" if figure.estimate is None else f"{figure.estimate.mean:.0%}"
