from datetime import UTC, datetime

import pytest

from agentgym.errors import InvalidInput
from agentgym.messages import user
from agentgym.policies.planner import PlannerConfig
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.production_log import write_logs
from agentgym.training.trained_agent import TrainedAgent
from agentgym.training.warm_start import ImitationConfig, imitate

NOW = datetime(2025, 3, 3, 9, tzinfo=UTC)
ASKED = {"role": "user", "content": "I cannot log in, I forgot my password. My e-mail is ann.fischer@example.com"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a run leaves behind of its policy."""
    world, folder = CustomerSupport(), tmp_path_factory.mktemp("run")
    traces = list(write_logs(world, world.expert(), 20, seed=5))
    planner = imitate(traces, tools=world.tools, seed=5, config=ImitationConfig(planner=PlannerConfig(table_bits=10, hidden=8)))
    (folder / "checkpoint.zip").write_bytes(planner.to_checkpoint(tools=world.tools).to_bytes())
    return folder


def test_an_agent_acts_on_openais_messages_as_on_its_own(folder):
    agent = TrainedAgent.load(folder)
    acted = agent.act([ASKED], now=NOW)
    assert acted.role == "assistant"
    assert acted.content or acted.tool_calls
    assert agent.act([user(ASKED["content"])], now=NOW) == acted
    assert agent.reply([ASKED], now=NOW) == acted.content


def test_an_agent_goes_on_with_a_conversation_and_the_results_of_tools(folder):
    agent = TrainedAgent.load(folder / "checkpoint.zip")
    call = {"id": "1", "type": "function", "function": {"name": "lookup_user", "arguments": '{"email": "ann.fischer@example.com"}'}}
    results = {"role": "tool", "tool_call_id": "1", "content": '{"user_id": "USR-12345"}'}
    acted = agent.act([ASKED, {"role": "assistant", "content": None, "tool_calls": [call]}, results], now=NOW)
    assert acted.content or acted.tool_calls


def test_an_agent_calls_only_tools_in_scope(folder):
    assert not TrainedAgent.load(folder).act([ASKED], tools=(), now=NOW).tool_calls


def test_two_customers_who_begin_alike_do_not_get_each_others_conversation(folder):
    agent = TrainedAgent.load(folder)
    first = [ASKED, {"role": "assistant", "content": "What is your number?"}, {"role": "user", "content": "USR-11111"}]
    second = [*first[:2], {"role": "user", "content": "USR-22222"}]
    agent.act(first, now=NOW)
    assert agent.act(second, now=NOW) == TrainedAgent.load(folder).act(second, now=NOW)


@pytest.mark.parametrize("messages", [[{"role": "wizard", "content": "x"}], [{"content": "x"}]])
def test_what_is_no_conversation_is_refused(folder, messages):
    with pytest.raises(InvalidInput, match="in OpenAI's chat form"):
        TrainedAgent.load(folder).act(messages, now=NOW)


def test_a_folder_without_an_agent_is_refused_by_name(tmp_path):
    with pytest.raises(InvalidInput, match=r"holds no checkpoint\.zip"):
        TrainedAgent.load(tmp_path)
    with pytest.raises(InvalidInput, match="nothing is at"):
        TrainedAgent.load(tmp_path / "gone")
