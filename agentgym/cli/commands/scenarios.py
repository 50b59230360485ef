"""`agentgym scenarios`: the worlds an agent can be trained in."""

from pathlib import Path
from typing import Annotated

import typer

from agentgym.cli.options import Agent, Format, Json, Limit, MappingFile, Redact, Seed, log_option

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


@app.command("fidelity")
def fidelity(
    traces: Annotated[Path, log_option("A log file or a folder of them; .gz and .zst too.")],
    scenario: Annotated[
        str, typer.Argument(metavar="NAME", help="The world the traces are from; `recorded` makes one from them.")
    ] = "recorded",
    format: Format = "jsonl",
    mapping: MappingFile = None,
    held_out: Annotated[Path | None, log_option("Other traces to measure on; by default a fifth of the customers.")] = None,
    limit: Limit = None,
    redact: Redact = True,
    json: Json = False,
) -> None:
    """Measure how an environment answers conversations it was not made from. Ends with 4 below the bar, with 2 if nothing tells."""
    from agentgym.cli.fidelity import run_fidelity
    from agentgym.traces.source import TraceSource

    source = TraceSource(path=traces, format=format, mapping=mapping, held_out=held_out, limit=limit, redact=redact)
    run_fidelity(scenario, source, is_json=json)


regressions = typer.Typer(
    no_args_is_help=True, help="Failures that may not come back: every later version must pass what the champion passes."
)
app.add_typer(regressions, name="regressions")


@regressions.command("list")
def list_regressions(
    history: Annotated[bool, typer.Option("--history", help="Every addition and removal, with its reason.")] = False,
    agent: Agent = "agent",
    json: Json = False,
) -> None:
    """The cases in the set, and what each of them stands for."""
    from agentgym.cli.regressions import list_regression_cases

    list_regression_cases(agent=agent, with_history=history, is_json=json)


@regressions.command("add")
def add_regressions(
    traces: Annotated[Path, log_option("The log with the failures.")],
    reason: Annotated[str, typer.Option(help="Why they are kept; the history keeps it.")],
    conversation: Annotated[list[str] | None, typer.Option(help="Its id, again for more; left out, every failure in the log.")] = None,
    version: Annotated[
        str | None, typer.Option(help="Keep what this version fails at, such as @champion; left out, what failed in the log.")
    ] = None,
    scenario: Annotated[str, typer.Option(help="The world the traces are from; `recorded` for any other.")] = "recorded",
    most: Annotated[int, typer.Option(min=1, max=1000, help="Stop after so many new cases.")] = 20,
    format: Format = "jsonl",
    mapping: MappingFile = None,
    redact: Redact = True,
    seed: Seed = 0,
    agent: Agent = "agent",
    json: Json = False,
) -> None:
    """Make minimal cases of failures: the shortest course that still fails. Adding one again changes nothing."""
    from agentgym.cli.regressions import add_regression_cases
    from agentgym.traces.source import TraceSource

    source = TraceSource(path=traces, format=format, mapping=mapping, redact=redact)
    add_regression_cases(
        source,
        conversations=tuple(conversation or ()),
        reference=version,
        scenario=scenario,
        reason=reason,
        most=most,
        seed=seed,
        agent=agent,
        is_json=json,
    )


@regressions.command("remove")
def remove_regression(
    regression_id: Annotated[str, typer.Argument(help="As `list` shows it.")],
    reason: Annotated[str, typer.Option(help="Why; the history keeps it.")],
    agent: Agent = "agent",
    json: Json = False,
) -> None:
    """Take a case out of the set, for a reason."""
    from agentgym.cli.regressions import remove_regression_case

    remove_regression_case(regression_id, reason=reason, agent=agent, is_json=json)
