"""Addresses that are given as logs, and are none that is read."""

import re
from pathlib import Path

from agentgym.errors import InvalidInput

# A letter and a colon may be a drive. A path has swallowed one of the two slashes.
_URL = re.compile(r"((?:[a-z][a-z0-9+.-]+:)+)/+(.*)", re.IGNORECASE | re.DOTALL)
_DATABASES = ("postgres", "mysql", "mariadb", "sqlite", "oracle", "mssql", "sqlserver", "duckdb", "snowflake", "redshift", "cockroachdb")


def refuse_url(path: Path) -> None:
    """Raises InvalidInput when what is asked for is an address of the web or of a database; its password is never repeated."""
    if (url := _URL.fullmatch(str(path))) is None or url[1].lower() == "s3:":
        return
    scheme, shown = url[1].lower(), f"{url[1]}//{_without_secrets(url[2])}"
    if scheme.removeprefix("jdbc:").startswith(_DATABASES):
        raise InvalidInput(
            f"A database is read by a JSON file that names it; {shown!r} is its address. "
            "Write a file with it as `url`, `columns`, and a `table` or `query`, and read that as sql (--format sql); see docs/06-logs.md."
        )
    raise InvalidInput(
        f"Logs and mappings are read from files, folders and s3://; {shown!r} is none of them. Copy it here, and give the file."
    )


def _without_secrets(rest: str) -> str:
    """Host and path. A user, a password and parameters may be anything, so that where it is unclear what is what, nothing is left."""
    is_unclear = re.search(r"[?#;].*@", rest, re.DOTALL) is not None
    return "…" if is_unclear else re.split(r"[?#;]", rest.rpartition("@")[2])[0]
