"""Runs a job of `ray_jobs` and brings its result back: a process on this machine, or a submission to a Ray cluster.

A job is told where its spec is and where its result goes; it prints progress as JSON lines. It exits 0 when done,
2 when its input is bad (never retried) and anything else when another try may help.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agentgym.errors import InvalidInput, Unavailable
from agentgym.settings import Settings
from agentgym.store import write_atomically

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

EXIT_BAD_INPUT = 2
POLL_SECONDS = 2.0
TAIL_LINES = 15


def run_ray_job(name: str, spec: bytes, *, job_id: str, settings: Settings, on_line: Callable[[str], None]) -> bytes:
    """The result file of `python -m ray_jobs.{name}` for this spec.

    job_id: the same for the same spec, so that a job that was interrupted goes on in its own folder.
    on_line: gets each line the job prints.   Raises InvalidInput or Unavailable, with the job's own last words.
    """
    folder = settings.workspace / "jobs" / job_id
    write_atomically(folder / "spec.json", spec)
    if settings.ray_address and settings.ray_address.startswith("http"):
        return _submit(name, folder, job_id=job_id, address=settings.ray_address, on_line=on_line)
    return _run_here(name, folder, on_line=on_line)


def _run_here(name: str, folder: Path, *, on_line: Callable[[str], None]) -> bytes:
    log = folder / "log.txt"
    command = _command(sys.executable, name, folder)
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=_job_environment()) as process,
    ):
        try:
            for line in process.stdout or ():
                on_line(line)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise _failure(name, process.returncode, log.read_text(errors="replace"), where=str(log))
    return (folder / "result.json").read_bytes()


def _submit(name: str, folder: Path, *, job_id: str, address: str, on_line: Callable[[str], None]) -> bytes:
    """The workspace is on storage that the cluster's nodes share."""
    from ray.job_submission import JobSubmissionClient

    client = JobSubmissionClient(address)
    submission = client.submit_job(
        entrypoint=" ".join(_command("python", name, folder)),
        submission_id=f"agentgym-{job_id}-{int(time.time())}",
    )
    try:
        for line in _lines_until_done(client, submission):
            on_line(line)
    except BaseException:
        client.stop_job(submission)
        raise
    details = client.get_job_info(submission)
    if details.driver_exit_code:
        raise _failure(name, details.driver_exit_code, client.get_job_logs(submission), where=f"ray job logs {submission}")
    return (folder / "result.json").read_bytes()


def _lines_until_done(client: "JobSubmissionClient", submission: str) -> Iterator[str]:
    seen = 0
    while True:
        is_done = client.get_job_status(submission).is_terminal()
        lines = client.get_job_logs(submission).splitlines()
        yield from lines[seen:]
        seen = len(lines)
        if is_done:
            return
        time.sleep(POLL_SECONDS)


def _command(python: str, name: str, folder: Path) -> list[str]:
    return [python, "-m", f"ray_jobs.{name}", "--spec", str(folder / "spec.json"), "--result", str(folder / "result.json")]


def _job_environment() -> dict[str, str]:
    """This process's environment with one thread for each numerical library: on a busy machine more are slower."""
    return {"OMP_NUM_THREADS": "1", **os.environ, "AGENTGYM_PARENT_PROCESS": str(os.getpid())}


def _failure(name: str, exit_code: int, log: str, *, where: str) -> Exception:
    last_words = "\n".join(log.strip().splitlines()[-TAIL_LINES:])
    if exit_code == EXIT_BAD_INPUT:
        return InvalidInput(last_words.rpartition("\n")[2] or f"The job {name} refused its input; see {where}.")
    return Unavailable(
        f"The job {name} must end with exit code 0; it ended with {exit_code}. Its whole log: {where}. Its last words:\n{last_words}"
    )
