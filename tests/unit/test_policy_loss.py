import math

import pytest
import torch

from agentgym.training.flow_grpo.loss import PolicyLoss, policy_loss
from agentgym.training.flow_grpo.settings import FlowGRPOSettings


def loss_at(
    log_ratio: list[float],
    advantage: list[float],
    *,
    staleness: float = 0.0,
    entropy: list[float] | None = None,
    reference: list[float] | None = None,
    **settings: object,
) -> tuple[PolicyLoss, torch.Tensor]:
    """The loss of decisions whose log-probabilities moved by `log_ratio` from −1, and its gradient by them.

    staleness: how far the learner was at −1 above the weights that sampled.
    """
    old = torch.full((len(log_ratio),), -1.0)
    now = (old + torch.tensor(log_ratio)).requires_grad_()
    loss = policy_loss(
        now,
        sampled_log_probability=old - staleness,
        old_log_probability=old,
        advantage=torch.tensor(advantage),
        weight=torch.full((len(log_ratio),), 1.0 / len(log_ratio)),
        settings=FlowGRPOSettings(**settings),
        reference_log_probability=None if reference is None else torch.tensor(reference),
        entropy=None if entropy is None else torch.tensor(entropy),
    )
    (gradient,) = torch.autograd.grad(loss.total, now)
    return loss, gradient


def test_before_the_first_step_the_gradient_is_that_of_reinforce():
    loss, gradient = loss_at([0.0, 0.0], [3.0, -1.0])
    assert gradient.tolist() == pytest.approx([-1.5, 0.5])
    assert float(loss.max_log_ratio) == 0.0


def test_a_good_decision_earns_no_more_gradient_above_the_upper_clip():
    _, gradient = loss_at([0.3, 0.2], [1.0, 1.0])
    assert gradient[0] == 0.0
    assert gradient[1] < 0.0


def test_a_bad_decision_earns_no_more_gradient_below_the_lower_clip():
    _, gradient = loss_at([-0.3, -0.2], [-1.0, -1.0])
    assert gradient[0] == 0.0
    assert gradient[1] > 0.0


def test_a_decision_that_moved_the_wrong_way_is_always_brought_back():
    _, gradient = loss_at([-2.0, 2.0], [1.0, -1.0])
    assert gradient[0] < 0.0 < gradient[1]


def test_clip_share_is_the_share_of_decisions_outside_the_clip_range():
    loss, _ = loss_at([0.1, 0.3, -0.3, 0.5], [1.0, 1.0, 1.0, 1.0])
    assert float(loss.clip_share) == pytest.approx(0.75)


def test_entropy_is_paid_for_by_the_decision_it_belongs_to():
    plain, _ = loss_at([0.0, 0.0], [0.0, 0.0])
    paid, _ = loss_at([0.0, 0.0], [0.0, 0.0], entropy=[0.5, 0.1], entropy_coefficient=2.0)
    assert (paid.total - plain.total).item() == pytest.approx(-2.0 * 0.3)


def test_the_pull_is_zero_at_the_reference_and_positive_away_from_it():
    at_reference, _ = loss_at([0.5], [0.0], reference=[-0.5], kl_coefficient=1.0)
    away, gradient = loss_at([0.5], [0.0], reference=[-1.5], kl_coefficient=1.0)
    assert float(at_reference.kl) == pytest.approx(0.0, abs=1e-7)
    assert float(away.kl) > 0.0
    assert gradient[0] > 0.0


def test_the_pull_is_k3():
    loss, gradient = loss_at([0.0], [0.0], reference=[-0.7], kl_coefficient=2.0)
    assert float(loss.kl) == pytest.approx(math.exp(0.3) - 0.3 - 1)
    assert gradient.tolist() == pytest.approx([2.0 * (1 - math.exp(0.3))])


def test_a_bad_decision_grown_likely_pulls_in_full_until_the_dual_clip():
    """ρ = e² ≈ 7.4: without a bound the gradient is −ρA; at three times the advantage it is capped, and there it has none."""
    _, free = loss_at([2.0], [-1.0])
    capped, none = loss_at([2.0], [-1.0], dual_clip=3.0)
    assert free.tolist() == pytest.approx([math.exp(2.0)])
    assert none.tolist() == [0.0]
    assert capped.total.item() == pytest.approx(3.0)


def test_the_dual_clip_leaves_good_decisions_and_small_ratios_alone():
    for log_ratio, advantage in ((2.0, 1.0), (1.0, -1.0), (-2.0, -1.0)):
        free, _ = loss_at([log_ratio], [advantage])
        clipped, _ = loss_at([log_ratio], [advantage], dual_clip=3.0)
        assert torch.equal(free.total, clipped.total)


def test_a_decision_the_learner_finds_likelier_than_its_sampler_weighs_more_up_to_the_cap():
    _, plain = loss_at([0.0], [1.0])
    for staleness, weight in ((0.0, 1.0), (0.4, math.exp(0.4)), (-0.4, math.exp(-0.4)), (3.0, 2.0)):
        loss, gradient = loss_at([0.0], [1.0], staleness=staleness, importance_cap=2.0)
        assert gradient.tolist() == pytest.approx([weight * plain.item()])
        assert float(loss.importance_max) == pytest.approx(weight)


def test_a_masked_decision_is_one_sampled_too_differently():
    for staleness, weight in ((0.4, math.exp(0.4)), (0.8, 0.0), (-0.8, 0.0)):
        _, gradient = loss_at([0.0], [1.0], staleness=staleness, importance_range=(0.5, 2.0))
        assert gradient.tolist() == pytest.approx([-weight])


def test_nothing_is_weighed_by_importance_unless_asked_for():
    loss, gradient = loss_at([0.0], [1.0], staleness=1.0)
    assert gradient.tolist() == [-1.0]
    assert float(loss.importance_mean) == 1.0


def test_the_ratio_is_taken_against_the_learner_and_not_the_sampler():
    loss, _ = loss_at([0.1], [1.0], staleness=1.0)
    assert float(loss.max_log_ratio) == pytest.approx(0.1)


def test_splitting_a_decision_in_two_of_half_the_weight_changes_nothing():
    """Under the rollout mean a rollout cut into more rows pulls exactly as hard as before."""
    whole = torch.tensor([-1.0, -0.7], requires_grad=True)
    gradients = []
    for rows, weight in (([0, 1], [0.5, 0.5]), ([0, 0, 1], [0.25, 0.25, 0.5])):
        now = whole[torch.tensor(rows)]
        loss = policy_loss(
            now,
            sampled_log_probability=now.detach(),
            old_log_probability=now.detach(),
            advantage=torch.tensor([2.0, -1.0])[torch.tensor(rows)],
            weight=torch.tensor(weight),
            settings=FlowGRPOSettings(),
        )
        gradients.append(torch.autograd.grad(loss.total, whole)[0])
    assert torch.equal(*gradients)
