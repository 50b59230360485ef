"""Which learning rate, group size and adapter rank suit a scenario: short trainings, judged on cases none of them learned from."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from time import monotonic
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from ray import tune
from ray.tune.search.basic_variant import BasicVariantGenerator

from agentgym.devices import choose_device
from agentgym.errors import AgentGymError, InsufficientData
from agentgym.policies.checkpoint import Checkpoint, load_trainable_policy
from agentgym.scenarios.from_traces import scenario_of
from agentgym.scenarios.pack import ScenarioPack
from agentgym.statistics import Estimate
from agentgym.tools import Tool
from agentgym.traces.snapshot import SplitConfig, held_out_part
from agentgym.traces.trace import Trace
from agentgym.training.config import TrainingConfig
from agentgym.training.first_policy import first_policy
from agentgym.training.flow_grpo.ray_session import ray_session
from agentgym.training.flow_grpo.train import train_policy
from agentgym.training.judging import judge_policy
from agentgym.verdicts import Subject

GROUP_SIZES = (4, 8, 16, 32)
# The learning rate is drawn from this much below the configured one to as much above, evenly on a logarithmic scale.
RATE_FACTOR = 8.0

Starts = Mapping[int | None, Checkpoint]


class TuningBudget(BaseModel):
    """What a search may cost.

    trials: trainings; the first is of the configuration as it is.   episodes: of each; few, so what learns fast is preferred.
    at_once: trials side by side, a processor each.   validation_cases: each result is judged on, at most.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(default=8, ge=1, le=1000)
    episodes: int = Field(default=4096, ge=1)
    at_once: int = Field(default=1, ge=1, le=256)
    validation_cases: int = Field(default=200, ge=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One training.   rank: of the adapter; None for a policy without one.

    tool_reliability, success_rate: on the validation cases; None where the training broke off, with `error` telling why.
    """

    learning_rate: float
    group_size: int
    rank: int | None
    tool_reliability: Estimate | None
    success_rate: Estimate | None
    seconds: float
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuned:
    """The trials in the order they ended, the best of them, and the configuration with its values."""

    trials: Sequence[Trial]
    best: Trial
    config: TrainingConfig


def split_for_tuning(pack: ScenarioPack, *, validation_cases: int) -> tuple[ScenarioPack, ScenarioPack]:
    """Two packs of the training cases of `pack`, by customer: to learn from, and to judge by. Held-out cases are in neither.

    validation_cases: at most, evenly from all there are.   Raises InsufficientData when they would come from a single customer.
    """
    # Another seed than the one that held customers out: by that one, those who are left all fall on the learning side again.
    apart = held_out_part((case.cluster_id for case in pack.train), SplitConfig(seed=1))
    learning = tuple(case for case in pack.train if case.cluster_id not in apart)
    left = tuple(case for case in pack.train if case.cluster_id in apart)
    validation = left[:: -(-len(left) // validation_cases)]
    if len({case.cluster_id for case in validation}) < 2:
        raise InsufficientData(
            f"Trials are judged on cases of at least two customers; of {len(pack.train)} training cases 1 customer's can be set apart. "
            "Bring conversations of more customers."
        )
    return pack.model_copy(update={"train": learning, "held_out": ()}), pack.model_copy(update={"train": validation, "held_out": ()})


def first_policies(traces: Sequence[Trace], tools: Sequence[Tool], config: TrainingConfig, ranks: Sequence[int]) -> Starts:
    """Policies that imitate `traces`: a planner, which has no rank, or one language model for each of `ranks`."""
    torch.set_num_threads(config.torch_threads)
    seed = config.seed or 0
    if config.policy == "planner":
        return {None: first_policy(traces, learner=config.learner, tools=tools, seed=seed)}
    device = choose_device(config.gpu)
    of_rank = {rank: config.learner.model_copy(update={"rank": rank}) for rank in ranks}
    return {rank: first_policy(traces, learner=learner, tools=tools, seed=seed, device=device) for rank, learner in of_rank.items()}


def tune_training(
    learning: ScenarioPack,
    validation: ScenarioPack,
    starts: Starts,
    config: TrainingConfig,
    budget: TuningBudget,
    *,
    on_trial: Callable[[int], None] = lambda _: None,
    ray_address: str | None = None,
) -> Tuned:
    """The trial with the highest tool reliability on the validation cases; random search with Ray Tune, repeatable by `config.seed`.

    starts: the policy to begin as, by the rank of its adapter.   on_trial: called with the number of trials that have ended.
    A group is larger where an iteration has fewer of them: every trial learns from as many rollouts an iteration.
    Raises InsufficientData when every trial broke off.
    """
    space = _space(config, sorted(starts, key=lambda rank: rank or 0))
    trainable = tune.with_parameters(_train, learning=learning, validation=validation, starts=starts, config=config, budget=budget)
    with ray_session(cpus=budget.at_once, address=ray_address), tempfile.TemporaryDirectory(prefix="agentgym-tune-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(
                num_samples=budget.trials,
                max_concurrent_trials=budget.at_once,
                search_alg=_search(config, next(iter(starts)), budget),
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[_Counting(on_trial)]),
        )
        # Ray Tune prints its progress and where its files were, which is a folder gone in a moment.
        with redirect_stdout(StringIO()):
            results = tuner.fit()
        ended = [results[place] for place in range(len(results))]
    trials = [_trial(result.config or {}, result.metrics or {}, result.error) for result in ended]
    best = best_of(trials)
    return Tuned(trials=trials, best=best, config=with_values(config, best.learning_rate, best.group_size, rank=best.rank))


def with_values(
    config: TrainingConfig, learning_rate: float, group_size: int, *, rank: int | None = None, episodes: int | None = None
) -> TrainingConfig:
    """The configuration with these in place of its own, and as many rollouts an iteration as before.   rank, episodes: None for its own."""
    rollouts = config.batch_size * config.flow_grpo.group_size
    told = config.model_dump()
    told |= {
        "learning_rate": learning_rate,
        "batch_size": max(1, rollouts // group_size),
        "episodes": episodes or config.episodes,
        "rank": rank or config.rank,
    }
    return TrainingConfig.model_validate({**told, "flow_grpo": {**told["flow_grpo"], "group_size": group_size}})


def _space(config: TrainingConfig, ranks: Sequence[int | None]) -> dict[str, Any]:
    return {
        "learning_rate": tune.loguniform(config.learning_rate / RATE_FACTOR, min(1.0, config.learning_rate * RATE_FACTOR)),
        "group_size": tune.choice(GROUP_SIZES),
        "rank": tune.choice(list(ranks)),
    }


def _search(config: TrainingConfig, rank: int | None, budget: TuningBudget) -> Any:
    as_it_is = {"learning_rate": config.learning_rate, "group_size": config.flow_grpo.group_size, "rank": rank}
    return BasicVariantGenerator(points_to_evaluate=[as_it_is], max_concurrent=budget.at_once, random_state=config.seed)


class _Counting(tune.Callback):
    """Says how many trials have ended. Ray Tune saves its callbacks, and who listens here cannot be saved."""

    def __init__(self, on_trial: Callable[[int], None]) -> None:
        self.on_trial = on_trial
        self.ended = 0

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self.ended += 1
        self.on_trial(self.ended)

    def __getstate__(self) -> dict[str, int]:
        return {"ended": self.ended}


def _train(
    drawn: Mapping[str, Any],
    *,
    learning: ScenarioPack,
    validation: ScenarioPack,
    starts: Starts,
    config: TrainingConfig,
    budget: TuningBudget,
) -> None:
    """One trial, in a process of its own; a training that cannot go on is a trial without a result, not the end of the search."""
    began = monotonic()
    tried = with_values(config, drawn["learning_rate"], drawn["group_size"], episodes=budget.episodes)
    try:
        trained = train_policy(
            learning, starts[drawn["rank"]], tried.model_copy(update={"num_env_runners": 0, "num_learners": 0, "max_staleness": 0})
        )
        measured = _judged(trained.checkpoint, validation, seed=config.seed or 0)
    except AgentGymError as error:
        measured = {"error": str(error)}
    tune.report({**measured, "seconds": monotonic() - began})


def _judged(checkpoint: Checkpoint, validation: ScenarioPack, *, seed: int) -> dict[str, Any]:
    report = judge_policy(
        load_trainable_policy(checkpoint),
        scenario_of(validation),
        validation.train,
        subject=Subject(name="trial", checkpoint_digest=checkpoint.digest),
        seed=seed,
    ).report
    return {name: report.estimates[name].model_dump() for name in ("tool_reliability", "success_rate")}


def _trial(drawn: Mapping[str, Any], measured: Mapping[str, Any], broken: Exception | None) -> Trial:
    estimate = partial(_estimate, measured)
    return Trial(
        learning_rate=drawn["learning_rate"],
        group_size=drawn["group_size"],
        rank=drawn["rank"],
        tool_reliability=estimate("tool_reliability"),
        success_rate=estimate("success_rate"),
        seconds=measured.get("seconds", 0.0),
        error=measured.get("error") or (None if broken is None else str(broken).strip().splitlines()[-1]),
    )


def _estimate(measured: Mapping[str, Any], name: str) -> Estimate | None:
    return Estimate.model_validate(measured[name]) if name in measured else None


def best_of(trials: Sequence[Trial]) -> Trial:
    """The most reliable of those that came to their end. Raises InsufficientData when none did."""
    ended = [(trial.tool_reliability.mean, trial) for trial in trials if trial.tool_reliability is not None]
    if not ended:
        raise InsufficientData(
            f"A search needs a training that comes to its end; all {len(trials)} broke off, the first with: {trials[0].error} "
            "Mend what it names, then search again."
        )
    return max(ended, key=lambda pair: pair[0])[1]
