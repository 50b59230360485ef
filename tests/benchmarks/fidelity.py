"""How far environments made from real logs can be trusted: Schema-Guided Dialogue, train against dev, and tau-bench airline, by task.

Prints one JSON object. The ratios are recorded fields in the mocks' answers against those in answers of the same tool drawn at random, and
broken mocks that are caught and named against those that were made.
"""

import json
import os
import platform
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentgym.messages import ToolCall
from agentgym.scenarios.fidelity import FidelityBar, FidelityReport, measure_fidelity
from agentgym.scenarios.fidelity.answering import BASES, Answered, History, Mock, recorded_mock
from agentgym.scenarios.fidelity.bar import judge_tool
from agentgym.scenarios.fidelity.figures import Figure
from agentgym.scenarios.fidelity.put_calls import PutCalls, put_to_mock
from agentgym.scenarios.fidelity.report import RankFidelity, ToolFidelity
from agentgym.scenarios.fidelity.tools import all_tools_fidelity, tool_fidelities
from agentgym.scenarios.fidelity.whole import PaidAgent, environment_for_others, paid_in_other_records, rank_fidelity
from agentgym.scenarios.from_traces import make_recorded_pack
from agentgym.scenarios.pack import ScenarioPack
from agentgym.traces.importers import TraceFormat, import_traces
from agentgym.traces.trace import Trace

