"""The commands. Each is thin: it reads what was asked, calls a flow or the library, and shows the result."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from agentgym import __version__
from agentgym.cli.commands import ab, keys, models, scenarios, traces
from agentgym.cli.options import (
    Agent,
    BaseModel,
    Customer,
    Episodes,
    Format,
    Json,
    Limit,
    MappingFile,
    Method,
    Policy,
    Redact,
    Seed,
    WaiveAudit,
    given,
    log_option,
)
from agentgym.errors import AgentGymError, InvalidInput

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Improve a tool-using agent from its own conversations, and prove every improvement.",
)
app.add_typer(models.app, name="models")
app.add_typer(scenarios.app, name="scenarios")
app.add_typer(traces.app, name="traces")
app.add_typer(ab.app, name="ab")
app.add_typer(keys.app, name="keys")


@app.callback(invoke_without_command=True)
def agentgym(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def demo(
    seed: Seed = 0,
    small: Annotated[bool, typer.Option("--small", help="Fewer conversations and episodes: the story in a minute or so.")] = False,
    workspace: Annotated[Path | None, typer.Option(help="An empty folder to work in; a new temporary one by default.")] = None,
    policy: Policy = None,
    base_model: BaseModel = None,
    json: Json = False,
) -> None:
    """Watch an agent get better from its own logs: learn, pass the gate, be refused, roll back."""
    from agentgym.cli.demo import run_demo

    learner = given({"policy": policy, "base_model": base_model})
    run_demo(seed=seed, is_small=small, workspace=workspace, learner=learner, is_json=json)


@app.command()
def train(
    name: Annotated[str | None, typer.Argument(metavar="SCENARIO", help="The world to train in; `agentgym list` names them.")] = None,
    scenario: Annotated[str | None, typer.Option(help="The same, as an option.")] = None,
    episodes: Episodes = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", "-lr", help="At its highest; 0.006 for a planner.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", "-b", help="Cases an update learns from; 32.")] = None,
    discount_factor: Annotated[
        float | None, typer.Option("--discount-factor", "-g", help="Of credit by turns; inert where a reward is broadcast; 0.99.")
    ] = None,
    checkpoint_interval: Annotated[
        int | None, typer.Option("--checkpoint-interval", "-c", help="Iterations between checkpoints, 0 for none; 10.")
    ] = None,
    output_dir: Annotated[Path | None, typer.Option("--output-dir", "-o", help="Where the run gets its folder; ./models.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", "-s", help="Of everything random; 0.")] = None,
    method: Method = None,
    policy: Policy = None,
    base_model: BaseModel = None,
    gpu: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps; auto.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Start from `champion`, a version, or the folder of a run.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Who is distilled: `champion`, a version, or the folder of a run.")] = None,
    waive_audit: WaiveAudit = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Go on with a run that was interrupted, as it was configured.")
    ] = None,
    agent: Agent = "agent",
    watch: Annotated[bool, typer.Option("--watch", help="A live board of the run; lines where there is no terminal.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="The configuration, and a line for each iteration.")] = False,
    json: Json = False,
) -> None:
    """Train a policy in a scenario, judge it on customers it never met, and save it. Ends with 4 when it is not ready for customers yet."""
    from agentgym.cli.train import run_train

    asked = {
        "episodes": episodes,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "discount_factor": discount_factor,
        "checkpoint_interval": checkpoint_interval,
        "output_dir": output_dir,
        "seed": seed,
        "method": method,
        "policy": policy,
        "base_model": base_model,
        "gpu": gpu,
        "waive_audit": waive_audit,
    }
    run_train(
        {named for named in (name, scenario) if named},
        given(asked),
        start=start,
        teacher=teacher,
        resumed=resume,
        agent=agent,
        is_watched=watch,
        is_verbose=verbose,
        is_json=json,
    )


@app.command()
def tune(
    scenario: Annotated[str, typer.Argument(help="The world to train in; `agentgym list` names them.")],
    trials: Annotated[int, typer.Option(min=1, max=1000, help="Short trainings; the first is of the settings as they are.")] = 8,
    episodes: Annotated[int, typer.Option("--episodes", "-e", min=1, help="Rollouts of each.")] = 4096,
    at_once: Annotated[int, typer.Option(min=1, max=256, help="Trainings side by side, a processor each.")] = 1,
    rank: Annotated[list[int] | None, typer.Option(min=1, max=1024, help="Of the adapter, to try; again for more.")] = None,
    policy: Policy = None,
    base_model: BaseModel = None,
    gpu: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps; auto.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Search learning rate, group size and adapter rank by short trainings, judged on training cases that none of them learned from."""
    from agentgym.cli.tune import run_tune

    asked = {"policy": policy, "base_model": base_model, "gpu": gpu, "seed": seed}
    run_tune(
        scenario,
        given(asked),
        {"trials": trials, "episodes": episodes, "at_once": at_once},
        ranks=rank or (),
        is_json=json,
    )


