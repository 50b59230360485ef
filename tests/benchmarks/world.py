"""How fast customer_support plays, and how the expert and the legacy agent fare on a thousand cases. Prints one JSON object.

The ratio is steps a CPU second against the 2,000 that on-policy training on one core needs.
"""

import json
import platform
import time
from typing import Any

from agentgym.environments.play import play_episode
from agentgym.environments.user_simulator import opening_of
from agentgym.episode import Policy, Trajectory
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.statistics import mean_estimate, ratio_estimate

CASES = 1000
NEEDED_STEPS_PER_SECOND = 2000


def main() -> None:
    scenario = CustomerSupport()
    steps_per_second, expert = play(scenario, scenario.expert())
    _, legacy = play(scenario, scenario.legacy_agent())
    print(
        json.dumps(
            {
                "ratios": {"steps_per_second": steps_per_second / NEEDED_STEPS_PER_SECOND},
                "figures": {
                    "steps_per_second": round(steps_per_second),
                    "distinct_in_5000_cases": distinct_cases(scenario, 5000),
                    "expert": figures(scenario, expert),
                    "legacy_agent": figures(scenario, legacy),
                },
                "machine": {"platform": platform.platform(), "python": platform.python_version()},
            },
            indent=2,
        )
    )


def play(scenario: CustomerSupport, policy: Policy) -> tuple[float, list[Trajectory]]:
    environment = scenario.create_environment()
    cases = list(scenario.generate_cases(CASES, seed=11))
    started = time.process_time()
    played = [play_episode(environment, policy, case, seed=0) for case in cases]
    return sum(len(trajectory.actions) for trajectory in played) / (time.process_time() - started), played


def figures(scenario: CustomerSupport, played: list[Trajectory]) -> dict[str, Any]:
    customers = [trajectory.cluster_id for trajectory in played]
    correct, due = [trajectory.correct_calls for trajectory in played], [trajectory.due_calls for trajectory in played]
    reliability = ratio_estimate(correct, due, customers)
    success = mean_estimate([float(trajectory.is_success) for trajectory in played], customers, bounds=(0, 1))
    lengths = [len(trajectory.actions) for trajectory in played]
    return {
        **{name: round(value, 4) for name, value in scenario.calculate_metrics(played).items()},
        "tool_reliability": [round(value, 4) for value in (reliability.mean, reliability.low, reliability.high)],
        "success_rate": [round(value, 4) for value in (success.mean, success.low, success.high)],
        "turns": {"mean": sum(lengths) / len(lengths), "longest": max(lengths)},
    }


def distinct_cases(scenario: CustomerSupport, count: int) -> dict[str, int]:
    cases = list(scenario.generate_cases(count, seed=3))
    return {
        "situations": len({case.model_dump_json(include={"kind", "facts", "initial_state"}) for case in cases}),
        "openings": len({opening_of(scenario.world, case).words for case in cases}),
        "plans": len({(case.kind, *(call.name for call in case.expected_calls)) for case in cases}),
    }


if __name__ == "__main__":
    main()
