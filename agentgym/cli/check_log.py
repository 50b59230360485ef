"""`agentgym traces check`: whether a log is enough to train on, in words for somebody who never trained anything."""

from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from rich.table import Table

from agentgym.cli.console import Screen
from agentgym.cli.session import session
from agentgym.errors import InvalidInput, Refused
from agentgym.traces.source import TraceSource

if TYPE_CHECKING:
    from agentgym.training.readiness import Readiness

_TOOLS_SHOWN = 12


def check_log(source: TraceSource, *, target: float, price_per_hour: float | None, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        if price_per_hour is not None and not 0 <= price_per_hour < inf:
            raise InvalidInput(f"A price is a number of at least 0; got {price_per_hour!r}. Give what an hour of the machine costs.")
        from agentgym.training.readiness_of_log import readiness_of
        from tasks.forgotten import forgotten_in

        readiness = readiness_of(source, target=target, is_forgotten=forgotten_in(run.settings))
        _show(run.screen, readiness, price_per_hour)
        run.screen.finish(_as_json(readiness, price_per_hour))
    if not readiness.is_enough:
        raise typer.Exit(Refused.exit_code)


def _show(screen: Screen, readiness: "Readiness", price_per_hour: float | None) -> None:
    census = readiness.census
    looked = (
        "" if census.conversations + readiness.quarantined >= readiness.conversations else f" (looked at {census.conversations} of them)"
    )
    outcomes = ", ".join(f"{count} {name}" for name, count in census.outcomes.items())
    screen.show(
        f"{readiness.conversations} conversations{looked}, {census.customers or 'no known'} customers, {census.calls} tool calls.",
        f"How they ended: {outcomes}. {census.with_score} carry a satisfaction score.",
        _tools(readiness),
        "",
    )
    screen.show(*_expected(readiness), *_time(readiness, price_per_hour), "")
    verdict = "[green]Enough to begin.[/]" if readiness.is_enough else "[yellow]Not enough yet.[/]"
    rule = f"customers for a fair exam, results of most calls, and at least {readiness.target:.0%} expected at the low end"
    screen.show(f"{verdict} Enough means: {rule}.", "", "What to log next, what brings most first:")
    for advice in readiness.advice:
        sign = (
            "[yellow]needed[/]" if advice.is_needed else f"{advice.points:+.1f} points" if advice.points is not None else "[dim]      [/]"
        )
        screen.show(f"  {sign}  {escape(advice.lacking)} {escape(advice.log_next)} [dim]It brings: {escape(advice.brings)}.[/]")


def _tools(readiness: "Readiness") -> Table:
    table = Table("tool", "calls", "with result", "that failed", box=None)
    tools = readiness.census.tools
    for name, tool in list(tools.items())[:_TOOLS_SHOWN]:
        table.add_row(escape(name), str(tool.calls), str(tool.answered), str(tool.errors))
    if len(tools) > _TOOLS_SHOWN:
        rest = list(tools.values())[_TOOLS_SHOWN:]
        table.add_row(f"{len(rest)} more", *(str(sum(getattr(t, name) for t in rest)) for name in ("calls", "answered", "errors")))
    return table


def _expected(readiness: "Readiness") -> Iterator[str]:
    if readiness.expected is None or readiness.doubled is None or readiness.curve is None:
        yield "What to expect cannot be told from so few conversations."
        return
    expected, doubled = readiness.expected, readiness.doubled
    sizes = sorted({point.conversations for point in readiness.curve.points})
    yield f"Of every 100 turns in which your agent calls a tool, a simple learner is expected to choose the same in {_share(expected)}."
    yield f"  With twice as many conversations: {_share(doubled)}."
    yield (
        f"  This is an estimate. It was measured with {', '.join(map(str, sizes))} conversations, on those of other customers, and goes on "
        "from there as it went. It speaks of a simple learner, which is a floor: what `agentgym improve` trains should be above it."
    )


def _share(forecast: Any) -> str:
    return f"{100 * forecast.mean:.0f} ({100 * forecast.low:.0f} to {100 * forecast.high:.0f})"


def _time(readiness: "Readiness", price_per_hour: float | None) -> Iterator[str]:
    time = readiness.time
    if time is None:
        return
    words = f"`agentgym improve` would take about {_minutes(time.seconds)} on this machine ({_minutes(time.low)} to {_minutes(time.high)})"
    if price_per_hour is not None:
        expected, low, high = time.price(price_per_hour)
        words += f" and cost about {expected:.2f} ({low:.2f} to {high:.2f}) at {price_per_hour:g} an hour"
    yield f"{words}."


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _as_json(readiness: "Readiness", price_per_hour: float | None) -> dict[str, Any]:
    told = readiness.model_dump(mode="json")
    if readiness.time is not None and price_per_hour is not None:
        told["price"] = dict(zip(("expected", "low", "high"), readiness.time.price(price_per_hour), strict=True))
    return told | {"is_enough": readiness.is_enough}