@app.command("list")
def list_all(
    detailed: Annotated[bool, typer.Option("--detailed", "-d", help="With success criteria and tools.")] = False, json: Json = False
) -> None:
    """The scenarios there are, and how hard they are."""
    from agentgym.cli.list import run_list

    run_list(is_detailed=detailed, is_json=json)


@app.command()
def info(json: Json = False) -> None:
    """What AgentGym is, and where to begin."""
    from agentgym.cli.info import run_info

    run_info(is_json=json)


@app.command()
def improve(
    traces: Annotated[
        Path | None, log_option("A log file or a folder of them; .gz and .zst too. Left out: the conversations that were served.")
    ] = None,
    format: Format = "jsonl",
    mapping: MappingFile = None,
    held_out: Annotated[Path | None, log_option("Other traces to judge on; by default a fifth of the customers.")] = None,
    limit: Limit = None,
    scenario: Annotated[str, typer.Option(help="The world the traces are from; `recorded` makes one from them.")] = "recorded",
    episodes: Episodes = None,
    method: Method = None,
    policy: Policy = None,
    base_model: BaseModel = None,
    seed: Seed = 0,
    agent: Agent = "agent",
    redact: Redact = True,
    waive_audit: WaiveAudit = None,
    waive_live_test: Annotated[str | None, typer.Option(metavar="REASON", help="Make an accepted version champion at once.")] = None,
    waive_fidelity: Annotated[
        str | None, typer.Option(metavar="REASON", help="Train in an environment that answers otherwise than the log; it is refused else.")
    ] = None,
    json: Json = False,
) -> None:
    """Learn from conversation logs and put the result before the gate. Ends with 4 when the answer is no or not yet."""
    from agentgym.cli.improve import run_improve
    from agentgym.traces.source import TraceSource

    source = TraceSource(path=traces, format=format, mapping=mapping, held_out=held_out, limit=limit, redact=redact) if traces else None
    asked = {"episodes": episodes, "method": method, "policy": policy, "base_model": base_model, "waive_audit": waive_audit}
    run_improve(
        source,
        scenario=scenario,
        asked=given(asked),
        seed=seed,
        agent=agent,
        waive_live_test=waive_live_test,
        waive_fidelity=waive_fidelity,
        is_json=json,
    )


@app.command()
def evaluate(
    version: Annotated[str, typer.Argument(help="A version number, or @champion, @challenger, @previous.")],
    traces: Annotated[Path | None, log_option("Traces to judge on.")] = None,
    format: Format = "jsonl",
    mapping: MappingFile = None,
    limit: Limit = None,
    scenario: Annotated[str, typer.Option(help="The world to play in; `recorded` asks for the recorded next calls.")] = "recorded",
    customer: Customer = None,
    redact: Redact = True,
    cases: Annotated[int, typer.Option(min=2, help="Fresh cases to play when no traces are given.")] = 200,
    seed: Seed = 0,
    agent: Agent = "agent",
    json: Json = False,
) -> None:
    """Play or replay a registered version, without training anything."""
    from agentgym.cli.evaluate import run_evaluate
    from agentgym.traces.source import TraceSource

    source = TraceSource(path=traces, format=format, mapping=mapping, limit=limit, redact=redact) if traces else None
    run_evaluate(version, source, scenario=scenario, customer=customer, cases=cases, seed=seed, agent=agent, is_json=json)


