"""A job on this machine ends with the process that started it, also when that one was killed and could not say so."""

import os
import threading
from collections.abc import Mapping
from signal import SIGTERM

PARENT_VARIABLE = "AGENTGYM_PARENT_PROCESS"
CHECK_SECONDS = 1.0


def end_with_parent(environment: Mapping[str, str]) -> None:
    """Watches the process named in `AGENTGYM_PARENT_PROCESS`, where it is our parent; does nothing where it is not, as on a cluster."""
    if environment.get(PARENT_VARIABLE) == str(os.getppid()):
        threading.Thread(target=_end_when_orphaned, args=(os.getppid(),), daemon=True).start()


def _end_when_orphaned(parent: int) -> None:
    waiting = threading.Event()
    while os.getppid() == parent:
        waiting.wait(CHECK_SECONDS)
    os.kill(os.getpid(), SIGTERM)
