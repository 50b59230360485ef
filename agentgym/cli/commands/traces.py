"""`agentgym traces`: conversation logs."""

from pathlib import Path
from typing import Annotated

import typer

from agentgym.cli.options import Format, Json, Limit, MappingFile, Redact
from agentgym.traces.importers import log_path

app = typer.Typer(no_args_is_help=True, help="Conversation logs.")

Log = Annotated[Path, typer.Argument(parser=log_path, metavar="PATH", help="A file, a folder, or s3://bucket/key; .gz and .zst too.")]


@app.command("validate")
def validate(
    traces: Log,
    format: Format = "jsonl",
    mapping: MappingFile = None,
    limit: Limit = None,
    redact: Redact = True,
    json: Json = False,
) -> None:
    """Check a log, and say what would be quarantined and why. Nothing is written."""
    from agentgym.cli.traces import validate_log
    from agentgym.traces.source import TraceSource

    validate_log(TraceSource(path=traces, format=format, mapping=mapping, limit=limit, redact=redact), is_json=json)


@app.command("check")
def check(
    traces: Log,
    format: Format = "jsonl",
    mapping: MappingFile = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Look at so many conversations, drawn from the whole log; 5,000.")] = None,
    target: Annotated[float, typer.Option(min=0, max=1, help="The share of right tools to expect at least.")] = 0.5,
    price_per_hour: Annotated[float | None, typer.Option(help="Of this machine, in any currency: the cost is told in it.")] = None,
    json: Json = False,
) -> None:
    """Whether a log is enough to train on, what to expect of it, and what to log next. Ends with 4 when it is not enough yet."""
    from agentgym.cli.check_log import check_log
    from agentgym.traces.source import TraceSource

    source = TraceSource(path=traces, format=format, mapping=mapping, limit=limit)
    check_log(source, target=target, price_per_hour=price_per_hour, is_json=json)


@app.command("forget")
def forget(
    conversation_id: Annotated[str, typer.Argument(help="As the log has it, or as the store has it.")],
    reason: Annotated[str, typer.Option(help="Why; the tombstone keeps it.")] = "It was asked for.",
    json: Json = False,
) -> None:
    """Take a conversation out of everything that is kept, and mark what learned from it. Run again it changes nothing."""
    from agentgym.cli.forget import forget_conversation

    forget_conversation(conversation_id, reason=reason, is_json=json)


@app.command("import")
def import_(
    traces: Log,
    out: Annotated[Path, typer.Option(help="The file to write: JSON lines in AgentGym's own form, readable as `jsonl`.")],
    format: Format = "jsonl",
    mapping: MappingFile = None,
    limit: Limit = None,
    max_quarantined: Annotated[float, typer.Option(min=0, max=1, help="The share that may be unusable.")] = 0.2,
    redact: Redact = True,
    json: Json = False,
) -> None:
    """Bring a log of any format into AgentGym's own: checked, redacted, whole or not at all."""
    from agentgym.cli.traces import import_log
    from agentgym.traces.source import TraceSource

    source = TraceSource(path=traces, format=format, mapping=mapping, limit=limit, redact=redact, max_quarantined_share=max_quarantined)
    import_log(source, out, is_json=json)


@app.command("show")
def show(
    traces: Log,
    id: Annotated[str | None, typer.Option("--id", help="Its conversation_id.")] = None,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="Its place in the log, where no id is given.")] = 1,
    format: Format = "jsonl",
    mapping: MappingFile = None,
    redact: Redact = True,
    json: Json = False,
) -> None:
    """Show one conversation as it is understood."""
    from agentgym.cli.traces import show_conversation
    from agentgym.traces.source import TraceSource

    source = TraceSource(path=traces, format=format, mapping=mapping, redact=redact)
    show_conversation(source, conversation_id=id, number=number, is_json=json)
