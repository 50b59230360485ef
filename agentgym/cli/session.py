"""One run of a command: settings read once, libraries kept quiet, errors turned into one message and an exit code."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import typer

from agentgym.cli.console import Screen
from agentgym.cli.guard import end_children_with_us
from agentgym.cli.interruption import MESSAGE, leaving_on_interrupt
from agentgym.errors import AgentGymError
from agentgym.settings import Settings, read_settings, silence
from tasks.stack import prefect_api_url


@dataclass(frozen=True)
class Session:
    settings: Settings
    screen: Screen


@contextmanager
def session(
    *, is_json: bool, find_settings: Callable[[], Settings] = read_settings, when_interrupted: Callable[[], str] = lambda: MESSAGE
) -> Iterator[Session]:
    """Ends the process with the exit code of the error that leaves the block; with JSON, standard output then holds `{"error": …}`.

    find_settings: called once.   when_interrupted: what is said at Ctrl-C.
    """
    screen = Screen(is_json=is_json)
    try:
        settings = find_settings()
        if settings.log_level == "WARNING":
            # Prefect would print the traceback of an error that is told in one message below.
            os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
        silence(settings, os.environ)
        _report_to_stack(settings)
        end_children_with_us()
        with leaving_on_interrupt(screen, when_interrupted):
            yield Session(settings=settings, screen=screen)
    except AgentGymError as error:
        report_error(screen, error)
        raise typer.Exit(error.exit_code) from error
    except typer.Exit:
        raise
    except BaseException as error:
        traceback.print_exc()
        report_error(screen, error)
        raise typer.Exit(1) from error


def _report_to_stack(settings: Settings) -> None:
    """Sends the runs of this command to the Prefect server of the stack, where one is up and nobody asked for another."""
    if (url := prefect_api_url(settings)) is not None:
        os.environ.setdefault("PREFECT_API_URL", url)


def report_error(screen: Screen, error: BaseException) -> None:
    """One line on standard error and, with JSON, `{"error": …}` on standard output."""
    sys.stderr.write(f"{type(error).__name__}: {error}\n")
    screen.finish({"error": {"kind": type(error).__name__, "message": str(error)}})
