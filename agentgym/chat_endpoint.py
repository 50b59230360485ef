"""A model behind OpenAI's chat completions, asked over HTTP: for an upstream agent, and for a customer that a model plays."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx
from pydantic import JsonValue

from agentgym.client import goes_out, sendable
from agentgym.errors import InvalidInput, Unavailable

# Refusals that the same request may not meet again: timeout, too early, too many requests.
_PASSING_STATUSES = frozenset({408, 425, 429})
_LONGEST_QUOTE = 300
# An answer is one message; more than this is not one.
_MOST_BYTES = 16 * 2**20

Read = TypeVar("Read")


def endpoint_address(base_url: str, *, party: str) -> str:
    """The address without its last slash. Raises InvalidInput for one that is none, or that holds a secret.

    party: who answers there, as a message begins with it: "An upstream".
    """
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise InvalidInput(f"{party}'s address must be a URL; {error}. Give one such as https://host/v1.") from error
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        raise InvalidInput(
            f"{party}'s address is http(s)://HOST/PATH with neither password nor query; got one with scheme {url.scheme!r} and host "
            f"{url.host!r}. Give one such as https://host/v1, and the key by a variable of the environment."
        )
    return base_url.rstrip("/")


class ChatEndpoint:
    """Asks for one message at a time.

    headers: sent with every request.   timeout_seconds: of silence, and of one whole answer.
    """

    def __init__(
        self, base_url: str, *, party: str, api_key: str | None, timeout_seconds: float, headers: Mapping[str, str] | None = None
    ) -> None:
        self._base_url, self._party, self._timeout_seconds = base_url, party, timeout_seconds
        authorization = {"authorization": f"Bearer {sendable(api_key)}"} if api_key else {}
        self._http = httpx.Client(
            base_url=base_url, headers={**(headers or {}), **authorization}, timeout=timeout_seconds, trust_env=goes_out(base_url)
        )

    def ask(self, body: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """The answer, whatever it is. Raises Unavailable when there is none in time."""
        try:
            return self._answer(body, headers or {})
        except httpx.TimeoutException as error:
            raise Unavailable(
                f"{self._party} must answer within {self._timeout_seconds:g} s; {self._base_url} did not. Try again, or give it longer."
            ) from error
        except httpx.HTTPError as error:
            raise Unavailable(
                f"{self._party} must be reachable; {self._base_url} gave {type(error).__name__}. Check its address, and that it is up."
            ) from error

    def close(self) -> None:
        self._http.close()

    def _answer(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> httpx.Response:
        """Reads it piece by piece: a server that sends a byte now and then is never silent, and never done."""
        deadline, content = time.monotonic() + self._timeout_seconds, bytearray()
        with self._http.stream("POST", "chat/completions", json=body, headers=headers) as response:
            for piece in response.iter_bytes():
                content += piece
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer did not end")
                if len(content) > _MOST_BYTES:
                    raise httpx.DecodingError("the answer is too long")
        return httpx.Response(response.status_code, content=bytes(content), request=response.request)


def read_answer(response: httpx.Response, read: Callable[[dict[str, Any]], Read], *, party: str, base_url: str) -> Read:
    """What `read` makes of the message in an answer.

    Raises InvalidInput when the request is refused for good, with the party's own words; Unavailable when there is no message in the
    answer, or `read` finds none there.
    """
    status = response.status_code
    if 400 <= status < 500 and status not in _PASSING_STATUSES:
        raise InvalidInput(
            f"{party} must accept what it is sent; {base_url} answered {status}: {_quoted(_refusal(response), response)}. "
            "Mend the model's name, the key or the request."
        )
    if not response.is_success:
        raise Unavailable(f"{party} must answer; {base_url} answered {status}: {_quoted(_refusal(response), response)}. Try again later.")
    try:
        return read({**response.json()["choices"][0]["message"], "role": "assistant"})
    except (ValueError, LookupError, TypeError, InvalidInput) as error:
        raise Unavailable(
            f"{party} must answer in OpenAI's chat form; {base_url} answered {status} with {_quoted(response.text, response)}. "
            "Check the address, which ends before /chat/completions, or try again."
        ) from error


def _refusal(response: httpx.Response) -> str:
    """The party's own words: of OpenAI's error object where it sent one, else the body."""
    try:
        error: JsonValue = response.json()["error"]
    except (ValueError, LookupError, TypeError):
        return response.text
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)


def _quoted(text: str, response: httpx.Response) -> str:
    """The beginning of what was said, without the key, which some repeat."""
    key = response.request.headers.get("authorization", "").removeprefix("Bearer ")
    return repr((text.replace(key, "***") if key else text)[:_LONGEST_QUOTE])
