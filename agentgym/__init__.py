"""AgentGym improves a tool-using agent from its own production experience, and proves every improvement."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentgym.scenarios.registry import ScenarioRegistry
    from agentgym.scenarios.scenario import Scenario
    from agentgym.trace_environment import create_environment
    from agentgym.training.config import TrainingConfig
    from agentgym.training.result import TrainingMetrics, TrainingResult
    from agentgym.training.trained_agent import TrainedAgent
    from agentgym.training.trainer import Trainer

__version__ = version("agentgym")
__all__ = [
    "Scenario",
    "ScenarioRegistry",
    "TrainedAgent",
    "Trainer",
    "TrainingConfig",
    "TrainingMetrics",
    "TrainingResult",
    "__version__",
    "create_environment",
]

_HOMES = {
    "Scenario": "agentgym.scenarios.scenario",
    "ScenarioRegistry": "agentgym.scenarios.registry",
    "TrainedAgent": "agentgym.training.trained_agent",
    "Trainer": "agentgym.training.trainer",
    "TrainingConfig": "agentgym.training.config",
    "TrainingMetrics": "agentgym.training.result",
    "TrainingResult": "agentgym.training.result",
    "create_environment": "agentgym.trace_environment",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are asked for, so that the command line starts at once."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'agentgym' has no attribute {name!r}")
