"""How often a policy trained on recorded dialogues makes the next call that the record makes, on real data. Prints one JSON object.

Schema-Guided Dialogue (Rastogi et al. 2020): learned from 1,500 train dialogues, judged on the 300 of dev, in every step that answers the
customer; 8 of its 17 services are not in train. Tau-bench airline (Yao et al. 2024): in five parts by task, each judged by what was
learned from the rewarded runs of the other four; only rewarded runs are judged, in every step, so that chains of calls count.
Beside the planner: always talking, a bag of words with logistic regression, and boosted trees on the planner's features.

reliability: of the recorded calls, the share with the right tool in the right step.   precision: of the predicted calls.   joint: of the
recorded calls, the share whose every argument is right too.   The data lies in AGENTGYM_SHARED_DATA, or beside the checkout.
`--data sgd`, `--policies planner,boosted_trees` choose what is run.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from skill_sides.boosted_trees import BoostedTrees

from agentgym.episode import Policy
from agentgym.evaluation.floors import AlwaysTalk, BagOfWords
from agentgym.evaluation.next_call import recorded_steps
from agentgym.messages import ToolCall
from agentgym.policies.planner.slots import same_value, tool_view
from agentgym.statistics import ratio_estimate
from agentgym.tools import Tool
from agentgym.traces.importers import TraceFormat, import_traces
from agentgym.traces.matching import call_key, canonical_arguments
from agentgym.traces.trace import Trace
from agentgym.training.warm_start import accepted, imitate

SHARED_DATA = Path(os.environ.get("AGENTGYM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
TASK_PARTS = 5
SOON_TURNS = 2
UNAVAILABLE = 3

POLICIES: Mapping[str, Callable[[Sequence[Trace]], Policy]] = {
    "planner": lambda traces: imitate(traces, seed=0),
    "always_talk": lambda traces: AlwaysTalk(),
    "tfidf_logistic_regression": BagOfWords.fit,
    "boosted_trees": lambda traces: BoostedTrees.fit(traces, seed=0),
}


class Answer(NamedTuple):
    """What the record and the policy did in one step, None where they talked.

    seen: services in training.   soon: calls the record makes within the next two turns of the customer.
    """

    customer: str
    tools: tuple[Tool, ...]
    seen: frozenset[str]
    recorded: ToolCall | None
    predicted: ToolCall | None
    soon: frozenset[str]

    @property
    def is_right(self) -> bool:
        return self.recorded is not None and self.predicted is not None and self.recorded.name == self.predicted.name

    @property
    def is_exact(self) -> bool:
        return self.recorded is not None and self.predicted is not None and call_key(self.recorded) == call_key(self.predicted)

    @property
    def is_of_seen_service(self) -> bool:
        call = self.recorded or self.predicted
        return call is not None and call.name.rpartition(".")[0] in self.seen


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="sgd,tau_bench")
    parser.add_argument("--policies", default=",".join(POLICIES))
    given = parser.parse_args()
    if not SHARED_DATA.is_dir():
        print(f"Skill is measured on real dialogues; there are none at {SHARED_DATA}. Set AGENTGYM_SHARED_DATA.", file=sys.stderr)
        raise SystemExit(UNAVAILABLE)
    torch.set_num_threads(1)
    names = given.policies.split(",")
    figures: dict[str, Any] = {}
    if "sgd" in given.data.split(","):
        figures["sgd_dev"] = table(on_dialogues(names), names)
    if "tau_bench" in given.data.split(","):
        figures["tau_bench_airline"] = table(on_airline(names), names)
    machine = {"platform": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()}
    print(json.dumps({"ratios": ratios(figures), "figures": figures, "machine": machine}, indent=2))


class Run(NamedTuple):
    """What a policy answered, and what it took: CPU seconds to learn and to answer."""

    answers: list[Answer]
    fit_seconds: float
    act_seconds: float


def on_dialogues(names: Sequence[str]) -> dict[str, Run]:
    train, dev = traces("sgd/train", "sgd"), traces("sgd/dev", "sgd")
    return {name: run(POLICIES[name], train, dev, after_customer_only=True) for name in names}


def on_airline(names: Sequence[str]) -> dict[str, Run]:
    rewarded = accepted(traces("tau_bench/airline/gpt-4o-airline.json.gz", "openai"))
    runs: dict[str, Run] = {}
    for name in names:
        parts = [run(POLICIES[name], *by_task(rewarded, part), after_customer_only=False) for part in range(TASK_PARTS)]
        answers = [answer for part in parts for answer in part.answers]
        runs[name] = Run(answers, sum(part.fit_seconds for part in parts), sum(part.act_seconds for part in parts))
    return runs


def by_task(runs: Sequence[Trace], part: int) -> tuple[list[Trace], list[Trace]]:
    """Runs of the other tasks, and of every fifth task from this one on."""
    held_out = set(sorted({trace.cluster_id for trace in runs})[part::TASK_PARTS])
    return [trace for trace in runs if trace.cluster_id not in held_out], [trace for trace in runs if trace.cluster_id in held_out]


def traces(name: str, format: TraceFormat) -> list[Trace]:
    return [item for item in import_traces(SHARED_DATA / name, format) if isinstance(item, Trace)]


def run(fit: Callable[[Sequence[Trace]], Policy], train: Sequence[Trace], judged: Sequence[Trace], *, after_customer_only: bool) -> Run:
    started = time.process_time()
    policy = fit(train)
    fitted = time.process_time()
    seen = frozenset(tool.service for trace in train for tool in trace.tools)
    answers = [answer for trace in judged for answer in answers_in(policy, trace, seen, after_customer_only=after_customer_only)]
    print(f"{type(policy).__name__}: {len(train)} learned from, {len(judged)} judged", file=sys.stderr)
    return Run(answers, fitted - started, time.process_time() - fitted)


def answers_in(policy: Policy, trace: Trace, seen: frozenset[str], *, after_customer_only: bool) -> Iterator[Answer]:
    steps = list(recorded_steps(trace))
    turn = [sum(message.role == "user" for message in step.conversation.messages) for step in steps]
    for place, step in enumerate(steps):
        if after_customer_only and (not step.conversation.messages or step.conversation.messages[-1].role != "user"):
            continue
        soon = [
            call.name for later, when in zip(steps, turn, strict=True) if 0 <= when - turn[place] <= SOON_TURNS for call in later.recorded
        ]
        predicted = policy.act(step.conversation).message.tool_calls
        yield Answer(trace.cluster_id, trace.tools, seen, one(step.recorded), one(predicted), frozenset(soon))


def one(calls: Sequence[ToolCall]) -> ToolCall | None:
    return next(iter(calls), None)


# --- figures ---


def table(runs: Mapping[str, Run], names: Sequence[str]) -> dict[str, Any]:
    """The first policy's figures as they are, those of the others beside them."""
    first, *others = names
    return figures_of(runs[first]) | {"beside": {name: figures_of(runs[name]) for name in others}}


