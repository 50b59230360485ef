"""The help desk that ships with AgentGym, declared in `library/customer_support/`."""

from pathlib import Path

from agentgym.scenarios.world_scenario import WorldScenario, read_world

_DECLARATION = Path(__file__).parent / "library" / "customer_support"


class CustomerSupport(WorldScenario):
    """Password resets, charges, API access, refunds and data migrations, by the company's guidelines."""

    def __init__(self) -> None:
        super().__init__(read_world(_DECLARATION))
