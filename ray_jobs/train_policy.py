"""Trains a policy: `python -m ray_jobs.train_policy --spec FILE|URI --result FILE|URI`.

Standard output has a `Progress` line for each iteration. Exit code 0: the result is written; 2: the input is bad, do not try again;
anything else: try again. A run that was killed goes on from its last resume point, kept beside the result under the spec's digest.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from signal import SIGTERM, default_int_handler, signal

from agentgym.errors import AgentGymError
from agentgym.settings import read_settings, silence
from agentgym.store import ArtifactRef, open_store
from agentgym.training.result import IterationMetrics
from agentgym.training.resume_point import ResumePoint
from ray_jobs.orphan import end_with_parent
from ray_jobs.spec import Progress, TrainPolicyResult, TrainPolicySpec, beside, read_address, read_spec, remove_address, write_address

# A machine of a cluster may go at any time; what an iteration took is more than what keeping it takes.
EVERY_ITERATION = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; what went wrong is the last line on standard error."""
    parser = argparse.ArgumentParser(prog="ray_jobs.train_policy", description="Train a policy on-policy, as a spec file says.")
    parser.add_argument("--spec", required=True, help="path, file:// or s3:// of a TrainPolicySpec")
    parser.add_argument("--result", required=True, help="path, file:// or s3:// the TrainPolicyResult is written to")
    given = parser.parse_args(arguments)
    signal(SIGTERM, default_int_handler)
    end_with_parent(os.environ)
    try:
        run(spec_address=given.spec, result_address=given.result)
    except AgentGymError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def run(*, spec_address: str, result_address: str) -> None:
    """Reads the spec, trains from where an earlier try stopped, and writes the result."""
    settings = read_settings()
    silence(settings, os.environ)
    spec = read_spec(spec_address, TrainPolicySpec)

    # Only now: the libraries below read their environment when they are imported.
    from agentgym.policies.checkpoint import Checkpoint
    from agentgym.scenarios.pack import ScenarioPack
    from agentgym.traces.snapshot import DatasetSnapshot
    from agentgym.training.methods.experience import Experience
    from agentgym.training.methods.run import run_method

    checkpoint = Checkpoint.from_bytes(_read(spec.checkpoint))
    experience = Experience(
        pack=ScenarioPack.from_bytes(_read(spec.pack)),
        traces=() if spec.snapshot is None else DatasetSnapshot.read(open_store(spec.snapshot.uri), spec.snapshot).train,
        teacher=None if spec.teacher is None else Checkpoint.from_bytes(_read(spec.teacher)),
    )
    resume_address = beside(result_address, f"resume-{spec.digest[:16]}.zip")
    kept = read_address(resume_address)
    trained = run_method(
        checkpoint,
        experience,
        spec.config,
        environment=os.environ,
        on_iteration=_progress_printer(spec.config.iterations),
        resume_point=None if kept is None else ResumePoint.from_bytes(kept),
        on_resume_point=lambda point: write_address(resume_address, point.to_bytes()),
        resume_every=EVERY_ITERATION,
        ray_address=settings.ray_address,
    )
    written = open_store(spec.store).write(trained.checkpoint.to_bytes(), suffix=".zip")
    result = TrainPolicyResult(checkpoint=written, curve=tuple(trained.curve))
    write_address(result_address, result.model_dump_json().encode())
    remove_address(resume_address)


def _read(ref: ArtifactRef) -> bytes:
    return open_store(ref.uri).read(ref)


def _progress_printer(total: int) -> Callable[[IterationMetrics], None]:
    def print_progress(metrics: IterationMetrics) -> None:
        print(Progress(done=metrics.iteration, total=total, metrics=metrics).model_dump_json(), flush=True)

    return print_progress


if __name__ == "__main__":
    sys.exit(main())
