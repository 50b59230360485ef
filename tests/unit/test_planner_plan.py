"""The call that each tool would get now: how sure it is, and what of it is new."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pytest

from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.policies.planner.act_plan import Plan, plan_of
from agentgym.policies.planner.acts import lead_of
from agentgym.policies.planner.arguments import argument_table
from agentgym.policies.planner.gazetteer import Gazetteer
from agentgym.policies.planner.readings import Readings
from agentgym.policies.planner.slots import tool_views
from agentgym.policies.planner.state import opening_state
from agentgym.tools import Tool

FIND = Tool(
    name="find",
    parameters={"type": "object", "properties": {"city": {"type": "string"}, "seats": {"type": "integer"}}, "required": ["city"]},
)
SURE = 20.0
"""A score that leaves the other options a probability of about 1e-9."""


def plan_after(*messages: Message, sure: Sequence[str]) -> Plan:
    """The plan for `find` when these values are surely given, and nothing else is."""
    state = opening_state(tool_views([FIND]), date(2024, 1, 1), Gazetteer())
    for message in messages:
        state = state.extended(message)
    table = argument_table(state, bits=8)
    scores = [[SURE if key in sure else 0.0 for _, key in table.keys(block)] for block in range(len(table.layout.blocks))]
    with_absent = [[*given, 0.0 if SURE in given else SURE] for given in scores]
    return plan_of(state, Readings(table, np.array([score for given in with_absent for score in given], np.float32)))


FIRST = (user("In Boston"), assistant("", ToolCall(name="find", arguments={"city": "Boston"})))


def test_a_call_is_as_sure_as_its_arguments() -> None:
    assert plan_after(FIRST[0], sure=["boston"]).sureness == pytest.approx([1], abs=1e-6)
    assert plan_after(FIRST[0], sure=[]).all_known == pytest.approx([0], abs=1e-6)


def test_the_same_call_again_changes_nothing() -> None:
    plan = plan_after(*FIRST, tool_result(FIRST[1].tool_calls[0], []), user("Boston, as I said"), sure=["boston"])
    assert plan.changed == pytest.approx([0], abs=1e-6)


@pytest.mark.parametrize(("words", "sure"), [("Rather in Rome", ["rome"]), ("For 4 people", ["boston", "4"])])
def test_another_value_and_one_more_are_changes(words: str, sure: list[str]) -> None:
    plan = plan_after(*FIRST, tool_result(FIRST[1].tool_calls[0], []), user(words), sure=sure)
    assert plan.changed == pytest.approx([1], abs=1e-6)


def test_the_lead_is_over_the_best_other_tool() -> None:
    values = np.array([[0.9, 0.2], [0.5, 0.7], [0.1, 0.6]], np.float32)
    np.testing.assert_allclose(lead_of(values), [[0.4, -0.5], [-0.4, 0.1], [-0.8, -0.1]], atol=1e-6)


def test_a_tool_alone_leads_by_all_it_has() -> None:
    np.testing.assert_allclose(lead_of(np.array([[0.9]], np.float32)), [[0.9]])
