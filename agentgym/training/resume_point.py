"""Where an interrupted training run goes on: tensors and JSON in one zip, never a pickle."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from agentgym.errors import InvalidInput
from agentgym.training.result import IterationMetrics

_TENSORS, _PROGRESS = "tensors.safetensors", "progress.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingState:
    """What the algorithm itself needs.

    iteration: completed.   updates: of the learner, by which RLlib tells newer weights from older.   tensors: weights and optimizer
    moments, by name.   unsolved: of each course of cases, what the curriculum goes by; streaks: of what it may set aside.
    """

    iteration: int
    updates: int
    tensors: Mapping[str, np.ndarray]
    unsolved: Mapping[str, float]
    streaks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumePoint:
    """The state after some iterations, and the curve up to there."""

    state: TrainingState
    curve: tuple[IterationMetrics, ...]

    def to_bytes(self) -> bytes:
        state = self.state
        progress = _Progress(
            iteration=state.iteration,
            updates=state.updates,
            unsolved=dict(state.unsolved),
            streaks=dict(state.streaks),
            curve=self.curve,
        )
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(_TENSORS, save({name: np.asarray(values, order="C") for name, values in state.tensors.items()}))
            archive.writestr(_PROGRESS, progress.model_dump_json())
        return packed.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Raises InvalidInput for anything `to_bytes` did not write."""
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                tensors = load(archive.read(_TENSORS))
                progress = _Progress.model_validate_json(archive.read(_PROGRESS))
        except (zipfile.BadZipFile, KeyError, SafetensorError, ValidationError) as error:
            raise InvalidInput(f"A resume point must be whole; reading it gave {error}. Remove it to train from the start.") from error
        state = TrainingState(
            iteration=progress.iteration,
            updates=progress.updates,
            tensors=tensors,
            unsolved=progress.unsolved,
            streaks=progress.streaks,
        )
        return cls(state=state, curve=progress.curve)


class _Progress(BaseModel):
    model_config = ConfigDict(extra="forbid")

    iteration: int
    updates: int
    unsolved: dict[str, float]
    streaks: dict[str, int] = {}
    curve: tuple[IterationMetrics, ...]
