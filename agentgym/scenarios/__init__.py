"""Worlds to train agents in, and the registry that finds them."""

from agentgym.scenarios.pack import ScenarioPack
from agentgym.scenarios.registry import ScenarioRegistry
from agentgym.scenarios.scenario import Scenario
from agentgym.scenarios.world_scenario import WorldScenario

__all__ = ["Scenario", "ScenarioPack", "ScenarioRegistry", "WorldScenario"]
