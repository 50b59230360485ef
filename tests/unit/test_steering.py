"""Traffic follows the registry's history and the test log, and nothing else."""

from datetime import UTC, datetime

import pytest

from agentgym.ab_tests.ab_test import ABTest
from agentgym.ab_tests.test_log import TestChanges
from agentgym.errors import InvalidInput
from agentgym.registry import HistoryEntry, Pointer, Standing
from agentgym.registry.ledger import Change, OpenConversations
from agentgym.serving.plan import TrafficPlan
from agentgym.serving.steering import is_in_line, next_plan
from agentgym.serving.traffic_log import TrafficLog
from agentgym.store import ArtifactRef
from agentgym.verdicts import Subject

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE, TWO, THREE = (Pointer(version=number, checkpoint_digest=str(number) * 64) for number in (1, 2, 3))
CHECKPOINTS = {pointer: ArtifactRef(uri=f"file:///{pointer.version}", digest=pointer.checkpoint_digest) for pointer in (ONE, TWO, THREE)}


def history(*changes: tuple[Change, Standing, OpenConversations]) -> tuple[HistoryEntry, ...]:
    return tuple(
        HistoryEntry(sequence=number, at=NOW, change=change, standing=standing, reason="a test", open_conversations=means)
        for number, (change, standing, means) in enumerate(changes, start=1)
    )


BOOTSTRAPPED = history(("bootstrap", Standing(champion=ONE), "stay"))
CHALLENGED = (*BOOTSTRAPPED, *history(("challenge", Standing(champion=ONE, challenger=TWO), "stay")))
CHALLENGED = tuple(entry.model_copy(update={"sequence": number}) for number, entry in enumerate(CHALLENGED, start=1))


def after(
    entries: tuple[HistoryEntry, ...], change: Change, standing: Standing, means: OpenConversations = "stay"
) -> tuple[HistoryEntry, ...]:
    (entry,) = history((change, standing, means))
    return (*entries, entry.model_copy(update={"sequence": len(entries) + 1}))


def a_test(*, control: Pointer = ONE, treatment: Pointer = TWO, **fields: object) -> ABTest:
    subjects = [Subject(name=str(pointer.version), checkpoint_digest=pointer.checkpoint_digest) for pointer in (control, treatment)]
    weights = {str(control.version): 0.9, str(treatment.version): 0.1}
    given = {"test_id": "t1", "agent": "support", "salt": "t1", "weights": weights, "started_at": NOW, **fields}
    return ABTest(control=subjects[0], treatment=subjects[1], **given)  # type: ignore[arg-type]


def plan_for(entries: tuple[HistoryEntry, ...], *tests: ABTest, revision: int = 0, before: TrafficPlan | None = None) -> TrafficPlan | None:
    """tests: as the changes since the plan before have left them; the last one is the latest."""
    changes = TestChanges(revision=revision, latest=tests[-1] if tests else None, changed=tests)
    return next_plan(before, agent="support", history=entries, tests=changes, checkpoints=CHECKPOINTS)


def test_without_a_test_the_champion_serves_everybody_and_the_challenger_is_held_ready():
    plan = plan_for(CHALLENGED)
    assert dict(plan.allocation.weights) == {"1": 1.0}
    assert sorted(plan.versions) == ["1", "2"]


def test_without_a_champion_there_is_nothing_to_serve():
    with pytest.raises(InvalidInput, match="Only a champion can be served; 'support' has none"):
        plan_for(())


def test_a_running_test_splits_the_traffic_with_its_own_salt():
    plan = plan_for(CHALLENGED, a_test(), revision=1)
    assert (dict(plan.allocation.weights), plan.allocation.salt, plan.test_id) == ({"1": 0.9, "2": 0.1}, "t1", "t1")


def test_a_plan_that_follows_all_there_is_is_left_alone():
    plan = plan_for(CHALLENGED, a_test(), revision=1)
    assert plan_for(CHALLENGED, a_test(), revision=1, before=plan) is None
    assert is_in_line(plan, registry_sequence=2, test_revision=1)
    assert not is_in_line(plan, registry_sequence=3, test_revision=1)


