"""What you run today, as a policy: any agent or model behind OpenAI's chat completions.

Its checkpoint holds an address and the name of the variable with the key, never the key. Not covered: streaming, several choices.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agentgym.chat_endpoint import ChatEndpoint, endpoint_address, read_answer
from agentgym.client import sendable
from agentgym.episode import Action, Conversation
from agentgym.errors import InvalidInput
from agentgym.messages import Message, to_openai_messages
from agentgym.policies.checkpoint import UPSTREAM, Checkpoint, Manifest
from agentgym.traces.importers.chat import read_message

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_PARTY = "An upstream"


def _address(base_url: str) -> str:
    return endpoint_address(base_url, party=_PARTY)


def _variable_name(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        # It may be the key itself, so it is not told.
        raise InvalidInput(
            f"The key of an upstream is told by the name of a variable, in capitals; these {len(name)} characters are none. "
            "Put the key into the environment and give the variable's name, such as OPENAI_API_KEY."
        )
    return name


class UpstreamConfig(BaseModel):
    """Where an upstream answers, and as whom.

    base_url: what stands before `/chat/completions`.   api_key_env: name of the environment variable with the key; None where it asks for
    none.   timeout_seconds: of silence, and of one whole answer.   Raises InvalidInput for an address or a name that is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["upstream"] = "upstream"
    base_url: Annotated[str, AfterValidator(_address)]
    model: str = Field(min_length=1)
    api_key_env: Annotated[str, AfterValidator(_variable_name)] | None = None
    timeout_seconds: float = Field(default=60.0, gt=0, le=3600)


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestLabels:
    """What a request says of itself besides the conversation: the customer it is for, and texts by name."""

    user: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


class UpstreamPolicy:
    """An upstream that is asked for every message.

    headers: sent with every request.   names_conversations: sends `x-conversation-id`, which AgentGym's own endpoint understands.
    labels_of: what the request for a conversation says besides.
    """

    def __init__(
        self,
        config: UpstreamConfig,
        *,
        api_key: str | None,
        headers: Mapping[str, str] | None = None,
        names_conversations: bool = False,
        labels_of: Callable[[Conversation], RequestLabels] = lambda _: RequestLabels(),
    ) -> None:
        self._config, self._names_conversations, self._labels_of = config, names_conversations, labels_of
        self._endpoint = ChatEndpoint(
            config.base_url, party=_PARTY, api_key=api_key, timeout_seconds=config.timeout_seconds, headers=headers
        )

    def act(self, conversation: Conversation) -> Action:
        """The upstream's next message. Raises InvalidInput when it refuses the request, Unavailable when it gives no message."""
        headers = {"x-conversation-id": conversation.conversation_id} if self._names_conversations else {}
        return Action(message=read_completion(self._config, self._endpoint.ask(self._request(conversation), headers=headers)))

    def close(self) -> None:
        self._endpoint.close()

    def _request(self, conversation: Conversation) -> dict[str, Any]:
        labels = self._labels_of(conversation)
        optional = {
            "tools": [tool.to_openai() for tool in conversation.tools],
            "user": labels.user,
            "metadata": dict(labels.metadata),
        }
        # OpenAI refuses an empty list of tools.
        given = {name: told for name, told in optional.items() if told}
        return {"model": self._config.model, "messages": to_openai_messages(conversation.messages), **given}


def upstream_checkpoint(config: UpstreamConfig) -> Checkpoint:
    """The upstream as a checkpoint, without weights."""
    return Checkpoint(manifest=Manifest(policy=UPSTREAM, configuration=config.model_dump(mode="json")), weights=b"")


def api_key_of(config: UpstreamConfig, environment: Mapping[str, str]) -> str | None:
    """The upstream's key; None where it asks for none. Raises InvalidInput when the variable is not set, or holds no key."""
    if config.api_key_env is None:
        return None
    key = environment.get(config.api_key_env, "").strip()
    if not key:
        raise InvalidInput(
            f"The key of an upstream must be in the environment; {config.api_key_env!r}, for {config.base_url}, is not set. Set it."
        )
    return sendable(key)


def read_completion(config: UpstreamConfig, response: httpx.Response) -> Message:
    """The assistant's message in an upstream's answer.

    Raises InvalidInput when the upstream refuses the request for good, with its own words; Unavailable when there is no message in it.
    """
    return read_answer(response, read_message, party=_PARTY, base_url=config.base_url)
