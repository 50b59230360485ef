"""What pays: named terms, summed."""

from agentgym.reward.conduct import ConductRule, broken_rules
from agentgym.reward.expressed import SatisfactionWords
from agentgym.reward.quality import reply_quality
from agentgym.reward.similarity import BY_EQUAL_WORDS, Similarity
from agentgym.reward.terms import RewardWeights, Spoken, reward_terms, spoken_terms, trajectory_metrics

__all__ = [
    "BY_EQUAL_WORDS",
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