def test_a_promotion_gives_all_new_conversations_to_the_new_champion_and_lets_open_ones_finish():
    before = plan_for(CHALLENGED, a_test(), revision=1)
    promoted = after(CHALLENGED, "promotion", Standing(champion=TWO, previous=ONE))
    plan = plan_for(promoted, a_test(), revision=1, before=before)
    assert (dict(plan.allocation.weights), plan.epoch, plan.holds_from) == ({"2": 1.0}, 2, 0)
    assert "1" in plan.versions


def test_a_rollback_deals_open_conversations_anew_from_its_epoch_on():
    promoted = after(CHALLENGED, "promotion", Standing(champion=TWO, previous=ONE))
    before = plan_for(promoted)
    rolled_back = after(promoted, "rollback", Standing(champion=ONE, previous=TWO), "move")
    plan = plan_for(rolled_back, before=before)
    assert (dict(plan.allocation.weights), plan.holds_from) == ({"1": 1.0}, plan.epoch)


def test_a_rollback_that_drains_lets_open_conversations_finish():
    promoted = after(CHALLENGED, "promotion", Standing(champion=TWO, previous=ONE))
    rolled_back = after(promoted, "rollback", Standing(champion=ONE, previous=TWO), "stay")
    assert plan_for(rolled_back, before=plan_for(promoted)).holds_from == 0


def test_a_rollback_moves_conversations_once_and_not_again_with_every_later_plan():
    promoted = after(CHALLENGED, "promotion", Standing(champion=TWO, previous=ONE))
    rolled_back = after(promoted, "rollback", Standing(champion=ONE, previous=TWO), "move")
    moved = plan_for(rolled_back, before=plan_for(promoted))
    later = plan_for(after(rolled_back, "challenge", Standing(champion=ONE, previous=TWO, challenger=THREE)), before=moved)
    assert (later.epoch, later.holds_from) == (moved.epoch + 1, moved.holds_from)


def test_a_test_that_ends_gives_everybody_back_to_the_champion_and_moves_them_when_it_says_so():
    before = plan_for(CHALLENGED, a_test(), revision=1)
    ended = a_test(ended_at=NOW, open_conversations="move")
    plan = plan_for(CHALLENGED, ended, revision=2, before=before)
    assert (dict(plan.allocation.weights), plan.test_id, plan.holds_from) == ({"1": 1.0}, None, 2)


def test_a_test_whose_control_is_no_longer_champion_splits_nothing():
    moved_on = after(CHALLENGED, "promotion", Standing(champion=THREE, previous=ONE))
    assert dict(plan_for(moved_on, a_test(), revision=1).allocation.weights) == {"3": 1.0}


def test_a_test_that_was_stopped_before_the_next_one_began_still_moves_its_conversations():
    before = plan_for(CHALLENGED, a_test(), revision=1)
    stopped, begun = a_test(ended_at=NOW, open_conversations="move"), a_test(treatment=THREE, test_id="t2", salt="t2")
    plan = plan_for(CHALLENGED, stopped, begun, revision=3, before=before)
    assert (plan.test_id, plan.holds_from) == ("t2", plan.epoch)


def test_of_two_who_append_at_once_one_looks_again(tmp_path):
    log, plan = TrafficLog(f"sqlite:///{tmp_path / 'experience.db'}", "support"), plan_for(CHALLENGED)
    assert log.append(plan, at=NOW)
    assert not log.append(plan, at=NOW)
    assert log.append(plan.model_copy(update={"epoch": 2}), at=NOW)
    assert [logged.plan.epoch for logged in log.plans()] == [1, 2]


def test_a_version_of_the_history_that_mlflow_does_not_have_is_named():
    entries = history(("bootstrap", Standing(champion=Pointer(version=7, checkpoint_digest="7" * 64)), "stay"))
    with pytest.raises(InvalidInput, match="version 7 of the history is not in MLflow"):
        plan_for(entries)
