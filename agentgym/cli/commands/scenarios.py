"""`agentgym scenarios`: the worlds an agent can be trained in."""

import typer

from agentgym.cli.options import Json

app = typer.Typer(no_args_is_help=True, help="The worlds an agent can be trained in.")


@app.command("list")
def list_all(json: Json = False) -> None:
    """The registered scenarios."""
    from agentgym.cli.scenarios import list_scenarios

    list_scenarios(is_json=json)


@app.command("show")
def show(name: str, json: Json = False) -> None:
    """A scenario's tools and success criteria."""
    from agentgym.cli.scenarios import show_scenario

    show_scenario(name, is_json=json)
