"""Writes of many callers, made durable together: each waits for the disk, but they share one wait.

While a transaction is being forced to disk the next one gathers, so throughput grows with the number of callers and nobody's write is
acknowledged before it is safe.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

from sqlalchemy.engine import Connection, Engine

from agentgym.database import lock, reachable

Result = TypeVar("Result")
Write = Callable[[Connection], Any]
_LARGEST_GROUP = 256


class GroupCommit:
    """A thread that writes to one database.

    lock_name: of the lock that every group holds.   what: the database as an error names it.
    """

    def __init__(self, engine: Engine, *, lock_name: str, what: str) -> None:
        self._engine, self._lock_name, self._what = engine, lock_name, what
        self._waiting: SimpleQueue[tuple[Write, Future[Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether writes are still taken."""
        return self._thread.is_alive()

    def submit(self, write: Callable[[Connection], Result]) -> "Future[Result]":
        """The result of `write` once it is durable. A write that fails has no effect and fails alone.

        Raises Unavailable when the database could not take its group; only where the commit itself was cut off may it have an effect.
        """
        future: Future[Result] = Future()
        self._waiting.put((write, future))
        return future

    def close(self) -> None:
        """Ends after everything submitted so far."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            group, is_last = self._gather(first)
            self._commit(group)
            if is_last:
                return

    def _gather(self, first: tuple[Write, Future[Any]]) -> tuple[list[tuple[Write, Future[Any]]], bool]:
        group = [first]
        while len(group) < _LARGEST_GROUP and not self._waiting.empty():
            other = self._waiting.get()
            if other is None:
                return group, True
            group.append(other)
        return group, False

    def _commit(self, group: list[tuple[Write, Future[Any]]]) -> None:
        # Whoever gave up waiting is left out; from here on nobody can give up, so that every future can be settled.
        wanted = [(write, future) for write, future in group if future.set_running_or_notify_cancel()]
        try:
            with reachable(self._engine, self._what), self._engine.begin() as connection:
                lock(connection, self._lock_name)
                results = [self._attempt(connection, write) for write, _ in wanted]
        except BaseException as error:
            for _, future in wanted:
                future.set_exception(error)
            return
        for (_, future), result in zip(wanted, results, strict=True):
            if isinstance(result, _Failed):
                future.set_exception(result.error)
            else:
                future.set_result(result)

    def _attempt(self, connection: Connection, write: Write) -> Any:
        try:
            with reachable(self._engine, self._what), connection.begin_nested():
                return write(connection)
        except Exception as error:
            return _Failed(error)


@dataclass(frozen=True)
class _Failed:
    """What a write raised, until the others of its group are durable."""

    error: Exception
