"""Several learners as one: they agree on every refusal, and their gradients and figures are those of the whole batch."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, distributed

from agentgym.errors import AgentGymError
from agentgym.training.flow_grpo.update import Step, whole

Name = TypeVar("Name")
Sent = TypeVar("Sent")


class Together:
    """The learners of a group, seen from one of them.   learners: how many; fewer than 2 have nobody to talk to."""

    def __init__(self, *, learners: int, device: torch.device) -> None:
        self._learners = learners if learners > 1 else 1
        self._device = device

    def require(self, check: Callable[[], None]) -> None:
        """Raises what `check` raises for any of the learners: one that refused alone would leave the others waiting for its gradients."""
        refusals = self._gathered(_refusal(check))
        for refusal in refusals:
            if refusal is not None:
                raise refusal

    def summed_gradients(self, gradients: dict[Name, Tensor]) -> dict[Name, Tensor]:
        """Of all learners.   Weights are shares of the whole batch, so the sum is what a single learner would have computed."""
        if self._learners == 1:
            return gradients
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients.values()])
        distributed.all_reduce(flat)
        pieces = torch.split(flat, [gradient.numel() for gradient in gradients.values()])
        return {name: piece.view_as(gradient) for (name, gradient), piece in zip(gradients.items(), pieces, strict=True)}

    def step(self, parts: Sequence[Step], *, gradient_norm: float) -> Step:
        """The step all learners take, from the parts of this one."""
        gathered = [part for theirs in self._gathered(tuple(parts)) for part in theirs]
        return whole(gathered, gradient_norm=gradient_norm)

    def _gathered(self, sent: Sent) -> list[Sent]:
        """What each learner sent, in their order."""
        if self._learners == 1:
            return [sent]
        gathered: list[Sent] = [sent] * self._learners
        distributed.all_gather_object(gathered, sent)
        return gathered


def _refusal(check: Callable[[], None]) -> AgentGymError | None:
    try:
        check()
    except AgentGymError as error:
        return error
    return None
