"""Fitting on a policy that is as small as can be: one choice between a few options, each with its own weight."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from agentgym.episode import Decision
from agentgym.errors import InvalidInput
from agentgym.training.flow_grpo.weights import read_weights
from agentgym.training.methods.fitting import Epoch, Measured, fit, likelihood, make_batches
from agentgym.training.methods.settings import FittingSettings

SETTINGS = FittingSettings(epochs=300, patience=300, gradient_norm_limit=100)


class Choice(nn.Module):
    """Log-probabilities of the options that decisions chose."""

    def __init__(self, options: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(options))

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        log_probabilities = self.scores.log_softmax(dim=0)
        entropy = -(log_probabilities.exp() * log_probabilities).sum()
        chosen = log_probabilities[batch["chosen"]]
        return {"log_probability": chosen, "entropy": entropy.expand(len(chosen))}


class Chooser:
    """As much of a policy as fitting needs."""

    def __init__(self, options: int = 2) -> None:
        self.network = Choice(options)

    def collate(self, decisions: Sequence[Decision]) -> Mapping[str, np.ndarray]:
        return {"chosen": np.array([decision.evidence for decision in decisions], np.int64)}

    def probabilities(self) -> list[float]:
        return self.network.scores.softmax(dim=0).tolist()


@dataclass(frozen=True)
class Shown:
    decisions: tuple[Decision, ...]


def shown(*chosen: int) -> Shown:
    return Shown(tuple(Decision(name="act", choice=str(option), log_probability=0.0, evidence=option) for option in chosen))


def fitted(
    chooser: Chooser,
    learning: Sequence[Shown],
    validation: Sequence[Shown] = (),
    settings: FittingSettings = SETTINGS,
    *,
    size: int = 32,
    objective: Callable[[Sequence[Shown], Callable[[], Tensor]], Measured] = likelihood,
    worth: Callable[[], float] | None = None,
) -> list[Epoch]:
    epochs: list[Epoch] = []
    batches, judged = (make_batches(chooser, part, size=size, objective=objective) for part in (learning, validation))
    fit(chooser, batches, judged, settings, learning_rate=0.05, rng=np.random.default_rng(0), on_epoch=epochs.append, worth=worth)
    return epochs


def test_probabilities_become_the_frequencies_of_what_was_shown() -> None:
    chooser = Chooser(3)
    epochs = fitted(chooser, [shown(0, 0, 0), shown(1), shown(0, 0), shown(2, 2)])
    assert chooser.probabilities() == pytest.approx([5 / 8, 1 / 8, 2 / 8], abs=1e-3)
    # The loss of maximum likelihood at its optimum is the entropy of the frequencies.
    entropy = -sum(share * np.log(share) for share in (5 / 8, 1 / 8, 2 / 8))
    assert epochs[-1].loss == pytest.approx(entropy, abs=1e-3)
    assert epochs[-1].entropy == pytest.approx(entropy, abs=1e-3)
    assert epochs[-1].decisions == 8


def test_what_validation_contradicts_is_not_kept() -> None:
    chooser = Chooser()
    epochs = fitted(chooser, [shown(0)], [shown(1)], FittingSettings(epochs=50, patience=4))
    assert chooser.probabilities() == [0.5, 0.5]
    assert len(epochs) == 4


def test_the_epoch_with_the_lowest_validation_loss_is_kept() -> None:
    chooser = Chooser()
    fitted(chooser, [shown(0)], [shown(0, 0, 1)], FittingSettings(epochs=200, patience=5))
    # Learning alone goes to 1; validation is best served at 2/3.
    assert chooser.probabilities()[0] == pytest.approx(2 / 3, abs=0.03)


def test_worth_decides_where_it_is_given() -> None:
    chooser = Chooser()
    fitted(chooser, [shown(0)], [shown(1)], FittingSettings(epochs=50, patience=5), worth=lambda: -abs(chooser.probabilities()[0] - 0.8))
    assert chooser.probabilities()[0] == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(("most", "portions"), [(1, 4), (2, 4), (3, 3), (8192, 1)])
def test_a_batch_in_portions_moves_weights_as_one_in_a_piece(most: int, portions: int) -> None:
    examples = [shown(0, 0, 0), shown(1), shown(0, 2), shown(2)]
    moved = []
    for limit in (8192, most):
        chooser = Chooser(3)
        batches = make_batches(chooser, examples, size=32, most_decisions=limit)
        fit(chooser, batches, (), FittingSettings(epochs=3), learning_rate=0.05, rng=np.random.default_rng(0), on_epoch=lambda _: None)
        moved.append(read_weights(chooser.network)["scores"])
    assert len(batches[0]) == portions
    assert moved[1] == pytest.approx(moved[0], abs=1e-6)


def test_an_objective_is_told_the_log_probabilities_before_anything_is_learned() -> None:
    told: list[list[float]] = []

    def objective(examples: Sequence[Shown], now: Callable[[], Tensor]) -> Measured:
        told.append(now().tolist())
        return likelihood(examples, now)

    fitted(Chooser(4), [shown(0), shown(3, 1)], objective=objective)
    assert told == [pytest.approx([-np.log(4)] * 3)]


def test_a_loss_that_stops_being_finite_is_refused_and_the_best_weights_stay() -> None:
    chooser = Chooser()

    def broken(examples: Sequence[Shown], _: Callable[[], Tensor]) -> Measured:
        return Measured(loss=lambda log_probability: log_probability.mean() * torch.nan, weight=len(examples))

    with pytest.raises(InvalidInput, match="must stay finite"):
        fitted(chooser, [shown(0)], [shown(0)], objective=broken)
    assert chooser.probabilities() == [0.5, 0.5]


def test_batches_hold_as_many_examples_as_asked() -> None:
    batches = make_batches(Chooser(), [shown(0)] * 7, size=3)
    assert [sum(portion.decisions for portion in batch) for batch in batches] == [3, 3, 1]
