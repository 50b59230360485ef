"""How long imitation takes to learn from 200 logs of the legacy agent, and how it then fares on fresh cases. Prints one JSON object.

Ratios: tool reliability and success of the learned policy against those of the agent it learned from, on the same cases.
"""

import json
import platform
import time

import torch

from agentgym.environments.case import Case
from agentgym.episode import Policy
from agentgym.evaluation.evaluate import evaluate_policy
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.production_log import write_logs
from agentgym.training.warm_start import imitate
from agentgym.verdicts import EvaluationReport, Subject

LOGS = 200
CASES = 200
COMPARED = ("tool_reliability", "success_rate")


def main() -> None:
    torch.set_num_threads(1)
    scenario = CustomerSupport()
    logs = list(write_logs(scenario, scenario.legacy_agent(), LOGS, seed=21))
    started = time.process_time()
    learned = imitate(logs, tools=scenario.tools, seed=0)
    fit_seconds = time.process_time() - started
    cases = list(scenario.generate_cases(CASES, seed=22))
    started = time.process_time()
    imitation = evaluate(learned, scenario, cases)
    play_seconds = time.process_time() - started
    legacy = evaluate(scenario.legacy_agent(), scenario, cases)
    print(
        json.dumps(
            {
                "ratios": {name: round(imitation.estimates[name].mean / legacy.estimates[name].mean, 4) for name in COMPARED},
                "figures": {
                    "fit_cpu_seconds": round(fit_seconds, 1),
                    "logs_per_cpu_second": round(LOGS / fit_seconds, 2),
                    "episodes_per_cpu_second": round(CASES / play_seconds, 1),
                    "imitation": figures(imitation),
                    "legacy_agent": figures(legacy),
                },
                "machine": {"platform": platform.platform(), "python": platform.python_version()},
            },
            indent=2,
        )
    )


def evaluate(policy: Policy, scenario: CustomerSupport, cases: list[Case]) -> EvaluationReport:
    return evaluate_policy(policy, scenario, cases, subject=Subject(name="policy", checkpoint_digest="benchmark"), seed=0)


def figures(report: EvaluationReport) -> dict[str, list[float]]:
    return {name: [round(value, 4) for value in (each.mean, each.low, each.high)] for name, each in report.estimates.items()}


if __name__ == "__main__":
    main()
