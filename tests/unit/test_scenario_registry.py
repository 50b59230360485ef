from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from agentgym.errors import InvalidInput, ScenarioNotFoundError
from agentgym.scenarios import ScenarioRegistry, WorldScenario
from agentgym.scenarios import registry as registry_module
from agentgym.scenarios.customer_support import CustomerSupport


def lending_library() -> WorldScenario:
    return WorldScenario.from_folder(Path(__file__).parents[1] / "worlds" / "lending_library")


def test_the_built_in_scenario_is_listed_and_loads() -> None:
    registry = ScenarioRegistry()
    assert "customer_support" in registry.list()
    assert isinstance(registry.load("customer_support"), CustomerSupport)


def test_a_scenario_is_made_once_and_only_when_it_is_loaded() -> None:
    registry, made = ScenarioRegistry(), []

    def make() -> WorldScenario:
        made.append(1)
        return lending_library()

    registry.register("lending_library", make)
    assert registry.is_registered("lending_library")
    assert made == []
    assert registry.load("lending_library") is registry.load("lending_library")
    assert made == [1]


def test_a_misspelled_name_is_answered_with_near_matches() -> None:
    with pytest.raises(ScenarioNotFoundError, match="Did you mean 'customer_support'") as caught:
        ScenarioRegistry().load("custmer_support")
    assert caught.value.near_matches == ("customer_support",)


def test_a_taken_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match="registered already"):
        ScenarioRegistry().register("customer_support", lending_library)


def test_an_unregistered_scenario_is_gone() -> None:
    registry = ScenarioRegistry()
    registry.load("customer_support")
    registry.unregister("customer_support")
    assert not registry.is_registered("customer_support")
    with pytest.raises(ScenarioNotFoundError):
        registry.unregister("customer_support")


def test_a_name_set_free_leads_to_what_is_registered_next() -> None:
    registry = ScenarioRegistry()
    registry.load("customer_support")
    registry.unregister("customer_support")
    registry.register("customer_support", lending_library)
    assert registry.load("customer_support").name == "lending_library"


def test_clearing_leaves_nothing_and_a_new_registry_has_all() -> None:
    registry = ScenarioRegistry()
    registry.clear()
    assert registry.list() == ()
    assert ScenarioRegistry().is_registered("customer_support")


def installed(monkeypatch: pytest.MonkeyPatch, value: str) -> ScenarioRegistry:
    entry = EntryPoint(name="theirs", value=value, group=registry_module.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry_module, "entry_points", lambda group: [entry])
    return ScenarioRegistry()


def test_installed_packages_offer_scenarios_through_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = installed(monkeypatch, "agentgym.scenarios.customer_support:CustomerSupport")
    assert registry.list() == ("customer_support", "lookup", "theirs")
    assert isinstance(registry.load("theirs"), CustomerSupport)


@pytest.mark.parametrize(("value", "complaint"), [("no_such_package:Scenario", "must lead to"), ("pathlib:Path", "must make a Scenario")])
def test_a_broken_entry_point_is_told_when_it_is_loaded(monkeypatch: pytest.MonkeyPatch, value: str, complaint: str) -> None:
    registry = installed(monkeypatch, value)
    with pytest.raises(InvalidInput, match=complaint):
        registry.load("theirs")
