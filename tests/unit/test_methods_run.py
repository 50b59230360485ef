"""Each method on the small world: what it learns, what it refuses, and that it repeats itself."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

from agentgym.environments.case import Case
from agentgym.episode import Outcome
from agentgym.errors import InsufficientData, InvalidInput
from agentgym.policies.checkpoint import Checkpoint, load_trainable_policy
from agentgym.policies.planner import PlannerConfig
from agentgym.policies.scripted import Script, ScriptedPolicy
from agentgym.reward import trajectory_metrics
from agentgym.scenarios.production_log import write_logs
from agentgym.scenarios.registry import load_world
from agentgym.training.config import TrainingConfig
from agentgym.training.methods.experience import Experience, Preference
from agentgym.training.methods.playing import Stage
from agentgym.training.methods.run import run_method
from agentgym.training.methods.settings import MethodSettings, RFTSettings
from agentgym.training.result import Trained
from agentgym.training.warm_start import ImitationConfig, imitate

WORLD = load_world("lookup")
LOG = tuple(write_logs(WORLD, WORLD.legacy_agent(), 400, 5))
PACK = WORLD.make_pack(LOG, (), "0" * 64, fresh_per_trace=4)
WHOLE = Experience(pack=PACK, traces=LOG, teacher=WORLD.expert())
UNSEEN = tuple(islice(WORLD.generate_cases(400, seed=77), 100))


@pytest.fixture(scope="module")
def start() -> Checkpoint:
    small = ImitationConfig(planner=PlannerConfig(table_bits=18, hidden=16))
    return imitate(LOG, tools=WORLD.tools, seed=0, config=small).to_checkpoint()


def learned(start: Checkpoint, method: str, experience: Experience, **fields: Any) -> Trained:
    config = TrainingConfig.suited_to("lookup", method=method, **{"episodes": 600, **fields})
    return run_method(start, experience, config)


def reliability(checkpoint: Checkpoint, cases: Sequence[Case] = UNSEEN) -> float:
    stage = Stage(PACK.model_copy(update={"train": tuple(cases)}), reward=None)
    sample = stage.play(load_trainable_policy(checkpoint), cases, group_size=1, rng=np.random.default_rng(0), is_greedy=True)
    return trajectory_metrics([rollout.trajectory for rollout in sample.rollouts])["tool_reliability"]


def found(trained: Trained, method: str) -> dict[str, object]:
    told = trained.checkpoint.manifest.training[method]
    assert isinstance(told, dict)
    return dict(told["learned_from"])  # type: ignore[arg-type]


def test_imitation_of_a_faulty_agent_leaves_much_to_learn(start: Checkpoint) -> None:
    assert 0.5 < reliability(start) < 0.75


def test_sft_makes_what_others_were_told_more_probable(start: Checkpoint) -> None:
    better = tuple(write_logs(WORLD, WORLD.expert(), 150, 6))
    trained = learned(start, "sft", Experience(pack=PACK, traces=better), episodes=1500)
    losses = [point.validation_loss for point in trained.curve if point.validation_loss is not None]
    assert losses[-1] < losses[0]
    told = found(trained, "sft")
    assert told["conversations"] + told["validation_conversations"] == 150  # type: ignore[operator]
    # Of each conversation the goodbye, the answer, and the call that went through.
    assert told["unsaid_turns"] == 0


def test_a_small_budget_of_episodes_ends_sft_early(start: Checkpoint) -> None:
    assert len(learned(start, "sft", WHOLE, episodes=100).curve) == 1


def test_rft_undoes_a_round_that_serves_other_customers_worse(start: Checkpoint) -> None:
    far_too_fast = learned(start, "rft", WHOLE, methods=MethodSettings(rft=RFTSettings(rounds=2)), learning_rate=1.0, episodes=400)
    assert far_too_fast.checkpoint.weights_digest == start.weights_digest
    assert all(count > 0 for count in found(far_too_fast, "rft")["kept_rollouts"])  # type: ignore[attr-defined]


def test_dpo_without_records_pairs_own_rollouts_and_learns_to_tell_them_apart(start: Checkpoint) -> None:
    trained = learned(start, "dpo", Experience(pack=PACK), episodes=1600)
    assert found(trained, "dpo")["pairs_from"] == "rollouts"
    # Before anything is learned the loss is log 2.
    assert trained.curve[-1].loss is not None
    assert trained.curve[-1].loss < np.log(2)


def test_dpo_takes_what_people_said_before_what_outcomes_say(start: Checkpoint) -> None:
    good, bad = ([trace for trace in LOG if (trace.outcome == Outcome.RESOLVED) is side] for side in (True, False))
    preferences = [Preference(chosen=one, rejected=other) for one, other in zip(good, bad, strict=False)]
    assert found(learned(start, "dpo", Experience(pack=PACK, traces=LOG, preferences=preferences)), "dpo")["pairs_from"] == "feedback"
    assert found(learned(start, "dpo", WHOLE), "dpo")["pairs_from"] == "traces"


def test_a_student_becomes_as_good_as_its_teacher(start: Checkpoint) -> None:
    trained = learned(start, "distill", WHOLE, learning_rate=1e-2, episodes=1200)
    assert reliability(trained.checkpoint) > 0.95
    assert found(trained, "distill")["verified_episodes"] == found(trained, "distill")["teacher_episodes"]


def test_a_teacher_may_be_a_checkpoint_and_only_its_faultless_episodes_are_shown(start: Checkpoint) -> None:
    trained = learned(start, "distill", Experience(pack=PACK, teacher=start))
    told = found(trained, "distill")
    assert 0 < told["verified_episodes"] < told["teacher_episodes"]  # type: ignore[operator]
    assert trained.checkpoint.manifest.lineage["teacher"] == start.digest


@pytest.mark.parametrize("method", ["sft", "rft", "dpo", "distill"])
def test_equal_arguments_give_equal_weights_whatever_is_held_out(start: Checkpoint, method: str) -> None:
    seconds = {"sampling_seconds", "learning_seconds"}
    stranger = UNSEEN[0].model_copy(update={"cluster_id": "a stranger"})
    packs = (PACK, PACK.model_copy(update={"held_out": (stranger,)}))
    one, two = (learned(start, method, replace(WHOLE, pack=pack), episodes=200) for pack in packs)
    assert one.checkpoint.weights_digest == two.checkpoint.weights_digest
    assert [point.model_dump(exclude=seconds) for point in one.curve] == [point.model_dump(exclude=seconds) for point in two.curve]
    assert one.checkpoint.manifest.lineage["parent"] == start.digest


def test_each_epoch_and_each_round_is_a_point_of_the_curve(start: Checkpoint) -> None:
    rounds = MethodSettings(rft=RFTSettings(rounds=3))
    assert [point.iteration for point in learned(start, "rft", WHOLE, methods=rounds).curve] == [1, 2, 3]
    points = learned(start, "sft", WHOLE).curve
    assert all(point.zero_variance_share is None and point.validation_loss is not None and point.rollouts == 48 for point in points)


def silent(conversation_id: str) -> Script:
    return Script(moves=(), last_words="I do not know.")


def test_where_nothing_can_be_learned_it_is_said_with_numbers(start: Checkpoint) -> None:
    with pytest.raises(InsufficientData, match="of 0 turns in 0 conversations it could take 0"):
        learned(start, "sft", Experience(pack=PACK))
    with pytest.raises(InvalidInput, match="needs a teacher"):
        learned(start, "distill", Experience(pack=PACK))
    calling = tuple(case for case in PACK.train if case.kind != "goodbye")
    with pytest.raises(InsufficientData, match=r"of 40 there are 0"):
        learned(start, "distill", Experience(pack=PACK.model_copy(update={"train": calling}), teacher=ScriptedPolicy(silent)), episodes=40)
    nobody = Experience(pack=PACK.model_copy(update={"train": ()}))
    with pytest.raises(InsufficientData, match="customers to learn from and of others to judge by; got 0 and 0"):
        learned(start, "rft", nobody)
    with pytest.raises(InsufficientData, match="0 preferences, 0 traces and 600 rollouts made 0"):
        learned(start, "dpo", nobody)