@app.command()
def synthesize(
    traces: Annotated[Path, log_option("The log to make more of.")],
    out: Annotated[Path, typer.Option(help="Where it is written: traces as JSON lines (.gz too), with --edge a pack of cases.")],
    edge: Annotated[bool, typer.Option("--edge", help="Cases in which one thing goes wrong, with what is right then known.")] = False,
    augment: Annotated[
        float | None, typer.Option(metavar="COPIES", help="Copies of each training conversation: 1, or 0.5 for every second one.")
    ] = None,
    business: Annotated[
        Path | None, typer.Option(help="Move the log to another business: the file that says what is called how there.")
    ] = None,
    per_kind: Annotated[int, typer.Option(min=1, max=10_000, help="Edge cases of each kind.")] = 20,
    paraphrase: Annotated[float, typer.Option(min=0, max=1, help="Share of the rephrasings that fit, in copies.")] = 0.5,
    noise: Annotated[float, typer.Option(min=0, max=1, help="Share of words mistyped, and of messages in a hurry, in copies.")] = 0.05,
    version: Annotated[str | None, typer.Option(help="Play the edge cases with this version, to say how hard they are.")] = None,
    format: Format = "jsonl",
    mapping: MappingFile = None,
    limit: Limit = None,
    scenario: Annotated[str, typer.Option(help="The world the traces are from; `recorded` for any other.")] = "recorded",
    redact: Redact = True,
    seed: Seed = 0,
    agent: Agent = "agent",
    json: Json = False,
) -> None:
    """Make more of a log: edge cases, copies for training, or the same conversations in another business."""
    from agentgym.cli.synthesize import run_synthesize
    from agentgym.traces.source import TraceSource

    source = TraceSource(path=traces, format=format, mapping=mapping, limit=limit, redact=redact)
    asked = {"copies": augment, "paraphrase": paraphrase, "noise": noise, "seed": seed}
    run_synthesize(
        source,
        out=out,
        business=business,
        augmentation=asked if augment is not None else None,
        edge_cases=per_kind if edge else None,
        reference=version,
        scenario=scenario,
        seed=seed,
        agent=agent,
        is_json=json,
    )


@app.command()
def serve(
    agent: Agent = "agent",
    host: Annotated[str | None, typer.Option(help="Where to listen; loopback unless AGENTGYM_ENDPOINT_HOST says otherwise.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="8000 unless AGENTGYM_ENDPOINT_PORT says otherwise.")] = None,
    replicas: Annotated[int | None, typer.Option(min=1, max=1000, help="Identical replicas that answer.")] = None,
    json: Json = False,
) -> None:
    """Serve the champion, and what is tested against it, as an OpenAI-compatible endpoint, until Ctrl-C."""
    from agentgym.cli.serve import run_serve

    run_serve(agent=agent, host=host, port=port, replicas=replicas, is_json=json)


@app.command()
def chat(
    scenario: Annotated[
        str | None, typer.Option(help="A world behind the conversation: its tools work, and you play one of its customers.")
    ] = None,
    case: Annotated[int, typer.Option(min=0, help="Which customer of the world you are.")] = 0,
    url: Annotated[str | None, typer.Option(help="The endpoint, such as http://127.0.0.1:8000/v1.")] = None,
    agent: Agent = "agent",
    json: Json = False,
) -> None:
    """Talk to the endpoint as a customer; the key is read from AGENTGYM_API_KEY."""
    from agentgym.cli.chat import run_chat

    run_chat(agent=agent, url=url, scenario=scenario, case=case, is_json=json)


@app.command()
def up(
    agent: Agent = "agent",
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Of Prefect's server.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Of MLflow's server.")] = 5000,
    endpoint_port: Annotated[int | None, typer.Option(min=1, max=65535, help="8000 unless AGENTGYM_ENDPOINT_PORT says otherwise.")] = None,
    json: Json = False,
) -> None:
    """Start the local stack in the background: Prefect, MLflow, the deployments, and the endpoint of a champion."""
    from agentgym.cli.stack import Ports, bring_up

    bring_up(agent=agent, ports=Ports(prefect=prefect_port, mlflow=mlflow_port), endpoint_port=endpoint_port, is_json=json)


@app.command()
def down(json: Json = False) -> None:
    """End what `up` started, and nothing else."""
    from agentgym.cli.stack import take_down

    take_down(is_json=json)


@app.command()
def doctor(agent: Agent = "agent", json: Json = False) -> None:
    """Look at everything that can be stuck, taken or missing. Ends with 3 when there is a problem."""
    from agentgym.cli.doctor import examine_installation

    examine_installation(agent=agent, is_json=json)


def main() -> None:
    """The entry point: what is refused before a command begins is told like every other bad input."""
    try:
        sys.exit(app(standalone_mode=False))
    except AgentGymError as error:
        _refuse(error)
    except TyperException as error:
        # Without a message it is a group of commands called alone, which has printed its help.
        if not str(error):
            sys.exit(InvalidInput.exit_code)
        rule = getattr(error, "format_message", error.__str__)()
        asked = getattr(getattr(error, "ctx", None), "command_path", None) or "agentgym"
        _refuse(InvalidInput(f"{rule.rstrip('.?')}{'?' if rule.endswith('?') else '.'} `{asked} --help` tells what can be asked."))


def _refuse(error: AgentGymError) -> NoReturn:
    from agentgym.cli.console import Screen
    from agentgym.cli.session import report_error

    report_error(Screen(is_json="--json" in sys.argv), error)
    sys.exit(error.exit_code)
