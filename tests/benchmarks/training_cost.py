"""What on-policy training costs as work grows: seconds for 1,000 rollouts by group size, length of conversations and runners.

Each setting runs in a process of its own, so that its peak memory is its own. Prints one JSON object; a ratio is how much cheaper a rollout
is in the largest group than in the smallest, and RLlib's allowed share of the time ÷ the share it takes.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import torch

from agentgym.environments.conversation import ConversationEnv
from agentgym.episode import Action, Conversation, Trajectory
from agentgym.messages import Message, assistant, user
from agentgym.policies.checkpoint import load_trainable_policy
from agentgym.training.config import TrainingConfig
from agentgym.training.first_policy import first_policy
from agentgym.training.flow_grpo.algorithm import FlowGRPOConfig
from agentgym.training.flow_grpo.ray_session import ray_session
from agentgym.training.flow_grpo.rollouts import Playground
from agentgym.training.material import gather_material

ROLLOUTS, ITERATIONS = 256, 4
LARGEST_SHARE = 0.05
SMALL_TALK = (user("One moment please, I am looking for my papers."), assistant("Take your time."))
POLICIES: Mapping[str, Mapping[str, Any]] = {
    "planner": {"scenario": "customer_support", "conversations": 200},
    "causal_lm": {"scenario": "lookup", "conversations": 200, "base_model": "tiny"},
}
USUAL = {"group_size": 8, "lengthening": 1, "runners": 0}
SETTINGS = [
    *({**USUAL, "group_size": size} for size in (4, 8, 16, 32)),
    *({**USUAL, "lengthening": times} for times in (2, 4, 8)),
    *({**USUAL, "runners": count} for count in (1, 2)),
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--one", help="a setting as JSON; used by the benchmark itself")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(**json.loads(given.one))))
        return
    figures = {policy: [setting | in_own_process(policy, setting) for setting in SETTINGS] for policy in POLICIES}
    ratios = {f"{policy}_large_groups": rows[0]["seconds"] / rows[3]["seconds"] for policy, rows in figures.items()}
    ratios |= {f"{policy}_rllib_share": LARGEST_SHARE / max(row["rllib_share"] for row in rows) for policy, rows in figures.items()}
    machine = {"platform": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()}
    print(json.dumps({"ratios": ratios, "figures": figures, "machine": machine}, indent=2))


def in_own_process(policy: str, setting: Mapping[str, int]) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", json.dumps({"policy": policy, **setting})]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{policy} {setting}: {found}", file=sys.stderr)
    return found


def measured(policy: str, group_size: int, lengthening: int, runners: int) -> dict[str, float]:
    """Seconds for 1,000 rollouts, RLlib's share of them, and the peak memory of this process and of the largest it started."""
    torch.set_num_threads(1)
    config = TrainingConfig.suited_to(**POLICIES[policy], policy=policy)
    material = gather_material(config)
    checkpoint = first_policy(material.train, learner=config.learner, tools=material.world.tools, seed=0)
    create = partial(_longer, material.world.create_environment, lengthening)
    algorithm_config = FlowGRPOConfig().training(
        create_policy=partial(load_trainable_policy, checkpoint),
        playground=Playground(create_environment=create, broadcast_rewards=material.world.broadcast_rewards, cases=material.pack.train),
        settings=config.flow_grpo.model_copy(update={"group_size": group_size}),
        batch_size=ROLLOUTS // group_size,
        lr=config.learning_rate,
    )
    with ray_session(cpus=runners):
        algorithm = algorithm_config.env_runners(num_env_runners=runners).debugging(seed=0).build_flow_grpo()
        seconds, shares = [], []
        for _ in range(1 + ITERATIONS):
            began = perf_counter()
            told = algorithm.iterate()
            seconds.append(perf_counter() - began)
            ours = told["sampling_seconds"] + told["learning_seconds"] + told["syncing_seconds"]
            shares.append(1 - ours / seconds[-1])
        algorithm.close()
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024
    # The first iteration imports and warms up.
    return {"seconds": median(seconds[1:]) * 1000 / ROLLOUTS, "rllib_share": median(shares[1:]), "peak_memory_bytes": peak}


def _longer(create: Any, lengthening: int) -> "LongerConversations":
    return LongerConversations(create(), lengthening)


class LongerConversations:
    """Conversations with small talk before them, as many times as long as most are."""

    USUAL_MESSAGES = 8

    def __init__(self, environment: ConversationEnv, lengthening: int) -> None:
        self._environment = environment
        pairs = (lengthening - 1) * self.USUAL_MESSAGES // len(SMALL_TALK)
        self._before = SMALL_TALK * pairs

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Conversation, Mapping[str, Any]]:
        conversation, told = self._environment.reset(seed=seed, options=options)
        return self._with_small_talk(conversation), told

    def step(self, action: Message) -> tuple[Conversation, float, bool, bool, Mapping[str, Any]]:
        conversation, *rest = self._environment.step(action)
        return self._with_small_talk(conversation), *rest

    def trajectory(self, actions: Sequence[Action]) -> Trajectory:
        return self._environment.trajectory(actions)

    def _with_small_talk(self, conversation: Conversation) -> Conversation:
        first, *others = conversation.messages
        return Conversation(
            conversation_id=conversation.conversation_id,
            messages=(first, *self._before, *others),
            tools=conversation.tools,
            now=conversation.now,
        )


if __name__ == "__main__":
    main()
