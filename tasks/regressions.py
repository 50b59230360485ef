"""The regression cases of an agent, in the database of what was served."""

from agentgym.scenarios.regressions.regression_set import RegressionSet
from agentgym.settings import Settings


def open_regressions(agent: str, settings: Settings) -> RegressionSet:
    return RegressionSet(settings.experience_url, agent)
