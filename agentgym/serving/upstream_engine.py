"""An upstream as a version: the request goes on to whatever answers today, and its answer is kept like any other."""

from collections.abc import Mapping

import httpx

from agentgym.client import goes_out
from agentgym.episode import Conversation
from agentgym.errors import Unavailable
from agentgym.policies.upstream import UpstreamConfig, api_key_of, read_completion
from agentgym.serving.engine import Answer
from agentgym.serving.openai_api import ChatRequest, Usage, estimated_usage

# Ours, or decided by us; everything else a client sends is the upstream's business.
_OUR_FIELDS = frozenset({"conversation_id", "metadata", "model", "stream", "stream_options"})


class UpstreamEngine:
    """Forwards to an OpenAI-compatible endpoint, many requests at once."""

    def __init__(self, config: UpstreamConfig, environment: Mapping[str, str]) -> None:
        key = api_key_of(config, environment)
        self._config = config
        self._http = httpx.AsyncClient(
            base_url=config.base_url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=config.timeout_seconds,
            trust_env=goes_out(config.base_url),
            limits=httpx.Limits(max_connections=256, max_keepalive_connections=64),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def answer(self, request: ChatRequest, conversation: Conversation) -> Answer:
        body = {name: value for name, value in request.raw.items() if name not in _OUR_FIELDS} | {"model": self._config.model}
        try:
            response = await self._http.post("chat/completions", json=body)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"The upstream must answer at {self._config.base_url}; it did not: {type(error).__name__}. Check that it is up."
            ) from error
        if not response.is_success:
            # Its own words may repeat the customer's, so they are not told.
            raise Unavailable(f"The upstream must answer; {self._config.base_url} answered {response.status_code}. Look at its own log.")
        try:
            message = read_completion(self._config, response)
        except Unavailable as error:
            raise Unavailable(f"The upstream must answer in OpenAI's chat form; {self._config.base_url} did not. Mend it.") from error
        return Answer(message=message, usage=Usage.told(response.json().get("usage")) or estimated_usage(request.messages, message))
