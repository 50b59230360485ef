"""Between the nested state of an RLlib learner group and plain arrays by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_OPTIMIZER, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO

from agentgym.training.resume_point import TrainingState

WEIGHTS = "weights/"
MOMENTS = "moments/"


def training_state(
    group_state: Mapping[str, Any], *, iteration: int, unsolved: Mapping[str, float], streaks: Mapping[str, int]
) -> TrainingState:
    """The arrays inside a learner group's state, with what the algorithm itself keeps."""
    learner = group_state[COMPONENT_LEARNER]
    weights = learner[COMPONENT_RL_MODULE][DEFAULT_MODULE_ID]
    moments = _optimizer(learner)["state"]["state"]
    tensors = {f"{WEIGHTS}{name}": np.asarray(values) for name, values in weights.items()}
    tensors |= {f"{MOMENTS}{index}/{name}": np.asarray(values) for index, kept in moments.items() for name, values in kept.items()}
    return TrainingState(iteration=iteration, updates=learner[WEIGHTS_SEQ_NO], tensors=tensors, unsolved=unsolved, streaks=streaks)


def learner_state(fresh: Mapping[str, Any], state: TrainingState) -> dict[str, Any]:
    """The state of a fresh learner group with the arrays of `state` in it."""
    learner = dict(fresh[COMPONENT_LEARNER])
    moments: dict[int, dict[str, np.ndarray]] = {}
    for name, values in state.tensors.items():
        if name.startswith(MOMENTS):
            index, moment = name.removeprefix(MOMENTS).split("/")
            moments.setdefault(int(index), {})[moment] = values
    _optimizer(learner)["state"]["state"] = moments
    weights = {name.removeprefix(WEIGHTS): values for name, values in state.tensors.items() if name.startswith(WEIGHTS)}
    learner[COMPONENT_RL_MODULE] = {DEFAULT_MODULE_ID: weights}
    learner[WEIGHTS_SEQ_NO] = state.updates
    return {COMPONENT_LEARNER: learner}


def _optimizer(learner: Mapping[str, Any]) -> dict[str, Any]:
    """State of the only optimizer of the only module."""
    (optimizer,) = learner[COMPONENT_OPTIMIZER].values()
    return dict(optimizer)
