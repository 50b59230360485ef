"""From rollouts to the rows the learner sees: one row for each decision."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentgym.episode import Decision
from agentgym.errors import ContractBroken, InvalidInput
from agentgym.training.flow_grpo.advantages import FloatArray, IntArray, group_advantages, grouped, term_scores, varied
from agentgym.training.flow_grpo.credit import keyed_advantages, path_advantages, returns_to_go
from agentgym.training.flow_grpo.rollouts import Rollout
from agentgym.training.flow_grpo.settings import FlowGRPOSettings

DEFAULTS = FlowGRPOSettings()


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningBatch:
    """N decisions to learn from, rollout by rollout.

    log_probabilities: when they were sampled, shape (N,).   advantages: shape (N,).   weights: of each decision in the loss, shape (N,).
    lengths: decisions of each rollout, in order; they add up to N.   sampled_by: digests of the weights that sampled them.
    """

    decisions: Sequence[Decision]
    log_probabilities: FloatArray
    advantages: FloatArray
    weights: FloatArray
    lengths: tuple[int, ...]
    sampled_by: frozenset[str]

    def split(self, parts: int) -> list["LearningBatch"]:
        """Whole rollouts shared out over `parts` batches of about as many decisions each; over fewer where there are fewer rollouts.

        Weights stay what they are: the losses of the parts add up to the loss of the whole.
        """
        loads = [0] * min(parts, len(self.lengths))
        members: list[list[int]] = [[] for _ in loads]
        for rollout in sorted(range(len(self.lengths)), key=lambda place: -self.lengths[place]):
            lightest = loads.index(min(loads))
            loads[lightest] += self.lengths[rollout]
            members[lightest].append(rollout)
        return [self._of(sorted(rollouts)) for rollouts in members]

    def micro(self, max_decisions: int) -> list["LearningBatch"]:
        """Whole rollouts in batches of at most `max_decisions`, in order; a longer rollout is a batch of its own. Weights stay."""
        members: list[list[int]] = []
        load = max_decisions
        for rollout, length in enumerate(self.lengths):
            if load + length > max_decisions:
                members.append([])
                load = 0
            members[-1].append(rollout)
            load += length
        return [self._of(rollouts) for rollouts in members]

    def _of(self, rollouts: Sequence[int]) -> "LearningBatch":
        ends = np.cumsum(self.lengths)
        rows = np.concatenate([np.arange(ends[rollout] - self.lengths[rollout], ends[rollout]) for rollout in rollouts])
        return LearningBatch(
            decisions=[self.decisions[row] for row in rows],
            log_probabilities=self.log_probabilities[rows],
            advantages=self.advantages[rows],
            weights=self.weights[rows],
            lengths=tuple(self.lengths[rollout] for rollout in rollouts),
            sampled_by=self.sampled_by,
        )


def learning_batch(
    rollouts: Sequence[Rollout], settings: FlowGRPOSettings, *, discount: float = 0.99, trains: Collection[str] | None = None
) -> LearningBatch | None:
    """The decisions of every rollout that can teach something; None when none can.

    discount: of what turns were rewarded apart, for each turn in between; without effect where a reward is broadcast evenly.
    trains: decisions learn whose name begins with one of these words; None trains all. The others are part of the path that led to a
    decision, and nothing else.

    Left out are groups that do not vary, as they have no gradient (Yu et al. 2025, DAPO, §3.2), except where "reinforce++" compares with
    the batch. A group that crashes made smaller is compared among those that are left; a group of one is left out.
    With `masks_truncated` a truncated rollout counts in its group's mean but not in the loss (DAPO, §3.4): right where the limit cuts off
    work that was going well; where the limit is a rule of the world it is what unlearns going round in circles.

    Of M rollouts learned from, with T_i decisions each, a decision weighs
    rollout_mean   1 ÷ (M · T_i)     many decisions weigh no more than few: the rule of whole conversations, and the sum is 1
    token_mean     1 ÷ Σ T_i         each decision alike, so long bad rollouts are punished more: Yu et al. 2025 (DAPO), eq. 8; sum 1
    const          1 ÷ (M · L)       without a bias by length, L = nominal_decisions: Liu et al. 2025 (Dr. GRPO), §3.1
    """
    compared = _compared(rollouts, settings)
    if not compared:
        return None
    learned = []
    for rollout, advantages in zip(compared, _advantages(compared, settings, discount), strict=True):
        learns = _learns(rollout, trains)
        if learns.any() and not (settings.masks_truncated and rollout.trajectory.is_truncated):
            learned.append((rollout, learns, advantages[learns]))
    if not learned:
        _require_known(trains, compared)
        return None
    decisions = [decision for rollout, learns, _ in learned for decision, is_in in zip(rollout.decisions, learns, strict=True) if is_in]
    lengths = tuple(len(advantages) for _, _, advantages in learned)
    return LearningBatch(
        decisions=decisions,
        log_probabilities=np.array([decision.log_probability for decision in decisions]),
        advantages=np.concatenate([advantages for _, _, advantages in learned]),
        weights=_weights(np.array(lengths), settings),
        lengths=lengths,
        sampled_by=frozenset(rollout.weights_digest for rollout, _, _ in learned),
    )


def varied_groups(rollouts: Sequence[Rollout], settings: FlowGRPOSettings = DEFAULTS) -> int:
    """Groups whose rollouts can be told apart by what they earned."""
    ids = _group_ids(rollouts)
    return len(np.unique(ids[_varied(rollouts, settings)]))


def zero_variance_share(rollouts: Sequence[Rollout], settings: FlowGRPOSettings = DEFAULTS) -> float:
    """Share of groups whose rollouts all earned the same, in 0–1."""
    return 1.0 - varied_groups(rollouts, settings) / len(np.unique(_group_ids(rollouts)))


def _compared(rollouts: Sequence[Rollout], settings: FlowGRPOSettings) -> list[Rollout]:
    is_in = _varied(rollouts, settings)
    is_compared_with_all = settings.advantage == "reinforce++" and settings.credit != "path" and is_in.any()
    if is_compared_with_all or not settings.drops_equal_groups:
        _, members, sizes = grouped(_group_ids(rollouts))
        is_in = sizes[members] > 1
    return [rollout for rollout, is_compared in zip(rollouts, is_in, strict=True) if is_compared]


def _varied(rollouts: Sequence[Rollout], settings: FlowGRPOSettings) -> NDArray[np.bool_]:
    """Whether the rollout's group has unequal rewards, or turns rewarded unequally that are compared too. Result: shape (N,)."""
    ids = _group_ids(rollouts)
    _, members, sizes = grouped(ids)
    turns_vary = np.array([settings.turn_weight > 0 and len(set(rollout.turn_rewards)) > 1 for rollout in rollouts], dtype=np.float64)
    is_varied = varied(_scores(rollouts, settings), ids) | (np.bincount(members, weights=turns_vary)[members] > 0)
    return is_varied & (sizes[members] > 1)


