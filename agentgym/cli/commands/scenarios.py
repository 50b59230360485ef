"""`agentgym scenarios`: the worlds an agent can be trained in."""

from pathlib import Path
from typing import Annotated

import typer

from agentgym.cli.options import Format, Json, Limit, MappingFile, Redact

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
    traces: Annotated[Path, typer.Option(help="A log file or a folder of them; .gz and .zst too.")],
    scenario: Annotated[
        str, typer.Argument(metavar="NAME", help="The world the traces are from; `recorded` makes one from them.")
    ] = "recorded",
    format: Format = "jsonl",
    mapping: MappingFile = None,
    held_out: Annotated[Path | None, typer.Option(help="Other traces to measure on; by default a fifth of the customers.")] = None,
    limit: Limit = None,
    redact: Redact = True,
    json: Json = False,
) -> None:
    """Measure how an environment answers conversations it was not made from. Ends with 4 below the bar, with 2 if nothing tells."""
    from agentgym.cli.fidelity import run_fidelity
    from agentgym.traces.source import TraceSource

    source = TraceSource(path=traces, format=format, mapping=mapping, held_out=held_out, limit=limit, redact=redact)
    run_fidelity(scenario, source, is_json=json)
