"""What the command line shows: tables and words for people, one JSON object for programs."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text


class Screen:
    """Where a command writes. With JSON, standard output is kept for the one object and people's words go to standard error."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        self._people = Console(stderr=is_json, highlight=False)
        self._notes = Console(stderr=True, highlight=False)

    def show(self, *renderables: RenderableType) -> None:
        for renderable in renderables:
            # A line stays one line where it is read by a program, or copied: terminals break it themselves.
            self._people.print(renderable, soft_wrap=isinstance(renderable, str | Text))

    def finish(self, result: Mapping[str, Any]) -> None:
        """The command's result as JSON, once, when JSON was asked for."""
        if self.is_json:
            sys.stdout.write(orjson.dumps(result, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode() + "\n")
            sys.stdout.flush()

    def restore_cursor(self) -> None:
        """Shows what a bar hides, for a command that ends while one is drawn."""
        self._notes.show_cursor(True)

    @property
    def is_live(self) -> bool:
        """Whether standard error is a terminal, on which what is shown can change."""
        return self._notes.is_terminal

    @contextmanager
    def live(self, renderable: RenderableType) -> Iterator[None]:
        """Draws it on standard error again and again while the block runs, and leaves its last state there."""
        with Live(renderable, console=self._notes, refresh_per_second=4):
            yield

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Bars on standard error, gone when done; nothing where standard error is not a terminal."""
        columns = (
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._notes, transient=True, disable=not self._notes.is_terminal) as progress:
            yield progress
