"""The first lines of the command line: Ctrl-C is one line and an exit code also while everything else is still being read."""

import os
import signal
import sys
from types import FrameType

EXIT_CODE = 130


def main() -> None:
    """The entry point of `agentgym`."""
    before = signal.signal(signal.SIGINT, _leave)
    try:
        from agentgym.cli.app import main as run

        run()
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(_: int, __: FrameType | None) -> None:
    """At once: unwinding through libraries that are half imported is what would fail."""
    message = "Interrupted before anything was begun."
    if "--json" in sys.argv:
        os.write(1, b'{"error":{"kind":"Interrupted","message":"%s"}}\n' % message.encode())
    os.write(2, f"{message}\n".encode())
    os._exit(EXIT_CODE)
