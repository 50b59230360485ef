"""The small world that ships with AgentGym, declared in `library/lookup/`: something to learn in minutes."""

from pathlib import Path

from agentgym.scenarios.world_scenario import WorldScenario, read_world

_DECLARATION = Path(__file__).parent / "library" / "lookup"


class Lookup(WorldScenario):
    """Eight tools of one argument; a call that times out is made again; some customers want nothing."""

    def __init__(self) -> None:
        super().__init__(read_world(_DECLARATION))
