"""Flow-GRPO on the planner beside RLlib's own PPO in the same world: rollouts a second, and seconds of training to .95 held out.

PPO chooses what to do next (inform, ask, which tool) from the features the planner has of each choice; the arguments of a call are filled
in by the planner that imitates the logs. It starts from nothing, as it can use no log; Flow-GRPO starts from that planner, and learns the
arguments too. Both have one process that learns and plays, one thread, and the reward of the world. Evaluations stop the clock.
Prints one JSON object; `--rounds`, `--limit` (seconds of training for a side) make it shorter.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import count
from statistics import median
from time import perf_counter
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.algorithms.ppo import PPOConfig

from agentgym.environments.case import Case
from agentgym.episode import Action, Conversation, Trajectory
from agentgym.policies.checkpoint import Checkpoint, load_trainable_policy
from agentgym.policies.planner.acts import ACT_FEATURES
from agentgym.policies.planner.planner import Planner
from agentgym.scenarios.registry import load_world
from agentgym.training.config import TrainingConfig
from agentgym.training.first_policy import first_policy
from agentgym.training.flow_grpo.algorithm import FlowGRPOConfig
from agentgym.training.flow_grpo.ray_session import ray_session
from agentgym.training.flow_grpo.rollouts import Playground
from agentgym.training.judging import judge_policy
from agentgym.training.material import TrainingMaterial, gather_material
from agentgym.verdicts import Subject

SCENARIO, GOAL, HELD_OUT = "customer_support", 0.95, 150
EVERY_SECONDS = 10.0
# Set beforehand and not searched for; everything else is as RLlib has it.
PPO_SETTINGS: Mapping[str, Any] = {
    "lr": 3e-4,
    "gamma": 0.99,
    "train_batch_size_per_learner": 2048,
    "minibatch_size": 256,
    "num_epochs": 8,
    "entropy_coeff": 0.01,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=240.0)
    parser.add_argument("--one", help="a side and its seed as JSON; used by the benchmark itself")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(**json.loads(given.one), limit=given.limit)))
        return
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
    for seed in range(given.rounds):
        for name in SIDES:
            runs[name].append(in_own_process(name, seed, given.limit))
            print(f"round {seed + 1}, {name}: {runs[name][-1]}", file=sys.stderr)
    figures = {name: figures_of(of_side) for name, of_side in runs.items()}
    ours, ppo = figures["flow_grpo"], figures["ppo"]
    ratios = {"rollouts_per_second": ours["rollouts_per_second"] / ppo["rollouts_per_second"]}
    if ours["reached"] > given.rounds / 2:
        ratios["time_to_095"] = ppo["seconds_to_095"] / ours["seconds_to_095"]
    machine = {"platform": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()}
    print(json.dumps({"ratios": ratios, "figures": figures, "machine": machine}, indent=2))


def in_own_process(side: str, seed: int, limit: float) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", json.dumps({"side": side, "seed": seed}), "--limit", str(limit)]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(side: str, seed: int, limit: float) -> dict[str, Any]:
    torch.set_num_threads(1)
    config = TrainingConfig.suited_to(SCENARIO, seed=seed, num_env_runners=0)
    material = gather_material(config)
    began = perf_counter()
    imitation = first_policy(material.train, learner=config.learner, tools=material.world.tools, seed=seed)
    seconds_of_imitation = perf_counter() - began
    with ray_session(cpus=0):
        return SIDES[side](config, material, imitation, limit) | {"seconds_of_imitation": seconds_of_imitation}


def until_goal(step: Callable[[], int], reliability: Callable[[], float], limit: float) -> dict[str, Any]:
    """Trains by `step`, which tells how many rollouts it played, until the goal is reached or the time is over."""
    seconds, rollouts, last = 0.0, 0, 0.0
    curve = [(0.0, reliability())]
    while curve[-1][1] < GOAL and seconds < limit:
        began = perf_counter()
        rollouts += step()
        seconds += perf_counter() - began
        if seconds - last >= EVERY_SECONDS:
            last = seconds
            curve.append((round(seconds, 1), reliability()))
    return {"rollouts": rollouts, "seconds": seconds, "is_reached": curve[-1][1] >= GOAL, "curve": curve}


def figures_of(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Where the goal was not reached, the time there was counts: a lower bound."""
    return {
        "rollouts_per_second": round(median(run["rollouts"] / run["seconds"] for run in runs), 1),
        "seconds_to_095": round(median(run["seconds"] for run in runs), 1),
        "seconds_of_imitation_before": round(median(run["seconds_of_imitation"] for run in runs), 1),
        "reached": sum(run["is_reached"] for run in runs),
        "first": median(run["curve"][0][1] for run in runs),
        "best": median(max(reliability for _, reliability in run["curve"]) for run in runs),
        "runs": len(runs),
    }


# --- ours ---


