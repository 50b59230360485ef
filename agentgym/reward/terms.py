"""The training signal: named terms, summed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agentgym.episode import JudgedCall, Outcome, Trajectory
from agentgym.errors import InsufficientData
from agentgym.messages import Message
from agentgym.reward.conduct import ConductRule, broken_rules
from agentgym.reward.expressed import SatisfactionWords, reaction
from agentgym.reward.quality import mean_quality
from agentgym.reward.similarity import BY_EQUAL_WORDS, Similarity


class RewardWeights(BaseModel):
    """What each thing is worth, in reward points, and the ticket that savings are measured against.

    The tool terms are averaged over the calls due, so that a longer conversation is not paid more. The terms of what was said are off
    unless they are given a weight.
    guidelines: lost in full when all `rules` are broken.   similarity: of the replies to those on record, by `encoder` where one is named
    (a sentence-transformers model), else by words.   quality: of the replies.
    expressed_satisfaction: read from the customer's words by `satisfaction_words`; None has a recorded scenario learn them from its scores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    resolved: float = 10.0
    unresolved: float = -5.0
    correct_call: float = 10.0
    wrong_call: float = -20.0
    token_saving: float = 5.0
    speed: float = 3.0
    satisfaction: float = 5.0
    guidelines: float = Field(default=0.0, ge=0)
    similarity: float = Field(default=0.0, ge=0)
    quality: float = Field(default=0.0, ge=0)
    expressed_satisfaction: float = Field(default=0.0, ge=0)
    rules: tuple[ConductRule, ...] = ()
    encoder: str | None = Field(default=None, min_length=1)
    satisfaction_words: SatisfactionWords | None = None
    baseline_tokens: float = Field(default=500.0, gt=0)
    baseline_seconds: float = Field(default=240.0, gt=0)

    @model_validator(mode="after")
    def _is_read(self) -> Self:
        """What nothing would read is refused rather than ignored."""
        for given, weight in (("rules", "guidelines"), ("encoder", "similarity"), ("satisfaction_words", "expressed_satisfaction")):
            if getattr(self, given) and not getattr(self, weight):
                raise ValueError(f"{given} are read for the term {weight!r}, whose weight is 0; give it one, or leave {given} out")
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class Spoken:
    """What was said.

    messages: the whole conversation.   replies: the agent's own, of each time it spoke.   recorded: those of the recorded agent; empty
    where nothing is on record.   similarity: how likeness is measured.
    """

    messages: Sequence[Message]
    replies: Sequence[str] = ()
    recorded: Sequence[str] = ()
    similarity: Similarity = BY_EQUAL_WORDS


def reward_terms(
    *,
    calls: Sequence[JudgedCall],
    missing_calls: Sequence[str],
    outcome: Outcome,
    satisfaction_score: float | None,
    agent_tokens: int,
    simulated_seconds: float,
    weights: RewardWeights,
    spoken: Spoken | None = None,
) -> dict[str, float]:
    """The terms of one episode's reward: outcome, tools, token_saving, speed, satisfaction; with a weight also those of `spoken_terms`.

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
        **({} if spoken is None else spoken_terms(spoken, weights, is_success=is_success)),
    }


def spoken_terms(spoken: Spoken, weights: RewardWeights, *, is_success: bool | None) -> dict[str, float]:
    """The terms of what was said, those that have a weight w.

    guidelines: from -w to 0, by the share of the rules broken.   similarity, quality, expressed_satisfaction: from 0 to w, and 0 where the
    customer did not get what they came for: fine words for nothing would be the cheapest way to be paid.
    is_success: None where nobody knows what they got; then quality and satisfaction are paid as far as the words are like those on record.
    What is unknown pays nothing, as is a likeness where nothing is on record, or the satisfaction of a customer without a word that tells.
    """
    terms: dict[str, float] = {}
    if weights.guidelines:
        broken = len(broken_rules(weights.rules, spoken.messages))
        terms["guidelines"] = -weights.guidelines * broken / len(weights.rules) if broken else 0.0
    likeness = _likeness(spoken) if is_success or is_success is None else 0.0
    earned = float(is_success) if is_success is not None else likeness if spoken.recorded else 1.0
    if weights.similarity:
        terms["similarity"] = weights.similarity * likeness
    if weights.quality:
        terms["quality"] = weights.quality * earned * (mean_quality(spoken.messages) if earned else 0.0)
    if weights.expressed_satisfaction:
        expressed = weights.satisfaction_words.read(reaction(spoken.messages)) if weights.satisfaction_words and earned else None
        terms["expressed_satisfaction"] = weights.expressed_satisfaction * earned * (expressed or 0.0)
    return terms


def _likeness(spoken: Spoken) -> float:
    return spoken.similarity.of_replies(spoken.replies, spoken.recorded)


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
