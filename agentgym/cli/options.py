"""Options of a command: what was left out is decided elsewhere."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

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
