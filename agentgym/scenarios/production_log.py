"""Writes the log an agent leaves behind when it serves the customers of a world."""

from collections.abc import Iterator
from datetime import timedelta

import numpy as np

from agentgym.environments.play import play_episode
from agentgym.episode import Policy, Trajectory
from agentgym.scenarios.world_scenario import WorldScenario
from agentgym.traces.trace import Trace

_RATING_SHARE = 0.4
_BETWEEN_CONVERSATIONS = timedelta(minutes=7)
_SECONDS_PER_CUSTOMER_TURN = 25.0


def write_logs(scenario: WorldScenario, policy: Policy, count: int, seed: int, *, agent_version: str = "legacy") -> Iterator[Trace]:
    """`count` conversations, one every few minutes from the start of the world's clock; equal seeds give equal logs.

    Customers come back. Two of five rate their conversation, in whole points. The tags say which case it was.
    """
    environment = scenario.create_environment()
    rng = np.random.default_rng([seed, 1])
    for number, case in enumerate(scenario.generate_cases(count, seed=seed)):
        episode_seed = int(rng.integers(2**31))
        played = play_episode(environment, policy, case, seed=episode_seed)
        started_at = scenario.world.clock.start + number * _BETWEEN_CONVERSATIONS
        seconds = played.simulated_seconds + _SECONDS_PER_CUSTOMER_TURN * sum(message.role == "user" for message in played.messages)
        yield Trace(
            conversation_id=f"{agent_version}-{seed}-{number:05d}",
            messages=played.messages,
            tools=scenario.tools,
            outcome=played.outcome,
            satisfaction_score=_rating(played, rng),
            customer_id=case.cluster_id,
            agent_version=agent_version,
            started_at=started_at,
            ended_at=started_at + timedelta(seconds=round(seconds)),
            agent_tokens=played.agent_tokens,
            latency_seconds=round(played.simulated_seconds, 3),
            tags={"kind": case.kind, "case": case.case_id.rpartition("/")[2], "seed": str(episode_seed)},
        )


def _rating(played: Trajectory, rng: np.random.Generator) -> float | None:
    is_given = rng.random() < _RATING_SHARE
    return float(round(played.satisfaction_score)) if is_given and played.satisfaction_score is not None else None
