"""Processes beside this one that prepare batches of conversations, so that a large log is read on all cores.

They are plain programs at the ends of pipes: nothing has to be importable as a main module, and no thread of ours is forked. A worker ends
when its pipe closes, so also when we are killed.
"""

import json
import marshal
import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import IO, Any

from agentgym.errors import ContractBroken, Unavailable
from agentgym.garbage import rarely_collecting
from agentgym.tools import Tool
from agentgym.traces.importers import Record
from agentgym.traces.preparation import Item, Prepared, prepare
from agentgym.traces.redaction import Redactor

Tools = list[tuple[Tool, ...]]
"""Of each conversation of a batch, what it declares."""

MOST_PROCESSES = 8
_BEGIN = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from agentgym.traces.crew import work; work()"
_LENGTH_BYTES = 8


def prepared_batches(
    batches: Iterable[Sequence[Item]], redactor: Redactor | None, *, processes: int | None = None
) -> Iterator[tuple[Tools, Prepared]]:
    """What was made of each batch, in order, with the tools that its conversations declare.

    processes: that prepare; by default one for each core. A log of a single batch, and one whose redactor cannot go to another process, is
    prepared in this one. What a worker raises is raised here; Unavailable when it is gone.
    """
    remaining = iter(batches)
    first = list(_at_most(remaining, 2))
    wanted = available_cores() if processes is None else processes
    packed = _packed(redactor) if wanted > 1 and len(first) > 1 else None
    if packed is None:
        for batch in chain(first, remaining):
            yield _tools_of(batch), prepare(batch, redactor)
        return
    with _crew(packed, wanted) as workers:
        yield from _in_order(chain(first, remaining), workers, redactor)


def available_cores() -> int:
    """Those this process may use, and no more than help."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, MOST_PROCESSES)


def work() -> None:
    """A worker: reads the redactor, then batches, and writes what it makes of each, until the pipe closes."""
    # Ctrl-C reaches the whole group; we end when our pipe does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, target = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    packed = _read_bytes(source)
    redactor: Redactor | None = None
    is_begun = False
    with rarely_collecting():
        while batch := _read_bytes(source):
            try:
                if not is_begun:
                    redactor, is_begun = pickle.loads(packed), True
                made: Any = prepare(_unpacked_batch(batch), redactor)
            except Exception as error:
                made = error
            _write(target, _dumped(made))


class _Worker:
    """One process. A thread of ours waits for it, so that neither side ever waits for the other to read."""

    def __init__(self, redactor: bytes) -> None:
        command = [sys.executable, "-c", _BEGIN, json.dumps(sys.path)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="crew")
        self._first = self._thread.submit(_write, self._process.stdin, redactor)

    def begin(self, batch: bytes) -> Future[Any]:
        return self._thread.submit(self._ask, batch)

    def _ask(self, batch: bytes) -> Any:
        try:
            _write(self._process.stdin, batch)
            made = _read_bytes(self._process.stdout)
        except OSError:
            made = b""
        if not made:
            raise Unavailable(
                f"A process that prepares conversations must live until they are; one ended with {self._process.wait()}. "
                "Free some memory, and run again."
            )
        return pickle.loads(made)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.shutdown(wait=True)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                _close(pipe)


@contextmanager
def _crew(redactor: bytes, size: int) -> Iterator[list[_Worker]]:
    workers: list[_Worker] = []
    try:
        workers += (_Worker(redactor) for _ in range(size))
        yield workers
    finally:
        for worker in workers:
            worker.end()


def _in_order(batches: Iterable[Sequence[Item]], workers: Sequence[_Worker], redactor: Redactor | None) -> Iterator[tuple[Tools, Prepared]]:
    """One batch waits at each worker beside the one it is at, so that none is idle; packed, it takes least memory."""
    waiting: deque[tuple[Tools, Future[Any]]] = deque()
    for number, batch in enumerate(batches):
        waiting.append((_tools_of(batch), workers[number % len(workers)].begin(_packed_batch(batch))))
        del batch
        if len(waiting) > 2 * len(workers):
            yield _result(*waiting.popleft(), redactor)
    while waiting:
        yield _result(*waiting.popleft(), redactor)


def _result(tools: Tools, future: Future[Any], redactor: Redactor | None) -> tuple[Tools, Prepared]:
    made = future.result()
    if isinstance(made, Exception):
        raise made
    if redactor is not None:
        redactor.counts.update(made.redacted)
    return tools, made


def _tools_of(batch: Sequence[Item]) -> Tools:
    return [item.tools for item in batch if isinstance(item, Record)]


def _packed_batch(batch: Sequence[Item]) -> bytes:
    """For the other process, which runs the same Python: JSON is written three times as fast by `marshal` as by `pickle`."""
    try:
        fields = marshal.dumps([item.fields if isinstance(item, Record) else None for item in batch])
    except ValueError:
        return pickle.dumps((batch, None), protocol=5)
    bare = [replace(item, fields={}) if isinstance(item, Record) else item for item in batch]
    return pickle.dumps((bare, fields), protocol=5)


def _unpacked_batch(packed: bytes) -> Sequence[Item]:
    batch: Sequence[Item]
    batch, fields = pickle.loads(packed)
    if fields is None:
        return batch
    pairs = zip(batch, marshal.loads(fields), strict=True)
    return [replace(item, fields=found) if isinstance(item, Record) else item for item, found in pairs]


def _packed(redactor: Redactor | None) -> bytes | None:
    """The redactor for another process; None where it holds something that only lives in this one."""
    try:
        return pickle.dumps(redactor, protocol=5)
    except (pickle.PicklingError, TypeError, AttributeError):
        return None


def _at_most(batches: Iterator[Sequence[Item]], count: int) -> Iterator[Sequence[Item]]:
    for _ in range(count):
        if (batch := next(batches, None)) is not None:
            yield batch


def _write(pipe: IO[bytes] | None, content: bytes) -> None:
    assert pipe is not None
    pipe.write(len(content).to_bytes(_LENGTH_BYTES, "little"))
    pipe.write(content)
    pipe.flush()


def _read_bytes(pipe: IO[bytes] | None) -> bytes:
    """What was written on the other side; nothing when that is closed."""
    assert pipe is not None
    length = int.from_bytes(pipe.read(_LENGTH_BYTES), "little")
    content = pipe.read(length)
    return content if len(content) == length else b""


def _dumped(made: Any) -> bytes:
    try:
        return pickle.dumps(made, protocol=5)
    except Exception as error:
        # An error with something in it that does not travel is told in words.
        broken = ContractBroken(f"Batches are prepared without an error; one gave {made!r}: {error}. Report the log's shape.")
        return pickle.dumps(broken)


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except OSError:
        return
