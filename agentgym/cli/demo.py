"""`agentgym demo`: the whole story on logs the product makes itself, in a workspace of its own."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson
import typer

from agentgym.cli.console import Screen
from agentgym.cli.demo_live import LiveHalf, LiveSize, live_half, weight_changes_json
from agentgym.cli.memory import peak_memory
from agentgym.cli.session import session
from agentgym.cli.watching import StageTime
from agentgym.errors import InvalidInput, Refused
from agentgym.policies.causal_lm.config import TINY
from agentgym.reward import RewardWeights
from agentgym.settings import Settings, read_settings
from agentgym.store import write_atomically
from agentgym.traces.source import TraceSource
from agentgym.training.config import TrainingConfig
from agentgym.verdicts import EvaluationReport, PromotionDecision

if TYPE_CHECKING:
    from flows.improve_agent import Improvement

AGENT = "support"
SCENARIO = "customer_support"
# A language model answers a few customers a second on a processor, and `tiny` gets hardly better at serving them whole.
MOST_CUSTOMERS_OF_LANGUAGE = 600
# Pays for wrong calls and for customers lost: what a mistyped sign does to a reward.
CORRUPTED_REWARD = RewardWeights(resolved=-5.0, unresolved=10.0, correct_call=-20.0, wrong_call=10.0, satisfaction=-5.0)

AUDIT_WAIVER = "The demo shows that the gate stands also where somebody trains by it all the same."


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything: conversations in the log, episodes of on-policy training, and live customers."""

    conversations: int
    episodes: int
    corrupted_episodes: int
    live: LiveSize


FULL = Size(
    conversations=1000,
    episodes=46_080,
    corrupted_episodes=2048,
    live=LiveSize(most_customers=1500, between_looks=100, equal_customers=240),
)
SMALL = Size(
    conversations=700,
    episodes=23_040,
    corrupted_episodes=2048,
    live=LiveSize(most_customers=1500, between_looks=150, equal_customers=220),
)


def run_demo(*, seed: int, is_small: bool, workspace: Path | None, is_json: bool, learner: Mapping[str, str]) -> None:
    """learner: fields of the training's configuration that say what learns; empty for a planner."""
    with session(is_json=is_json, find_settings=lambda: _settings_of(workspace)) as run, peak_memory() as memory:
        folder = run.settings.workspace
        story = _Story(run.screen, run.settings, seed, SMALL if is_small else FULL, learner)
        story.tell()
        run.screen.show(
            f"\nEverything above is in {folder}",
            f"Look closer: {_look_closer(run.settings)}",
            "Your own logs: agentgym improve --traces PATH",
        )
        run.screen.finish(story.summary() | {"workspace": str(folder), "seed": seed, "peak_memory_bytes": memory.peak_bytes})
    if not story.is_as_told:
        raise typer.Exit(Refused.exit_code)


