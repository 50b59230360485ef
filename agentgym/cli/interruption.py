"""Ctrl-C: one line and an exit code, soon, whatever is running.

It reaches Prefect's in-process server as well. The run that unwinds then waits minutes for an answer of a server that is gone, so it is
given a few seconds to end its job and its MLflow run. Being cut off there is no harm: the same command goes on from what was finished.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from agentgym.cli.console import Screen
from agentgym.cli.entry import EXIT_CODE

GRACE_SECONDS = 3.0
MESSAGE = "Interrupted. Nothing finished is lost; run the same command again."


@contextmanager
def leaving_on_interrupt(screen: Screen, words: Callable[[], str] = lambda: MESSAGE) -> Iterator[None]:
    """Ends the process with code 130 when Ctrl-C is pressed inside, at the latest `GRACE_SECONDS` later.

    words: what is said then.
    """
    grace = threading.Timer(GRACE_SECONDS, _leave, [screen, words])
    grace.daemon = True

    def interrupt(_: int, __: FrameType | None) -> None:
        if grace.ident is None:
            grace.start()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except BaseException as error:
        # What the unwinding met on its way, such as a server that is gone, is not the reason.
        if grace.ident is None and not isinstance(error, KeyboardInterrupt):
            raise
        grace.cancel()
        _tell(screen, words)
        raise typer.Exit(EXIT_CODE) from error
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(screen: Screen, words: Callable[[], str]) -> None:
    _tell(screen, words)
    os._exit(EXIT_CODE)


def _tell(screen: Screen, words: Callable[[], str]) -> None:
    screen.restore_cursor()
    message = words()
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()
    screen.finish({"error": {"kind": "Interrupted", "message": message}})
