"""`agentgym scenarios fidelity`: how far an environment made from a log, or a declared world, can be trusted."""

from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import typer

from agentgym.cli.session import session
from agentgym.errors import InsufficientData, Refused
from agentgym.settings import Settings, make_workspace
from agentgym.traces.source import TraceSource

if TYPE_CHECKING:
    from agentgym.scenarios.fidelity import FidelityReport
    from agentgym.scenarios.pack import ScenarioPack
    from agentgym.traces.trace import Trace

SIGNS = {"passed": "[green]✓[/]", "failed": "[red]✗[/]", "not_measured": "[dim]–[/]"}
_EXIT_CODES = {"passed": 0, "failed": Refused.exit_code, "not_measured": InsufficientData.exit_code}


def run_fidelity(scenario: str, source: TraceSource, *, is_json: bool) -> None:
    """Ends with 4 where the environment falls below the bar, with 2 where nothing could be measured."""
    with session(is_json=is_json) as run:
        from rich.markup import escape

        from agentgym.scenarios.fidelity import measure_fidelity
        from agentgym.scenarios.fidelity.report import by_weight
        from agentgym.scenarios.fidelity.table import other_lines, tool_lines

        make_workspace(run.settings)
        pack, held_out = _pack_of(source, scenario, run.settings)
        report = measure_fidelity(pack, held_out)
        run.screen.show(f"{report.scenario}: made from {len(pack.train)} cases, measured on {len(held_out)} conversations", "")
        run.screen.show(*map(escape, tool_lines(report)), "")
        run.screen.show(*map(escape, other_lines(report)), "")
        told = [check for check in by_weight(report.checks) if check.outcome == "failed" or check.part != "tool"]
        run.screen.show(*(f"  {SIGNS[check.outcome]} {escape(f'{check.statement} {check.repair}'.rstrip())}" for check in told))
        run.screen.show(verdict_line(report))
        run.screen.finish(fidelity_json(report))
    if report.verdict != "passed":
        raise typer.Exit(_EXIT_CODES[report.verdict])


def verdict_line(report: "FidelityReport") -> str:
    outcomes = [check.outcome for check in report.checks]
    counts = {outcome: outcomes.count(outcome) for outcome in ("passed", "failed", "not_measured")}
    told = f"{counts['passed']} checks passed, {counts['failed']} failed, {counts['not_measured']} not measured"
    return f"[bold]fidelity {report.verdict.replace('_', ' ')}[/]: {told}"


def fidelity_json(report: "FidelityReport") -> dict[str, Any]:
    """The whole report, with what follows from it."""
    failed = [{"subject": check.subject, "check": check.name, "repair": check.repair} for check in report.failed_checks]
    return report.model_dump(mode="json") | {"verdict": report.verdict, "reasons": list(report.reasons), "failed": failed}


def _pack_of(source: TraceSource, scenario: str, settings: Settings) -> "tuple[ScenarioPack, tuple[Trace, ...]]":
    """The cases behind the log and its held-out traces, split as `improve` splits it; nothing is kept."""
    from agentgym.scenarios.from_traces import RECORDED, make_recorded_pack
    from agentgym.scenarios.registry import load_world
    from agentgym.store import open_store
    from agentgym.traces.snapshot import DatasetSnapshot
    from tasks.reading import usable_traces

    if scenario != RECORDED:
        load_world(scenario)
    train = usable_traces(source, settings, scenario=scenario)
    held_out = None if source.held_out is None else usable_traces(source, settings, scenario=scenario, path=source.held_out)
    with TemporaryDirectory(prefix="agentgym-fidelity-") as folder:
        store = open_store(folder)
        snapshot = DatasetSnapshot.read(store, DatasetSnapshot.write(store, train, held_out=held_out))
    if scenario == RECORDED:
        return make_recorded_pack(snapshot.train, snapshot.held_out, snapshot.digest), snapshot.held_out
    return load_world(scenario).make_pack(snapshot.train, snapshot.held_out, snapshot.digest), snapshot.held_out
