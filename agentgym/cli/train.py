"""`agentgym train`: a policy of a scenario, from its agent of today to one that is judged and saved."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from agentgym.cli.console import Screen
from agentgym.cli.session import session
from agentgym.errors import InvalidInput, Refused
from agentgym.settings import Settings, make_workspace
from agentgym.training.config import TrainingConfig

if TYPE_CHECKING:
    from agentgym.training.result import TrainingResult
    from agentgym.training.trainer import Start, Trainer, TrainingProgress

CONCLUSIONS = {
    "ready": "[green]Ready for customers[/], by the scenario's criteria.",
    "not_ready": "[red]Not ready for customers[/].",
    "not_shown": "[yellow]Not shown to be ready[/]: the means reach the criteria, the intervals leave doubt.",
}


def run_train(
    scenarios: Collection[str],
    asked: Mapping[str, Any],
    *,
    start: str | None,
    teacher: str | None,
    resumed: Path | None,
    agent: str,
    is_watched: bool,
    is_verbose: bool,
    is_json: bool,
) -> None:
    """scenarios: the one to train in, however often it was named.   asked: fields of the configuration that were given.

    start, teacher: `champion`, a version, or a folder.   resumed: of an interrupted run.
    """
    begun: list[Trainer] = []
    with session(is_json=is_json, when_interrupted=lambda: _interrupted(begun)) as run:
        if resumed is None:
            trainer = _trainer(TrainingConfig.suited_to(_only(scenarios), **asked), start, teacher, agent, run.settings)
        else:
            trainer = _resumed(resumed, [*scenarios, *asked, *filter(None, (start, teacher))], run.settings)
        begun.append(trainer)
        if is_verbose:
            run.screen.show(_configuration(trainer.config))
        with _shown(trainer, run.screen, is_watched=is_watched, is_verbose=is_verbose) as on_progress:
            result = trainer.train(on_progress)
        _show_result(result, run.screen)
        run.screen.finish(result_json(result))
    if not result.is_ready:
        raise typer.Exit(Refused.exit_code)


def result_json(result: "TrainingResult") -> dict[str, Any]:
    """Everything in `result.json`, and the folder it is in."""
    return {**result.model_dump(mode="json"), "folder": str(result.folder)}


def _only(scenarios: Collection[str]) -> str:
    if len(scenarios) != 1:
        named = " and ".join(map(repr, sorted(scenarios))) or "none"
        raise InvalidInput(f"A policy is trained in one scenario; got {named}. `agentgym list` names what there is.")
    return next(iter(scenarios))


def _trainer(config: TrainingConfig, start: str | None, teacher: str | None, agent: str, settings: Settings) -> "Trainer":
    # Only now: what learns reads its environment when it is imported.
    from agentgym.training.trainer import Trainer

    begin, shown = (None if named is None else _found(named, agent, settings) for named in (start, teacher))
    return Trainer(config, start=begin, teacher=shown, ray_address=settings.ray_address)


def _resumed(folder: Path, besides: Collection[str], settings: Settings) -> "Trainer":
    from agentgym.training.trainer import Trainer

    if besides:
        raise InvalidInput(f"A run goes on as it was configured; got --resume and {', '.join(besides)}. Leave one of them out.")
    return Trainer.resume(folder, ray_address=settings.ray_address)


def _found(named: str, agent: str, settings: Settings) -> "Start":
    """A folder or file where there is one of this name, else a version of the agent."""
    # Unlike `Path.exists` it takes a name that no file can have for one that is not there.
    if os.path.exists(named):
        return Path(named)
    from agentgym.registry import ALIASES
    from tasks.artifacts import read_checkpoint
    from tasks.registry import open_registry

    if named.removeprefix("@") not in ALIASES and not named.isdecimal():
        raise InvalidInput(
            f"A policy is named as champion, a version's number, or the folder of a run; {named!r} is none. "
            "`agentgym models list` names the versions."
        )
    make_workspace(settings)
    reference = named if named.isdecimal() else f"@{named.removeprefix('@')}"
    return read_checkpoint(open_registry(agent, settings).resolve(reference).checkpoint, settings)


@contextmanager
def _shown(trainer: "Trainer", screen: Screen, *, is_watched: bool, is_verbose: bool) -> "Iterator[Callable[[TrainingProgress], None]]":
    """A board on a terminal when the run is watched, else a bar; lines where asked for, or where a watched run has no terminal."""
    from agentgym.cli.training_dashboard import STAGES, Dashboard, iteration_line
    from agentgym.training.diagnosis import new_findings

    target = trainer.world.success_criteria().get("tool_reliability")
    board = Dashboard(config=trainer.config, target=target, device=trainer.device)
    if is_watched and screen.is_live:
        with screen.live(board):
            yield board.take
        return
    with screen.progress() as bars:
        tasks: dict[str, Any] = {}

        def on_progress(progress: "TrainingProgress") -> None:
            board.take(progress)
            if progress.stage not in tasks:
                tasks[progress.stage] = bars.add_task(STAGES[progress.stage], total=progress.total, note="")
                if is_watched or is_verbose:
                    screen.show(STAGES[progress.stage])
            bars.update(tasks[progress.stage], completed=progress.done, total=progress.total)
            if progress.metrics is not None:
                for finding in new_findings(board.curve):
                    screen.show(f"[yellow]![/] {finding.message}")
                bars.update(tasks[progress.stage], note=f"reliability {progress.metrics.tool_reliability:.1%}")
                if is_watched or is_verbose:
                    screen.show(iteration_line(board.curve, trainer.config, target=target))

        yield on_progress


def _interrupted(begun: "list[Trainer]") -> str:
    """Where the last checkpoint is, and how to go on."""
    nothing = "Interrupted before anything was learned; nothing is kept."
    folder = begun[0].folder if begun else None
    if folder is None:
        return nothing
    # Not before: where nothing has begun, an interrupted import may have left a library half there.
    from agentgym.training.run_folder import CHECKPOINT, START

    if not (folder.path / START).exists():
        return nothing
    again = f"`agentgym train --resume {folder.path}` goes on."
    if not (folder.path / CHECKPOINT).exists():
        return f"Interrupted before the first checkpoint; {again}"
    return f"Interrupted. The last checkpoint is {folder.path / CHECKPOINT}; {again}"


def _configuration(config: TrainingConfig) -> Table:
    table = Table.grid(padding=(0, 2))
    settings = config.flow_grpo if config.method == "flow_grpo" else config.methods
    chosen = config.model_dump(mode="json", exclude={"flow_grpo", "methods", "reward"}) | settings.model_dump(mode="json")
    for name, value in chosen.items():
        table.add_row(f"[dim]{name}[/]", str(value))
    return table


def _show_result(result: "TrainingResult", screen: Screen) -> None:
    from agentgym.cli.summaries import SHOWN, SIGNS, audit_lines, estimate_cell, floor_lines

    columns = {"logs": result.logs or {}, "before": result.start, "after": result.estimates}
    table = Table("held-out cases", *columns, box=None)
    for metric in SHOWN:
        if metric in result.estimates:
            table.add_row(metric.replace("_", " "), *(estimate_cell(metric, estimates.get(metric)) for estimates in columns.values()))
    metrics = result.metrics
    converged = "did not converge" if metrics.convergence_episode is None else f"converged at episode {metrics.convergence_episode:,}"
    played = "" if metrics.episodes_completed is None else f"{metrics.episodes_completed:,} episodes in "
    took = f"{played}{metrics.training_seconds:.0f} s; {converged}."
    checks = [f"  {SIGNS[check.outcome]} {check.statement}" for check in result.checks]
    if result.audit is not None:
        screen.show(*audit_lines(result.audit, waiver=result.config.waive_audit))
    screen.show(
        table,
        *floor_lines(result.floors),
        "",
        took,
        CONCLUSIONS[metrics.deployment_readiness],
        *checks,
        "",
        f"Everything is in {_short(result.folder)}",
    )


def _short(folder: Path | None) -> str:
    """From here, where that is shorter."""
    assert folder is not None, "a trainer saves its result"
    return min(str(folder), os.path.relpath(folder), key=len)
