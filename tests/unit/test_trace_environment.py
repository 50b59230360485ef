"""The promised call: traces become an agent, its tools and a reward, offline, in one line."""

import json
import os
import runpy
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import agentgym
from agentgym.errors import InsufficientData, InvalidInput
from agentgym.messages import ToolCall, assistant, user
from agentgym.policies.planner import PlannerConfig
from agentgym.policies.scripted import Script, ScriptedPolicy
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.production_log import write_logs
from agentgym.settings import Settings
from agentgym.store import FileStore
from agentgym.trace_environment import Callables
from agentgym.training.trained_agent import TrainedAgent
from agentgym.training.warm_start import ImitationConfig, imitate

SHARED_DATA = Path(os.environ.get("AGENTGYM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
SCRIPT = Path(__file__).parents[2] / "docs" / "scripts" / "create_environment.py"
WORLD = CustomerSupport()
TRACES = tuple(write_logs(WORLD, WORLD.legacy_agent(), 60, seed=0))
RECORDED = next(trace for trace in TRACES if any(message.tool_calls for message in trace.messages))
CALL = next(call for message in RECORDED.messages for call in message.tool_calls)
FIRST_WORDS = next(message.content for message in RECORDED.messages if message.role == "user")
NOBODY_ASKED = ScriptedPolicy(lambda _: Script(moves=(), last_words="At your service."))


@pytest.fixture(scope="module")
def made() -> Callables:
    return agentgym.create_environment(TRACES, settings=Settings())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(trace.model_dump_json(exclude_defaults=True) + "\n" for trace in TRACES))
    return path


def test_three_callables_share_one_environment(made):
    query_agent, tool_mocker, reward_fn = made
    assert query_agent.environment is tool_mocker.environment is reward_fn.environment
    assert repr(made.environment).startswith("<TraceEnvironment of 60 conversations, ")
    assert len(repr(query_agent)) < 300


def test_the_agent_answers_in_words_and_goes_on_where_it_was(made):
    first = made.query_agent(FIRST_WORDS)
    second = made.query_agent("Thank you.", conversation=first)
    assert str(first)
    assert second.conversation[: len(first.conversation)] == first.conversation
    assert second.conversation[len(first.conversation)] == user("Thank you.")


def test_calls_are_answered_from_the_record_until_the_agent_speaks(made):
    said = [message for message in RECORDED.messages[: RECORDED.messages.index(assistant("", CALL))] if message.role != "system"]
    answer = made.query_agent(said[-1].content, conversation=said[:-1])
    assert CALL in answer.calls
    place = answer.conversation.index(assistant("", *[call for call in answer.calls if call == CALL][:1]))
    assert answer.conversation[place + 1].role == "tool"
    assert made.query_agent(said[-1].content, conversation=said[:-1], run_tools=False).conversation[-1].tool_calls


def test_a_tool_answers_as_it_did_on_record(made):
    result = next(message.result for message in RECORDED.messages if message.role == "tool")
    assert made.tool_mocker(CALL.name, CALL.arguments) == result


def test_a_call_that_its_schema_refuses_is_an_error_to_recover_from(made):
    assert "error" in made.tool_mocker(CALL.name, {"nobody knows": 1})


def test_a_tool_that_is_not_on_record_is_named_with_near_ones(made):
    with pytest.raises(InvalidInput, match=f"'{CALL.name}x' is not. Did you mean '{CALL.name}'"):
        made.tool_mocker(f"{CALL.name}x", {})
    with pytest.raises(InvalidInput, match="arguments are an object; got list"):
        made.tool_mocker(CALL.name, [])


def test_the_right_call_is_paid_and_another_one_costs(made):
    wrong = ToolCall(name=CALL.name, arguments={"nobody knows": 1})
    assert made.reward_fn(CALL, ground_truth=CALL) == 10 + 10  # the outcome and the call
    # Two calls due and made, one right: (10 - 20) / 3, with the one that was never made.
    assert made.reward_fn.terms([CALL, wrong], ground_truth=[CALL, CALL])["tools"] == pytest.approx((10 - 20) / 3)
    assert made.reward_fn([CALL, wrong], ground_truth=[CALL, CALL]) < 0


def test_calls_are_not_judged_by_words_alone(made):
    answer = assistant("It is on its way.", CALL)
    assert made.reward_fn(answer, ground_truth=answer.content) > 0
    assert "tools" not in made.reward_fn.terms(answer, ground_truth=answer.content)
    assert "tools" not in made.reward_fn.terms("I do not know.", ground_truth=CALL)


def test_words_are_worth_how_alike_they_are(made):
    right = "Your invoice was refunded."
    said = (right, "The invoice is refunded.", "Hello there!")
    same, near, other = (made.reward_fn.terms(words, ground_truth=right)["similarity"] for words in said)
    assert same == pytest.approx(5)
    assert 0 < near < 5
    assert other == 0


def test_a_reply_is_judged_by_the_record_where_no_truth_is_given(made):
    answer = made.query_agent(FIRST_WORDS)
    terms = made.reward_fn.terms(answer)
    assert made.reward_fn(answer) == sum(terms.values())
    assert terms["similarity"] == pytest.approx(5)
    with pytest.raises(InvalidInput, match="got str and no ground_truth"):
        made.reward_fn("Hello")


def test_a_log_on_disk_is_told_by_its_looks(log):
    made = agentgym.create_environment(log, policy=NOBODY_ASKED, settings=Settings())
    assert (len(made.environment.traces), made.environment.policy_name) == (60, "ScriptedPolicy")
    assert str(made.query_agent("Hello")) == "At your service."


def test_conversations_in_memory_may_be_dictionaries():
    given = [{"id": "a", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello, I am Ann's agent."}]}]
    assert str(agentgym.create_environment(given, settings=Settings()).query_agent("Hi")) == "Hello, I am Ann's agent."


@pytest.mark.parametrize(
    ("traces", "fault"),
    [
        ([{"messages": "none"}], "number 1 is none"),
        ([42], "number 1 is none"),
        ({"messages": []}, "Put a conversation into a list"),
        (7, "got int"),
        ("/nowhere/at/all", "nothing is at"),
        ("", "got an empty path"),
    ],
)
def test_what_are_no_traces_is_bad_input(traces: Any, fault: str):
    with pytest.raises(InvalidInput, match=fault):
        agentgym.create_environment(traces, settings=Settings())


def test_a_file_with_nothing_in_it_is_said_to_be_empty(tmp_path: Path):
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(InvalidInput, match="A log needs at least one conversation"):
        agentgym.create_environment(tmp_path / "log.jsonl", settings=Settings())


@pytest.mark.parametrize(
    ("name", "repair"),
    [("log.csv", r"Give a mapping \(--mapping\)"), ("log.json", r"Give its format \(--format\)")],
)
def test_what_a_log_lacks_is_told_for_python_and_for_the_command_line(tmp_path: Path, name: str, repair: str):
    (tmp_path / name).write_text("{}")
    with pytest.raises(InvalidInput, match=repair):
        agentgym.create_environment(tmp_path / name, settings=Settings())


def test_no_traces_are_too_few():
    with pytest.raises(InsufficientData, match="at least one conversation"):
        agentgym.create_environment([], settings=Settings())


@pytest.mark.parametrize("text", ["", "  ", None, 5])
def test_an_agent_is_asked_in_words(made, text):
    with pytest.raises(InvalidInput, match="asked in words"):
        made.query_agent(text)


def test_a_trained_policy_answers_by_its_checkpoint_wherever_that_is(tmp_path):
    config = ImitationConfig(planner=PlannerConfig(table_bits=10, hidden=8))
    checkpoint = imitate(TRACES, tools=WORLD.tools, seed=0, config=config).to_checkpoint(tools=WORLD.tools)
    ref = FileStore(tmp_path / "store").write(checkpoint.to_bytes(), suffix=".checkpoint.zip")
    file = tmp_path / "agent.zip"
    file.write_bytes(checkpoint.to_bytes())
    now = datetime(2026, 1, 1, tzinfo=UTC)
    answers = {
        str(agentgym.create_environment(TRACES, policy=policy, settings=Settings()).query_agent(FIRST_WORDS, now=now))
        for policy in (checkpoint, ref, file, str(file), TrainedAgent.load(file))
    }
    assert len(answers) == 1


def test_what_is_no_policy_is_bad_input(tmp_path):
    with pytest.raises(InvalidInput, match="got int"):
        agentgym.create_environment(TRACES, policy=3, settings=Settings())  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="nothing is at"):
        agentgym.create_environment(TRACES, policy=tmp_path / "none.zip", settings=Settings())


def test_a_model_elsewhere_sees_the_record_and_the_key_is_sent():
    asked: list[tuple[dict[str, Any], str]] = []

    async def complete(request: Request) -> JSONResponse:
        asked.append((await request.json(), request.headers["authorization"]))
        return JSONResponse({"choices": [{"message": {"role": "assistant", "content": "I am a model."}}]})

    server = uvicorn.Server(uvicorn.Config(Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])]), port=0))
    server.config.log_level = "critical"
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    settings = Settings(llm_base_url=f"http://127.0.0.1:{port}/v1", llm_model="wise", llm_api_key="sk-secret")
    made = agentgym.create_environment(TRACES, settings=settings)
    try:
        assert str(made.query_agent(FIRST_WORDS)) == "I am a model."
    finally:
        server.should_exit = True
        thread.join()
    ((request, key),) = asked
    assert (request["model"], key, "wise at" in repr(made.environment)) == ("wise", "Bearer sk-secret", True)
    assert request["messages"][0]["role"] == "system"
    assert FIRST_WORDS in request["messages"][0]["content"]


