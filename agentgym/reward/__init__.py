"""What pays: named terms, summed."""

from agentgym.reward.conduct import ConductRule, broken_rules
from agentgym.reward.expressed import SatisfactionWords
from agentgym.reward.quality import reply_quality
from agentgym.reward.similarity import Similarity
from agentgym.reward.terms import RewardWeights, Spoken, reward_terms, spoken_terms, trajectory_metrics

__all__ = [
    "ConductRule",
    "RewardWeights",
    "SatisfactionWords",
    "Similarity",
    "Spoken",
    "broken_rules",
    "reply_quality",
    "reward_terms",
    "spoken_terms",
    "trajectory_metrics",
]
