"""What was seen of a log so far: where each conversation_id was used, and which conversation each content belongs to.

It is kept in a temporary file, so that a log ten times as long needs no more memory.
"""

from collections.abc import Sequence

from agentgym.traces.importers.gathering import temporary_database, with_room


class Memory:
    """Remembers the first of each key, and forgets all of it when it is dropped. Raises Unavailable when temporary files have no room."""

    def __init__(self) -> None:
        self._database, self._count = temporary_database(), 0
        for table in ("place", "content"):
            self._database.execute(f"CREATE TABLE {table} (key BLOB PRIMARY KEY, name TEXT, number INTEGER) WITHOUT ROWID")

    def __del__(self) -> None:
        self._database.close()

    def used_at(self, identities: Sequence[str | None], places: Sequence[str]) -> list[str | None]:
        """Of each conversation_id and the place it is at, one after another, the place it was used at before; None where it is new."""
        return self._firsts("place", [named.encode(errors="surrogatepass") if named else None for named in identities], places)

    def copy_of(self, contents: Sequence[bytes | None], names: Sequence[str]) -> list[str | None]:
        """Of each digest of a content and the conversation that says it, the conversation that said it before; None where it is new."""
        return self._firsts("content", contents, names)

    def _firsts(self, table: str, keys: Sequence[bytes | None], names: Sequence[str]) -> list[str | None]:
        numbered = range(self._count, self._count + len(keys))
        self._count += len(keys)
        rows = [row for row in zip(keys, names, numbered, strict=True) if row[0]]
        with with_room():
            before = self._database.total_changes
            self._database.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?, ?, ?)", rows)
            if self._database.total_changes == before + len(rows):
                return [None] * len(keys)
            return [self._first(table, key, number) if key else None for key, number in zip(keys, numbered, strict=True)]

    def _first(self, table: str, key: bytes, number: int) -> str | None:
        """The name that was there before."""
        name, first = self._database.execute(f"SELECT name, number FROM {table} WHERE key = ?", (key,)).fetchone()
        return None if first == number else name
