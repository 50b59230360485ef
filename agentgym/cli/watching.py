"""Watches the steps of a flow from the command line: a bar while they run, the seconds they took afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.progress import Progress as Bars
from rich.progress import TaskID

from agentgym.cli.console import Screen
from tasks.progress import Finished, Progress, listening


@dataclass(frozen=True, kw_only=True, slots=True)
class StageTime:
    name: str
    seconds: float


@contextmanager
def watching(screen: Screen) -> Iterator[list[StageTime]]:
    """The stages that ran inside, in the order they ended; a stage that was done before and is not done again does not appear."""
    times: list[StageTime] = []
    with screen.progress() as bars:
        board = _Board(bars, times)
        with listening(board.show):
            yield times


class _Board:
    """One bar for each stage that is running."""

    def __init__(self, bars: Bars, times: list[StageTime]) -> None:
        self._bars = bars
        self._times = times
        self._running: dict[str, TaskID] = {}

    def show(self, event: Progress | Finished) -> None:
        if isinstance(event, Finished):
            self._times.append(StageTime(name=event.stage, seconds=round(event.seconds, 2)))
            if event.stage in self._running:
                self._bars.remove_task(self._running.pop(event.stage))
            return
        if event.stage not in self._running:
            self._running[event.stage] = self._bars.add_task(event.stage, total=event.total, note="")
        self._bars.update(self._running[event.stage], completed=event.done, total=event.total, note=event.note)
