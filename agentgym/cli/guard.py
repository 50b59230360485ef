"""What a command started ends with it, also when it was killed and could not say so.

Prefect's in-process server is a process of its own and would stay behind. So a command is watched from beside by this file, run as a
program: it sleeps until the command is gone, however that went, and then ends what is left of those that carry the command's mark.
"""

import os
import subprocess
import sys
from contextlib import suppress
from functools import cache

import psutil

MARK = "AGENTGYM_COMMAND"


@cache
def end_children_with_us() -> subprocess.Popen[bytes]:
    """The guard of this process; what is started from now on ends when this process has ended."""
    mark = f"{os.getpid()}-{psutil.Process().create_time()}"
    # Its standard input closes when we are gone. A session of its own, so that Ctrl-C reaches us and not the guard.
    guard = subprocess.Popen([sys.executable, __file__, mark], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    os.environ[MARK] = mark
    return guard


def main() -> None:
    mark = sys.argv[1]
    sys.stdin.buffer.read()
    for process in psutil.process_iter():
        # One that is not ours to look into, or that ended just now, is none to end.
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                process.terminate()


if __name__ == "__main__":
    main()