def flow_grpo(config: TrainingConfig, material: TrainingMaterial, imitation: Checkpoint, limit: float) -> dict[str, Any]:
    algorithm = (
        FlowGRPOConfig()
        .training(
            create_policy=partial(load_trainable_policy, imitation),
            playground=Playground(
                create_environment=material.world.create_environment,
                broadcast_rewards=material.world.broadcast_rewards,
                cases=material.pack.train,
            ),
            settings=config.flow_grpo,
            iterations=config.iterations,
            batch_size=config.cases_per_iteration,
            lr=config.learning_rate,
        )
        .debugging(seed=config.seed)
        .build_flow_grpo()
    )

    def reliability() -> float:
        subject = Subject(name="flow_grpo", checkpoint_digest=imitation.digest)
        judged = judge_policy(algorithm.policy, material.world, held_out(material), subject=subject, seed=0)
        return judged.report.estimates["tool_reliability"].mean

    found = until_goal(lambda: int(algorithm.iterate()["rollouts"]), reliability, limit)
    algorithm.close()
    return found


# --- RLlib's PPO ---


class Steered(Planner):
    """A planner whose next act is decided by somebody else; what it calls a tool with is its own choice."""

    def look(self, conversation: Conversation) -> Any:
        """Everything that could be done now."""
        state = self._memory.state_of(conversation)
        return self._moments({id(state): state})[id(state)]

    def do(self, conversation: Conversation, moment: Any, act: int) -> Action:
        wanted = np.where(np.arange(len(moment.scores)) == act, 0, -100).astype(np.float32)
        return self._action(conversation, replace(moment, scores=wanted), None)


@cache
def steered_planner(checkpoint: bytes) -> Steered:
    return Steered.from_checkpoint(Checkpoint.from_bytes(checkpoint))


class ActsOnly(gymnasium.Env[NDArray[np.float32], int]):
    """The world for an agent that sees numbers: the features of every act, and whether it is possible; what is not, informs.

    The reward comes when the conversation is over: the mean over its turns of what Flow-GRPO is given for it.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._world = load_world(SCENARIO)
        self._environment = self._world.create_environment()
        self._planner = steered_planner(config["planner"])
        self._cases: Sequence[Case] = config["cases"]
        options = 2 * len(self._world.tools) + 1
        self.observation_space = gymnasium.spaces.Box(-50, 50, (options * (ACT_FEATURES + 1),), np.float32)
        self.action_space = gymnasium.spaces.Discrete(options)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        case = options["case"] if options else self._cases[int(self.np_random.integers(len(self._cases)))]
        conversation, _ = self._environment.reset(seed=int(self.np_random.integers(2**31)), options={"case": case})
        self._actions: list[Any] = []
        return self._seen(conversation), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        act = int(action) if self._moment.acts.is_possible[action] else 0
        self._actions.append(self._planner.do(self._conversation, self._moment, act))
        conversation, _, is_terminated, is_truncated, _ = self._environment.step(self._actions[-1].message)
        reward = 0.0
        if is_terminated or is_truncated:
            reward = float(np.mean(self._world.broadcast_rewards(self.trajectory())))
        return self._seen(conversation), reward, is_terminated, is_truncated, {}

    def trajectory(self) -> Trajectory:
        return self._environment.trajectory(self._actions)

    def _seen(self, conversation: Conversation) -> NDArray[np.float32]:
        self._conversation, self._moment = conversation, self._planner.look(conversation)
        acts = self._moment.acts
        return np.clip(np.concatenate([acts.dense.ravel(), acts.is_possible]), -50, 50).astype(np.float32)


def ppo(config: TrainingConfig, material: TrainingMaterial, imitation: Checkpoint, limit: float) -> dict[str, Any]:
    inside = {"planner": imitation.to_bytes(), "cases": material.pack.train}
    algorithm = (
        PPOConfig()
        .environment(ActsOnly, env_config=inside)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=16)
        .training(**PPO_SETTINGS)
        .debugging(seed=config.seed, log_level="ERROR")
        .build_algo()
    )
    environment, module = ActsOnly(inside), algorithm.get_module()
    assert module is not None, "the process plays itself"

    def likeliest(seen: NDArray[np.float32]) -> int:
        with torch.no_grad():
            told = module.forward_inference({"obs": torch.from_numpy(seen[None])})
        return int(told["action_dist_inputs"][0].argmax())

    def reliability() -> float:
        played = [played_out(environment, case, seed, likeliest) for seed, case in zip(count(), held_out(material), strict=False)]
        return sum(trajectory.correct_calls for trajectory in played) / sum(trajectory.due_calls for trajectory in played)

    def step() -> int:
        return int(algorithm.train()["env_runners"].get("num_episodes", 0))

    found = until_goal(step, reliability, limit)
    algorithm.stop()
    return found


def played_out(environment: ActsOnly, case: Case, seed: int, choose: Callable[[NDArray[np.float32]], int]) -> Trajectory:
    seen, _ = environment.reset(seed=seed, options={"case": case})
    is_over = False
    while not is_over:
        seen, _, is_terminated, is_truncated, _ = environment.step(choose(seen))
        is_over = is_terminated or is_truncated
    return environment.trajectory()


def held_out(material: TrainingMaterial) -> Sequence[Case]:
    return material.pack.held_out[:HELD_OUT]


SIDES: Mapping[str, Callable[[TrainingConfig, TrainingMaterial, Checkpoint, float], dict[str, Any]]] = {"flow_grpo": flow_grpo, "ppo": ppo}


if __name__ == "__main__":
    main()
