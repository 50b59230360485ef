"""The memory of this process and all its children, watched from the side."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

SAMPLE_SECONDS = 0.5


class MemoryWatch:
    """peak_bytes: largest sum of resident sizes seen; pages that processes share count for each of them, so it is an upper bound."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._stopped = threading.Event()

    def run(self) -> None:
        root = psutil.Process()
        while not self._stopped.is_set():
            self.peak_bytes = max(self.peak_bytes, sum(map(_resident_bytes, (root, *root.children(recursive=True)))))
            self._stopped.wait(SAMPLE_SECONDS)

    def stop(self) -> None:
        self._stopped.set()


@contextmanager
def peak_memory() -> Iterator[MemoryWatch]:
    watch = MemoryWatch()
    thread = threading.Thread(target=watch.run, name="memory-watch", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        # It ended between being listed and being asked.
        return 0
