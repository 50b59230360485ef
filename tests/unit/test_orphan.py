import os
import signal
import subprocess
import sys

CHILD = """
import os, threading
from ray_jobs.orphan import end_with_parent
end_with_parent(os.environ)
print(os.getpid(), flush=True)
threading.Event().wait(60)
"""
PARENT = """
import os, subprocess, sys
environment = {**os.environ, "AGENTGYM_PARENT_PROCESS": str(os.getpid())}
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=environment)
child.wait()
"""


def test_a_job_ends_when_the_process_that_started_it_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        os.kill(parent.pid, signal.SIGKILL)
        # The pipe is the child's as well: its end means that the child is gone.
        assert parent.stdout.read() == b""
