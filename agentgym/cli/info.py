"""`agentgym info`: what this is, and where to begin."""

from collections.abc import Iterable

from rich.table import Table

from agentgym import __version__
from agentgym.cli.session import session

TAGLINE = "Improves a tool-using agent from its own conversations, and proves every improvement."
DOES = (
    "learns from conversation logs: validates them, imitates what went well, trains on-policy in a world made from them",
    "compares champion and challenger on the same held-out cases; a gate says yes or no, with every reason",
    "serves both behind one OpenAI-compatible endpoint, lets customers decide, and takes a version back in one step",
    "runs on a laptop without a server or a key, and unchanged on a Ray cluster",
)
QUICK_START = (
    ("agentgym demo --small", "the whole story, on logs the product makes itself"),
    ("agentgym list --detailed", "the scenarios, and when a policy is ready for them"),
    ("agentgym train customer_support --watch", "train a policy and see it learn"),
    ("agentgym improve --traces logs.jsonl", "one turn of the loop on your own logs"),
)
DOCS = ("docs/01-concepts.md", "docs/02-quickstart.md", "docs/03-operations.md", "docs/04-statistics.md", "docs/05-training.md")


def run_info(*, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        run.screen.show(f"[bold]AgentGym {__version__}[/]", TAGLINE, "", "What it does", _indented(("·", line) for line in DOES))
        run.screen.show("", "Quick start", _indented(QUICK_START), "", "Docs, in the repository", _indented(("·", page) for page in DOCS))
        run.screen.finish(
            {
                "version": __version__,
                "tagline": TAGLINE,
                "features": list(DOES),
                "quick_start": [command for command, _ in QUICK_START],
                "docs": list(DOCS),
            }
        )


def _indented(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 1))
    for first, second in rows:
        table.add_row("", first, second)
    return table
