"""A conversation recorded in production."""

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from agentgym.episode import Outcome
from agentgym.messages import Message
from agentgym.tools import Tool


def _share_equal_tools(tools: Any) -> Any:
    """Equal declarations as one object: a log repeats its tools in every conversation, and parsing them costs more than the words."""
    return [_tool(orjson.dumps(tool)) if isinstance(tool, dict) else tool for tool in tools] if isinstance(tools, list) else tools


@lru_cache(maxsize=4096)
def _tool(declaration: bytes) -> Tool:
    return Tool.model_validate_json(declaration)


class Trace(BaseModel):
    """A recorded conversation, with what is known of how it went.

    tools: those in scope of the agent; empty when the log does not say.   satisfaction_score: 1 (worst) to 5; None when unknown.
    agent_tokens: written by the agent.   latency_seconds: the agent's time.
    tags: what the log adds, such as the queue; no policy sees them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    conversation_id: str = Field(min_length=1)
    messages: tuple[Message, ...] = Field(min_length=1)
    tools: Annotated[tuple[Tool, ...], BeforeValidator(_share_equal_tools)] = ()
    outcome: Outcome | None = None
    satisfaction_score: Annotated[float, Field(ge=1, le=5, allow_inf_nan=False)] | None = None
    customer_id: str | None = None
    agent_version: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    agent_tokens: int | None = Field(default=None, ge=0)
    latency_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    tags: dict[str, str] = {}

    @property
    def cluster_id(self) -> str:
        """Whose conversations belong together in a split or an interval: the customer, else the conversation itself."""
        return self.customer_id or self.conversation_id
