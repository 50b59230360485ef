"""An upstream asked over real HTTP, on loopback."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentgym.episode import Conversation
from agentgym.errors import InvalidInput, Unavailable
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.policies.checkpoint import Checkpoint, load_policy, load_trainable_policy
from agentgym.policies.upstream import RequestLabels, UpstreamConfig, UpstreamPolicy, api_key_of, upstream_checkpoint
from agentgym.serving.api_keys import ApiKeys
from agentgym.serving.endpoint import build_endpoint
from agentgym.serving.exposure_log import ExposureLog
from agentgym.serving.gateway import Gateway
from agentgym.serving.loading import engine_loader
from agentgym.serving.plan import TrafficPlan
from agentgym.serving.served import served_traces
from agentgym.serving.traffic import Allocation
from agentgym.store import FileStore
from agentgym.tools import Tool

KEY = "sk-very-secret"
TOOL = Tool(name="check_payment", parameters={"type": "object", "properties": {"user_id": {"type": "string"}}})
CALL = ToolCall(id="call_7", name="check_payment", arguments={"user_id": "u1"})


@dataclass
class Upstream:
    """What it answers, and what it was asked: headers and body of each request."""

    url: str
    answer: Callable[[], tuple[int, bytes]] = lambda: said(content="Hello.")
    asked: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)


def said(**message: Any) -> tuple[int, bytes]:
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", **message}}]}).encode()


def refused(status: int, message: str) -> tuple[int, bytes]:
    return status, json.dumps({"error": {"message": message, "type": "any"}}).encode()


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    # A proxy that is not there: what stays on this machine does not go through it.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            known.asked.append(({name.lower(): text for name, text in self.headers.items()} | {"path": self.path}, body))
            status, content = known.answer()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            # Who gave up waiting reads it no more.
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        known = Upstream(url=f"http://127.0.0.1:{server.server_port}/v1")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield known
        server.shutdown()


def conversation(*messages: Message, tools: tuple[Tool, ...] = (TOOL,)) -> Conversation:
    return Conversation(conversation_id="c1", messages=messages or (user("Hi"),), tools=tools, now=datetime(2025, 3, 3, tzinfo=UTC))


def config(upstream: Upstream, **given: Any) -> UpstreamConfig:
    return UpstreamConfig(base_url=upstream.url, model="legacy", **given)


def ask(upstream: Upstream, *messages: Message, **given: Any) -> Message:
    return UpstreamPolicy(config(upstream), api_key=KEY, **given).act(conversation(*messages)).message


def test_words_come_back_as_the_assistants_message(upstream: Upstream) -> None:
    assert ask(upstream) == assistant("Hello.")


def test_calls_come_back_with_their_arguments_parsed(upstream: Upstream) -> None:
    function = {"name": "check_payment", "arguments": '{"user_id": "u1"}'}
    upstream.answer = lambda: said(content=None, tool_calls=[{"id": "call_7", "type": "function", "function": function}])
    assert ask(upstream) == assistant("", CALL)


def test_a_request_holds_the_model_the_conversation_and_its_tools(upstream: Upstream) -> None:
    ask(upstream, user("Hi"), assistant("", CALL), tool_result(CALL, {"status": "paid"}))
    headers, body = upstream.asked[0]
    call = {"id": "call_7", "type": "function", "function": {"name": "check_payment", "arguments": '{"user_id":"u1"}'}}
    assert (headers["path"], headers["authorization"]) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert body == {
        "model": "legacy",
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_7", "content": '{"status":"paid"}'},
        ],
        "tools": [TOOL.to_openai()],
    }


def test_a_conversation_without_tools_sends_no_list_of_them(upstream: Upstream) -> None:
    """OpenAI refuses an empty one."""
    UpstreamPolicy(config(upstream), api_key=None).act(conversation(tools=()))
    headers, body = upstream.asked[0]
    assert "tools" not in body
    assert "authorization" not in headers


def test_a_conversation_is_named_only_when_asked_for(upstream: Upstream) -> None:
    ask(upstream)
    ask(upstream, names_conversations=True)
    assert [headers.get("x-conversation-id") for headers, _ in upstream.asked] == [None, "c1"]


def test_a_request_tells_the_customer_and_metadata_of_its_conversation(upstream: Upstream) -> None:
    ask(upstream, labels_of=lambda asked: RequestLabels(user=f"customer of {asked.conversation_id}", metadata={"kind": "refund"}))
    body = upstream.asked[0][1]
    assert (body["user"], body["metadata"]) == ("customer of c1", {"kind": "refund"})


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_refusal_is_bad_input_in_the_upstreams_own_words(upstream: Upstream, status: int) -> None:
    upstream.answer = lambda: refused(status, "No model is named legacy.")
    with pytest.raises(InvalidInput, match=rf"/v1 answered {status}: 'No model is named legacy.'"):
        ask(upstream)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_unavailable(upstream: Upstream, status: int) -> None:
    upstream.answer = lambda: refused(status, "Busy.")
    with pytest.raises(Unavailable, match=rf"An upstream must answer; .* answered {status}: 'Busy.'"):
        ask(upstream)


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>Welcome</html>"),
        (200, b'{"choices": []}'),
        (200, b'{"choices": [{"message": "Hello."}]}'),
        (200, b"[1, 2]"),
        said(content=["no part"], tool_calls="none"),
        said(tool_calls=[{"function": {"name": "check_payment", "arguments": "user u1"}}]),
    ],
)
def test_an_answer_that_is_no_message_is_unavailable(upstream: Upstream, answer: tuple[int, bytes]) -> None:
    upstream.answer = lambda: answer
    with pytest.raises(Unavailable, match=r"must answer in OpenAI's chat form; .* answered 200 with"):
        ask(upstream)


def test_a_silent_upstream_is_unavailable_after_its_time(upstream: Upstream) -> None:
    is_over = threading.Event()
    upstream.answer = lambda: (is_over.wait(30), said(content="Hello."))[1]
    policy = UpstreamPolicy(config(upstream, timeout_seconds=0.05), api_key=None)
    with pytest.raises(Unavailable, match=r"must answer within 0\.05 s; http://127.0.0.1"):
        policy.act(conversation())
    is_over.set()


def test_an_upstream_that_is_away_is_unavailable() -> None:
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        away = UpstreamConfig(base_url=f"http://127.0.0.1:{nobody_listens.getsockname()[1]}/v1", model="legacy")
        with pytest.raises(Unavailable, match=r"must be reachable; http://127.0.0.1:\d+/v1 gave ConnectError"):
            UpstreamPolicy(away, api_key=KEY).act(conversation())


@pytest.mark.parametrize("answer", [refused(401, f"Wrong key: {KEY}"), refused(500, KEY), (200, KEY.encode())])
def test_the_key_is_in_no_message(upstream: Upstream, answer: tuple[int, bytes]) -> None:
    upstream.answer = lambda: answer
    with pytest.raises((InvalidInput, Unavailable)) as caught:
        ask(upstream)
    assert "***" in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_key_that_no_header_can_hold_is_refused_untold(upstream: Upstream) -> None:
    """httpx would complain, and repeat it."""
    with pytest.raises(InvalidInput, match="this one of 17 has others") as caught:
        UpstreamPolicy(config(upstream), api_key=f"{KEY}\n{KEY[:2]}")
    assert KEY not in str(caught.value)


def test_a_checkpoint_of_an_upstream_plays_with_the_key_of_the_environment(upstream: Upstream) -> None:
    checkpoint = upstream_checkpoint(config(upstream, api_key_env="LEGACY_KEY"))
    policy = load_policy(checkpoint, environment={"LEGACY_KEY": f"{KEY}\n"})
    assert policy.act(conversation()).message == assistant("Hello.")
    assert upstream.asked[0][0]["authorization"] == f"Bearer {KEY}"
    assert KEY.encode() not in checkpoint.to_bytes()


def test_an_upstream_does_not_learn(upstream: Upstream) -> None:
    with pytest.raises(InvalidInput, match="A policy that learns has weights"):
        load_trainable_policy(upstream_checkpoint(config(upstream)))


def test_a_key_that_is_not_in_the_environment_is_named_by_its_variable(upstream: Upstream) -> None:
    with pytest.raises(InvalidInput, match=r"'LEGACY_KEY', for http://127.0.0.1.*, is not set"):
        api_key_of(config(upstream, api_key_env="LEGACY_KEY"), {})


def test_a_key_given_for_its_variable_is_refused_untold() -> None:
    with pytest.raises(InvalidInput, match="these 14 characters are none") as caught:
        UpstreamConfig(base_url="http://host/v1", model="legacy", api_key_env=KEY)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "base_url", ["host/v1", "ftp://host/v1", "http:///v1", "http://me:secret@host/v1", "http://host/v1?key=secret", "http://[::"]
)
def test_an_address_that_is_none_is_refused_without_its_secrets(base_url: str) -> None:
    with pytest.raises(InvalidInput, match="An upstream's address") as caught:
        UpstreamConfig(base_url=base_url, model="legacy")
    assert "secret" not in str(caught.value)


# --- as a version behind our own endpoint ---


@pytest.fixture
def ask_endpoint(upstream: Upstream, tmp_path: Path) -> Callable[..., httpx.Response]:
    """Asks an endpoint whose champion is the upstream, with its key in the environment."""
    ref = FileStore(tmp_path / "store").write(upstream_checkpoint(config(upstream, api_key_env="LEGACY_KEY")).to_bytes())
    url = f"sqlite:///{tmp_path / 'experience.db'}"
    key = ApiKeys(url).create("test", now=datetime.now(UTC))
    plan = TrafficPlan(
        agent="support", epoch=1, champion="1", allocation=Allocation(weights={"1": 1.0}), versions={"1": ref}, reason="a test"
    )

    async def asking(body: dict[str, Any]) -> httpx.Response:
        gateway = Gateway("support", url, engine_loader({"LEGACY_KEY": KEY}), clock=lambda: datetime.now(UTC))
        await gateway.follow(plan)
        transport = httpx.ASGITransport(app=build_endpoint(lambda: gateway))
        async with httpx.AsyncClient(transport=transport, base_url="http://endpoint") as client:
            return await client.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"})

    def ask(**fields: Any) -> httpx.Response:
        body = {"model": "support", "messages": [{"role": "user", "content": "Hi"}], "conversation_id": "c1", **fields}
        return asyncio.run(asking(body))

    return ask


def test_an_endpoint_passes_a_request_on_as_it_is_but_for_the_model_and_what_is_ours(upstream: Upstream, ask_endpoint: Any) -> None:
    ask_endpoint(temperature=0.3, user="ann", metadata={"queue": "billing"})
    headers, body = upstream.asked[-1]
    assert headers["authorization"] == f"Bearer {KEY}"
    assert body == {"model": "legacy", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0.3, "user": "ann"}


def test_an_upstreams_calls_and_counts_leave_as_they_came(upstream: Upstream, ask_endpoint: Any) -> None:
    calls = [{"id": "call_7", "type": "function", "function": {"name": "check_payment", "arguments": '{"user_id":"u1"}'}}]
    told = {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": calls}}]}
    upstream.answer = lambda: (200, json.dumps({**told, "usage": {"prompt_tokens": 11, "completion_tokens": 5}}).encode())
    answer = ask_endpoint().json()
    assert answer["choices"][0]["message"]["tool_calls"] == calls
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert answer["usage"] == {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}


def test_an_upstreams_conversation_is_kept_like_any_other(upstream: Upstream, ask_endpoint: Any, tmp_path: Path) -> None:
    ask_endpoint(user="ann", metadata={"queue": "billing"})
    (trace,) = served_traces(ExposureLog(f"sqlite:///{tmp_path / 'experience.db'}", "support"))
    assert [message.content for message in trace.messages] == ["Hi", "Hello."]
    assert (trace.agent_version, trace.customer_id, trace.tags) == ("1", "ann", {"queue": "billing"})


@pytest.mark.parametrize(("status", "told"), [(500, 502), (429, 502), (401, 502)])
def test_an_upstream_that_fails_is_not_the_clients_fault_and_counts_as_a_failure(
    upstream: Upstream, ask_endpoint: Any, tmp_path: Path, status: int, told: int
) -> None:
    upstream.answer = lambda: refused(status, f"no {KEY}")
    answer = ask_endpoint()
    assert (answer.status_code, answer.json()["error"]["code"]) == (told, "version_failed")
    assert KEY not in answer.text
    (row,) = ExposureLog(f"sqlite:///{tmp_path / 'experience.db'}", "support").rows()
    assert row.failures == 1


def test_the_key_of_an_upstream_is_nowhere_on_disk(upstream: Upstream, ask_endpoint: Any, tmp_path: Path) -> None:
    ask_endpoint()
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"LEGACY_KEY" in Checkpoint.from_bytes(next((tmp_path / "store").rglob("*/*")).read_bytes()).manifest.model_dump_json().encode()
    assert KEY.encode() not in kept
