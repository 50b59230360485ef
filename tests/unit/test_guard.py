import os
import signal
import subprocess
import sys

import pytest

# The child gets no pipe but the command's standard output, which is closed when both are gone. What runs in the background of a shell
# script begins with Ctrl-C switched off; the command switches it on, as Python does in a terminal.
COMMAND = """
import signal, subprocess, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
from agentgym.cli.guard import end_children_with_us
end_children_with_us()
subprocess.Popen([sys.executable, "-c", "import threading; print('here', flush=True); threading.Event().wait(60)"])
threading.Event().wait(60)
"""


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGINT])
def test_what_a_command_started_ends_with_it(ended_by: signal.Signals) -> None:
    """Prefect's server went on for ever when the command that had started it was killed."""
    with subprocess.Popen([sys.executable, "-c", COMMAND], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as command:
        assert command.stdout is not None
        command.stdout.readline()
        os.kill(command.pid, ended_by)
        assert command.stdout.read() == b""
        assert command.wait() != 0