class _Story:
    """The stages in order, and what each of them showed."""

    def __init__(self, screen: Screen, settings: Settings, seed: int, size: Size, learner: Mapping[str, str]) -> None:
        self.screen, self.settings, self.seed, self.size = screen, settings, seed, size
        is_language = learner.get("policy") == "causal_lm"
        self.learner = {"seed": seed, **({"base_model": TINY} if is_language else {}), **learner}
        self.training = TrainingConfig.suited_to(SCENARIO, **self.learner, **({} if is_language else {"episodes": size.episodes}))
        self.corrupted_episodes = size.corrupted_episodes // (4 if is_language else 1)
        self.live_size = replace(size.live, most_customers=MOST_CUSTOMERS_OF_LANGUAGE) if is_language else size.live
        self.stages: list[StageTime] = []
        self.steps: list[StageTime] = []
        self.log = settings.workspace / "logs.jsonl"
        self.live: dict[str, Any] = {}

    def tell(self) -> None:
        with self._stage("logs", "1  The logs as they are"):
            self._write_logs()
        with self._stage("improve", "2  Imitation becomes champion; on-policy training has to beat it"):
            self.improved = self._improve(self.training)
        with self._stage("corrupted_reward", "3  The same training on a corrupted reward: its audit says no; waived, the gate must say no"):
            few = {"episodes": self.corrupted_episodes, "num_env_runners": 0, "waive_audit": AUDIT_WAIVER}
            self.corrupted = self._improve(TrainingConfig.suited_to(SCENARIO, **self.learner, reward=CORRUPTED_REWARD, **few))
        if self.improved.gate.promote:
            self._go_live()
        with self._stage("versions", "7  The versions"):
            self._show_versions()

    @property
    def is_as_told(self) -> bool:
        """Whether the second version became champion, the third and one that is no better did not, and no request failed; and whether
        the audits told the two rewards apart."""
        audits = [improvement.audit.verdict for improvement in (self.improved, self.corrupted) if improvement.audit is not None]
        verdicts = [self.live[test]["verdict"] for test in ("ab_test", "equal_version") if test in self.live]
        is_shipped_once = len(verdicts) == 2 and verdicts[0] == "ship" and verdicts[1] != "ship"
        are_gates_as_told = self.improved.gate.promote and not self.corrupted.gate.promote and audits == ["sound", "refuse"]
        return are_gates_as_told and is_shipped_once and self.live["requests"]["failed"] == 0

    def summary(self) -> dict[str, Any]:
        from agentgym.cli.summaries import estimates_json

        return {
            "stages": [asdict(stage) for stage in self.stages],
            "steps": [asdict(step) for step in self.steps],
            "logs": estimates_json(self._reports(self.improved)[2].estimates),
            "reward_audits": self._audit_summaries(),
            "versions": self._version_summaries(),
            **self.live,
        }

    def _go_live(self) -> None:
        from agentgym.scenarios.registry import load_world

        started = perf_counter()
        with live_half(self.screen, self.settings, load_world(SCENARIO), agent=AGENT, seed=self.seed) as live:
            self.stages.append(StageTime(name="serve", seconds=round(perf_counter() - started, 2)))
            with self._stage("live_test", "4  Customers decide: version 2 beside version 1, over HTTP"):
                self._test_live(live)
            if self.live["ab_test"]["verdict"] == "ship":
                with self._stage("equal_version", "5  A version that is no better is not shipped; traffic changes while customers talk"):
                    self._test_equals(live)
                with self._stage("rollback", "6  A rollback while customers talk, and its undo"):
                    self._roll_back(live)
            self.live["requests"] = live.requests()
        requests = self.live["requests"]
        self.screen.show(f"{requests['sent']:,} requests in {requests['conversations']:,} conversations; {requests['failed']} failed.")

    def _test_live(self, live: LiveHalf) -> None:
        from agentgym.cli.ab import report_json, show_report

        report = live.test_until_verdict(self.improved.challenger, self.live_size)
        show_report(report, self.screen)
        self.live["ab_test"] = report_json(report)
        if report.verdict == "ship":
            self.screen.show("", f"champion: version {self.improved.incumbent.version} → version {live.ship()}")

    def _test_equals(self, live: LiveHalf) -> None:
        from agentgym.cli.ab import report_json, show_report

        champion = self.improved.challenger
        copy = live.copy_of(champion)
        report = live.test_equals(copy, self.live_size)
        show_report(report, self.screen)
        seconds = live.change_weights(champion.version, copy.version)
        self.live["equal_version"] = report_json(report)
        self.live["weight_changes"] = changes = weight_changes_json(seconds)
        self.screen.show(
            "",
            f"{changes['count']} changes of weights while customers talked: each held by every replica after "
            f"{changes['median_seconds']:.2f} s (median), {changes['max_seconds']:.2f} s at the most. Then the test was stopped.",
        )

    def _roll_back(self, live: LiveHalf) -> None:
        before = self.improved.challenger.version
        after, answers = live.roll_back(before, "The demo shows the way back.")
        again, answers_again = live.roll_back(after, "The demo shows that a rollback can be undone.")
        self.live["rollback"] = {"champion_before": before, "champion_after": after}
        self.live["rolled_back_traffic"] = {"answered_by": answers, "after_undo": answers_again}
        self.screen.show(
            f"champion: version {before} → version {after} → version {again}",
            f"New conversations are answered by version {answers} after the rollback, by version {answers_again} after its undo.",
        )

    def _write_logs(self) -> None:
        from agentgym.scenarios.production_log import write_logs
        from agentgym.scenarios.registry import load_world

        world = load_world(SCENARIO)
        traces = list(write_logs(world, world.legacy_agent(), self.size.conversations, self.seed))
        write_atomically(self.log, b"".join(orjson.dumps(trace.model_dump(mode="json", exclude_defaults=True)) + b"\n" for trace in traces))
        customers = len({trace.customer_id for trace in traces})
        self.screen.show(f"{len(traces)} conversations of {customers} customers with the agent of today; one of them:", "")
        self.screen.show(*_transcript(traces[0].messages))

    def _improve(self, training: TrainingConfig) -> "Improvement":
        from agentgym.cli.improve import show_improvement
        from agentgym.cli.watching import watching
        from flows.improve_agent import improve_agent

        source = TraceSource(path=self.log)
        with watching(self.screen) as steps:
            improvement = improve_agent(source, scenario=SCENARIO, training=training, agent=AGENT, seed=self.seed)
        self.steps += steps
        show_improvement(improvement, self.settings, self.screen, waiver=training.waive_audit)
        return improvement

    def _show_versions(self) -> None:
        from agentgym.cli.models import show_models

        show_models(self.screen, self.settings, agent=AGENT)

    def _version_summaries(self) -> list[dict[str, Any]]:
        from agentgym.cli.summaries import decision_json
        from flows.improve_agent import BOOTSTRAP_REASON

        improved, corrupted = self._reports(self.improved), self._reports(self.corrupted)
        bootstrap = {"promote": True, "verdict": "bootstrap", "reasons": [BOOTSTRAP_REASON]}
        return [
            _version(self.improved.incumbent.version, improved[1], bootstrap),
            _version(self.improved.challenger.version, improved[0], decision_json(self._decision(self.improved))),
            _version(self.corrupted.challenger.version, corrupted[0], decision_json(self._decision(self.corrupted))),
        ]

    def _audit_summaries(self) -> dict[str, Any]:
        from agentgym.cli.summaries import audit_json
        from tasks.audit import read_audit

        told = {"improve": (self.improved, None), "corrupted_reward": (self.corrupted, AUDIT_WAIVER)}
        return {
            stage: audit_json(read_audit(improvement.audit, self.settings), waiver=waiver)
            for stage, (improvement, waiver) in told.items()
            if improvement.audit is not None
        }

    def _reports(self, improvement: "Improvement") -> list[EvaluationReport]:
        from tasks.evaluation import read_reports

        return read_reports(improvement.report_refs, self.settings)

    def _decision(self, improvement: "Improvement") -> PromotionDecision:
        from tasks.evaluation import read_decision

        return read_decision(improvement.gate, self.settings)

    @contextmanager
    def _stage(self, name: str, title: str) -> Iterator[None]:
        started = perf_counter()
        self.screen.show("", f"[bold]{title}[/]")
        yield
        self.stages.append(StageTime(name=name, seconds=round(perf_counter() - started, 2)))