def figures_of(run: Run) -> dict[str, Any]:
    figures: dict[str, Any] = {**shares(run.answers), "steps": len(run.answers)}
    seen = [answer for answer in run.answers if answer.is_of_seen_service]
    unseen = [answer for answer in run.answers if not answer.is_of_seen_service]
    if any(answer.recorded for answer in unseen):
        figures |= {"seen": shares(seen), "unseen": shares(unseen)}
    figures["fit_cpu_seconds"] = round(run.fit_seconds, 1)
    figures["steps_per_cpu_second"] = round(len(run.answers) / max(run.act_seconds, 1e-9))
    figures["errors"] = errors(run.answers)
    return figures


def shares(answers: Sequence[Answer]) -> dict[str, Any]:
    """Shares with 95 % intervals, clustered by customer."""
    recorded = [answer for answer in answers if answer.recorded is not None]
    predicted = [answer for answer in answers if answer.predicted is not None]
    columns = {
        "reliability": [(answer.customer, answer.is_right) for answer in recorded],
        "precision": [(answer.customer, answer.is_right) for answer in predicted],
        "joint": [(answer.customer, answer.is_exact) for answer in recorded],
    }
    means = {name: round(sum(right for _, right in rows) / len(rows), 4) for name, rows in columns.items() if rows}
    return {**means, "intervals": {name: interval(rows) for name, rows in columns.items() if rows}, "calls": len(recorded)}


def interval(rows: Sequence[tuple[str, bool]]) -> list[float]:
    share = ratio_estimate([float(right) for _, right in rows], [1.0] * len(rows), [customer for customer, _ in rows])
    return [round(share.low, 4), round(share.high, 4)]


def errors(answers: Iterable[Answer]) -> dict[str, float]:
    """Shares of the recorded calls, most frequent first; false calls too are counted against the recorded ones."""
    answers = list(answers)
    calls = sum(answer.recorded is not None for answer in answers)
    counts = Counter(kind for answer in answers if (kind := error_of(answer)) is not None)
    return {kind: round(count / max(1, calls), 4) for kind, count in counts.most_common()}


def error_of(answer: Answer) -> str | None:
    """What went wrong in a step; None where nothing did."""
    if answer.recorded is None:
        if answer.predicted is None:
            return None
        return "false call, of a tool due soon" if answer.predicted.name in answer.soon else "false call, of another tool"
    if answer.predicted is None:
        return "missed call"
    if answer.predicted.name != answer.recorded.name:
        return "wrong tool"
    wrong = sorted(argument_errors(answer.predicted, answer.recorded, answer.tools))
    return None if not wrong else wrong[0] if len(wrong) == 1 else "several arguments"


def argument_errors(predicted: ToolCall, recorded: ToolCall, tools: Sequence[Tool]) -> Iterator[str]:
    """Each argument that differs: missing, extra or wrong, with its kind, and whether the value is the default of the schema."""
    slots = {slot.name: slot for slot in tool_view(next(tool for tool in tools if tool.name == recorded.name)).slots}
    made, right = canonical_arguments(predicted.arguments), canonical_arguments(recorded.arguments)
    for name in sorted(made.keys() | right.keys()):
        if made.get(name) != right.get(name):
            what = "missing" if name not in made else "extra" if name not in right else "wrong"
            kind = slots[name].kind if name in slots else "unknown"
            value = recorded.arguments.get(name) if name in right else predicted.arguments.get(name)
            default = slots[name].default if name in slots else None
            yield f"{what} {kind}{', the default' if default is not None and same_value(value) == same_value(default) else ''}"


def ratios(figures: Mapping[str, Any]) -> dict[str, float]:
    """Joint against the best of the others."""
    best = {name: max((of["joint"] for of in row["beside"].values()), default=0.0) for name, row in figures.items()}
    return {f"{name}_joint_to_best_other": round(figures[name]["joint"] / value, 3) for name, value in best.items() if value}


if __name__ == "__main__":
    main()
