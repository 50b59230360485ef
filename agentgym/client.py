"""The SDK: talk to an endpoint, and tell it what became of a conversation. It stands alone; all it needs is HTTP.

client = AgentGym(api_key="ag-…")
answer = client.chat("support", [{"role": "user", "content": "I was charged twice"}], user="customer-7")
client.feedback(answer.conversation_id, outcome="resolved", score=5)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from agentgym.errors import InvalidInput, Unavailable

DEFAULT_BASE_URL = "http://127.0.0.1:8000/v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatAnswer:
    """What the agent said.

    message: OpenAI's assistant message, with `content` or `tool_calls`.   version: which version of the agent said it.
    """

    message: Mapping[str, Any]
    conversation_id: str
    version: str
    raw: Mapping[str, Any]


def goes_out(base_url: str) -> bool:
    """Whether an address leaves this machine, so that a proxy of the environment is asked: one knows nothing of our loopback."""
    host = httpx.URL(base_url).host
    return host not in ("localhost", "::1") and not host.startswith("127.")


def sendable(key: str) -> str:
    """The key, if a header can hold it; else the HTTP library would complain, and repeat it. Raises InvalidInput, which does not."""
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise InvalidInput(
            f"A key has visible ASCII characters only; this one of {len(key)} has others. Copy it again, without line breaks."
        )
    return key


class AgentGym:
    """A connection to an endpoint.   timeout_seconds: of one request."""

    def __init__(self, api_key: str, *, base_url: str = DEFAULT_BASE_URL, timeout_seconds: float = 60.0) -> None:
        self._http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {sendable(api_key)}"},
            timeout=timeout_seconds,
            trust_env=goes_out(base_url),
        )

    def chat(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        user: str | None = None,
        conversation_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> ChatAnswer:
        """The next message.

        messages, tools: in OpenAI's form.   user: the customer.   conversation_id: of an earlier answer; None begins a conversation.
        request_id: a repeated request with the same one gets the same answer.
        """
        body: dict[str, Any] = {"model": model, "messages": list(messages), "tools": list(tools) or None}
        named = {"user": user, "conversation_id": conversation_id, "metadata": metadata}
        body |= {name: given for name, given in named.items() if given is not None}
        raw = self._post("/chat/completions", body, {"idempotency-key": request_id} if request_id else {})
        return ChatAnswer(message=raw["choices"][0]["message"], conversation_id=raw["conversation_id"], version=raw["version"], raw=raw)

    def feedback(
        self,
        conversation_id: str,
        *,
        outcome: str | None = None,
        score: float | None = None,
        comment: str | None = None,
        corrects: bool = False,
    ) -> bool:
        """Tells what became of a conversation; whether that was news.

        outcome: resolved, escalated, unresolved or abandoned.   score: 1 (worst) to 5.   corrects: replaces what was told before.
        """
        said = {"outcome": outcome, "score": score, "comment": comment}
        body = {
            "conversation_id": conversation_id,
            "corrects": corrects,
            **{name: given for name, given in said.items() if given is not None},
        }
        return bool(self._post("/feedback", body, {})["recorded"])

    def models(self) -> list[str]:
        """The names that can be asked: the agent, and each of its versions by itself."""
        return [model["id"] for model in self._request("GET", "/models")["data"]]

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        return self._request("POST", path, json=body, headers=headers)

    def _request(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, **arguments)
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(
                f"The endpoint must answer at {self._http.base_url}; it did not: {type(error).__name__}. "
                "Start it with `agentgym serve`, or name its address."
            ) from error
        if response.is_success:
            return dict(answer)
        refusal = answer.get("error") if isinstance(answer, dict) else None
        told = refusal["message"] if isinstance(refusal, dict) and isinstance(refusal.get("message"), str) else response.text[:200]
        raise (InvalidInput if response.status_code < 500 else Unavailable)(told)
