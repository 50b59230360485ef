"""The commands. Each is thin: it reads what was asked, calls a flow or the library, and shows the result."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from agentgym import __version__
from agentgym.errors import InvalidInput
from agentgym.traces.importers import TraceFormat

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Improve a tool-using agent from its own conversations, and prove every improvement.",
)
models_app = typer.Typer(no_args_is_help=True, help="The registered versions of an agent.")
scenarios_app = typer.Typer(no_args_is_help=True, help="The worlds an agent can be trained in.")
traces_app = typer.Typer(no_args_is_help=True, help="Conversation logs.")
app.add_typer(models_app, name="models")
app.add_typer(scenarios_app, name="scenarios")
app.add_typer(traces_app, name="traces")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output; everything else goes to standard error.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of everything random.")]
Agent = Annotated[str, typer.Option(help="Name of the agent in the model registry.")]
Traces = Annotated[Path, typer.Option(help="A log file or a folder of them; .gz too.")]
Format = Annotated[TraceFormat, typer.Option("--format", help="jsonl (trace schema or OpenAI chat), openai, or sgd.")]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Use only so many conversations, drawn from the whole log; equal limits draw the same.")
]


@app.callback(invoke_without_command=True)
def agentgym(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def demo(
    seed: Seed = 0,
    small: Annotated[bool, typer.Option("--small", help="Fewer conversations and iterations: the story in a minute or so.")] = False,
    workspace: Annotated[Path | None, typer.Option(help="An empty folder to work in; a new temporary one by default.")] = None,
    json: Json = False,
) -> None:
    """Watch an agent get better from its own logs: learn, pass the gate, be refused, roll back."""
    from agentgym.cli.demo import run_demo

    run_demo(seed=seed, is_small=small, workspace=workspace, is_json=json)


@app.command()
def improve(
    traces: Traces,
    format: Format = "jsonl",
    held_out: Annotated[Path | None, typer.Option(help="Other traces to judge on; by default a fifth of the customers.")] = None,
    limit: Limit = None,
    scenario: Annotated[str, typer.Option(help="The world the traces are from; `recorded` makes one from them.")] = "recorded",
    iterations: Annotated[int | None, typer.Option(min=1, help="Iterations of on-policy training.")] = None,
    seed: Seed = 0,
    agent: Agent = "agent",
    waive_live_test: Annotated[str | None, typer.Option(metavar="REASON", help="Make an accepted version champion at once.")] = None,
    json: Json = False,
) -> None:
    """Learn from conversation logs and put the result before the gate. Ends with 4 when the answer is no or not yet."""
    from agentgym.cli.improve import run_improve
    from agentgym.traces.source import TraceSource

    source = TraceSource(path=traces, format=format, held_out=held_out, limit=limit)
    run_improve(source, scenario=scenario, iterations=iterations, seed=seed, agent=agent, waive_live_test=waive_live_test, is_json=json)


@app.command()
def evaluate(
    version: Annotated[str, typer.Argument(help="A version number, or @champion, @challenger, @previous.")],
    traces: Annotated[Path | None, typer.Option(help="Traces to judge on.")] = None,
    format: Format = "jsonl",
    limit: Limit = None,
    scenario: Annotated[str, typer.Option(help="The world to play in; `recorded` asks for the recorded next calls.")] = "recorded",
    cases: Annotated[int, typer.Option(min=2, help="Fresh cases to play when no traces are given.")] = 200,
    seed: Seed = 0,
    agent: Agent = "agent",
    json: Json = False,
) -> None:
    """Play or replay a registered version, without training anything."""
    from agentgym.cli.evaluate import run_evaluate
    from agentgym.traces.source import TraceSource

    source = TraceSource(path=traces, format=format, limit=limit) if traces else None
    run_evaluate(version, source, scenario=scenario, cases=cases, seed=seed, agent=agent, is_json=json)


@models_app.command("list")
def models_list(agent: Agent = "agent", json: Json = False) -> None:
    """The registered versions and which is champion, challenger, previous."""
    from agentgym.cli.models import list_models

    list_models(agent=agent, is_json=json)


@models_app.command("history")
def models_history(agent: Agent = "agent", json: Json = False) -> None:
    """What was champion when, and why."""
    from agentgym.cli.models import show_history

    show_history(agent=agent, is_json=json)


@models_app.command("rollback")
def models_rollback(
    reason: Annotated[str, typer.Option(help="Why; the history keeps it.")], agent: Agent = "agent", json: Json = False
) -> None:
    """Make the previous champion champion again; a second rollback undoes the first."""
    from agentgym.cli.models import roll_back

    roll_back(agent=agent, reason=reason, is_json=json)


@scenarios_app.command("list")
def scenarios_list(json: Json = False) -> None:
    """The registered scenarios."""
    from agentgym.cli.scenarios import list_scenarios

    list_scenarios(is_json=json)


@scenarios_app.command("show")
def scenarios_show(name: str, json: Json = False) -> None:
    """A scenario's tools and success criteria."""
    from agentgym.cli.scenarios import show_scenario

    show_scenario(name, is_json=json)


@traces_app.command("validate")
def traces_validate(traces: Annotated[Path, typer.Argument()], format: Format = "jsonl", limit: Limit = None, json: Json = False) -> None:
    """Check a log, and say what would be quarantined and why. Nothing is written."""
    from agentgym.cli.traces import validate_log
    from agentgym.traces.source import TraceSource

    validate_log(TraceSource(path=traces, format=format, limit=limit), is_json=json)


def main() -> None:
    """The entry point: what typer itself refuses is told like every other bad input."""
    try:
        sys.exit(app(standalone_mode=False))
    except TyperException as error:
        from agentgym.cli.console import Screen
        from agentgym.cli.session import report_error

        # Without a message it is a group of commands called alone, which has printed its help.
        if str(error):
            rule = getattr(error, "format_message", error.__str__)().rstrip(".")
            refusal = InvalidInput(f"{rule}. `agentgym --help` tells what can be asked.")
            report_error(Screen(is_json="--json" in sys.argv), refusal)
        sys.exit(InvalidInput.exit_code)
