"""Moves a policy's learning weights so that a loss over the log-probabilities of given decisions falls."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from agentgym.episode import Decision
from agentgym.errors import InvalidInput
from agentgym.training.flow_grpo.weights import Weights, read_weights, write_weights
from agentgym.training.methods.settings import FittingSettings

MOST_DECISIONS = 8192
"""How many decisions go through the network at once, unless a single example has more."""

Loss = Callable[[Tensor], Tensor]
"""Given the log-probabilities of N decisions, shape (N,), the mean over the examples they belong to, shape ()."""


class Learner(Protocol):
    """What fitting needs of a policy."""

    def collate(self, decisions: Sequence[Decision]) -> Mapping[str, np.ndarray]: ...

    @property
    def network(self) -> Any: ...


class Example(Protocol):
    """Something to learn from as a whole, by its decisions."""

    @property
    def decisions(self) -> Sequence[Decision]: ...


E = TypeVar("E", bound=Example)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """The loss of some examples.   weight: of their mean among others, such as how many they are."""

    loss: Loss
    weight: float


Objective = Callable[[Sequence[E], Callable[[], Tensor]], Measured]
"""The loss of some examples, given a function for the log-probabilities of their decisions under the policy as it is now, shape (N,)."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Portion:
    """What goes through the network at once: the evidence of N decisions, collated, and their loss."""

    evidence: Mapping[str, Tensor]
    decisions: int
    measured: Measured

    def outputs(self, network: nn.Module) -> Mapping[str, Tensor]:
        """On the processor, where the losses are, wherever the network computes them."""
        return {name: values.cpu() for name, values in network(self.evidence).items()}


