"""Runs a job of `ray_jobs` and brings its result back: a process on this machine, or a submission to a Ray cluster.

A job is told where its spec is and where its result goes; it prints progress as JSON lines. It exits 0 when done,
2 when its input is bad (never retried) and anything else when another try may help.

A job ends with the flow run it belongs to: a run that is cancelled ends its job on the way out, and what a run that was killed left
behind is found by the run's id and ended by `stop_jobs`, a hook of Prefect.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from prefect.runtime import flow_run as present_run

from agentgym.errors import InvalidInput, Unavailable
from agentgym.settings import Settings, read_settings
from agentgym.store import write_atomically
from tasks.ending import end_families

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun, State
    from ray.job_submission import JobSubmissionClient

EXIT_BAD_INPUT, EXIT_UNAVAILABLE = 2, 3
POLL_SECONDS = 2.0
TAIL_LINES = 15
END_SECONDS = 45.0
# Prefect kills a cancelled run 30 seconds after telling it.
CANCEL_SECONDS = 15.0
FLOW_RUN_VARIABLE = "AGENTGYM_FLOW_RUN"
FLOW_RUN_METADATA = "agentgym_flow_run"


def run_ray_job(name: str, spec: bytes, *, job_id: str, settings: Settings, on_line: Callable[[str], None]) -> bytes:
    """The result file of `python -m ray_jobs.{name}` for this spec.

    job_id: the same for the same spec, so that a job that was interrupted goes on in its own folder.
    on_line: gets each line the job prints.   Raises InvalidInput or Unavailable, with the job's own last words.
    """
    folder = settings.workspace / "jobs" / job_id
    write_atomically(folder / "spec.json", spec)
    if (address := _jobs_address(settings)) is not None:
        return _submit(name, folder, job_id=job_id, address=address, on_line=on_line)
    return _run_here(name, folder, on_line=on_line)


def stop_jobs(flow: "Flow[..., Any]", flow_run: "FlowRun", state: "State[Any]") -> None:
    """Ends every job of this run that is still there: on this machine, and on the cluster.

    For `on_cancellation` and `on_crashed` of a flow; Prefect passes these three by name.
    """
    run_id = str(flow_run.id)
    end_families([process for process in psutil.process_iter() if _belongs_to(process, run_id)], grace_seconds=CANCEL_SECONDS)
    if (address := _jobs_address(read_settings())) is not None:
        _stop_submitted(run_id, address)


@dataclass(frozen=True)
class StartedJob:
    """A job that goes on until it is told to end.   first_line: what it printed when it was ready."""

    first_line: str
    process: "subprocess.Popen[str]"

    def end(self) -> None:
        """Tells it to end, and waits until it and all it started are gone."""
        _end(self.process, grace_seconds=END_SECONDS)


def start_ray_job(name: str, spec: bytes, *, job_id: str, settings: Settings) -> StartedJob:
    """The job `ray_jobs.{name}` on this machine, once it has printed its first line.

    Raises InvalidInput or Unavailable, with the job's own last words, when it ends instead.
    """
    folder = settings.workspace / "jobs" / job_id
    write_atomically(folder / "spec.json", spec)
    log = folder / "log.txt"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            _command(sys.executable, name, folder), stdout=subprocess.PIPE, stderr=errors, text=True, env=_job_environment()
        )
    assert process.stdout is not None
    try:
        # Libraries may talk before; a job's own lines are JSON.
        first_line = next((line for line in process.stdout if line.startswith("{")), "")
    except BaseException:
        _end(process, grace_seconds=END_SECONDS)
        raise
    if first_line:
        return StartedJob(first_line=first_line, process=process)
    raise _failure(name, process.wait(), log.read_text(errors="replace"), where=str(log))


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
            _end(process, grace_seconds=CANCEL_SECONDS)
            raise
    if process.returncode:
        raise _failure(name, process.returncode, log.read_text(errors="replace"), where=str(log))
    return (folder / "result.json").read_bytes()


def _submit(name: str, folder: Path, *, job_id: str, address: str, on_line: Callable[[str], None]) -> bytes:
    """The workspace is on storage that the cluster's nodes share."""
    with _answering(address):
        client = _jobs_of(address)
        submission = client.submit_job(
            entrypoint=" ".join(_command("python", name, folder)),
            submission_id=f"agentgym-{job_id}-{int(time.time())}",
            metadata={FLOW_RUN_METADATA: run_id} if (run_id := _present_run_id()) else None,
        )
    try:
        for line in _lines_until_done(client, submission, address):
            on_line(line)
    except BaseException:
        with suppress(Unavailable), _answering(address):
            client.stop_job(submission)
        raise
    with _answering(address):
        ended, log = client.get_job_info(submission), client.get_job_logs(submission)
    # A job that somebody stopped has no exit code.
    if ended.status != "SUCCEEDED":
        raise _failure(name, ended.driver_exit_code, log, where=f"ray job logs {submission}")
    return (folder / "result.json").read_bytes()


