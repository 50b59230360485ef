"""The recorded scenario keeps gymnasium's contract, with recordings that ship with this test."""

import pytest
from gymnasium.utils.env_checker import check_env

from agentgym.messages import ToolCall, assistant, tool_result, user
from agentgym.scenarios.from_traces import RecordedScenario, make_recorded_pack
from agentgym.tools import Tool
from agentgym.traces.trace import Trace

FIND = Tool(name="find", parameters={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})


def trace_of(number: int) -> Trace:
    call = ToolCall(name="find", arguments={"n": number})
    messages = (user(f"Find {number}."), assistant("", call), tool_result(call, number), assistant("Here."), user("Thanks."))
    return Trace(conversation_id=f"c{number}", messages=messages, tools=(FIND,))


@pytest.mark.filterwarnings("ignore:.*does not have a spec|.*not having a spec:UserWarning")
def test_the_recorded_environment_passes_gymnasiums_checker() -> None:
    scenario = RecordedScenario(make_recorded_pack([trace_of(number) for number in range(5)], (), "digest"))
    check_env(scenario.create_environment())
