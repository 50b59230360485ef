"""How far a step is, told to whoever listens: the command line draws a bar, nobody listening costs nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """`done` of `total` in a stage; `note` says what a person wants to know now."""

    stage: str
    done: int
    total: int
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A stage that ran to its end, and how long it took."""

    stage: str
    seconds: float


Listener = Callable[[Progress | Finished], None]

_listener: ContextVar[Listener | None] = ContextVar("progress_listener", default=None)
_stage: ContextVar[str] = ContextVar("stage", default="")


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Sends what the steps inside report to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """What is reported inside belongs to this stage, and its end is told."""
    token, started = _stage.set(name), perf_counter()
    try:
        _tell(Progress(stage=name, done=0, total=1))
        yield
        _tell(Finished(stage=name, seconds=perf_counter() - started))
    finally:
        _stage.reset(token)


def report_progress(done: int, total: int, note: str = "") -> None:
    """`done` of `total` in the present stage."""
    _tell(Progress(stage=_stage.get(), done=done, total=total, note=note))


def _tell(event: Progress | Finished) -> None:
    listener = _listener.get()
    if listener is not None:
        listener(event)
