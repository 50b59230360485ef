"""A database that several processes write to, one at a time: SQLite in a file, or Postgres.

A transaction that writes calls `lock` first: it waits for whoever writes, sees what they wrote, and keeps others waiting until it ends.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft

from agentgym.errors import InvalidInput, Unavailable

LOCK_TIMEOUT_SECONDS = 30


def open_database(url: str, *, is_wal: bool = False) -> Engine:
    """An engine for the SQL database at `url`; the folder of an SQLite file is made when it is not there.

    is_wal: SQLite keeps a write-ahead log and its connections open, so that readers never wait and a commit is one write that is forced to
    disk (`synchronous=FULL`). It has no meaning on Postgres. Raises InvalidInput for an address that is none.
    """
    try:
        address = make_url(url)
        if not address.drivername.startswith("sqlite"):
            return sql.create_engine(address, pool_pre_ping=True, hide_parameters=True)
    except (ArgumentError, ImportError) as error:
        scheme = url.partition(":")[0]
        raise InvalidInput(
            f"A database is sqlite:///PATH, or Postgres with its driver installed; for an address that begins with {scheme!r} SQLAlchemy "
            f"said {error}. Mend the address, or install the driver."
        ) from error
    make_folder_of(url)
    # The last connection of a write-ahead log that closes folds the log into the file, which takes longer than a commit: keep them.
    pool = sql.QueuePool if is_wal else sql.NullPool
    # Parameters hold what customers said: no error may carry them.
    engine = sql.create_engine(address, hide_parameters=True, poolclass=pool, connect_args={"timeout": LOCK_TIMEOUT_SECONDS})

    @sql.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        # Python's driver would begin a deferred transaction by itself, which two processes can both enter before either writes.
        connection.isolation_level = None
        if is_wal:
            _write_ahead(connection)
            connection.execute("PRAGMA synchronous=FULL")

    return engine


def create_tables(connection: Connection, tables: sql.MetaData) -> None:
    """Makes the tables that are not there. Raises InvalidInput where one is there with other columns, from another version of AgentGym."""
    tables.create_all(connection)
    found = sql.inspect(connection)
    for table in tables.sorted_tables:
        missing = sorted(set(table.columns.keys()) - {column["name"] for column in found.get_columns(table.name)})
        if missing:
            raise InvalidInput(
                f"A database must be of this version; in {connection.engine.url} the table {table.name} has no {', '.join(missing)}. "
                "Move it away to begin anew, or use the version that wrote it."
            )


def lock(connection: Connection, name: str) -> None:
    """Waits until no other process writes, and keeps others from it until the transaction ends.

    name: on Postgres only who asks for the same name waits; SQLite has one lock for the whole file.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(sql.text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": name})


@contextmanager
def reachable(engine: Engine, what: str) -> Iterator[None]:
    """Turns the database's errors into Unavailable; `what` it holds begins the message: "The registry's history"."""
    try:
        yield
    except (DBAPIError, NoConnectionLeft) as error:
        raise Unavailable(
            f"{what} must be readable and writable; {engine.url} said {getattr(error, 'orig', error)}. "
            "Check that the database is up, has room, and that nobody is stuck writing to it, then run again."
        ) from error


def make_folder_of(url: str) -> None:
    """The folder of an SQLite file, which its driver does not make. Raises Unavailable where it cannot be made."""
    folder = Path(make_url(url).database or "").absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"A database needs a folder that can be written to; {folder} said {error}. Choose another one.") from error


def _write_ahead(connection: Any) -> None:
    """Switches to the write-ahead log, which SQLite refuses at once, whatever its timeout, while somebody writes."""
    deadline = monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except connection.OperationalError as error:
            if "locked" not in str(error) or monotonic() > deadline:
                raise
            sleep(0.01)


@contextmanager
def erasing(engine: Engine) -> Iterator[Connection]:
    """A transaction of which no deleted row stays in the files: what SQLite frees is overwritten, and its write-ahead log emptied."""
    with engine.connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        if is_sqlite:
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
        yield connection
        connection.commit()
        if is_sqlite:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
