"""A training run while it goes on: a board on a terminal, lines where there is none."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import fmean

from rich.console import Console, ConsoleOptions, RenderResult
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from agentgym.training.config import TrainingConfig
from agentgym.training.result import IterationMetrics
from agentgym.training.trainer import TrainingProgress

STAGES = {
    "conversations": "conversations of today's agent",
    "audit": "adversaries play for the reward",
    "imitation": "imitating them",
    "before": "judging the policy before",
    "training": "training",
    "after": "judging it after",
}
BARS, PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.-=+*%#"
CURVE_WIDTH = 48
# Iterations whose mean is compared with that of as many before: single ones differ by chance.
TREND = 5


@dataclass(kw_only=True)
class Dashboard:
    """What is known of a run so far.

    target: of tool reliability; None where the scenario names none.   device: where networks are computed.
    """

    config: TrainingConfig
    target: float | None
    device: str
    curve: list[IterationMetrics] = field(default_factory=list)
    latest: TrainingProgress | None = None

    def take(self, progress: TrainingProgress) -> None:
        self.latest = progress
        if progress.metrics is not None:
            self.curve.append(progress.metrics)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        title = f"{self.config.scenario} · {self.config.policy} · {self.config.method} · {self.device}"
        yield Panel(self._rows(is_plain=options.ascii_only), title=title, title_align="left", width=min(options.max_width, 88))

    def _rows(self, *, is_plain: bool) -> Table:
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim")
        rows.add_column()
        if self.latest is not None:
            rows.add_row("stage", STAGES[self.latest.stage])
            rows.add_row("", ProgressBar(total=self.latest.total, completed=self.latest.done, width=CURVE_WIDTH))
        if self.curve:
            for name, told in self._figures(is_plain=is_plain):
                rows.add_row(name, told)
            if self.latest is not None and self.latest.stage == "training":
                rows.add_row("time left", f"about {_clock(seconds_left(self.curve, self.config.iterations))}")
        return rows

    def _figures(self, *, is_plain: bool) -> list[tuple[str, str]]:
        last, played = self.curve[-1], sum(metrics.rollouts for metrics in self.curve)
        arrow = trend([metrics.tool_reliability for metrics in self.curve], is_plain=is_plain)
        colour = "green" if self.target is not None and last.tool_reliability >= self.target else "yellow"
        return [
            ("episodes", f"{played:,} of {self.config.episodes:,}, iteration {last.iteration} of {most(self.config)}"),
            ("reliability", f"[{colour}]{last.tool_reliability:.1%} {arrow}[/]{_aim(self.target)}, sampled on training cases"),
            ("response time", f"{last.simulated_seconds:.2f} s a ticket, simulated"),
            ("tokens", f"{last.agent_tokens:.0f} a ticket"),
            ("reward", f"{sparkline([metrics.reward for metrics in self.curve], is_plain=is_plain)} {last.reward:.2f}"),
            (
                "without variance",
                f"{_share(last.zero_variance_share)} of the groups taught nothing",
            ),
        ]


def most(config: TrainingConfig) -> str:
    """How many iterations there will be; methods that fit examples end where that stops helping, or their episodes end."""
    return f"{config.iterations}" if config.method in ("flow_grpo", "rft") else f"at most {config.iterations}"


def iteration_line(curve: Sequence[IterationMetrics], config: TrainingConfig, *, target: float | None) -> str:
    """The last iteration in one line."""
    last = curve[-1]
    arrow = trend([metrics.tool_reliability for metrics in curve], is_plain=True)
    return (
        f"iteration {last.iteration} of {most(config)}  reliability {last.tool_reliability:.1%} {arrow}{_aim(target)}  "
        f"reward {last.reward:.2f}  {last.agent_tokens:.0f} tokens  {last.simulated_seconds:.2f} s simulated  "
        f"no variance {_share(last.zero_variance_share)}  left {_clock(seconds_left(curve, config.iterations))}"
    )


def trend(values: Sequence[float], *, is_plain: bool = False) -> str:
    """Up, down or level: the last five against the five before, or what there is of them. Less than 0.01 is level."""
    up, level, down = "+=-" if is_plain else "↑→↓"
    recent, before = values[-TREND:], values[-2 * TREND : -TREND] or values[:1]
    change = fmean(recent) - fmean(before)
    return level if abs(change) < 0.01 else up if change > 0 else down


def sparkline(values: Sequence[float], *, width: int = CURVE_WIDTH, is_plain: bool = False) -> str:
    """The values from left to right in at most `width` characters, each the mean of its share of them, from the lowest to the highest."""
    marks = PLAIN_BARS if is_plain else BARS
    count = min(width, len(values))
    means = [fmean(values[place * len(values) // count : (place + 1) * len(values) // count]) for place in range(count)]
    low, high = min(means), max(means)
    return "".join(marks[round((len(marks) - 1) * (mean - low) / (high - low))] if high > low else marks[0] for mean in means)


def seconds_left(curve: Sequence[IterationMetrics], iterations: int) -> float:
    """For the iterations that remain, if they take as long as the last ten did."""
    took = fmean(metrics.seconds for metrics in curve[-10:])
    return took * max(0, iterations - curve[-1].iteration)


def _aim(target: float | None) -> str:
    return "" if target is None else f" of {target:.0%} wanted"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
