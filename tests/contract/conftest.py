import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

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
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own on loopback, run by somebody who is not root, which Postgres asks for."""
    if PROGRAMS is None:
        pytest.skip("Postgres is not installed here (Debian: apt-get install postgresql)")
    folder = tmp_path_factory.mktemp("postgres")
    owner = _owner()
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.getuid() and owner is not None and parent != Path(parent.anchor):
            os.chmod(parent, parent.stat().st_mode | 0o011)
    if owner is not None:
        shutil.chown(folder, owner)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = {"check": True, "capture_output": True, "user": owner, "cwd": "/"}
    subprocess.run([PROGRAMS / "initdb", "-D", folder / "data", "-U", "agentgym", "-A", "trust"], **run)  # type: ignore[call-overload]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    control = [PROGRAMS / "pg_ctl", "-D", folder / "data", "-w"]
    subprocess.run([*control, "-o", options, "-l", folder / "log", "start"], **run)  # type: ignore[call-overload]
    try:
        yield f"postgresql+psycopg://agentgym@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "fast", "stop"], **run)  # type: ignore[call-overload]


def _owner() -> str | None:
    """Who runs the server: we, unless we are root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
