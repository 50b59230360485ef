"""Processes that play are killed in the middle of a sample; the numbers of the run are those of one in which nobody died."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from agentgym.errors import ContractBroken


def deadly(colours: Any, marker: Path) -> Any:
    """A world whose process is killed in the middle of a conversation, once for each time `marker` is put down."""

    class DeadlyWorld(colours.ColourWorld):  # type: ignore[name-defined,misc]
        def step(self, action: Any) -> Any:
            if len(self.calls) == 1 and marker.exists():
                marker.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().step(action)

    return DeadlyWorld


def curve_of_one_that_ends(algorithm: Any, colours: Any, iterations: int) -> Any:
    """Its runners make room for those of the next: this Ray has two processors."""
    curve = colours.curve_of(algorithm, iterations)
    algorithm.close()
    return curve


@pytest.mark.parametrize("runners", [1, 2])
def test_the_groups_of_a_killed_process_are_played_again_and_none_twice(build: Any, colours: Any, tmp_path: Path, runners: int) -> None:
    undisturbed = curve_of_one_that_ends(build(runners=runners), colours, 4)
    marker = tmp_path / "kill"
    algorithm = build(runners=runners, world=deadly(colours, marker))
    disturbed = colours.curve_of(algorithm, 2)
    marker.touch()
    disturbed += colours.curve_of(algorithm, 2)
    assert not marker.exists()
    assert disturbed == undisturbed
    assert {metrics["rollouts"] for metrics in disturbed} == {24 * 16}


def test_the_killed_process_is_started_again_and_plays_on(build: Any, colours: Any, tmp_path: Path) -> None:
    marker = tmp_path / "kill"
    algorithm = build(runners=2, world=deadly(colours, marker))
    before = born(algorithm)
    marker.touch()
    algorithm.iterate()
    assert len(born(algorithm)) == 1
    # A new process takes some seconds to start, in which the other one plays on alone.
    while len(born(algorithm)) < 2:
        algorithm.iterate()
    algorithm.iterate()
    assert len(before & born(algorithm)) == 1


def born(algorithm: Any) -> set[str]:
    return set(algorithm.env_runner_group.foreach_env_runner(lambda runner: runner.born, local_env_runner=False))


def test_a_process_that_was_killed_while_it_rested_is_given_the_weights_before_it_plays(build: Any, colours: Any) -> None:
    algorithm = build(runners=1)
    colours.curve_of(algorithm, 2)
    (process,) = algorithm.env_runner_group.foreach_env_runner(lambda runner: os.getpid(), local_env_runner=False)
    os.kill(process, signal.SIGKILL)
    disturbed = curve_of_one_that_ends(algorithm, colours, 2)
    assert disturbed == colours.curve_of(build(runners=1), 4)[2:]


def test_a_policy_that_fails_in_another_process_ends_the_run_with_its_error(build: Any, colours: Any) -> None:
    """RLlib ends a process whose call raises and starts it again: the run went on for ever, and its reason was in no log."""

    class Stumbling(colours.ColourPolicy):  # type: ignore[name-defined,misc]
        def act_batch(self, conversations: Any, *, rng: Any) -> Any:
            raise ZeroDivisionError("no colour")

    with pytest.raises(ContractBroken, match="one raised ZeroDivisionError: no colour"):
        build(runners=1, policy=Stumbling).iterate()


def test_crashes_of_the_world_stay_crashes_in_another_process(build: Any, colours: Any) -> None:
    class Brittle(colours.ColourWorld):  # type: ignore[name-defined,misc]
        def step(self, action: Any) -> Any:
            if self.case.goal == "red":
                raise ZeroDivisionError("the world broke")
            return super().step(action)

    metrics = build(runners=1, world=Brittle, max_crash_share=0.9).iterate()
    assert metrics["crashes"] > 0
    assert metrics["crashes"] + metrics["rollouts"] == 24 * 16