def test_a_model_elsewhere_needs_a_name():
    with pytest.raises(InvalidInput, match="AGENTGYM_LLM_MODEL is not"):
        agentgym.create_environment(TRACES, settings=Settings(llm_base_url="http://127.0.0.1:1/v1"))


def test_the_name_is_public_and_costs_nothing_until_it_is_asked_for():
    code = "import sys, agentgym; assert 'create_environment' in agentgym.__all__; print('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_the_script_of_the_documentation_runs(capsys, tmp_path):
    script = runpy.run_path(str(SCRIPT))
    script["main"](script["write_example_log"](tmp_path / "log.jsonl"))
    assert "TraceEnvironment of 200 conversations" in capsys.readouterr().out


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"real dialogues are not at {SHARED_DATA}; set AGENTGYM_SHARED_DATA")
def test_the_script_runs_on_real_conversations(capsys):
    runpy.run_path(str(SCRIPT))["main"](SHARED_DATA / "tau_bench" / "airline" / "gpt-4o-airline.json.gz")
    assert "TraceEnvironment of 200 conversations, 1164 calls, 14 tools" in capsys.readouterr().out


def test_messages_may_be_in_openais_form(made):
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert made.query_agent("Thanks.", conversation=said).conversation[:2] == (user("Hi"), assistant("Hello"))
    with pytest.raises(InvalidInput, match="list of messages; got str"):
        made.query_agent("Thanks.", conversation="Hi")


def test_calls_may_be_in_openais_form(made):
    function = {"name": CALL.name, "arguments": json.dumps(CALL.arguments)}
    assert made.reward_fn({"content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]}, ground_truth=CALL) == 20
    with pytest.raises(InvalidInput, match="A response is words, a message or calls; got int"):
        made.reward_fn(7, ground_truth=CALL)
