"""Ends programs together with everything they have started."""

from collections.abc import Sequence
from contextlib import suppress

import psutil

LEFT_SECONDS = 5.0


def end_families(leaders: Sequence[psutil.Process], *, grace_seconds: float) -> None:
    """Tells the leaders to end, and comes back when they and all their children are gone.

    grace_seconds: for leaders to end in, and their children with them. What is there after it is told itself, and then killed.
    """
    # Asked for now: children of a leader that has ended are nobody's.
    families = {process for leader in leaders for process in _family(leader)}
    _tell(leaders)
    psutil.wait_procs(leaders, timeout=grace_seconds)
    left = [process for process in families if _is_running(process)]
    _tell(left)
    _, left = psutil.wait_procs(left, timeout=LEFT_SECONDS)
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=LEFT_SECONDS)


def _family(leader: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return [leader, *leader.children(recursive=True)]
    return []


def _tell(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()


def _is_running(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
