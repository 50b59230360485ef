"""One situation to play: who the customer is, what they want, what they know, and how it should end."""

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agentgym.environments.edge import Edge
from agentgym.messages import ToolCall
from agentgym.traces.trace import Trace


class Case(BaseModel):
    """A situation of a scenario.

    kind: the slice it is reported under.   cluster_id: the customer, else the source conversation.   facts: what the simulated user
    knows and tells when asked.   initial_state: rows of the world's tables, by table.   expected_calls: what a right solution calls,
    in an order that works.   seed: of everything random while it is played.   recording: the conversation it replays, if it replays one.
    edge: what goes wrong in it, if it is an edge case; other cases are written as if there were no such field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    case_id: str
    scenario: str
    kind: str
    difficulty: str
    cluster_id: str
    goal: str
    persona: str = ""
    facts: dict[str, JsonValue] = {}
    initial_state: dict[str, list[dict[str, JsonValue]]] = {}
    expected_calls: tuple[ToolCall, ...] = ()
    seed: int = 0
    recording: Trace | None = None
    edge: Edge | None = Field(default=None, exclude_if=lambda edge: edge is None)
