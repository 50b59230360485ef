"""A table or query of any database that SQLAlchemy reaches: one message a row, read while the database still writes the next ones.

The log is a file that names the database and says what the columns mean, so that an address with a password stands in no command and no
record of a run.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from agentgym.errors import InvalidInput, Unavailable
from agentgym.messages import Role
from agentgym.traces.importers.files import SourceFile, file_name, what_is_at
from agentgym.traces.importers.mapping_file import read_mapping
from agentgym.traces.importers.reading import Place
from agentgym.traces.importers.record import Record, RejectedLine
from agentgym.traces.importers.rows import Columns, Row, RowMapping, require_columns, row_conversations
from agentgym.traces.importers.sql_query import read_query

if TYPE_CHECKING:
    import sqlalchemy

ROWS_AT_A_TIME = 1_000
# SQLite says of everything that it is operational, also of what a person must mend.
_SQLITE_FAULTS = ("no such", "syntax error", "incomplete input", "ambiguous column", "wrong number of arguments", "decode")


class DatabaseLog(BaseModel):
    """Where a log is and what its columns mean.

    url: SQLAlchemy's.   query: whose rows are in order, a conversation at a time; or a table, which is sorted for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: SecretStr
    query: str | None = None
    table: str | None = None
    columns: Columns
    roles: dict[str, Role | None] = {}

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        if self.query is not None and self.table is not None:
            raise ValueError("has both a `table` and a `query`, of which it needs one")
        if self.query is None and self.table is None:
            raise ValueError("has neither a `table` nor a `query`, of which it needs one")
        return self


def looks_like_sql(value: Any) -> bool:
    return isinstance(value, dict) and "url" in value and "columns" in value


def read_sql(file: Path, root: Path) -> Iterator[Record | RejectedLine]:
    """The conversations of the database that a file names; the line of each is the number of its first row.

    Raises InvalidInput for what the file asks wrongly, and Unavailable when the database is away, or goes away; nothing is kept then.
    """
    log, name, read = read_mapping(file, DatabaseLog), file_name(file, root), 0
    try:
        for item in row_conversations(_rows(log, name), RowMapping(columns=log.columns, roles=log.roles)):
            yield item
            read += 1
    except _Away as away:
        raise Unavailable(
            f"A database must stay within reach while a log is read from it; after {read} conversations {name} got: {away}. "
            "Read it again when the database is back."
        ) from away


def fingerprint_sql(file: Path, root: Path) -> SourceFile:
    """The file with the digest of what its rows hold now, so that a log that has grown is known to be another. It reads all of them.

    Rows that are written between this and the import are in the import all the same; the next fingerprint tells of them.
    """
    log, name = read_mapping(file, DatabaseLog), file_name(file, root)
    digest = hashlib.sha256(log.model_dump_json(include={"columns", "roles"}).encode())
    try:
        for row in _rows(log, name):
            digest.update(orjson.dumps([row.cells, row.fault]))
    except _Away as away:
        raise Unavailable(f"A log in a database must be within reach; {name} got: {away}. Try again when the database is back.") from away
    return SourceFile(name=name, digest=digest.hexdigest())


class _Away(Exception):
    """The database cannot be reached, or not any more."""


def _rows(log: DatabaseLog, name: str) -> Iterator[Row]:
    # SQLAlchemy takes a moment to import, which only those who ask a database should pay.
    import sqlalchemy
    from sqlalchemy.pool import NullPool

    statement = _statement(log, name)
    with _told(log, name):
        engine = sqlalchemy.create_engine(_url(log), poolclass=NullPool)
        with _only_reading(engine) as connection:
            # With a cursor that stays on the server, memory holds a handful of rows.
            streaming = connection.execution_options(stream_results=True, yield_per=ROWS_AT_A_TIME)
            result = streaming.execute(statement)
            require_columns(log.columns, list(result.keys()), name)
            for number, cells in enumerate(result.mappings(), 1):
                yield _row({str(column): value for column, value in cells.items()}, Place(source=name, line=number))


@contextmanager
def _only_reading(engine: "sqlalchemy.Engine") -> Iterator["sqlalchemy.Connection"]:
    """A connection whose database refuses to write, where it can be told so. Closing it rolls back: nothing is ever committed."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(postgresql_readonly=True)
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only=ON")
        yield connection


def _url(log: DatabaseLog) -> "sqlalchemy.URL":
    import sqlalchemy

    url = sqlalchemy.make_url(log.url.get_secret_value())
    # SQLite makes a database of every file name, and then says that the table is absent.
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:") and "uri" not in url.query
    if is_file and what_is_at(Path(str(url.database))) != "file":
        raise InvalidInput(f"A log is read from a database that is there; no file is at {url.database!r}. Check the path in the url.")
    return url


def _statement(log: DatabaseLog, name_of_file: str) -> "sqlalchemy.Executable":
    import sqlalchemy

    if log.table is None:
        return read_query(str(log.query), name_of_file)
    schema, _, name = log.table.rpartition(".")
    order = [column for column in (log.columns.conversation_id, log.columns.order or log.columns.timestamp) if column]
    table = sqlalchemy.table(name, schema=schema or None)
    return sqlalchemy.select(sqlalchemy.text("*")).select_from(table).order_by(*map(sqlalchemy.column, order))


@contextmanager
def _told(log: DatabaseLog, name: str) -> Iterator[None]:
    """Tells what SQLAlchemy and the driver say by who can act on it; an address is never repeated, because of the password in it."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

    try:
        yield
    except ModuleNotFoundError as error:
        raise InvalidInput(f"A database needs its driver; {name} needs {error.name!r}. Install it beside AgentGym.") from error
    except DBAPIError as error:
        said = str(error.orig).strip().splitlines()[0].rstrip(".") if str(error.orig).strip() else type(error.orig).__name__
        is_fault = "sqlite" in log.url.get_secret_value()[:7] and any(fault in said for fault in _SQLITE_FAULTS)
        if isinstance(error, OperationalError | InterfaceError) and not is_fault:
            raise _Away(said) from error
        raise InvalidInput(f"A log is read with a query that its database understands; {name} got: {said}. Mend it.") from error
    except SQLAlchemyError as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise InvalidInput(f"A log is read with a url and a query that gives rows; {name} got: {said}. Mend it.") from error


def _row(cells: dict[str, Any], place: Place) -> Row:
    try:
        return Row(place=place, cells={column: _json(value) for column, value in cells.items()})
    except _NoJson as error:
        columns = {column: value for column, value in cells.items() if isinstance(value, str | int)}
        return Row(place=place, cells=columns, fault=f"A cell holds text, a number, a date or JSON; {error} in {place} is none.")


class _NoJson(ValueError):
    """A value that JSON has no form for."""


def _json(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        value = int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    if isinstance(value, bytes | memoryview):
        return _decoded(bytes(value))
    try:
        # Written and read again, a UUID becomes text, and JSON of the database stays what it is.
        return orjson.loads(orjson.dumps(value))
    except TypeError:
        raise _NoJson(type(value).__name__) from None


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _NoJson("bytes") from None
