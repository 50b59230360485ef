"""Plays a policy on every case of a set and reports how it did."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from agentgym.environments.case import Case
from agentgym.environments.play import play_episode
from agentgym.episode import Policy, Trajectory
from agentgym.errors import AgentGymError, InsufficientData, NotOnTape, SimulatorFailed
from agentgym.evaluation.metrics import estimate_metrics, estimate_slices
from agentgym.reward import RewardWeights
from agentgym.scenarios.scenario import Scenario
from agentgym.statistics import pass_hat
from agentgym.verdicts import CaseRow, EvaluationReport, Evidence, Failure, Measure, Subject

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlayedCase:
    """A finished episode; `trial` counts from 0 the times its case was played."""

    trajectory: Trajectory
    trial: int = 0


def evaluate_policy(
    policy: Policy,
    scenario: Scenario,
    cases: Sequence[Case],
    *,
    subject: Subject,
    seed: int,
    trials: int = 1,
    on_progress: Progress | None = None,
) -> EvaluationReport:
    """How `policy` plays `cases`, each `trials` times; equal seeds and an equal policy give an equal report.

    A case that is given twice, such as a ticket that was opened again, counts once.
    on_progress: called with episodes done and due.
    Raises InsufficientData when no episode finished, or when they come from fewer than two clusters.
    """
    environment = scenario.create_environment()
    episodes = [(case, trial) for trial in range(trials) for case in {case.case_id: case for case in cases}.values()]
    played: list[PlayedCase] = []
    failures: list[Failure] = []
    for number, (case, trial) in enumerate(episodes, start=1):
        try:
            trajectory = play_episode(environment, policy, case, seed=episode_seed(seed, trial, case))
            played.append(PlayedCase(trajectory=trajectory, trial=trial))
        except (NotOnTape, SimulatorFailed) as error:
            failures.append(Failure(case_id=case.case_id, trial=trial, error=f"{type(error).__name__}: {error}"))
        except AgentGymError:
            # Bad input, an absent service and our own broken promises concern the whole evaluation, not this episode.
            raise
        except Exception as error:
            # A policy is anybody's code and may raise anything. The crash is kept, shown and bounded by the criteria of promotion.
            failures.append(Failure(case_id=case.case_id, trial=trial, error=f"{type(error).__name__}: {error}"))
        if on_progress:
            on_progress(number, len(episodes))
    return report_played(
        played,
        failures,
        subject=subject,
        scenario=scenario.name,
        case_set=case_set_digest(cases),
        seed=seed,
        trials=trials,
        baseline=environment.reward_weights,
    )


def report_played(
    played: Sequence[PlayedCase],
    failures: Sequence[Failure] = (),
    *,
    subject: Subject,
    scenario: str,
    case_set: str,
    seed: int,
    baseline: RewardWeights,
    trials: int = 1,
) -> EvaluationReport:
    """The report on episodes that were played elsewhere, such as those that happened in production and were assessed afterwards.

    baseline: the ticket that savings are measured against.
    """
    rows = [_row(case, baseline) for case in played]
    return assemble_report(
        "play",
        _with_pass_hat(rows, trials),
        failures,
        subject=subject,
        scenario=scenario,
        case_set=case_set,
        seed=seed,
        trials=trials,
    )


def assemble_report(
    evidence: Evidence,
    rows: Sequence[CaseRow],
    failures: Sequence[Failure],
    *,
    subject: Subject,
    scenario: str,
    case_set: str,
    seed: int,
    trials: int = 1,
) -> EvaluationReport:
    """The report on these rows. Raises InsufficientData when there is none, or when nothing can be estimated from them."""
    estimates = estimate_metrics(rows)
    if not estimates:
        clusters = len({row.cluster_id for row in rows})
        shown = f" The first failure: {failures[0].error}." if failures else ""
        raise InsufficientData(
            f"A report needs finished episodes of at least 2 customers or conversations; got {len(rows)} of {clusters}, and "
            f"{len(failures)} that crashed.{shown} Bring more cases, or mend what crashes."
        )
    return EvaluationReport(
        evidence=evidence,
        subject=subject,
        scenario=scenario,
        case_set_digest=case_set,
        seed=seed,
        trials=trials,
        estimates=estimates,
        slices=estimate_slices(rows),
        failures=tuple(failures),
        rows=tuple(rows),
    )


def case_set_digest(cases: Iterable[Case]) -> str:
    """SHA-256 of the set of cases, whatever their order: two reports can be compared only when theirs are equal."""
    return hashlib.sha256("".join(sorted({case.model_dump_json() for case in cases})).encode()).hexdigest()


def episode_seed(seed: int, trial: int, case: Case) -> int:
    """It follows from the case and not from its place in the list, so that a subset of the cases plays as it did in the whole."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{trial}:{case.case_id}".encode()).digest()[:4], "big")


def _row(played: PlayedCase, weights: RewardWeights) -> CaseRow:
    trajectory = played.trajectory
    return CaseRow(
        case_id=trajectory.case_id,
        kind=trajectory.kind,
        cluster_id=trajectory.cluster_id,
        trial=played.trial,
        measures=_measures(trajectory, weights),
    )


def _measures(trajectory: Trajectory, weights: RewardWeights) -> dict[str, Measure]:
    def share(count: int, total: int) -> Measure:
        return Measure(numerator=count, denominator=total)

    means: Mapping[str, float | None] = {
        "success_rate": float(trajectory.is_success),
        "agent_tokens": trajectory.agent_tokens,
        "simulated_seconds": trajectory.simulated_seconds,
        "cost_reduction": 1 - trajectory.agent_tokens / weights.baseline_tokens,
        "time_saving": 1 - trajectory.simulated_seconds / weights.baseline_seconds,
        "satisfaction_score": trajectory.satisfaction_score,
        "reward": trajectory.reward,
        "simulator_errors": trajectory.simulator_errors,
    }
    return {
        "tool_reliability": share(trajectory.correct_calls, trajectory.due_calls),
        "tool_choice": share(sum(judged.is_right_tool for judged in trajectory.calls), trajectory.due_calls),
        **{name: Measure(numerator=mean) for name, mean in means.items() if mean is not None},
    }


def _with_pass_hat(rows: Sequence[CaseRow], trials: int) -> list[CaseRow]:
    """The rows, with `pass^k` for k from 2 to the number of finished trials on the first row of each case."""
    successes: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        successes[row.case_id].append(row.measures["success_rate"].numerator == 1)
    complete: list[CaseRow] = []
    for row in rows:
        outcomes = successes.pop(row.case_id, [])
        chances = {f"pass^{k}": Measure(numerator=pass_hat(sum(outcomes), len(outcomes), k)) for k in range(2, len(outcomes) + 1)}
        complete.append(row.model_copy(update={"measures": row.measures | chances}) if chances else row)
    return complete