def _stop_submitted(run_id: str, address: str) -> None:
    with _answering(address):
        client = _jobs_of(address)
        for job in client.list_jobs():
            is_ours = (job.metadata or {}).get(FLOW_RUN_METADATA) == run_id
            # Whoever runs a program on the cluster without submitting it has no submission id.
            if is_ours and job.submission_id is not None and not job.status.is_terminal():
                client.stop_job(job.submission_id)


def _lines_until_done(client: "JobSubmissionClient", submission: str, address: str) -> Iterator[str]:
    seen = 0
    while True:
        with _answering(address):
            is_done = client.get_job_status(submission).is_terminal()
            lines = client.get_job_logs(submission).splitlines()
        yield from lines[seen:]
        seen = len(lines)
        if is_done:
            return
        time.sleep(POLL_SECONDS)


def _jobs_of(address: str) -> "JobSubmissionClient":
    from ray.job_submission import JobSubmissionClient

    return JobSubmissionClient(address)


@contextmanager
def _answering(address: str) -> Iterator[None]:
    """Turns the errors of Ray's Jobs API into Unavailable."""
    try:
        yield
    except (ConnectionError, RuntimeError) as error:
        raise Unavailable(f"The Ray cluster must answer at {address}; it said {error}. Check that it is up, then run again.") from error


def _command(python: str, name: str, folder: Path) -> list[str]:
    return [python, "-m", f"ray_jobs.{name}", "--spec", str(folder / "spec.json"), "--result", str(folder / "result.json")]


def _job_environment() -> dict[str, str]:
    """This process's environment with one thread for each numerical library: on a busy machine more are slower."""
    belonging = {FLOW_RUN_VARIABLE: run_id} if (run_id := _present_run_id()) else {}
    return {"OMP_NUM_THREADS": "1", **os.environ, **belonging, "AGENTGYM_PARENT_PROCESS": str(os.getpid())}


def _present_run_id() -> str | None:
    """The flow run this is part of, which is the one that can be cancelled; None outside of any."""
    return present_run.root_flow_run_id or None


def _belongs_to(process: psutil.Process, run_id: str) -> bool:
    # One that is not ours to look into, or that ended just now, is none of ours.
    with suppress(psutil.Error):
        return bool(process.environ().get(FLOW_RUN_VARIABLE) == run_id)
    return False


def _jobs_address(settings: Settings) -> str | None:
    """Where jobs are submitted to; None where they run on this machine."""
    is_jobs_api = settings.ray_address is not None and settings.ray_address.startswith("http")
    return settings.ray_address if is_jobs_api else None


def _end(process: "subprocess.Popen[str]", *, grace_seconds: float) -> None:
    with suppress(psutil.NoSuchProcess):
        end_families([psutil.Process(process.pid)], grace_seconds=grace_seconds)
    process.wait()


def _failure(name: str, exit_code: int | None, log: str, *, where: str) -> Exception:
    """What a job that did not succeed is told as.   exit_code: None when it was stopped before it had one."""
    last_words = "\n".join(log.strip().splitlines()[-TAIL_LINES:])
    if exit_code in (EXIT_BAD_INPUT, EXIT_UNAVAILABLE) and last_words:
        return (InvalidInput if exit_code == EXIT_BAD_INPUT else Unavailable)(last_words.rpartition("\n")[2])
    ended = "it was stopped" if exit_code is None else f"it ended with {exit_code}"
    return Unavailable(f"The job {name} must end with exit code 0; {ended}. Its whole log: {where}. Its last words:\n{last_words}")
