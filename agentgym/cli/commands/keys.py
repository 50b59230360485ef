"""`agentgym keys`: who may ask the endpoint."""

from typing import Annotated

import typer

from agentgym.cli.options import Json

app = typer.Typer(no_args_is_help=True, help="Who may ask the endpoint.")


@app.command("create")
def create(name: Annotated[str, typer.Argument(help="Whose key it is.")], json: Json = False) -> None:
    """A new key, shown once."""
    from agentgym.cli.serve import create_key

    create_key(name, is_json=json)


@app.command("list")
def list_all(json: Json = False) -> None:
    """Every key by name and beginning; keys themselves are not kept."""
    from agentgym.cli.serve import list_keys

    list_keys(is_json=json)


@app.command("revoke")
def revoke(name: Annotated[str, typer.Argument(help="Whose key ends.")], json: Json = False) -> None:
    """End a key."""
    from agentgym.cli.serve import revoke_key

    revoke_key(name, is_json=json)
