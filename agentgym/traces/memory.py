"""What was seen of a log so far: where each conversation_id was used, and which conversation each content belongs to.

It is kept in a temporary file, so that a log ten times as long needs no more memory.
"""

from agentgym.traces.importers.gathering import temporary_database, with_room


class Memory:
    """Remembers the first of each key, and forgets all of it when it is dropped. Raises Unavailable when temporary files have no room."""

    def __init__(self) -> None:
        self._database = temporary_database()
        for table in ("place", "content"):
            self._database.execute(f"CREATE TABLE {table} (key BLOB PRIMARY KEY, name TEXT) WITHOUT ROWID")

    def __del__(self) -> None:
        self._database.close()

    def used_at(self, conversation_id: str, place: str) -> str | None:
        """Where the id was used before; None when it is new, and then it was at `place`."""
        return self._first("place", conversation_id.encode(errors="surrogatepass"), place)

    def copy_of(self, content: bytes, name: str) -> str | None:
        """The conversation that said this before; None when it is new, and then `name` did. content: a digest."""
        return self._first("content", content, name)

    def _first(self, table: str, key: bytes, name: str) -> str | None:
        with with_room():
            added = self._database.execute(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", (key, name))
            if added.rowcount:
                return None
            first: str = self._database.execute(f"SELECT name FROM {table} WHERE key = ?", (key,)).fetchone()[0]
            return first
