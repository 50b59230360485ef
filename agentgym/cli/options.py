"""Options that several commands have: what was left out is decided elsewhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from agentgym.traces.importers import BUILT_IN_FORMATS, known_format, log_path


def log_option(help: str) -> Any:
    """An option that is a log: a file, a folder, or s3://bucket/key."""
    return typer.Option(parser=log_path, metavar="PATH", help=help)


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output; everything else goes to standard error.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of everything random.")]
Agent = Annotated[str, typer.Option(help="Name of the agent in the model registry.")]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        parser=known_format,
        metavar="FORMAT",
        help=f"What the log is: {', '.join(BUILT_IN_FORMATS)}, or one that an installed package adds.",
    ),
]
MappingFile = Annotated[Path | None, typer.Option(help="For rows of a table: the JSON file that says what its columns mean.")]
Method = Annotated[str | None, typer.Option(help="How it learns: flow_grpo, sft, rft, dpo or distill; flow_grpo.")]
Policy = Annotated[str | None, typer.Option(help="What learns: planner or causal_lm; planner.")]
BaseModel = Annotated[str | None, typer.Option(help="For causal_lm: tiny, a folder, or a name on the hub.")]
Episodes = Annotated[
    int | None, typer.Option("--episodes", "-e", help="Rollouts to learn from; left out, as many as reach the target. 50 teach nothing.")
]
WaiveAudit = Annotated[
    str | None,
    typer.Option(metavar="REASON", help="Train by a reward although adversaries are paid by it; the reason stays in the checkpoint."),
]
Customer = Annotated[
    str | None,
    typer.Option(help="Play recorded conversations, in place of asking for next calls, with a customer: recorded, goal or language."),
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Use only so many conversations, drawn from the whole log; equal limits draw the same.")
]
Redact = Annotated[
    bool,
    typer.Option(
        "--redact/--no-redact",
        help="Put placeholders for e-mails, phones, cards, IBANs, addresses and keys in the traces; in what was served always.",
    ),
]


def given(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in asked.items() if value is not None}
