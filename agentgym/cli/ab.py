"""`agentgym ab`: a live test started, watched, ramped and ended."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
import typer
from rich.table import Table

from agentgym.cli.console import Screen
from agentgym.cli.session import session
from agentgym.cli.summaries import SIGNS
from agentgym.errors import InvalidInput, Refused
from agentgym.settings import make_workspace
from agentgym.verdicts import ABTestReport, Look

if TYPE_CHECKING:
    from agentgym.ab_tests.ab_test import ABTest
    from agentgym.settings import Settings
    from tasks.ab_tests import Review

_LINES_DRAWN = 12
_WIDTH = 35


def start_test(weights: str | None, *, min_customers: int, max_customers: int | None, agent: str, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        make_workspace(run.settings)
        shares = None if weights is None else read_weights(weights)
        from agentgym.ab_tests.ab_test import ABTestCriteria
        from flows.ab_test import start_ab_test

        criteria = ABTestCriteria(min_customers=min_customers, max_customers=max_customers)
        test = start_ab_test(agent, shares, criteria)
        is_served = _is_served(agent, run.settings)
        run.screen.show(f"{test.test_id}: version {test.treatment.name} against version {test.control.name}, {_shares(test.weights)}.")
        if not is_served:
            run.screen.show("No endpoint runs yet; the test begins with `agentgym serve`.")
        run.screen.finish({"test": test_json(test), "is_served": is_served})


def show_status(*, agent: str, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        make_workspace(run.settings)
        from tasks.ab_tests import current_report

        report = current_report(agent, run.settings)
        show_report(report, run.screen)
        is_splitting = _is_splitting(agent, report, run.settings)
        if not is_splitting:
            run.screen.show("", _why_not_splitting(agent, run.settings))
        run.screen.finish({"ab_test": report_json(report), "is_splitting": is_splitting})
    if report.verdict != "ship":
        raise typer.Exit(Refused.exit_code)


def ramp_test(weights: str, *, agent: str, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        make_workspace(run.settings)
        shares = read_weights(weights)
        from flows.ab_test import change_weights

        test = change_weights(shares, agent)
        run.screen.show(f"{test.test_id}: {_shares(test.weights)}. Open conversations stay where they began.")
        run.screen.finish({"test": test_json(test)})


def stop_test(*, is_shipping: bool, is_draining: bool, agent: str, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        make_workspace(run.settings)
        from flows.ab_test import conclude_ab_test, stop_ab_test
        from tasks.ab_tests import current_report
        from tasks.registry import open_registry

        if is_shipping:
            _require_ship(current_report(agent, run.settings))
        review = conclude_ab_test(agent) if is_shipping else stop_ab_test(agent, is_draining)
        if review is None:
            raise InvalidInput(f"There must be a running test to ship; that of {agent!r} has ended. Look at it: agentgym ab status.")
        report, champion = _read(review, run.settings), str(open_registry(agent, run.settings).resolve("@champion").version)
        has_ended = not is_shipping or report.verdict != "keep_running"
        show_report(report, run.screen)
        run.screen.show("", f"The test {'has ended' if has_ended else 'goes on'}; version {champion} is champion.")
        run.screen.finish({"ab_test": report_json(report), "champion": champion, "has_ended": has_ended})


def read_weights(text: str) -> dict[str, float]:
    """Shares by version, from JSON. Raises InvalidInput."""
    try:
        weights = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f'Weights are a JSON object; {text!r} is not JSON: {error}. Write \'{{"1": 0.9, "2": 0.1}}\'.') from error
    if not isinstance(weights, dict) or not all(
        isinstance(share, int | float) and not isinstance(share, bool) for share in weights.values()
    ):
        raise InvalidInput(f'Weights give every version a number; got {text!r}. Write \'{{"1": 0.9, "2": 0.1}}\'.')
    if not weights:
        raise InvalidInput('Weights give every version its share; got none. Write \'{"1": 0.9, "2": 0.1}\'.')
    from agentgym.serving.traffic import Allocation

    return dict(Allocation(weights={name: float(share) for name, share in weights.items()}).weights)


def show_report(report: ABTestReport, screen: Screen) -> None:
    """The arms, the sequence over time, and every check."""
    from tasks.showing import ab_test_table

    rows = ab_test_table(report)
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*row.values())
    screen.show(f"[bold]{report.test_id}[/]", table, "", *draw_sequence(report.sequence), "")
    screen.show(f"[bold]{report.verdict.replace('_', ' ')}[/]", *(f"  {SIGNS[check.outcome]} {check.statement}" for check in report.checks))


def draw_sequence(sequence: Sequence[Look]) -> list[str]:
    """The confidence sequence, a line for a look, with the present one last; the bar in the middle is no difference."""
    if not sequence:
        return ["[dim]There is nothing to draw yet.[/]"]
    step = max(1, -(-len(sequence) // _LINES_DRAWN))
    shown = list(sequence[len(sequence) - 1 :: -step])[::-1]
    # Early intervals are wide; what matters is told by the later half.
    reach = max(max(abs(look.low), abs(look.high)) for look in sequence[len(sequence) // 2 :])
    header = f"[dim]{'customers':>9}   {f'{-reach:+.0%}':<{_WIDTH // 2}}0{f'{reach:+.0%}':>{_WIDTH // 2}}[/]"
    return [
        header,
        *(
            f"{look.customers:>9}   {_interval(look, reach)}  {look.mean:+.1%} [dim]({look.low:+.1%} to {look.high:+.1%})[/]"
            for look in shown
        ),
    ]


def _interval(look: Look, reach: float) -> str:
    middle = _WIDTH // 2

    def place(share: float) -> int:
        return min(_WIDTH - 1, max(0, middle + round(share / reach * middle))) if reach else middle

    low, mean, high = place(look.low), place(look.mean), place(look.high)
    cells = ["─" if low <= cell <= high else " " for cell in range(_WIDTH)]
    cells[middle] = "┼" if low <= middle <= high else "│"
    cells[mean] = "●"
    color = "green" if look.low > 0 else "red" if look.high < 0 else "yellow"
    return f"[{color}]{''.join(cells)}[/]"


def report_json(report: ABTestReport) -> dict[str, Any]:
    return {
        "test_id": report.test_id,
        "verdict": report.verdict,
        "reasons": list(report.reasons),
        "control": report.control.model_dump(mode="json") | {"success_rate": report.control.success_rate},
        "treatment": report.treatment.model_dump(mode="json") | {"success_rate": report.treatment.success_rate},
        "difference": report.sequence[-1].model_dump(mode="json") if report.sequence else None,
        "sequence": [look.model_dump(mode="json") for look in report.sequence],
        "crossovers": report.crossovers,
    }


def test_json(test: "ABTest") -> dict[str, Any]:
    return test.model_dump(mode="json", exclude={"report"})


def _read(review: "Review", settings: "Settings") -> ABTestReport:
    from tasks.ab_tests import read_report

    return read_report(review, settings)


def _require_ship(report: ABTestReport) -> None:
    if report.verdict != "ship":
        raise Refused(f"Only a verdict to ship ships; this one says {report.verdict.replace('_', ' ')}. {' '.join(report.reasons)}")


def _is_served(agent: str, settings: "Settings") -> bool:
    from agentgym.serving.traffic_log import TrafficLog
    from tasks.serving import is_endpoint_alive

    return is_endpoint_alive(TrafficLog(settings.experience_url, agent))


def _why_not_splitting(agent: str, settings: "Settings") -> str:
    from agentgym.ab_tests.test_log import ABTestLog

    _, test = ABTestLog(settings.experience_url, agent).latest()
    if test is not None and test.ended_at is not None:
        return f"It ended at {test.ended_at:%Y-%m-%d %H:%M:%S}; nobody is split between these any more."
    return "It splits no traffic: no endpoint has taken it up yet, or its control is no longer champion."


def _is_splitting(agent: str, report: ABTestReport, settings: "Settings") -> bool:
    from agentgym.serving.traffic_log import TrafficLog

    latest = TrafficLog(settings.experience_url, agent).latest()
    return latest is not None and latest.plan.test_id == report.test_id


def _shares(weights: Mapping[str, float]) -> str:
    return ", ".join(f"version {name}: {share:.0%}" for name, share in weights.items())