def _advantages(rollouts: Sequence[Rollout], settings: FlowGRPOSettings, discount: float) -> list[FloatArray]:
    """Of each decision of each rollout: A = A_rollout + step_weight · A_state + turn_weight · A_turn, the latter two constant in a turn.

    A_rollout: of the whole reward, against the group or along the path.
    A_state, under credit "state": of R_t = r̄ + E_t against all turns of the group in the same state; Feng et al. 2025 (GiGPO), §4.
    A_turn: of E_t against the group's turns of the same number; Zeng et al. 2025 (arXiv 2505.11821), with what followed added.
    r̄ is the rollout's mean reward, E_t = Σ_{k ≥ t} discount^(k − t) · (r_k − r̄). So what is broadcast evenly counts once, in r̄, and is
    not discounted, and only what turns were rewarded apart is: a reward known at the end alone says nothing about when it was earned.
    """
    scores, ids = _scores(rollouts, settings), _group_ids(rollouts)
    if settings.credit == "path":
        paths = [[(decision.name, decision.choice) for decision in rollout.decisions] for rollout in rollouts]
        whole = path_advantages(scores, ids, paths, advantage=settings.advantage)
    else:
        values = group_advantages(scores, ids, advantage=settings.advantage)
        whole = [np.full(len(rollout.decisions), value) for rollout, value in zip(rollouts, values, strict=True)]
    turns = _turn_advantages(rollouts, scores, settings, discount)
    return [above + np.repeat(of_turns, _turn_lengths(rollout)) for above, of_turns, rollout in zip(whole, turns, rollouts, strict=True)]


