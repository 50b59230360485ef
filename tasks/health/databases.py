"""The databases everything is kept in: there, readable, and nobody stuck while writing."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
from sqlalchemy.engine import make_url

from agentgym.registry.ledger import history_url_beside
from agentgym.settings import Settings
from tasks.health.finding import Finding, ok, problem
from tasks.ports import program_of

# Whoever writes is done in milliseconds.
_STUCK_SECONDS = 3.0


def database_urls(settings: Settings) -> dict[str, str]:
    """By what is kept there."""
    history = settings.history_url or history_url_beside(settings.tracking_uri)
    return {"mlflow": settings.tracking_uri, "history": history, "experience": settings.experience_url}


def look_at_databases(settings: Settings) -> Iterator[Finding]:
    """Whether each can be written to. Only SQLite can be stuck in a way that nobody else sees."""
    for name, url in database_urls(settings).items():
        if (path := sqlite_file(url)) is not None:
            yield _sqlite(f"database: {name}", path)


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database; None for any other."""
    return Path(make_url(url).database or "") if url.startswith("sqlite") else None


def is_begun(url: str) -> bool:
    """False where the database is a file that nobody has made yet: looking would make it."""
    path = sqlite_file(url)
    return path is None or path.exists()


def _sqlite(name: str, path: Path) -> Finding:
    if not path.exists():
        return ok(name, f"Nothing is kept yet; {path.name} is made when something is.")
    try:
        with closing(sqlite3.connect(path, timeout=_STUCK_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        repair = "End the program that writes to it, or restore the file from a backup."
        return problem(name, f"{path} must be readable and writable; it said {error}. It is open in {_openers(path)}.", repair)
    return ok(name, f"{path.name} can be written to.")


def _openers(path: Path) -> str:
    """Who has the file open."""
    ours = psutil.Process().pid
    found = [process for process in psutil.process_iter() if process.pid != ours and _has_open(process, path)]
    return ", ".join(f"process {process.pid} ({program_of(process)})" for process in found) or "no program that can be seen"


def _has_open(process: psutil.Process, path: Path) -> bool:
    with suppress(psutil.Error):
        return any(Path(file.path) == path for file in process.open_files())
    return False
