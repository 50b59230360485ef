import numpy as np
import pytest

from agentgym.errors import InvalidInput
from agentgym.training.result import IterationMetrics
from agentgym.training.resume_point import ResumePoint, TrainingState

METRICS = IterationMetrics(
    iteration=1,
    reward=1.5,
    tool_reliability=0.5,
    success_rate=0.25,
    agent_tokens=120.0,
    simulated_seconds=2.5,
    zero_variance_share=1.0,
    rollouts=8,
    crashes=0,
    decisions=0,
    sampling_seconds=0.1,
    learning_seconds=0.0,
    syncing_seconds=0.0,
)
STATE = TrainingState(
    iteration=1,
    updates=0,
    tensors={"weights/table": np.arange(6, dtype=np.float32).reshape(2, 3), "moments/0/step": np.array(7.0, dtype=np.float32)},
    unsolved={"refund lookup": 0.25},
)


def test_a_resume_point_survives_its_bytes() -> None:
    read = ResumePoint.from_bytes(ResumePoint(state=STATE, curve=(METRICS,)).to_bytes())
    assert read.curve == (METRICS,)
    assert (read.state.iteration, read.state.updates, read.state.unsolved) == (1, 0, {"refund lookup": 0.25})
    for name, values in STATE.tensors.items():
        assert np.array_equal(read.state.tensors[name], values)


def test_a_number_stays_a_number_and_does_not_become_a_list_of_one() -> None:
    """Adam counts its steps in an array without dimensions; one dimension more, and a resumed run stopped at its first update."""
    read = ResumePoint.from_bytes(ResumePoint(state=STATE, curve=()).to_bytes())
    assert read.state.tensors["moments/0/step"].shape == ()


@pytest.mark.parametrize("cut", [0, 10, 400])
def test_half_a_resume_point_is_refused(cut: int) -> None:
    whole = ResumePoint(state=STATE, curve=()).to_bytes()
    with pytest.raises(InvalidInput, match="A resume point must be whole"):
        ResumePoint.from_bytes(whole[:cut])
