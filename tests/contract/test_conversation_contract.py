"""Every world keeps gymnasium's contract, and every case of it can be solved."""

from dataclasses import replace
from pathlib import Path

import pytest
from gymnasium.utils.env_checker import check_env

from agentgym.environments.play import play_episode
from agentgym.messages import assistant, user
from agentgym.scenarios import ScenarioRegistry, WorldScenario

WORLDS = [ScenarioRegistry().load("customer_support"), WorldScenario.from_folder(Path(__file__).parents[1] / "worlds" / "lending_library")]


@pytest.mark.filterwarnings("ignore:.*does not have a spec|.*not having a spec:UserWarning")
@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_gymnasium_accepts_the_environment(world: WorldScenario) -> None:
    check_env(world.create_environment())


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_the_spaces_hold_what_they_sample(world: WorldScenario) -> None:
    environment = world.create_environment()
    for space in (environment.observation_space, environment.action_space):
        space.seed(3)
        samples = [space.sample() for _ in range(50)]
        assert all(sample in space for sample in samples)
        space.seed(3)
        assert [space.sample() for _ in range(50)] == samples


def test_an_action_is_an_assistant_message_and_an_observation_holds_messages() -> None:
    environment = WORLDS[0].create_environment()
    conversation, _ = environment.reset(seed=0)
    assert assistant("Hello.") in environment.action_space
    assert user("Hello.") not in environment.action_space
    assert conversation in environment.observation_space
    assert replace(conversation, messages=()) not in environment.observation_space
    assert "Hello." not in environment.observation_space


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_the_expert_solves_every_case(world: WorldScenario) -> None:
    environment, expert = world.create_environment(), world.expert()
    played = [play_episode(environment, expert, case, seed=0) for case in world.generate_cases(300, seed=8)]
    assert [trajectory.case_id for trajectory in played if not trajectory.is_success] == []
    assert world.calculate_metrics(played)["tool_reliability"] == 1.0
