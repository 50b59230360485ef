"""Which decisions of a rollout learn, how much of the loss each is, and how whole rollouts are shared out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from agentgym.episode import Action, Decision, Outcome, Trajectory
from agentgym.errors import InvalidInput
from agentgym.messages import assistant
from agentgym.training.flow_grpo.batch import LearningBatch, learning_batch
from agentgym.training.flow_grpo.loss import policy_loss
from agentgym.training.flow_grpo.rollouts import Rollout
from agentgym.training.flow_grpo.settings import FlowGRPOSettings

ROLLOUT = FlowGRPOSettings(credit="rollout")


def rollout(group_id: int, reward: float, *turns: Sequence[str]) -> Rollout:
    """A rollout that took decisions of these names; each decision's evidence is its own number in the rollout."""
    counted = iter(range(100))
    decided = [tuple(Decision(name=name, choice="x", log_probability=-0.5, evidence=next(counted)) for name in names) for names in turns]
    trajectory = Trajectory(
        case_id="case",
        kind="kind",
        cluster_id="customer",
        messages=(),
        actions=tuple(Action(message=assistant("hello"), decisions=of_turn) for of_turn in decided),
        calls=(),
        missing_calls=(),
        outcome=Outcome.RESOLVED,
        satisfaction_score=None,
        agent_tokens=1,
        simulated_seconds=1.0,
        reward_terms={"outcome": reward},
    )
    return Rollout(trajectory=trajectory, group_id=group_id, turn_rewards=(reward,) * len(turns), weights_digest="digest")


def gradient(batch: LearningBatch, settings: FlowGRPOSettings) -> torch.Tensor:
    """Of the loss of `batch` by the logits of a policy whose decision number k has logit k; (10,)."""
    logits = torch.linspace(-1.0, 1.0, 10, requires_grad=True)
    now = logits[torch.tensor([decision.evidence for decision in batch.decisions])]
    loss = policy_loss(
        now,
        sampled_log_probability=now.detach(),
        old_log_probability=now.detach(),
        advantage=torch.from_numpy(batch.advantages),
        weight=torch.from_numpy(batch.weights),
        settings=settings,
    )
    return torch.autograd.grad(loss.total, logits)[0]


def test_a_rollout_cut_into_more_turns_pulls_as_hard_as_before():
    whole = learning_batch([rollout(0, 4.0, ["act", "argument city"]), rollout(0, 1.0, ["act"])], ROLLOUT)
    in_two = learning_batch([rollout(0, 4.0, ["act"], ["argument city"]), rollout(0, 1.0, ["act"])], ROLLOUT)
    assert torch.equal(gradient(whole, ROLLOUT), gradient(in_two, ROLLOUT))


def test_before_the_first_update_the_gradient_is_that_of_reinforce_on_rollout_means():
    """Advantages ±1.5; a decision of the first rollout pulls by 1.5 ÷ (2 decisions · 2 rollouts), the one of the second by −1.5 ÷ 2."""
    batch = learning_batch([rollout(0, 4.0, ["act", "act"]), rollout(0, 1.0, ["act"])], ROLLOUT)
    assert gradient(batch, ROLLOUT)[:2].tolist() == pytest.approx([-1.5 / 4 + 1.5 / 2, -1.5 / 4])


def test_decisions_that_are_not_trained_get_no_gradient_and_take_no_share():
    rollouts = [rollout(0, 4.0, ["act", "words", "argument city"]), rollout(0, 1.0, ["act"])]
    batch = learning_batch(rollouts, ROLLOUT, trains=("act", "argument"))
    assert [decision.name for decision in batch.decisions] == ["act", "argument city", "act"]
    assert batch.weights.tolist() == [0.25, 0.25, 0.5]
    assert gradient(batch, ROLLOUT)[1] == 0.0


