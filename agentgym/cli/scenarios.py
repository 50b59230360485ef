"""`agentgym scenarios`: the worlds an agent can be trained in."""

from agentgym.cli.session import session


def list_scenarios(*, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        from agentgym.scenarios.registry import ScenarioRegistry

        registry = ScenarioRegistry()
        scenarios = [registry.load(name) for name in registry.list()]
        run.screen.show(*(str(scenario) for scenario in scenarios))
        run.screen.finish(
            {"scenarios": [{"name": item.name, "difficulty": item.difficulty, "description": item.description} for item in scenarios]}
        )


def show_scenario(name: str, *, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        from rich.table import Table

        from agentgym.scenarios.registry import ScenarioRegistry

        scenario = ScenarioRegistry().load(name)
        table = Table("tool", "arguments", "what it does", box=None)
        for tool in scenario.tools:
            table.add_row(tool.name, ", ".join(tool.properties), tool.description)
        criteria = dict(scenario.success_criteria())
        run.screen.show(str(scenario), "", table, "", f"Ready when: {', '.join(f'{name} ≥ {bar:.0%}' for name, bar in criteria.items())}")
        run.screen.finish(
            {
                "name": scenario.name,
                "difficulty": scenario.difficulty,
                "description": scenario.description,
                "tools": [tool.to_openai() for tool in scenario.tools],
                "success_criteria": criteria,
            }
        )
