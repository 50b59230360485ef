"""The secret of a workspace, from which placeholders of personal data come."""

import os
import secrets
import tempfile
from pathlib import Path

from agentgym.errors import InvalidInput, Unavailable
from agentgym.traces.redaction import SECRET_BYTES


def workspace_secret(path: Path) -> bytes:
    """The secret kept at `path`, made on first use and readable for its owner alone. Raises Unavailable; InvalidInput when it is cut."""
    try:
        if not path.exists():
            _create(path)
        secret = path.read_bytes()
    except OSError as error:
        raise Unavailable(
            f"Placeholders of personal data come from a secret in the workspace; {path} said {error}. Free it, or set AGENTGYM_WORKSPACE."
        ) from error
    if len(secret) < SECRET_BYTES:
        raise InvalidInput(
            f"The secret of a workspace has at least {SECRET_BYTES} bytes; {path} has {len(secret)}. Restore it, or take it away: "
            "a new one is made then, and other placeholders with it."
        )
    return secret


def secret_to_look_with(path: Path) -> bytes:
    """The secret kept at `path`; where none is yet, one that nobody will see again. Nothing is written. Raises as `workspace_secret`."""
    return workspace_secret(path) if os.path.exists(path) else secrets.token_bytes(SECRET_BYTES)


def _create(path: Path) -> None:
    """Linked into its place when it is whole, so that of two who make one at once both use the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, whole = tempfile.mkstemp(dir=path.parent, prefix=".secret-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(descriptor)
        os.link(whole, path)
    except FileExistsError:
        return
    finally:
        Path(whole).unlink(missing_ok=True)
