"""Training across a Ray cluster of two nodes, both on this machine."""

from collections.abc import Iterator
from typing import Any

import pytest
import ray

from agentgym.training.flow_grpo.ray_session import ray_session


@pytest.fixture(scope="module")
def local_ray(two_nodes: str) -> Iterator[None]:
    """In place of the Ray of one node."""
    with ray_session(cpus=0, address=two_nodes):
        yield


def test_runners_on_two_nodes_play_what_one_learner_learns_from(build: Any, colours: Any) -> None:
    algorithm = build(runners=2)
    nodes = algorithm.env_runner_group.foreach_env_runner(node_of, local_env_runner=False)
    assert set(nodes) == {node["NodeID"] for node in ray.nodes()}
    assert len(nodes) == 2
    curve = colours.curve_of(algorithm, 2)
    assert [metrics["rollouts"] for metrics in curve] == [24 * 16] * 2
    assert max(metrics["max_log_ratio"] for metrics in curve) < 1e-6


def node_of(runner: Any) -> str:
    return str(ray.get_runtime_context().get_node_id())
