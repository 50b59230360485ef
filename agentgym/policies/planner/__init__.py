"""The planner: a factored softmax policy over what to do and what to say to a tool."""

from agentgym.policies.planner.gazetteer import Gazetteer, learn_gazetteer
from agentgym.policies.planner.network import PlannerNetwork
from agentgym.policies.planner.planner import Knowledge, Planner, PlannerConfig

__all__ = ["Gazetteer", "Knowledge", "Planner", "PlannerConfig", "PlannerNetwork", "learn_gazetteer"]
