"""The SDK over real HTTP, on loopback."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agentgym.client import AgentGym, goes_out
from agentgym.errors import InvalidInput, Unavailable

ANSWER = {"choices": [{"message": {"role": "assistant", "content": "Hello"}}], "conversation_id": "c1", "version": "2"}


@dataclass
class Endpoint:
    """What it answers, and what it was sent."""

    url: str
    answer: tuple[int, dict[str, Any]] = (200, ANSWER)
    sent: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)

    def client(self) -> AgentGym:
        return AgentGym("ag-key", base_url=self.url)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            known.sent.append((self.path, {name.lower(): text for name, text in self.headers.items()}, body))
            content = json.dumps(known.answer[1]).encode()
            self.send_response(known.answer[0])
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        known = Endpoint(url=f"http://127.0.0.1:{server.server_port}/v1")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield known
        server.shutdown()


def test_an_answer_says_its_conversation_and_its_version(endpoint: Endpoint) -> None:
    answer = endpoint.client().chat("support", [{"role": "user", "content": "Hi"}])
    assert (answer.message["content"], answer.conversation_id, answer.version) == ("Hello", "c1", "2")


def test_a_request_carries_the_key_and_its_own_id(endpoint: Endpoint) -> None:
    endpoint.client().chat("support", [{"role": "user", "content": "Hi"}], user="ann", request_id="r1")
    path, headers, body = endpoint.sent[0]
    assert (path, headers["authorization"], headers["idempotency-key"]) == ("/v1/chat/completions", "Bearer ag-key", "r1")
    assert (body["model"], body["user"]) == ("support", "ann")


def test_feedback_sends_what_was_said_and_nothing_else(endpoint: Endpoint) -> None:
    endpoint.answer = (200, {"recorded": True})
    assert endpoint.client().feedback("c1", outcome="resolved")
    assert endpoint.sent[0][2] == {"conversation_id": "c1", "outcome": "resolved", "corrects": False}


@pytest.mark.parametrize(("status", "kind"), [(404, InvalidInput), (503, Unavailable)])
def test_an_error_is_told_in_the_endpoints_words(endpoint: Endpoint, status: int, kind: type[Exception]) -> None:
    endpoint.answer = (status, {"error": {"message": "There is no such thing."}})
    with pytest.raises(kind, match="There is no such thing"):
        endpoint.client().chat("support", [{"role": "user", "content": "Hi"}])


def test_an_endpoint_that_is_away_is_unavailable(endpoint: Endpoint) -> None:
    with pytest.raises(Unavailable, match=r"must answer at http://127\.0\.0\.1:9/v1/; it did not: ConnectError"):
        AgentGym("ag-key", base_url="http://127.0.0.1:9/v1").models()


@pytest.mark.parametrize(
    ("url", "is_outside"),
    [("http://127.0.0.1:8000/v1", False), ("http://localhost/v1", False), ("http://[::1]/v1", False), ("https://host/v1", True)],
)
def test_only_what_leaves_this_machine_goes_through_a_proxy(url: str, is_outside: bool) -> None:
    assert goes_out(url) is is_outside