def _turn_advantages(rollouts: Sequence[Rollout], scores: FloatArray, settings: FlowGRPOSettings, discount: float) -> list[FloatArray]:
    """A turn's share of `_advantages`, one entry a turn of each rollout."""
    excess = [returns_to_go([reward - rollout.mean_reward for reward in rollout.turn_rewards], discount=discount) for rollout in rollouts]
    given = [np.zeros(len(earned)) for earned in excess]
    if settings.turn_weight > 0 and any(earned.any() for earned in excess):
        keys = [[(rollout.group_id, turn) for turn in range(len(earned))] for rollout, earned in zip(rollouts, excess, strict=True)]
        given = _plus(given, settings.turn_weight, keyed_advantages(excess, keys, advantage=settings.advantage))
    if settings.credit == "state":
        earned = [score + beyond for score, beyond in zip(scores, excess, strict=True)]
        given = _plus(given, settings.step_weight, keyed_advantages(earned, _state_keys(rollouts), advantage=settings.advantage))
    return given


def _state_keys(rollouts: Sequence[Rollout]) -> list[list[tuple[int, str]]]:
    for rollout in rollouts:
        if len(rollout.state_hashes) != len(rollout.turn_rewards):
            raise ContractBroken(
                f"Credit by state needs the state before each turn; case {rollout.trajectory.case_id!r} had {len(rollout.turn_rewards)} "
                f"turns and {len(rollout.state_hashes)} state hashes. Keep them while playing."
            )
    return [[(rollout.group_id, state) for state in rollout.state_hashes] for rollout in rollouts]


def _plus(given: list[FloatArray], weight: float, more: list[FloatArray]) -> list[FloatArray]:
    return [one + weight * other for one, other in zip(given, more, strict=True)]


def _weights(lengths: IntArray, settings: FlowGRPOSettings) -> FloatArray:
    match settings.aggregation:
        case "rollout_mean":
            return np.repeat(1.0 / (lengths * len(lengths)), lengths)
        case "token_mean":
            return np.full(lengths.sum(), 1.0 / lengths.sum())
        case "const":
            return np.full(lengths.sum(), 1.0 / (len(lengths) * settings.nominal_decisions))


def _learns(rollout: Rollout, trains: Collection[str] | None) -> NDArray[np.bool_]:
    """Which decisions of the rollout learn, shape (decisions,)."""
    if trains is None:
        return np.ones(len(rollout.decisions), dtype=np.bool_)
    return np.array([_component(decision) in trains for decision in rollout.decisions], dtype=np.bool_)


def _component(decision: Decision) -> str:
    return decision.name.partition(" ")[0]


def _require_known(trains: Collection[str] | None, rollouts: Sequence[Rollout]) -> None:
    taken = sorted({_component(decision) for rollout in rollouts for decision in rollout.decisions})
    if trains is not None and taken and not set(taken) & set(trains):
        raise InvalidInput(
            f"Some decisions of the policy must be trainable; it takes {taken!r} and {sorted(trains)!r} are. "
            "Name some of them in the scenario's define_trainable_components()."
        )


def _turn_lengths(rollout: Rollout) -> list[int]:
    return [len(action.decisions) for action in rollout.trajectory.actions]


def _scores(rollouts: Sequence[Rollout], settings: FlowGRPOSettings) -> FloatArray:
    """What each rollout is compared by, shape (N,)."""
    if settings.normalises_terms:
        terms = [rollout.trajectory.reward_terms for rollout in rollouts]
        return term_scores(terms, _group_ids(rollouts), weights=settings.term_weights)
    return np.array([rollout.mean_reward for rollout in rollouts], dtype=np.float64)


def _group_ids(rollouts: Sequence[Rollout]) -> IntArray:
    return np.array([rollout.group_id for rollout in rollouts], dtype=np.int64)
