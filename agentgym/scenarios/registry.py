"""Scenarios by name."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from agentgym.errors import InvalidInput, ScenarioNotFoundError
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.lookup import Lookup
from agentgym.scenarios.scenario import Scenario
from agentgym.scenarios.world_scenario import WorldScenario

ENTRY_POINT_GROUP = "agentgym.scenarios"


class ScenarioRegistry:
    """Every scenario that can be loaded by name: the built-in ones, those of installed packages, those registered here.

    A scenario is made when it is first loaded, and then kept. Packages offer theirs as an entry point in the group
    `agentgym.scenarios`: a name, and a class or function that makes the scenario without arguments.
    """

    def __init__(self) -> None:
        installed = {entry.name: _maker(entry) for entry in entry_points(group=ENTRY_POINT_GROUP)}
        self._makers: dict[str, Callable[[], Scenario]] = {**installed, "customer_support": CustomerSupport, "lookup": Lookup}
        self._loaded: dict[str, Scenario] = {}

    def load(self, name: str) -> Scenario:
        """The scenario of this name. Raises ScenarioNotFoundError, which names near matches."""
        if name not in self._loaded:
            self._loaded[name] = self._known(name)()
        return self._loaded[name]

    def list(self) -> tuple[str, ...]:
        """Every name, in alphabetical order; nothing is loaded for it."""
        return tuple(sorted(self._makers))

    def register(self, name: str, make: Callable[[], Scenario]) -> None:
        """Adds a scenario; `make` is its class, or a function that gives it. Raises InvalidInput for a name that is taken."""
        if name in self._makers:
            raise InvalidInput(f"A scenario's name is its own; {name!r} is registered already. Choose another, or unregister it first.")
        self._makers[name] = make

    def unregister(self, name: str) -> None:
        """Takes a scenario out, a built-in one too. Raises ScenarioNotFoundError."""
        self._known(name)
        del self._makers[name]
        self._loaded.pop(name, None)

    def is_registered(self, name: str) -> bool:
        return name in self._makers

    def clear(self) -> None:
        """Takes every scenario out; a new registry has the built-in and installed ones again."""
        self._makers.clear()
        self._loaded.clear()

    def _known(self, name: str) -> Callable[[], Scenario]:
        if name not in self._makers:
            raise ScenarioNotFoundError(name, self._makers)
        return self._makers[name]


def load_world(name: str) -> WorldScenario:
    """The declared world of this name. Raises InvalidInput when the scenario is something else."""
    world = ScenarioRegistry().load(name)
    if not isinstance(world, WorldScenario):
        raise InvalidInput(f"Cases are made from traces for declared worlds only; {name!r} is a {type(world).__name__}. Use 'recorded'.")
    return world


def _maker(entry: EntryPoint) -> Callable[[], Scenario]:
    def make() -> Scenario:
        try:
            offered = entry.load()
        except (ImportError, AttributeError) as error:
            raise InvalidInput(
                f"An entry point in {ENTRY_POINT_GROUP!r} must lead to a scenario; {entry.name!r} = {entry.value!r} gave {error!r}. "
                "Mend or uninstall the package that offers it."
            ) from error
        scenario = offered()
        if not isinstance(scenario, Scenario):
            raise InvalidInput(
                f"An entry point in {ENTRY_POINT_GROUP!r} must make a Scenario; {entry.name!r} made {type(scenario).__name__}. "
                "Point it to a Scenario class, or to a function that returns one."
            )
        return scenario

    return make
