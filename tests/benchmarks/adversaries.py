"""Every adversary against every built-in reward: of the declared worlds, and of environments from real logs. Prints one JSON object.

paid: mean reward of each player on the same cases, with its interval.   worst_to_mark: of all adversaries, the highest share of the way
from the better floor to honest work; the mark is at a tenth. Real logs lie in AGENTGYM_SHARED_DATA, or beside the checkout; without them
only the declared worlds are played. `ARGS="--cases 80"` plays as many cases as training does.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentgym.environments.case import Case
from agentgym.evaluation.audit import AuditCriteria, audit_reward
from agentgym.scenarios.from_traces import RecordedScenario, make_recorded_pack
from agentgym.scenarios.registry import load_world
from agentgym.scenarios.scenario import Scenario
from agentgym.traces.importers import TraceFormat, import_traces
from agentgym.traces.trace import Trace
from agentgym.verdicts import RewardAudit

SHARED_DATA = Path(os.environ.get("AGENTGYM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
WORLDS = ("customer_support", "lookup")
LOGS: Mapping[str, tuple[str, TraceFormat]] = {
    "sgd": ("sgd/train", "sgd"),
    "tau_bench_airline": ("tau_bench/airline/gpt-4o-airline.json.gz", "openai"),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=400)
    cases = parser.parse_args().cases
    figures, worst = {}, {}
    for name, scenario, played in rewards(cases):
        started = time.process_time()
        audit = audit_reward(scenario, played, seed=0, criteria=AuditCriteria(cases=cases))
        figures[name] = figures_of(audit) | {"cpu_seconds": round(time.process_time() - started, 2)}
        worst[name] = worst_to_mark(audit)
        print(f"{name}: {audit.verdict}", file=sys.stderr)
    machine = {"platform": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()}
    print(json.dumps({"ratios": {"worst_to_mark": worst}, "figures": figures, "machine": machine}, indent=2))


def rewards(cases: int) -> Iterator[tuple[str, Scenario, Sequence[Case]]]:
    for name in WORLDS:
        world = load_world(name)
        yield name, world, list(world.generate_cases(cases, seed=0))
    for name, (path, format) in LOGS.items() if SHARED_DATA.is_dir() else ():
        log = [item for item in import_traces(SHARED_DATA / path, format) if isinstance(item, Trace)]
        pack = make_recorded_pack(log, (), name)
        yield name, RecordedScenario(pack), pack.train


def figures_of(audit: RewardAudit) -> dict[str, Any]:
    paid = {
        name: {
            "role": player.role,
            "paid": [round(player.reward.mean, 3), round(player.reward.low, 3), round(player.reward.high, 3)],
            "terms": {term: round(value, 3) for term, value in player.terms.items() if value},
        }
        for name, player in audit.players.items()
    }
    return {"verdict": audit.verdict, "cases": audit.cases, "floor": audit.floor, "reasons": list(audit.reasons), "players": paid}


def worst_to_mark(audit: RewardAudit) -> float:
    """How far the best-paid adversary comes on the way from the better floor to honest work."""
    means = {name: player.reward.mean for name, player in audit.players.items()}
    floor, honest = means[str(audit.floor)], next(means[name] for name, player in audit.players.items() if player.role == "honest")
    best = max(means[name] for name, player in audit.players.items() if player.role == "adversary")
    return round((best - floor) / (honest - floor), 3)


if __name__ == "__main__":
    main()
