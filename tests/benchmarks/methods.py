"""Which way of learning helps in customer support, and how much: every method from one start, judged on the same held-out customers.

Prints one JSON object. `--seeds 0,1,2,3,4 --policies planner,causal_lm --methods …` choose what is run; a seed is another log, another
split of customers and another start. Methods come after imitation of the log, which is where all of them start; a second method that
would begin where the first began is not run again. All play in the process that learns, so that several of these can share a machine.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

from agentgym.policies.checkpoint import Checkpoint
from agentgym.statistics import Estimate
from agentgym.training.first_policy import first_policy
from agentgym.training.material import gather_material
from agentgym.training.result import TrainingResult
from agentgym.training.run_folder import RunFolder
from agentgym.training.trainer import Trainer

SCENARIO = "customer_support"
METHODS = ("sft", "rft", "dpo", "flow_grpo", "sft+flow_grpo")
# As many rollouts as each needs to come to rest; sft and dpo go through recorded conversations instead.
EPISODES = {"planner": {"rft": 12_800, "flow_grpo": 46_080}, "causal_lm": {"rft": 1_600, "flow_grpo": 3_200}}
SHOWN = ("tool_reliability", "success_rate", "agent_tokens")
TOKENS_OF_A_TICKET = 500


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--policies", default="planner,causal_lm")
    parser.add_argument("--methods", default=",".join(METHODS))
    given = parser.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    figures: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        for policy in given.policies.split(","):
            runs = [run_seed(policy, given.methods.split(","), seed, folder) for seed in seeds]
            figures[policy] = {name: summary([run[name] for run in runs if name in run]) for name in runs[0]}
    reached = [row["tool_reliability"]["lowest"] for policy in figures.values() for name, row in policy.items() if name == "flow_grpo"]
    print(
        json.dumps(
            {
                "ratios": {"lowest_flow_grpo_reliability_to_goal": min(reached) / 0.95} if reached else {},
                "figures": figures,
                "machine": {"platform": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()},
            },
            indent=2,
        )
    )


def run_seed(policy: str, methods: Sequence[str], seed: int, folder: str) -> dict[str, dict[str, Any]]:
    """The row of the logs, of imitation, and of each method; a method that learns nothing new keeps its start."""
    imitation = imitated(policy, seed)
    rows: dict[str, dict[str, Any]] = {}
    runs: dict[tuple[str, str], TrainingResult] = {}
    for method in methods:
        start, seconds = imitation, 0.0
        for part in method.split("+"):
            run = (part, start.weights_digest)
            if run not in runs:
                runs[run] = trainer(policy, part, seed, output_dir=folder, start=start).train()
            result = runs[run]
            assert result.folder is not None, "a result is saved"
            start = Checkpoint.from_bytes((result.folder / "checkpoint.zip").read_bytes())
            seconds += sum(metrics.seconds for metrics in RunFolder(result.folder).read_curve())
        rows.setdefault("logs", row(result.logs or {}, seconds=None))
        rows.setdefault("imitation", row(runs[methods[0].partition("+")[0], imitation.weights_digest].start, seconds=None))
        rows[method] = row(result.estimates, seconds=seconds)
        rows[method]["cost_reduction_against_logs"] = result.metrics.cost_reduction_against_logs
        print(f"{policy}, seed {seed}, {method}: {rows[method]}", file=sys.stderr, flush=True)
    return rows


def imitated(policy: str, seed: int) -> Checkpoint:
    config = trainer(policy, "sft", seed).config
    material = gather_material(config)
    return first_policy(material.train, learner=config.learner, tools=material.world.tools, seed=seed)


def trainer(policy: str, method: str, seed: int, **asked: Any) -> Trainer:
    if method in EPISODES[policy]:
        asked["episodes"] = EPISODES[policy][method]
    if method == "flow_grpo":
        asked["num_env_runners"] = 0
    if policy == "causal_lm":
        asked["base_model"] = "tiny"
    return Trainer(scenario=SCENARIO, policy=policy, method=method, seed=seed, **asked)


def row(estimates: Mapping[str, Estimate], *, seconds: float | None) -> dict[str, Any]:
    return {name: estimates[name].model_dump() for name in SHOWN if name in estimates} | {"seconds": seconds}


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Over seeds: the mean, and the lowest with its own interval; cost reduction against a ticket of 500 tokens."""
    shown: dict[str, Any] = {"seeds": len(rows)}
    for name in SHOWN:
        found = [seed[name] for seed in rows if name in seed]
        if found:
            lowest = min(found, key=lambda estimate: estimate["mean"])
            shown[name] = {
                "mean": round(mean(estimate["mean"] for estimate in found), 4),
                "lowest": round(lowest["mean"], 4),
                "interval_of_the_lowest": [round(lowest["low"], 4), round(lowest["high"], 4)],
                "by_seed": [round(estimate["mean"], 4) for estimate in found],
            }
    if "agent_tokens" in shown:
        shown["cost_reduction"] = round(1 - shown["agent_tokens"]["mean"] / TOKENS_OF_A_TICKET, 4)
    against_logs = [seed["cost_reduction_against_logs"] for seed in rows if "cost_reduction_against_logs" in seed]
    if against_logs:
        shown["cost_reduction_against_logs"] = round(mean(against_logs), 4)
    seconds = [seed["seconds"] for seed in rows if seed["seconds"] is not None]
    return shown | ({"seconds": round(mean(seconds), 1)} if seconds else {})


if __name__ == "__main__":
    main()
