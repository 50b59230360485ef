"""What an importer reads: conversations in the trace's own field names, not yet checked, and lines that hold none."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from agentgym.tools import Tool
from agentgym.traces.trace import Trace


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedLine:
    """A line, or the conversation that begins on it, that is kept out; `reasons` says why, one sentence each."""

    source: str
    line: int
    conversation_id: str | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A conversation as it was logged.

    fields: those of a Trace without its tools, as JSON; each message has role, content, tool_calls (id, name, arguments), name,
    tool_call_id and result, whatever form the log is in.   tools: shared between the records that declare equal ones.
    json_bytes: how long the fields are as JSON; 0 before anybody has written them.
    """

    source: str
    line: int
    fields: dict[str, Any]
    tools: tuple[Tool, ...] = ()
    json_bytes: int = 0

    @property
    def conversation_id(self) -> str | None:
        found = self.fields.get("conversation_id")
        return found if isinstance(found, str) else None

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self.fields["messages"]  # type: ignore[no-any-return]

    def rejected(self, *reasons: str) -> RejectedLine:
        return RejectedLine(source=self.source, line=self.line, conversation_id=self.conversation_id, reasons=reasons)

    def to_trace(self) -> Trace | RejectedLine:
        """The record as a trace, when every field has the type and the range a trace demands."""
        try:
            return Trace.model_validate({**self.fields, "tools": self.tools})
        except ValidationError as error:
            return self.rejected(*(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()))
