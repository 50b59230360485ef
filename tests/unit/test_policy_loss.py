import pytest
import torch

from agentgym.training.flow_grpo.loss import PolicyLoss, policy_loss


def loss_at(log_ratio: list[float], advantage: list[float], **options: object) -> tuple[PolicyLoss, torch.Tensor]:
    """The loss of decisions whose log-probabilities moved by `log_ratio` from −1, and its gradient by them."""
    sampled = torch.full((len(log_ratio),), -1.0)
    now = (sampled + torch.tensor(log_ratio)).requires_grad_()
    weight = torch.full((len(log_ratio),), 1.0 / len(log_ratio))
    settings = {"clip_low": 0.2, "clip_high": 0.28, **options}
    loss = policy_loss(now, sampled_log_probability=sampled, advantage=torch.tensor(advantage), weight=weight, **settings)
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
    entropy = torch.tensor([0.5, 0.1])
    plain, _ = loss_at([0.0, 0.0], [0.0, 0.0])
    paid, _ = loss_at([0.0, 0.0], [0.0, 0.0], entropy=entropy, entropy_coefficient=2.0)
    assert (paid.total - plain.total).item() == pytest.approx(-2.0 * 0.3)


def test_the_pull_is_zero_at_the_reference_and_positive_away_from_it():
    at_reference, _ = loss_at([0.5], [0.0], reference_log_probability=torch.tensor([-0.5]), kl_coefficient=1.0)
    away, gradient = loss_at([0.5], [0.0], reference_log_probability=torch.tensor([-1.5]), kl_coefficient=1.0)
    assert float(at_reference.kl) == pytest.approx(0.0, abs=1e-7)
    assert float(away.kl) > 0.0
    assert gradient[0] > 0.0


def test_splitting_a_decision_in_two_of_half_the_weight_changes_nothing():
    """Under the rollout mean a rollout cut into more rows pulls exactly as hard as before."""
    whole = torch.tensor([-1.0, -0.7], requires_grad=True)
    options = {"clip_low": 0.2, "clip_high": 0.28}
    one = policy_loss(
        whole, sampled_log_probability=whole.detach(), advantage=torch.tensor([2.0, -1.0]), weight=torch.tensor([0.5, 0.5]), **options
    )
    rows = whole[torch.tensor([0, 0, 1])]
    two = policy_loss(
        rows,
        sampled_log_probability=rows.detach(),
        advantage=torch.tensor([2.0, 2.0, -1.0]),
        weight=torch.tensor([0.25, 0.25, 0.5]),
        **options,
    )
    gradients = [torch.autograd.grad(loss.total, whole)[0] for loss in (one, two)]
    assert torch.equal(*gradients)
