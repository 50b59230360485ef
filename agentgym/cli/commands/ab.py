"""`agentgym ab`: live tests: two versions, real customers, a verdict."""

from typing import Annotated

import typer

from agentgym.cli.options import Agent, Json

app = typer.Typer(no_args_is_help=True, help="Live tests: two versions, real customers, a verdict.")


Weights = Annotated[str, typer.Option(metavar="JSON", help='Share of customers by version, such as \'{"1": 0.9, "2": 0.1}\'.')]


@app.command("start")
def start(
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="JSON", help='Share by version, such as \'{"1": 0.9, "2": 0.1}\'; by default champion and challenger, half each.'
        ),
    ] = None,
    min_customers: Annotated[int, typer.Option(min=2, help="With an outcome, in each arm, before anything is concluded.")] = 100,
    max_customers: Annotated[int | None, typer.Option(min=2, help="Stop undecided at so many in both arms.")] = None,
    agent: Agent = "agent",
    json: Json = False,
) -> None:
    """Split live traffic between the champion and another version."""
    from agentgym.cli.ab import start_test

    start_test(weights, min_customers=min_customers, max_customers=max_customers, agent=agent, is_json=json)


@app.command("status")
def status(agent: Agent = "agent", json: Json = False) -> None:
    """What live traffic says so far. Ends with 0 when it says ship, with 4 when it says no or not yet."""
    from agentgym.cli.ab import show_status

    show_status(agent=agent, is_json=json)


@app.command("ramp")
def ramp(weights: Weights, agent: Agent = "agent", json: Json = False) -> None:
    """Give the versions of the running test other shares; open conversations stay where they began."""
    from agentgym.cli.ab import ramp_test

    ramp_test(weights, agent=agent, is_json=json)


@app.command("stop")
def stop(
    ship: Annotated[bool, typer.Option("--ship", help="Make the treatment champion; refused unless the verdict says so.")] = False,
    drain: Annotated[bool, typer.Option("--drain", help="Let open conversations finish on the version they began with.")] = False,
    agent: Agent = "agent",
    json: Json = False,
) -> None:
    """End the running test: the champion stays, or with --ship and a verdict for it, the treatment takes its place."""
    from agentgym.cli.ab import stop_test

    stop_test(is_shipping=ship, is_draining=drain, agent=agent, is_json=json)