def _version(number: int, report: EvaluationReport, decision: dict[str, Any]) -> dict[str, Any]:
    from agentgym.cli.summaries import estimates_json

    return {"version": number, **estimates_json(report.estimates), "decision": decision}


def _settings_of(workspace: Path | None) -> Settings:
    """Settings inside an empty folder, for this process and those it starts."""
    folder = _empty_folder(workspace)
    settings = read_settings().inside(folder)
    os.environ |= {"AGENTGYM_WORKSPACE": str(folder), "AGENTGYM_STORE": settings.store, "AGENTGYM_TRACKING_URI": settings.tracking_uri}
    return settings


def _empty_folder(workspace: Path | None) -> Path:
    if workspace is None:
        return Path(tempfile.mkdtemp(prefix="agentgym-demo-"))
    if workspace.exists() and any(workspace.iterdir()):
        raise InvalidInput(f"The demo works in an empty folder; {str(workspace)!r} holds something. Name another, or none.")
    workspace.mkdir(parents=True, exist_ok=True)
    return workspace.absolute()


def _transcript(messages: tuple[Any, ...]) -> list[str]:
    lines = []
    for message in messages:
        for call in message.tool_calls:
            lines.append(f"  [cyan]calls[/]     {call.name} {orjson.dumps(call.arguments).decode()}")
        if message.role == "tool":
            lines.append(f"  [dim]answer    {orjson.dumps(message.result).decode()[:110]}[/]")
        elif message.content:
            lines.append(f"  {message.role:<9} {message.content}")
    return lines


def _look_closer(settings: Settings) -> str:
    return f"mlflow server --backend-store-uri {settings.tracking_uri}"
