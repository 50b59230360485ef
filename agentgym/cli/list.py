"""`agentgym list`: the scenarios there are, how hard they are, and what they ask."""

from rich.markup import escape
from rich.table import Table

from agentgym.cli.session import session
from agentgym.scenarios.scenario import Scenario

COLOURS = {"easy": "green", "medium": "yellow", "hard": "red"}


def run_list(*, is_detailed: bool, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        from agentgym.scenarios.registry import ScenarioRegistry

        registry = ScenarioRegistry()
        scenarios = [registry.load(name) for name in registry.list()]
        table = Table.grid(padding=(0, 2))
        for scenario in scenarios:
            badge = f"[{COLOURS[scenario.difficulty]}]{scenario.difficulty}[/]"
            table.add_row(f"[bold]{scenario.name}[/]", badge, escape(scenario.description))
            if is_detailed:
                table.add_row("", "", f"[dim]ready when[/] {_criteria(scenario)}")
                table.add_row("", "", f"[dim]tools[/] {', '.join(tool.name for tool in scenario.tools)}")
        count = f"{len(scenarios)} scenario{'s' if len(scenarios) != 1 else ''}"
        run.screen.show(count, "", table, "", f"agentgym train {scenarios[0].name}" if scenarios else "Install a package that offers one.")
        run.screen.finish({"scenarios": [_scenario_json(scenario) for scenario in scenarios]})


def _criteria(scenario: Scenario) -> str:
    return ", ".join(f"{name.replace('_', ' ')} ≥ {threshold:.0%}" for name, threshold in scenario.success_criteria().items())


def _scenario_json(scenario: Scenario) -> dict[str, object]:
    return {
        "name": scenario.name,
        "difficulty": scenario.difficulty,
        "description": scenario.description,
        "success_criteria": dict(scenario.success_criteria()),
        "tools": [tool.name for tool in scenario.tools],
    }
