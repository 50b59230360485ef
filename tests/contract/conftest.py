import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from agentgym.registry import ModelRegistry
from agentgym.tracking import open_mlflow


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow needs seconds to create its tables; once is enough."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    open_mlflow(f"sqlite:///{path}").search_registered_models()
    return path


@pytest.fixture
def uri(migrated_database: Path, tmp_path: Path) -> str:
    """A real MLflow without anything in it."""
    (tmp_path / "mlflow.db").write_bytes(migrated_database.read_bytes())
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def registry(uri: str) -> ModelRegistry:
    return ModelRegistry(uri, "support_agent")


def programs() -> Path | None:
    """The folder of Postgres's own programs, which Debian keeps out of the path."""
    found = [Path(path).parent for path in (shutil.which("initdb"),) if path] + sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in found if (folder / "initdb").exists()), None)


PROGRAMS = programs()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server of its own on loopback, run by somebody who is not root, which Postgres asks for."""
    if PROGRAMS is None:
        pytest.skip("Postgres is not installed here (Debian: apt-get install postgresql)")
    # Not in pytest's folder: its parents belong to us alone, and become so again with every session that starts beside this one.
    with TemporaryDirectory(prefix="agentgym-postgres-") as folder:
        yield from _served(PROGRAMS, Path(folder))


def _served(programs: Path, folder: Path) -> Iterator[str]:
    owner = _owner()
    if owner is not None:
        shutil.chown(folder, owner)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = partial(subprocess.run, check=True, capture_output=True, user=owner, cwd="/")
    run([programs / "initdb", "-D", folder / "data", "-U", "agentgym", "-A", "trust"])
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    control = [programs / "pg_ctl", "-D", folder / "data", "-w"]
    run([*control, "-o", options, "-l", folder / "log", "start"])
    try:
        yield f"postgresql+psycopg://agentgym@127.0.0.1:{port}/postgres"
    finally:
        run([*control, "-m", "fast", "stop"])


def _owner() -> str | None:
    """Who runs the server: we, unless we are root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
