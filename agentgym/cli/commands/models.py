"""`agentgym models`: the registered versions of an agent."""

from typing import Annotated

import typer

from agentgym.cli.options import Agent, Json

app = typer.Typer(no_args_is_help=True, help="The registered versions of an agent.")


@app.command("list")
def list_all(agent: Agent = "agent", json: Json = False) -> None:
    """The registered versions and which is champion, challenger, previous."""
    from agentgym.cli.models import list_models

    list_models(agent=agent, is_json=json)


@app.command("history")
def history(agent: Agent = "agent", json: Json = False) -> None:
    """What was champion when, and why."""
    from agentgym.cli.models import show_history

    show_history(agent=agent, is_json=json)


@app.command("upstream")
def upstream(
    base_url: Annotated[str, typer.Option(help="What stands before /chat/completions, such as https://host/v1.")],
    model: Annotated[str, typer.Option(help="The model's name there.")],
    key_env: Annotated[str | None, typer.Option(metavar="VAR", help="Name of the environment variable that holds the key.")] = None,
    as_champion: Annotated[str | None, typer.Option(metavar="REASON", help="Make it champion, until a verdict makes another.")] = None,
    agent: Agent = "agent",
    json: Json = False,
) -> None:
    """Register what you run today, an agent behind an OpenAI-compatible address, as a version."""
    from agentgym.cli.models import register_upstream

    register_upstream(base_url, model, key_env=key_env, as_champion=as_champion, agent=agent, is_json=json)


@app.command("rollback")
def rollback(
    reason: Annotated[str, typer.Option(help="Why; the history keeps it.")],
    drain: Annotated[bool, typer.Option("--drain", help="Open conversations finish where they are; else they move at once.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take back the rollback that was the last change.")] = False,
    agent: Agent = "agent",
    json: Json = False,
) -> None:
    """Make the previous champion champion again, traffic included; run again it changes nothing."""
    from agentgym.cli.models import roll_back

    roll_back(agent=agent, reason=reason, is_draining=drain, is_undo=undo, is_json=json)
