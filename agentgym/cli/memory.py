"""The memory of this process and all its children, watched from the side."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

SAMPLE_SECONDS = 0.5


class MemoryWatch:
    """peak_bytes: the most seen at once. A page that processes share counts once, where the system tells (Linux), else for each of them."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._stopped = threading.Event()

    def run(self) -> None:
        root = psutil.Process()
        while not self._stopped.is_set():
            self.peak_bytes = max(self.peak_bytes, sum(map(_bytes_held, (root, *root.children(recursive=True)))))
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


def _bytes_held(process: psutil.Process) -> int:
    try:
        memory = process.memory_full_info()
        return int(getattr(memory, "pss", memory.rss))
    except psutil.Error:
        # It ended between being listed and being asked.
        return 0