def test_decisions_that_are_not_trained_still_part_the_paths():
    def played(reward: float, word: str) -> Rollout:
        like = rollout(0, reward, ["words", "act"])
        decided = (Decision(name="words", choice=word, log_probability=-0.5), like.decisions[1])
        action = Action(message=assistant("hello"), decisions=decided)
        return replace(like, trajectory=replace(like.trajectory, actions=(action,)))

    rollouts = [played(8.0, "hi"), played(4.0, "hi"), played(0.0, "yo"), played(1.0, "yo")]
    assert learning_batch(rollouts, FlowGRPOSettings(), trains=("act",)).advantages.tolist() == [2.0, -2.0, -0.5, 0.5]


def test_a_rollout_without_a_trained_decision_takes_no_part():
    rollouts = [rollout(0, 4.0, ["act"]), rollout(0, 1.0, ["words"]), rollout(0, 1.0, ["act"])]
    batch = learning_batch(rollouts, ROLLOUT, trains=("act",))
    assert batch.advantages.tolist() == [2.0, -1.0]
    assert batch.weights.tolist() == [0.5, 0.5]


def test_training_none_of_the_decisions_a_policy_takes_is_a_mistake():
    with pytest.raises(InvalidInput, match=r"it takes \['act', 'argument'\] and \['acts'\] are"):
        learning_batch([rollout(0, 4.0, ["act", "argument city"]), rollout(0, 1.0, ["act"])], ROLLOUT, trains=("acts",))


def test_under_the_token_mean_every_decision_weighs_the_same():
    settings = FlowGRPOSettings(aggregation="token_mean")
    batch = learning_batch([rollout(0, 4.0, ["act"] * 3), rollout(0, 1.0, ["act"])], settings)
    assert batch.weights.tolist() == [0.25] * 4


def test_under_a_fixed_length_a_decision_weighs_the_same_in_every_batch():
    settings = FlowGRPOSettings(aggregation="const", nominal_decisions=10)
    short, long = (learning_batch([rollout(0, 4.0, ["act"] * count), rollout(0, 1.0, ["act"])], settings) for count in (1, 7))
    assert short.weights.tolist() == [0.05] * 2
    assert long.weights.tolist() == [0.05] * 8


def ragged(rng: np.random.Generator) -> LearningBatch:
    rollouts = [rollout(k // 4, float(rng.normal()), ["act"] * int(rng.integers(1, 9))) for k in range(24)]
    batch = learning_batch(rollouts, ROLLOUT)
    assert batch is not None
    return batch


def losses(batches: Sequence[LearningBatch]) -> torch.Tensor:
    return torch.stack([gradient(batch, ROLLOUT) for batch in batches]).sum(dim=0)


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_parts_hold_whole_rollouts_and_about_as_many_decisions(parts):
    batch = ragged(np.random.default_rng(2))
    shared = batch.split(parts)
    loads = [len(part.decisions) for part in shared]
    assert len(shared) == parts
    assert sorted(length for part in shared for length in part.lengths) == sorted(batch.lengths)
    assert max(loads) - min(loads) <= max(batch.lengths)
    assert all(sum(part.lengths) == len(part.decisions) == len(part.weights) for part in shared)


def test_the_gradients_of_parts_add_up_to_that_of_the_whole():
    batch = ragged(np.random.default_rng(3))
    for parts in (batch.split(3), batch.micro(10)):
        assert losses(parts).numpy() == pytest.approx(gradient(batch, ROLLOUT).numpy(), abs=1e-6)


def test_no_part_is_empty():
    batch = learning_batch([rollout(0, 4.0, ["act"]), rollout(0, 1.0, ["act"])], ROLLOUT)
    assert [part.lengths for part in batch.split(5)] == [(1,), (1,)]


def test_a_micro_batch_holds_no_more_decisions_than_allowed_but_for_a_longer_rollout():
    rollouts = [rollout(0, float(count), ["act"] * count) for count in (2, 3, 9, 1, 4)]
    batch = learning_batch(rollouts, ROLLOUT)
    micro = batch.micro(5)
    assert [part.lengths for part in micro] == [(2, 3), (9,), (1, 4)]
    assert np.concatenate([part.weights for part in micro]).tolist() == batch.weights.tolist()
    assert [decision.evidence for part in micro for decision in part.decisions] == [decision.evidence for decision in batch.decisions]
