"""The training signal: named terms, summed."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from agentgym.episode import JudgedCall, Outcome, Trajectory
from agentgym.errors import InsufficientData


class RewardWeights(BaseModel):
    """What each thing is worth, in reward points, and the ticket that savings are measured against.

    The tool terms are averaged over the calls due, so that a longer conversation is not paid more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    resolved: float = 10.0
    unresolved: float = -5.0
    correct_call: float = 10.0
    wrong_call: float = -20.0
    token_saving: float = 5.0
    speed: float = 3.0
    satisfaction: float = 5.0
    baseline_tokens: float = Field(default=500.0, gt=0)
    baseline_seconds: float = Field(default=240.0, gt=0)


def reward_terms(
    *,
    calls: Sequence[JudgedCall],
    missing_calls: Sequence[str],
    outcome: Outcome,
    satisfaction_score: float | None,
    agent_tokens: int,
    simulated_seconds: float,
    weights: RewardWeights,
) -> dict[str, float]:
    """The terms of one episode's reward: outcome, tools, token_saving, speed, satisfaction.

    What was saved on a ticket that failed is no saving, so token_saving and speed are 0 there. An unknown satisfaction pays nothing.
    """
    is_success = outcome in (Outcome.RESOLVED, Outcome.ESCALATED)
    due = len(calls) + len(missing_calls)
    right = sum(judged.is_correct for judged in calls)
    tools = (weights.correct_call * right + weights.wrong_call * (len(calls) - right)) / due if due else 0.0
    satisfaction = 0.0 if satisfaction_score is None else (satisfaction_score - 1) / 4
    return {
        "outcome": weights.resolved if is_success else weights.unresolved,
        "tools": tools,
        "token_saving": weights.token_saving * _saving(agent_tokens, weights.baseline_tokens) * is_success,
        "speed": weights.speed * _saving(simulated_seconds, weights.baseline_seconds) * is_success,
        "satisfaction": weights.satisfaction * satisfaction,
    }


def trajectory_metrics(trajectories: Sequence[Trajectory]) -> Mapping[str, float]:
    """Plain means over trajectories: tool_reliability, success_rate, agent_tokens, simulated_seconds, satisfaction_score, reward.

    Tool reliability is a ratio of sums: correct calls ÷ (calls made + required calls never made). satisfaction_score is left out
    when no trajectory has one. Raises InsufficientData without trajectories, or when no call was due in any.
    """
    count = len(trajectories)
    due = sum(trajectory.due_calls for trajectory in trajectories)
    if not due:
        raise InsufficientData(
            f"Tool reliability needs at least one call due; got {due} in {count} trajectories. Play cases that require tools."
        )
    metrics = {
        "tool_reliability": sum(trajectory.correct_calls for trajectory in trajectories) / due,
        "success_rate": sum(trajectory.is_success for trajectory in trajectories) / count,
        "agent_tokens": sum(trajectory.agent_tokens for trajectory in trajectories) / count,
        "simulated_seconds": sum(trajectory.simulated_seconds for trajectory in trajectories) / count,
        "reward": sum(trajectory.reward for trajectory in trajectories) / count,
    }
    scores = [trajectory.satisfaction_score for trajectory in trajectories if trajectory.satisfaction_score is not None]
    return metrics | ({"satisfaction_score": sum(scores) / len(scores)} if scores else {})


def _saving(used: float, baseline: float) -> float:
    """Share of the baseline that was not used, 0 when all of it was, shape ()."""
    return max(0.0, 1.0 - used / baseline)
