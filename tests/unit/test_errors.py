import re
from collections.abc import Iterator

import pytest

from agentgym import errors
from agentgym.errors import AgentGymError, ContractBroken, InsufficientData, InvalidInput, Refused, ScenarioNotFoundError, Unavailable


@pytest.mark.parametrize(
    ("error", "exit_code"), [(ContractBroken, 1), (InvalidInput, 2), (InsufficientData, 2), (Unavailable, 3), (Refused, 4)]
)
def test_an_errors_exit_code_says_who_can_act(error, exit_code):
    assert error.exit_code == exit_code


def test_the_tree_at_the_top_of_the_file_is_the_tree_of_classes():
    drawn = dict(re.findall(r"[├└]── (\w+).*?(?:exit code (\d))?$", errors.__doc__, re.MULTILINE))
    assert set(drawn) == {error.__name__ for error in _descendants(AgentGymError)}
    assert all(getattr(errors, name).exit_code == int(code) for name, code in drawn.items() if code)


def test_a_misspelt_scenario_is_answered_with_the_near_match():
    error = ScenarioNotFoundError("customer_suport", known=["customer_support", "travel"])
    assert str(error).endswith("Did you mean 'customer_support'?")
    assert error.near_matches == ("customer_support",)


def test_an_unknown_scenario_without_near_match_is_answered_with_all_names():
    assert str(ScenarioNotFoundError("chess", known=["travel", "customer_support"])).endswith("Known: customer_support, travel.")


def test_an_unknown_scenario_is_answered_also_when_none_is_known():
    assert str(ScenarioNotFoundError("chess", known=[])).endswith("Known: none.")


def _descendants(error: type[AgentGymError]) -> Iterator[type[AgentGymError]]:
    for child in error.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _descendants(child)
