import json
import os
import signal
import subprocess
import sys

import pytest

# One unwinds at once; another meets an error on its way; the third waits for a server that is gone.
COMMAND = """
import sys, threading, typer
from agentgym.cli.session import session
app = typer.Typer(pretty_exceptions_enable=False)
@app.command()
def wait():
    with session(is_json=True):
        print("here", file=sys.stderr, flush=True)
        try:
            threading.Event().wait(60)
        except KeyboardInterrupt:
            {unwinding}
app()
"""


@pytest.mark.parametrize("unwinding", ["raise", "raise ConnectionError('gone')", "threading.Event().wait(60)"])
def test_an_interrupt_ends_a_command_soon_with_one_line_and_its_own_exit_code(unwinding: str) -> None:
    """Prefect's server is interrupted as well, and a run waited minutes for it to end with a traceback."""
    command = [sys.executable, "-c", COMMAND.format(unwinding=unwinding)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert err.splitlines() == ["Interrupted. Nothing finished is lost; run the same command again."]
    assert json.loads(out)["error"]["kind"] == "Interrupted"
    assert process.returncode == 130


def test_an_interrupt_while_libraries_are_read_is_one_line_too() -> None:
    """Where an import is broken off, what it half made must not be asked for anything."""
    command = [sys.executable, "-c", "from agentgym.cli import main; main()", "list", "--json"]
    environment = {**os.environ, "PYTHONVERBOSE": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "agentgym.cli.app" in line:
                break
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "Interrupted before anything was begun."
    assert json.loads(out)["error"]["kind"] == "Interrupted"
    assert process.returncode == 130
