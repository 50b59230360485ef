"""How far an environment made from traces can be trusted: measured on traces it was not made from, before anything trains in it."""

from agentgym.scenarios.fidelity.bar import FidelityBar
from agentgym.scenarios.fidelity.measure import measure_fidelity, measure_recorded, measure_world
from agentgym.scenarios.fidelity.report import FidelityCheck, FidelityReport

__all__ = ["FidelityBar", "FidelityCheck", "FidelityReport", "measure_fidelity", "measure_recorded", "measure_world"]