SHARED_DATA = Path(os.environ.get("AGENTGYM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
FOLDS = 5


def main() -> None:
    started = time.process_time()
    train, dev = traces("sgd/train", "sgd"), traces("sgd/dev", "sgd")
    sgd = measure_fidelity(make_recorded_pack(train, dev, "sgd"), dev)
    sgd_seconds = time.process_time() - started
    tau = airline_by_task(traces("tau_bench/airline/gpt-4o-airline.json.gz", "openai"))
    caught = broken_mocks(train, dev, [tool.tool for tool in sgd.tools if tool.gain.observations >= 10])
    print(
        json.dumps(
            {
                "ratios": {
                    "sgd_fields_vs_random_answer": over_chance(sgd.all_tools),
                    "tau_bench_fields_vs_random_answer": over_chance(tau["all_tools"]),
                    "broken_mocks_caught": round(sum(caught.values()) / len(caught), 3),
                },
                "figures": {
                    "sgd": report_figures(sgd) | {"cpu_seconds": round(sgd_seconds, 1)},
                    "tau_bench_airline": {
                        "all_tools": tool_figures(tau["all_tools"]),
                        "tools": {tool.tool: tool_figures(tool) for tool in tau["tools"]},
                        "reward_and_recorded_reward": rank_figures(tau["ranks"]),
                    },
                    "broken_mocks": caught,
                },
                "machine": {"platform": platform.platform(), "python": platform.python_version()},
            },
            indent=2,
        )
    )


def traces(name: str, format: TraceFormat) -> list[Trace]:
    return [item for item in import_traces(SHARED_DATA / name, format) if isinstance(item, Trace)]


def airline_by_task(log: Sequence[Trace]) -> dict[str, Any]:
    """Every run measured once, against an environment made from the runs of other tasks; five such environments in all."""
    tasks = sorted({trace.cluster_id for trace in log})
    puts: list[PutCalls] = []
    paid: list[PaidAgent] = []
    for fold in range(FOLDS):
        held_tasks = set(tasks[fold::FOLDS])
        held_out = [trace for trace in log if trace.cluster_id in held_tasks]
        pack = make_recorded_pack([trace for trace in log if trace.cluster_id not in held_tasks], held_out, "tau-bench")
        cases = [(case.recording, case) for case in pack.held_out if case.recording is not None]
        puts.append(put_to_mock(mock_of(pack), recordings_of(pack), held_out))
        paid += paid_in_other_records(environment_for_others(pack), cases, seed=0)
    put = together(puts)
    ranks = rank_fidelity("outcome", paid, missing="No task was run twice.")
    return {"tools": tool_fidelities(put), "all_tools": all_tools_fidelity(put), "ranks": ranks}


def together(puts: Sequence[PutCalls]) -> PutCalls:
    tools = {tool for put in puts for tool in put.training_calls}
    return PutCalls(
        rows=tuple(row for put in puts for row in put.rows),
        effects=tuple(effect for put in puts for effect in put.effects),
        recalls=tuple(recall for put in puts for recall in put.recalls),
        training_calls={tool: max(put.training_calls.get(tool, 0) for put in puts) for tool in tools},
        training_errors={tool: max(put.training_errors.get(tool, 0) for put in puts) for tool in tools},
    )


def mock_of(pack: ScenarioPack) -> Mock:
    return recorded_mock(recordings_of(pack))


def recordings_of(pack: ScenarioPack) -> list[Trace]:
    return [case.recording for case in pack.train if case.recording is not None]


def broken_mocks(train: Sequence[Trace], dev: Sequence[Trace], tools: Sequence[str]) -> dict[str, bool]:
    """For each tool, whether a mock from a log with its answers shuffled, and one in which it always errs, is caught and it alone named."""
    caught = {}
    for tool in tools:
        known, held_out = calling(train, tool), calling(dev, tool)
        broken = shuffled(known, tool)
        caught[f"{tool} shuffled"] = failed_tools(put_to_mock(recorded_mock(broken), broken, held_out)) == {tool}
        failing = always_failing(recorded_mock(known), tool)
        caught[f"{tool} always failing"] = failed_tools(put_to_mock(failing, known, held_out)) == {tool}
    return caught


def calling(log: Sequence[Trace], tool: str) -> list[Trace]:
    return [trace for trace in log if any(call.name == tool for message in trace.messages for call in message.tool_calls)]


def shuffled(log: Sequence[Trace], tool: str) -> list[Trace]:
    """The log with the answers of one tool shuffled among its calls."""
    answers = [message for trace in log for message in trace.messages if message.role == "tool" and message.name == tool]
    random.Random(0).shuffle(answers)
    remaining = iter(answers)
    return [
        trace.model_copy(
            update={
                "messages": tuple(
                    message.model_copy(update={"result": next(remaining).result})
                    if message.role == "tool" and message.name == tool
                    else message
                    for message in trace.messages
                )
            }
        )
        for trace in log
    ]


def always_failing(mock: Mock, tool: str) -> Mock:
    def answer(call: ToolCall, history: History) -> Answered:
        answered = mock(call, history)
        return Answered(result={"error": "The service is down."}, basis=answered.basis) if call.name == tool else answered

    return answer


def failed_tools(put: PutCalls) -> set[str]:
    return {check.subject for tool in tool_fidelities(put) for check in judge_tool(tool, FidelityBar()) if check.outcome == "failed"}


def over_chance(tool: ToolFidelity) -> float | None:
    """Recorded fields in the answers ÷ in answers drawn at random."""
    if tool.gain.mean is None or not tool.chance.mean:
        return None
    return round((tool.gain.mean + tool.chance.mean) / tool.chance.mean, 3)


def report_figures(report: FidelityReport) -> dict[str, Any]:
    return {
        "verdict": report.verdict,
        "failed": [check.statement for check in report.failed_checks],
        "all_tools": tool_figures(report.all_tools),
        "tools": {tool.tool: tool_figures(tool) for tool in report.tools},
        "customers": {
            customer.agent: {
                name: figure(getattr(customer, name)) for name in ("length_ratio", "length_difference", "order", "told", "answered")
            }
            for customer in report.customers
        },
        "reward_and_outcome": rank_figures(report.ranks[0]),
    }


def tool_figures(tool: ToolFidelity) -> dict[str, Any]:
    shown = ("result_match", "field_match", "gain", "chance", "recall", "errors", "recorded_errors", "covered")
    bases = {
        basis: {name: figure(getattr(tool.bases[basis], name)) for name in ("share", "result_match", "field_match")}
        for basis in BASES
        if basis in tool.bases
    }
    return {"calls": tool.calls, "training_calls": tool.training_calls, **bases, **{name: figure(getattr(tool, name)) for name in shown}}


def rank_figures(ranks: RankFidelity) -> dict[str, Any]:
    correlations = {name: figure(getattr(ranks, name)) for name in ("kendall", "spearman", "within")}
    return correlations | {"agents": ranks.kendall.observations, "good": ranks.reward_of_good, "bad": ranks.reward_of_bad}


def figure(measured: Figure) -> list[float] | str:
    """Mean and interval, or why there is none."""
    if measured.estimate is None:
        return measured.reason
    return [round(value, 4) for value in (measured.estimate.mean, measured.estimate.low, measured.estimate.high)]


if __name__ == "__main__":
    main()
