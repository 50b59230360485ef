"""`agentgym tune`: which learning rate, group size and rank suit a scenario, by short trainings."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from agentgym.cli.console import Screen
from agentgym.cli.session import session
from agentgym.errors import InvalidInput
from agentgym.training.config import TrainingConfig


def run_tune(scenario: str, asked: Mapping[str, Any], budget: Mapping[str, Any], *, ranks: Sequence[int], is_json: bool) -> None:
    """asked: fields of the configuration that were given.   budget: fields of `TuningBudget`.   ranks: to try; for language models."""
    with session(is_json=is_json) as run:
        config = TrainingConfig.suited_to(scenario, **asked).with_seed_drawn()
        if config.method != "flow_grpo":
            raise InvalidInput(f"A search tries settings of Flow-GRPO; the method is {config.method!r}. Leave --method out.")
        if ranks and config.policy == "planner":
            raise InvalidInput(f"A rank is of a language model's adapter, and a planner has none; got {list(ranks)!r}. Leave --rank out.")
        _search(config, budget, ranks, run.screen, run.settings.ray_address)


def _search(config: TrainingConfig, budget: Mapping[str, Any], ranks: Sequence[int], screen: Screen, ray_address: str | None) -> None:
    # Only now: what learns reads its environment when it is imported.
    from agentgym.training.auditing import audit_training
    from agentgym.training.material import gather_material
    from agentgym.training.tuning import TuningBudget, first_policies, split_for_tuning, tune_training

    allowed = TuningBudget.model_validate(budget)
    material = gather_material(config)
    audit_training(material, config)
    learning, validation = split_for_tuning(material.pack, validation_cases=allowed.validation_cases)
    apart = {case.cluster_id for case in validation.train}
    with screen.progress() as progress:
        bar = progress.add_task("imitation", total=allowed.trials, note="")
        traces = [trace for trace in material.train if trace.cluster_id not in apart]
        starts = first_policies(traces, material.world.tools, config, ranks or (config.rank, max(1, config.rank // 2)))
        progress.update(bar, description="trials")
        tuned = tune_training(
            learning,
            validation,
            starts,
            config,
            allowed,
            on_trial=lambda ended: progress.update(bar, completed=ended),
            ray_address=ray_address,
        )
    screen.show(_table(tuned.trials, tuned.best), "", "Train with what was found:", _call(tuned.config))
    screen.finish(
        {
            "trials": [_plain(trial) for trial in tuned.trials],
            "best": _plain(tuned.best),
            "config": tuned.config.model_dump(mode="json"),
        }
    )


def _call(config: TrainingConfig) -> str:
    return f"Trainer(TrainingConfig.model_validate_json({config.model_dump_json(exclude_defaults=True)!r})).train()"


def _table(trials: Sequence[Any], best: Any) -> Table:
    table = Table("learning rate", "group size", "rank", "tool reliability", "success", "seconds", title="Trials, best first")
    for trial in sorted(trials, key=lambda one: -1.0 if one.tool_reliability is None else one.tool_reliability.mean, reverse=True):
        result = trial.error if trial.tool_reliability is None else str(trial.tool_reliability)
        style = "bold" if trial is best else ""
        success = "" if trial.success_rate is None else f"{trial.success_rate.mean:.3f}"
        rank = "" if trial.rank is None else str(trial.rank)
        table.add_row(f"{trial.learning_rate:.2g}", str(trial.group_size), rank, result, success, f"{trial.seconds:.0f}", style=style)
    return table


def _plain(trial: Any) -> dict[str, Any]:
    estimates = {name: getattr(trial, name) for name in ("tool_reliability", "success_rate")}
    return asdict(trial) | {name: None if given is None else given.model_dump() for name, given in estimates.items()}
