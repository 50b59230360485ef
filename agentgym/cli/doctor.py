"""`agentgym doctor`: what is stuck, taken or missing, and what to do about it. It changes nothing."""

from typing import TYPE_CHECKING

import typer
from rich.markup import escape
from rich.table import Table

from agentgym.cli.console import Screen
from agentgym.cli.session import session
from agentgym.errors import Unavailable
from agentgym.settings import Settings

if TYPE_CHECKING:
    from tasks.health import Finding

_SIGNS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "problem": "[red]✗[/]"}


def examine_installation(*, agent: str, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        from tasks.health import worst_of

        findings = find_everything(agent, run.settings)
        state = worst_of(findings)
        _show(run.screen, findings)
        run.screen.finish({"agent": agent, "state": state, "checks": [finding.model_dump() for finding in findings]})
    if state == "problem":
        raise typer.Exit(Unavailable.exit_code)


def find_everything(agent: str, settings: Settings) -> tuple["Finding", ...]:
    from tasks.health import Finding, look_at, worst_of
    from tasks.health.agent import agent_looks
    from tasks.health.databases import look_at_databases
    from tasks.health.machine import machine_looks
    from tasks.health.stack import stack_looks

    around = look_at(machine_looks(settings) | stack_looks(settings))
    databases = look_at({"databases": lambda: look_at_databases(settings)})
    if worst_of(databases) != "ok":
        # Each look would wait half a minute for a database that is stuck.
        unseen = Finding(
            name="agent", state="warning", statement=f"{agent!r} was not looked at.", repair="Mend the database, then look again."
        )
        return (*around, *databases, unseen)
    return (*around, *databases, *look_at(agent_looks(agent, settings)))


def _show(screen: Screen, findings: tuple["Finding", ...]) -> None:
    table = Table(box=None, show_header=False)
    for finding in findings:
        repair = f"\n[dim]{escape(finding.repair)}[/]" if finding.repair else ""
        table.add_row(_SIGNS[finding.state], finding.name, f"{escape(finding.statement)}{repair}")
    screen.show(table)
