"""`agentgym traces`: conversation logs."""

from pathlib import Path
from typing import Annotated

import typer

from agentgym.cli.options import Format, Json, Limit, MappingFile, Redact

app = typer.Typer(no_args_is_help=True, help="Conversation logs.")


@app.command("validate")
def validate(
    traces: Annotated[Path, typer.Argument()],
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


@app.command("forget")
def forget(
    conversation_id: Annotated[str, typer.Argument(help="As the log has it, or as the store has it.")],
    reason: Annotated[str, typer.Option(help="Why; the tombstone keeps it.")] = "It was asked for.",
    json: Json = False,
) -> None:
    """Take a conversation out of everything that is kept, and mark what learned from it. Run again it changes nothing."""
    from agentgym.cli.forget import forget_conversation

    forget_conversation(conversation_id, reason=reason, is_json=json)
