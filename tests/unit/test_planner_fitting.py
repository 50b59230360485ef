"""A head learns decisions that were right: which of its choices count, and what it makes of decisions it never saw."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agentgym.policies.planner.acts import ACT_FEATURES
from agentgym.policies.planner.batch import Options, collated, of_head, tensors
from agentgym.policies.planner.fitting import FOLDS, Examples, FitSettings, fit_head
from agentgym.policies.planner.network import Committee, Head

Scores = NDArray[np.float32]
BITS = 10


@dataclass
class Watching:
    """Chooses no weight, and keeps what it was asked to choose it by."""

    options: list[Options] = field(default_factory=list)
    scores: list[Scores] = field(default_factory=list)

    def __call__(self, switch: int, options: Sequence[Options], scores: Sequence[Scores]) -> float:
        self.options, self.scores = list(options), list(scores)
        return 0.25


def settings(calibrate: Watching, *, rest_weight: float = 1.0) -> FitSettings:
    return FitSettings(
        table_epochs=8,
        table_steps=100,
        table_rate=0.3,
        layer_epochs=4,
        layer_steps=100,
        layer_rate=5e-3,
        weight_decay=0.0,
        dropout=0.0,
        rest_weight=rest_weight,
        calibrate=calibrate,
    )


def head() -> Head:
    torch.manual_seed(0)
    return Head(ACT_FEATURES, bits=BITS, hidden=8, switch=0, members=2)


def decision(cells: Sequence[int], *, chosen: int, switch: Sequence[int]) -> Options:
    """Options that differ in one word each, and in whether they have the switch."""
    dense = np.zeros((len(switch), ACT_FEATURES), np.float32)
    dense[:, 0] = switch
    return Options("act", dense, np.array(cells, np.int32)[:, None], chosen=chosen)


def examples(options: list[Options]) -> Examples:
    return Examples(options, np.arange(len(options)) % FOLDS, is_measured=np.ones(len(options), bool))


def probabilities(head: Head, options: Options) -> Scores:
    with torch.no_grad():
        return np.asarray(head(of_head("act", tensors(collated([options])))).softmax(dim=0).numpy())


def said(head: Head, options: Options) -> Scores:
    """What the head's table says of each option."""
    with torch.no_grad():
        return np.asarray(head.words(of_head("act", tensors(collated([options]))))[:, 0].numpy())


@pytest.mark.parametrize(("rest_weight", "least", "most"), [(1.0, 0.8, 1.0), (0.0, 0.4, 0.6)])
def test_the_choice_among_the_rest_counts_by_its_weight(rest_weight: float, least: float, most: float) -> None:
    """Words tell the two options without the switch apart; whether they should be told apart is the weight's."""
    either = decision([1, 2, 3], chosen=0, switch=[0, 0, 1])
    fitted = head()
    fit_head(fitted, examples([either] * 60), settings(Watching(), rest_weight=rest_weight), seed=0, on_progress=lambda share: None)
    first, second, switched = probabilities(fitted, either)
    assert switched < 0.1
    assert least <= first / (first + second) <= most


def test_the_weight_of_the_switch_is_chosen_by_heads_that_never_saw_the_decision() -> None:
    """Every decision has words of its own and a choice by chance: the table that stays remembers it, no other could foresee it."""
    rng = np.random.default_rng(0)
    remembered = [decision([2 * n + 10, 2 * n + 11], chosen=int(rng.integers(2)), switch=[0, 1]) for n in range(150)]
    watching, fitted = Watching(), head()
    fit_head(fitted, examples(remembered), settings(watching), seed=0, on_progress=lambda share: None)
    remembers = np.mean([said(fitted, given).argmax() == given.chosen for given in remembered])
    unseen = np.mean(
        [np.exp(scores)[given.chosen] / np.exp(scores).sum() for given, scores in zip(watching.options, watching.scores, strict=True)]
    )
    assert len(watching.options) == len(remembered)
    assert remembers > 0.9
    assert unseen == pytest.approx(0.5, abs=0.1)


def test_the_heads_of_the_folds_carry_the_weight_that_was_chosen() -> None:
    fitted = head()
    states = fit_head(
        fitted, examples([decision([1, 2], chosen=0, switch=[0, 1])] * 9), settings(Watching()), seed=0, on_progress=lambda share: None
    )
    assert [float(state["calibration"]) for state in states] == [0.25] * FOLDS
    assert fitted.calibration.item() == 0.25


def test_what_is_blanked_while_fitting_is_not_learned() -> None:
    """The word alone tells what is right; with words blanked, the layers have nothing to go by."""

    def without_words(
        dense: torch.Tensor, words: torch.Tensor, segments: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return dense, torch.zeros_like(words)

    told = [decision([1, 2], chosen=0, switch=[1, 1])] * 30 + [decision([2, 1], chosen=1, switch=[1, 1])] * 30
    fitted = head()
    fit_head(fitted, examples(told), settings(Watching()), seed=0, on_progress=lambda share: None, blank=without_words)
    assert fitted.layers.weights[0].grad is not None
    assert float(fitted.layers.weights[0].grad[:, -1].abs().max()) == 0


def test_a_committee_is_several_networks_that_began_apart() -> None:
    torch.manual_seed(0)
    committee = Committee(3, hidden=4, members=3)
    scores = committee(torch.randn(5, 3))
    assert scores.shape == (3, 5)
    assert not torch.allclose(scores[0], scores[1])
