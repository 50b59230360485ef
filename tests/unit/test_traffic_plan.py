"""Who is served by which version, conversation by conversation, as a plan follows a plan."""

import pytest

from agentgym.errors import InvalidInput
from agentgym.serving.plan import Assignment, TrafficPlan
from agentgym.serving.traffic import Allocation
from agentgym.store import ArtifactRef

CUSTOMERS = [f"customer-{number}" for number in range(200)]


def plan(*, weights: dict[str, float], epoch: int = 2, holds_from: int = 0, held: tuple[str, ...] = ("1", "2")) -> TrafficPlan:
    versions = {name: ArtifactRef(uri=f"file:///{name}", digest=name * 64) for name in held}
    allocation = Allocation(weights=weights)
    return TrafficPlan(
        agent="support", epoch=epoch, champion="1", allocation=allocation, versions=versions, holds_from=holds_from, reason="a test"
    )


def test_a_new_conversation_is_dealt_by_the_weights():
    split = plan(weights={"1": 0.5, "2": 0.5})
    assert [split.variant_for(name, None) for name in CUSTOMERS] == [split.allocation.variant_of(name) for name in CUSTOMERS]


def test_an_open_conversation_finishes_on_the_version_it_began_with():
    assert plan(weights={"1": 1.0}).variant_for("ann", Assignment(variant="2", epoch=1)) == "2"


def test_after_a_rollback_conversations_dealt_before_it_move():
    rolled_back = plan(weights={"1": 1.0}, epoch=3, holds_from=3)
    assert rolled_back.variant_for("ann", Assignment(variant="2", epoch=2)) == "1"


def test_a_conversation_dealt_since_the_rollback_stays():
    later = plan(weights={"1": 1.0}, epoch=4, holds_from=3)
    assert later.variant_for("ann", Assignment(variant="2", epoch=3)) == "2"


def test_a_conversation_of_a_version_that_is_not_held_any_more_is_dealt_anew():
    assert plan(weights={"1": 1.0}, held=("1",)).variant_for("ann", Assignment(variant="2", epoch=2)) == "1"


def test_a_plan_that_serves_a_version_it_does_not_hold_is_refused():
    with pytest.raises(InvalidInput, match="must hold every version it serves; 3 is not among 1, 2"):
        plan(weights={"1": 0.5, "3": 0.5})


def test_a_plan_travels_as_json():
    sent = plan(weights={"1": 0.9, "2": 0.1})
    assert TrafficPlan.model_validate_json(sent.model_dump_json()) == sent