Batch = Sequence[Portion]
"""What one update learns from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """How one went.   loss: mean over it.   validation_loss: after it; None without validation.   entropy: nats per decision."""

    loss: float
    validation_loss: float | None
    entropy: float
    decisions: int
    seconds: float


def likelihood(examples: Sequence[Example], _: Callable[[], Tensor]) -> Measured:
    """The mean negative log-probability of all their decisions: maximum likelihood."""
    return Measured(loss=lambda log_probability: -log_probability.mean(), weight=sum(len(example.decisions) for example in examples))


def make_batches(
    policy: Learner,
    examples: Sequence[E],
    *,
    size: int,
    objective: Objective[E] = likelihood,
    most_decisions: int = MOST_DECISIONS,
) -> list[Batch]:
    """The examples, `size` to a batch, in the order given.   most_decisions: that go through the network at once."""
    batches = [examples[start : start + size] for start in range(0, len(examples), size)]
    return [[_portion(policy, part, objective) for part in _parts(batch, most_decisions)] for batch in batches]


def fit(
    policy: Learner,
    learning: Sequence[Batch],
    validation: Sequence[Batch],
    settings: FittingSettings,
    *,
    learning_rate: float,
    rng: np.random.Generator,
    on_epoch: Callable[[Epoch], None],
    is_late: Callable[[], bool] = lambda: False,
    worth: Callable[[], float] | None = None,
) -> None:
    """Adam (Kingma & Ba 2015). Leaves the weights of the best epoch, which may be those it found: with the highest `worth` where that is
    given, else with the lowest validation loss; without both, those of the last.

    The batches stay what they are and come in another order each epoch: to collate costs more than to learn.
    Raises InvalidInput when loss or gradient stop being finite; the weights are then those of the best epoch so far.
    """
    network: nn.Module = policy.network
    optimizer = torch.optim.Adam(_learning(network), lr=learning_rate, eps=settings.adam_epsilon)
    best = _Best()
    if validation or worth is not None:
        best.compare(worth() if worth is not None else -mean_loss(network, validation), network)
    try:
        for _ in range(settings.epochs):
            if best.age >= settings.patience or is_late():
                break
            began = perf_counter()
            steps = [_step(network, learning[place], optimizer, settings) for place in rng.permutation(len(learning)).tolist()]
            validation_loss = mean_loss(network, validation) if validation else None
            on_epoch(_epoch([passed for step in steps for passed in step], validation_loss, perf_counter() - began))
            if worth is not None:
                best.compare(worth(), network)
            elif validation_loss is not None:
                best.compare(-validation_loss, network)
    finally:
        best.restore(network)


class _Best:
    """The weights that were worth most so far, and how many comparisons ago they were."""

    def __init__(self) -> None:
        self.age = 0
        self._worth = -math.inf
        self._weights: Weights | None = None

    def compare(self, worth: float, network: nn.Module) -> None:
        self.age += 1
        if worth > self._worth:
            self.age, self._worth, self._weights = 0, worth, read_weights(network)

    def restore(self, network: nn.Module) -> None:
        if self._weights is not None:
            write_weights(network, self._weights)


@torch.no_grad()
def mean_loss(network: nn.Module, batches: Sequence[Batch]) -> float:
    """Over all examples of the batches."""
    portions = [portion for batch in batches for portion in batch]
    losses = [portion.measured.loss(portion.outputs(network)["log_probability"]).item() for portion in portions]
    return float(np.average(losses, weights=[portion.measured.weight for portion in portions]))


class _Pass(NamedTuple):
    """What a portion gave: its mean loss over examples of this weight, and the mean entropy over its decisions."""

    loss: float
    weight: float
    entropy: float
    decisions: int


def _step(network: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer, settings: FittingSettings) -> list[_Pass]:
    """One update. The gradients of the portions add up to that of the batch."""
    optimizer.zero_grad(set_to_none=True)
    whole, passed = sum(portion.measured.weight for portion in batch), []
    for portion in batch:
        outputs, weight = portion.outputs(network), portion.measured.weight
        loss = portion.measured.loss(outputs["log_probability"])
        (loss * (weight / whole)).backward()  # type: ignore[no-untyped-call]
        passed.append(_Pass(loss.item(), weight, outputs["entropy"].detach().mean().item(), portion.decisions))
    norm = torch.nn.utils.clip_grad_norm_(_learning(network), settings.gradient_norm_limit)
    if not torch.isfinite(norm):
        raise InvalidInput(
            f"Loss and gradient must stay finite; the gradient's norm is {norm.item()!r}. Lower the learning rate "
            f"({optimizer.param_groups[0]['lr']!r}); the policy it started from is as it was before."
        )
    optimizer.step()
    return passed


def _epoch(passed: Sequence[_Pass], validation_loss: float | None, seconds: float) -> Epoch:
    decisions = sum(one.decisions for one in passed)
    return Epoch(
        loss=sum(one.loss * one.weight for one in passed) / sum(one.weight for one in passed),
        validation_loss=validation_loss,
        entropy=sum(one.entropy * one.decisions for one in passed) / decisions,
        decisions=decisions,
        seconds=seconds,
    )


def _parts(examples: Sequence[E], most_decisions: int) -> Iterator[Sequence[E]]:
    """The examples in their order, in parts of at most so many decisions, at least one example each."""
    start = count = 0
    for place, example in enumerate(examples):
        if count and count + len(example.decisions) > most_decisions:
            yield examples[start:place]
            start, count = place, 0
        count += len(example.decisions)
    yield examples[start:]


def _portion(policy: Learner, examples: Sequence[E], objective: Callable[[Sequence[E], Callable[[], Tensor]], Measured]) -> Portion:
    decisions = [decision for example in examples for decision in example.decisions]
    evidence = {name: torch.from_numpy(values) for name, values in policy.collate(decisions).items()}

    def log_probability_now() -> Tensor:
        with torch.no_grad():
            now: Tensor = policy.network(evidence)["log_probability"].cpu()
        return now

    return Portion(evidence=evidence, decisions=len(decisions), measured=objective(examples, log_probability_now))


def _learning(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]
