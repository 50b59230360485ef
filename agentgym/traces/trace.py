"""A conversation recorded in production."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agentgym.episode import Outcome
from agentgym.messages import Message
from agentgym.tools import Tool


class Trace(BaseModel):
    """A recorded conversation, with what is known of how it went.

    tools: those in scope of the agent; empty when the log does not say.   satisfaction_score: 1 (worst) to 5; None when unknown.
    agent_tokens: written by the agent.   latency_seconds: the agent's time.
    tags: what the log adds, such as the queue; no policy sees them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    conversation_id: str = Field(min_length=1)
    messages: tuple[Message, ...] = Field(min_length=1)
    tools: tuple[Tool, ...] = ()
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
